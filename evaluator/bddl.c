// evaluator/bddl.c - sections of a task's tree into struct evaluator_bddl. Where the official
// reader would go on with something else than the file says (a type given twice loses the first, a
// region given twice too), the file is refused instead.
#include "evaluator/bddl.h"

#include "evaluator/bddl_tree.h"
#include "proto/files.h"
#include "proto/nearest.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define NUMBER_MAX 1e3  // m or rad; a table is 1 m wide

static const struct {
    const char *name, *word;
    uint32_t arguments;
    bool takes_region;  // as its last argument
} predicates[] = {
    [EVALUATOR_ON] = {"On", "on", 2, true},
    [EVALUATOR_IN] = {"In", "in", 2, true},
    [EVALUATOR_OPEN] = {"Open", "open", 1, true},
    [EVALUATOR_CLOSE] = {"Close", "close", 1, true},
    [EVALUATOR_TURNON] = {"Turnon", "turnon", 1, false},
    [EVALUATOR_TURNOFF] = {"Turnoff", "turnoff", 1, false},
    [EVALUATOR_UP] = {"Up", "up", 1, false},
};

const char *evaluator_predicate_name(enum evaluator_predicate predicate) {
    return predicates[predicate].name;
}

// What the public struct points into lives as long as it.
struct whole {
    struct evaluator_bddl bddl;  // first: the public pointer is the whole's
    struct evaluator_bddl_tree tree;
    char *made;  // texts that are not words of the file: full names of regions, the language
    size_t made_bytes;
};

struct parser {
    const char *name;
    struct whole *whole;
    struct proto_error *error;
};

static const struct evaluator_bddl_node *node_at(const struct parser *parser, uint32_t index) {
    return index == EVALUATOR_BDDL_NONE ? NULL : &parser->whole->tree.nodes[index];
}
static const struct evaluator_bddl_node *first_of(const struct parser *parser,
                                                  const struct evaluator_bddl_node *list) {
    return node_at(parser, list->first);
}
static const struct evaluator_bddl_node *next_of(const struct parser *parser,
                                                 const struct evaluator_bddl_node *node) {
    return node_at(parser, node->next);
}

#define FAIL(parser, at, ...)                                                                      \
    (proto_fail((parser)->error, PROTO_DAMAGED, __VA_ARGS__),                                      \
     proto_error_where((parser)->error, "%s:%u", (parser)->name, (at)->line))

// ---- words -------------------------------------------------------------------------------------

// A word that may name something: it becomes part of names in the scene.
static bool read_name(const struct parser *parser, const struct evaluator_bddl_node *list,
                      const struct evaluator_bddl_node *node, const char *what, char **name) {
    if (!node) return FAIL(parser, list, "the list ends, expected %s", what);
    if (!node->word) return FAIL(parser, node, "a list, expected %s", what);
    for (const char *c = node->word; *c; c++)
        if (!((*c >= 'a' && *c <= 'z') || (*c >= '0' && *c <= '9') || *c == '_'))
            return FAIL(parser, node, "%s, expected %s: letters, digits and _", node->word, what);
    *name = parser->whole->tree.text + (node->word - parser->whole->tree.text);
    return true;
}

// `count` decimal numbers of a list in a list: ((x0 y0 x1 y1)).
static bool read_numbers(const struct parser *parser, const struct evaluator_bddl_node *attribute,
                         bool nested, uint32_t count, double *values) {
    const char *what = first_of(parser, attribute)->word;
    const struct evaluator_bddl_node *list = next_of(parser, first_of(parser, attribute));
    if (!list || list->word || list->next != EVALUATOR_BDDL_NONE)
        return FAIL(parser, attribute, "%s is not followed by one list", what);
    if (nested) {
        if (list->count != 1)
            return FAIL(parser, list, "%s has %u lists, exactly one is taken", what, list->count);
        list = first_of(parser, list);
    }
    if (list->word || list->count != count)
        return FAIL(parser, list, "%s has %u numbers, expected %u", what, list->count, count);
    const struct evaluator_bddl_node *node = first_of(parser, list);
    for (uint32_t i = 0; i < count; i++, node = next_of(parser, node)) {
        char *end = NULL;
        if (!node->word || node->word[strspn(node->word, "0123456789+-.e")] != '\0')
            return FAIL(parser, node, "%s: %s, expected a decimal number", what,
                        node->word ? node->word : "a list");
        values[i] = strtod(node->word, &end);
        if (end == node->word || *end != '\0' || !(fabs(values[i]) <= NUMBER_MAX))
            return FAIL(parser, node, "%s: %s, expected a decimal number of at most %g", what,
                        node->word, NUMBER_MAX);
    }
    return true;
}

// ---- sections ----------------------------------------------------------------------------------

static bool read_problem(struct parser *parser, const struct evaluator_bddl_node *section) {
    if (section->count != 2) return FAIL(parser, section, "problem has no single name");
    return read_name(parser, section, next_of(parser, first_of(parser, section)), "a problem",
                     &parser->whole->bddl.problem);
}

static bool read_domain(struct parser *parser, const struct evaluator_bddl_node *section) {
    char *domain = NULL;
    if (!read_name(parser, section, next_of(parser, first_of(parser, section)), "a domain",
                   &domain))
        return false;
    if (strcmp(domain, "robosuite") != 0)
        return FAIL(parser, section, "domain %s, expected robosuite", domain);
    return true;
}

static bool read_requirements(struct parser *parser, const struct evaluator_bddl_node *section) {
    (void)parser, (void)section;  // the official reader passes them over too
    return true;
}

// Room for all words joined is in `made`: see evaluator_bddl_parse.
static char *make_text(struct parser *parser, const char *first, char between, const char *second) {
    struct whole *whole = parser->whole;
    char *text = whole->made + whole->made_bytes;
    const size_t first_bytes = strlen(first), second_bytes = strlen(second);
    memcpy(text, first, first_bytes);
    text[first_bytes] = between;
    memcpy(text + first_bytes + 1, second, second_bytes + 1);
    whole->made_bytes += first_bytes + 1 + second_bytes + 1;
    return text;
}

static bool read_language(struct parser *parser, const struct evaluator_bddl_node *section) {
    struct whole *whole = parser->whole;
    char *text = whole->made + whole->made_bytes, *end = text;
    const struct evaluator_bddl_node *node = first_of(parser, section);
    while ((node = next_of(parser, node))) {
        if (!node->word) return FAIL(parser, node, ":language has a list, expected words");
        const size_t bytes = strlen(node->word);
        if (end != text) *end++ = ' ';
        memcpy(end, node->word, bytes);
        end += bytes;
    }
    *end++ = '\0';
    whole->made_bytes += (size_t)(end - text);
    whole->bddl.language = text;
    return true;
}

static bool read_region(struct parser *parser, const struct evaluator_bddl_node *list,
                        struct evaluator_region *region) {
    char *own = NULL;
    if (list->word) return FAIL(parser, list, "%s, expected a region in brackets", list->word);
    const struct evaluator_bddl_node *node = first_of(parser, list);
    if (!read_name(parser, list, node, "the name of a region", &own)) return false;
    *region = (struct evaluator_region){.line = list->line};
    while ((node = next_of(parser, node))) {
        const struct evaluator_bddl_node *key = node->word ? NULL : first_of(parser, node);
        double rgba[4];
        if (!key || !key->word)
            return FAIL(parser, node, "region %s: expected (:target ...), (:ranges ...)", own);
        if (strcmp(key->word, ":target") == 0 && !region->target) {
            if (!read_name(parser, node, next_of(parser, key), "a target", &region->target))
                return false;
        } else if (strcmp(key->word, ":ranges") == 0 && !region->has_ranges) {
            if (!read_numbers(parser, node, true, 4, region->ranges)) return false;
            if (region->ranges[0] > region->ranges[2] || region->ranges[1] > region->ranges[3])
                return FAIL(parser, node, "region %s: x0 y0 x1 y1 with x0 > x1 or y0 > y1", own);
            region->has_ranges = true;
        } else if (strcmp(key->word, ":yaw_rotation") == 0 && !region->has_yaw) {
            if (!read_numbers(parser, node, true, 2, region->yaw)) return false;
            region->has_yaw = true;
        } else if (strcmp(key->word, ":rgba") == 0 && !region->has_rgba) {
            if (!read_numbers(parser, node, false, 4, rgba)) return false;
            for (size_t i = 0; i < 4; i++) region->rgba[i] = (float)rgba[i];
            region->has_rgba = true;
        } else {
            return FAIL(parser, node,
                        "region %s: %s is unknown or given twice, expected :target, :ranges, "
                        ":yaw_rotation or :rgba once each",
                        own, key->word);
        }
    }
    if (!region->target) return FAIL(parser, list, "region %s has no :target", own);
    region->name = make_text(parser, region->target, '_', own);
    return true;
}

static bool read_regions(struct parser *parser, const struct evaluator_bddl_node *section) {
    struct evaluator_bddl *bddl = &parser->whole->bddl;
    bddl->regions = proto_alloc_array(section->count, sizeof *bddl->regions, parser->error);
    if (!bddl->regions) return false;
    const struct evaluator_bddl_node *node = first_of(parser, section);
    while ((node = next_of(parser, node))) {
        struct evaluator_region *region = &bddl->regions[bddl->region_count];
        if (!read_region(parser, node, region)) return false;
        for (uint32_t i = 0; i < bddl->region_count; i++)
            if (strcmp(bddl->regions[i].name, region->name) == 0)
                return FAIL(parser, node, "region %s is there twice, first in line %u",
                            region->name, bddl->regions[i].line);
        bddl->region_count++;
    }
    return true;
}

// Names, then "- type" for all of them since the last type.
static bool read_items(struct parser *parser, const struct evaluator_bddl_node *section,
                       struct evaluator_item **out, uint32_t *count) {
    struct evaluator_item *items = proto_alloc_array(section->count, sizeof *items, parser->error);
    *out = items;
    if (!items) return false;
    const struct evaluator_bddl_node *node = first_of(parser, section);
    uint32_t typed = 0;
    while ((node = next_of(parser, node))) {
        if (!node->word || strcmp(node->word, "-") != 0) {
            struct evaluator_item *item = &items[*count];
            *item = (struct evaluator_item){.line = node->line};
            if (!read_name(parser, section, node, "a name", &item->name)) return false;
            ++*count;
            continue;
        }
        char *type = NULL;
        const struct evaluator_bddl_node *dash = node;
        node = next_of(parser, node);
        if (!read_name(parser, dash, node, "a type behind -", &type)) return false;
        if (typed == *count) return FAIL(parser, node, "no name before - %s", type);
        for (uint32_t i = 0; i < typed; i++)
            if (strcmp(items[i].type, type) == 0)
                return FAIL(parser, node,
                            "type %s is there twice, first in line %u; write all names before one "
                            "- %s",
                            type, items[i].line, type);
        for (; typed < *count; typed++) items[typed].type = type;
    }
    if (typed < *count)
        return FAIL(parser, section, "%s has no type, expected - and a type behind it",
                    items[typed].name);
    return true;
}

static bool read_fixtures(struct parser *parser, const struct evaluator_bddl_node *section) {
    struct evaluator_bddl *bddl = &parser->whole->bddl;
    return read_items(parser, section, &bddl->fixtures, &bddl->fixture_count);
}

static bool read_objects(struct parser *parser, const struct evaluator_bddl_node *section) {
    struct evaluator_bddl *bddl = &parser->whole->bddl;
    return read_items(parser, section, &bddl->objects, &bddl->object_count);
}

static bool read_interest(struct parser *parser, const struct evaluator_bddl_node *section) {
    struct evaluator_bddl *bddl = &parser->whole->bddl;
    bddl->of_interest = proto_alloc_array(section->count, sizeof(char *), parser->error);
    if (!bddl->of_interest) return false;
    const struct evaluator_bddl_node *node = first_of(parser, section);
    while ((node = next_of(parser, node)))
        if (!read_name(parser, section, node, "a name", &bddl->of_interest[bddl->interest_count++]))
            return false;
    return true;
}

// ---- predicates --------------------------------------------------------------------------------

static bool read_predicate(struct parser *parser, const struct evaluator_bddl_node *node,
                           enum evaluator_predicate *predicate) {
    struct proto_nearest nearest = {.wrong = node->word};
    for (size_t i = 0; i < PROTO_COUNT(predicates); i++) {
        proto_nearest_offer(&nearest, predicates[i].word);
        if (strcmp(predicates[i].word, node->word) != 0) continue;
        *predicate = (enum evaluator_predicate)i;
        return true;
    }
    return FAIL(parser, node,
                "predicate %s is unknown%s%s; known: On, In, Open, Close, Turnon, Turnoff, Up",
                node->word, nearest.best ? ", nearest: " : "", nearest.best ? nearest.best : "");
}

static bool read_clause(struct parser *parser, const struct evaluator_bddl_node *list,
                        struct evaluator_clause *clause) {
    const struct evaluator_bddl_node *node = list->word ? NULL : first_of(parser, list);
    if (!node || !node->word)
        return FAIL(parser, list, "expected a predicate in brackets: (On a b)");
    *clause = (struct evaluator_clause){.line = list->line};
    if (!read_predicate(parser, node, &clause->predicate)) return false;
    const uint32_t arguments = predicates[clause->predicate].arguments;
    if (list->count != 1 + arguments)
        return FAIL(parser, list, "%s has %u arguments, expected %u",
                    predicates[clause->predicate].name, list->count - 1, arguments);
    for (uint32_t i = 0; i < arguments; i++) {
        node = next_of(parser, node);
        if (!read_name(parser, list, node, "a name", &clause->arguments[i])) return false;
    }
    return true;
}

static bool read_init(struct parser *parser, const struct evaluator_bddl_node *section) {
    struct evaluator_bddl *bddl = &parser->whole->bddl;
    bddl->init = proto_alloc_array(section->count, sizeof *bddl->init, parser->error);
    if (!bddl->init) return false;
    const struct evaluator_bddl_node *node = first_of(parser, section);
    while ((node = next_of(parser, node)))
        if (!read_clause(parser, node, &bddl->init[bddl->init_count++])) return false;
    return true;
}

// (And clause ...), or one clause alone.
static bool read_goal(struct parser *parser, const struct evaluator_bddl_node *section) {
    struct evaluator_bddl *bddl = &parser->whole->bddl;
    const struct evaluator_bddl_node *list = next_of(parser, first_of(parser, section));
    if (section->count != 2 || list->word || list->count == 0)
        return FAIL(parser, section, ":goal has no single list, expected (And (On a b) ...)");
    bddl->goal = proto_alloc_array(list->count, sizeof *bddl->goal, parser->error);
    if (!bddl->goal) return false;
    const struct evaluator_bddl_node *node = first_of(parser, list);
    if (!node->word || strcmp(node->word, "and") != 0) {
        bddl->goal_count = 1;
        return read_clause(parser, list, &bddl->goal[0]);
    }
    while ((node = next_of(parser, node)))
        if (!read_clause(parser, node, &bddl->goal[bddl->goal_count++])) return false;
    if (bddl->goal_count == 0) return FAIL(parser, list, "And has nothing in it");
    return true;
}

static const struct {
    const char *word;
    bool needed;
    bool (*read)(struct parser *parser, const struct evaluator_bddl_node *section);
} sections[] = {
    {"problem", true, read_problem},
    {":domain", true, read_domain},
    {":requirements", false, read_requirements},
    {":language", false, read_language},
    {":regions", true, read_regions},
    {":fixtures", true, read_fixtures},
    {":objects", false, read_objects},
    {":obj_of_interest", false, read_interest},
    {":init", true, read_init},
    {":goal", true, read_goal},
};

static bool read_sections(struct parser *parser) {
    const struct evaluator_bddl_node *root = &parser->whole->tree.nodes[0];
    const struct evaluator_bddl_node *node = first_of(parser, root);
    bool seen[PROTO_COUNT(sections)] = {false};
    if (!node || !node->word || strcmp(node->word, "define") != 0)
        return FAIL(parser, root, "the text does not begin with (define ...)");
    while ((node = next_of(parser, node))) {
        const struct evaluator_bddl_node *head = node->word ? NULL : first_of(parser, node);
        if (!head || !head->word)
            return FAIL(parser, node, "expected a section in brackets: (:init ...)");
        size_t i = 0;
        while (i < PROTO_COUNT(sections) && strcmp(sections[i].word, head->word) != 0) i++;
        if (i == PROTO_COUNT(sections))
            return FAIL(parser, node, "section %s is unknown", head->word);
        if (seen[i]) return FAIL(parser, node, "section %s is there twice", head->word);
        seen[i] = true;
        if (!sections[i].read(parser, node)) return false;
    }
    for (size_t i = 0; i < PROTO_COUNT(sections); i++)
        if (sections[i].needed && !seen[i])
            return FAIL(parser, root, "section %s is missing", sections[i].word);
    return true;
}

// ---- what names mean, once everything is read --------------------------------------------------

static const struct evaluator_item *find_item(const struct evaluator_bddl *bddl, const char *name) {
    for (uint32_t i = 0; i < bddl->object_count; i++)
        if (strcmp(bddl->objects[i].name, name) == 0) return &bddl->objects[i];
    for (uint32_t i = 0; i < bddl->fixture_count; i++)
        if (strcmp(bddl->fixtures[i].name, name) == 0) return &bddl->fixtures[i];
    return NULL;
}

static const struct evaluator_region *find_region(const struct evaluator_bddl *bddl,
                                                  const char *name) {
    for (uint32_t i = 0; i < bddl->region_count; i++)
        if (strcmp(bddl->regions[i].name, name) == 0) return &bddl->regions[i];
    return NULL;
}

static bool fail_at_line(const struct parser *parser, uint32_t line) {
    return proto_error_where(parser->error, "%s:%u", parser->name, line);
}

static bool check_items(const struct parser *parser, const struct evaluator_item *items,
                        uint32_t count) {
    const struct evaluator_bddl *bddl = &parser->whole->bddl;
    for (uint32_t i = 0; i < count; i++) {
        const struct evaluator_item *first = find_item(bddl, items[i].name);
        const struct evaluator_region *region = find_region(bddl, items[i].name);
        if (first == &items[i] && !region) continue;
        proto_fail(parser->error, PROTO_DAMAGED, "the name %s is there twice, also in line %u",
                   items[i].name, region ? region->line : first->line);
        return fail_at_line(parser, items[i].line);
    }
    return true;
}

static bool check_argument(const struct parser *parser, const struct evaluator_clause *clause,
                           uint32_t argument) {
    const struct evaluator_bddl *bddl = &parser->whole->bddl;
    const char *name = clause->arguments[argument];
    const char *predicate = predicates[clause->predicate].name;
    if (find_item(bddl, name)) return true;
    const struct evaluator_region *region = find_region(bddl, name);
    const bool may_be_region = predicates[clause->predicate].takes_region &&
                               argument + 1 == predicates[clause->predicate].arguments;
    if (!region) {
        struct proto_nearest nearest = {.wrong = name};
        for (uint32_t i = 0; i < bddl->object_count; i++)
            proto_nearest_offer(&nearest, bddl->objects[i].name);
        for (uint32_t i = 0; i < bddl->fixture_count; i++)
            proto_nearest_offer(&nearest, bddl->fixtures[i].name);
        for (uint32_t i = 0; may_be_region && i < bddl->region_count; i++)
            proto_nearest_offer(&nearest, bddl->regions[i].name);
        proto_fail(parser->error, PROTO_DAMAGED,
                   "%s names %s, which no section declares%s%s; known are :objects, :fixtures and "
                   "regions as target_region",
                   predicate, name, nearest.best ? ", nearest: " : "",
                   nearest.best ? nearest.best : "");
        return fail_at_line(parser, clause->line);
    }
    if (!may_be_region) {
        proto_fail(parser->error, PROTO_DAMAGED,
                   "%s takes an object or fixture here, %s is a region", predicate, name);
        return fail_at_line(parser, clause->line);
    }
    if (find_item(bddl, region->target)) return true;
    proto_fail(parser->error, PROTO_DAMAGED, "%s names a region of %s, which no section declares",
               predicate, region->target);
    return fail_at_line(parser, clause->line);
}

static bool check_clauses(const struct parser *parser, const struct evaluator_clause *clauses,
                          uint32_t count) {
    for (uint32_t i = 0; i < count; i++)
        for (uint32_t j = 0; j < predicates[clauses[i].predicate].arguments; j++)
            if (!check_argument(parser, &clauses[i], j)) return false;
    return true;
}

bool evaluator_bddl_parse(const char *name, const char *text, size_t size,
                          struct evaluator_bddl **bddl, struct proto_error *error) {
    struct whole *whole = proto_alloc(sizeof *whole, error);
    struct parser parser = {name, whole, error};
    if (!whole) return false;
    // each word is used at most once in a made text, with one byte behind it
    if (!evaluator_bddl_tree_read(name, text, size, &whole->tree, error) ||
        !(whole->made = proto_alloc(2 * size + 2, error)))
        goto failed;
    whole->bddl.language = whole->made + whole->made_bytes++;  // "" unless the file has one
    const struct evaluator_bddl *read = &whole->bddl;
    if (!read_sections(&parser) || !check_items(&parser, read->objects, read->object_count) ||
        !check_items(&parser, read->fixtures, read->fixture_count) ||
        !check_clauses(&parser, read->init, read->init_count) ||
        !check_clauses(&parser, read->goal, read->goal_count))
        goto failed;
    *bddl = &whole->bddl;
    return true;
failed:;
    struct evaluator_bddl *partial = &whole->bddl;
    evaluator_bddl_free(&partial);
    return false;
}

bool evaluator_bddl_read(const char *path, struct evaluator_bddl **bddl,
                         struct proto_error *error) {
    char *text = NULL;
    size_t size_bytes = 0;
    if (!proto_file_read(path, EVALUATOR_BDDL_BYTES_MAX, PROTO_MISSING, &text, &size_bytes, error))
        return false;
    const bool done = evaluator_bddl_parse(path, text, size_bytes, bddl, error);
    free(text);
    return done;
}

void evaluator_bddl_free(struct evaluator_bddl **bddl) {
    if (!*bddl) return;
    struct whole *whole = (struct whole *)*bddl;
    free(whole->bddl.regions);
    free(whole->bddl.fixtures);
    free(whole->bddl.objects);
    free(whole->bddl.of_interest);
    free(whole->bddl.init);
    free(whole->bddl.goal);
    evaluator_bddl_tree_free(&whole->tree);
    free(whole->made);
    free(whole);
    *bddl = NULL;
}
