// proto/config_value.c - one option's value: from TOML, to TOML, freed.
#include "proto/config_value.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *slot(struct proto_config *config, const struct proto_option *option) {
    return (char *)config + option->offset;
}

int64_t *proto_value_integer(struct proto_config *config, const struct proto_option *option) {
    return slot(config, option);
}
double *proto_value_real(struct proto_config *config, const struct proto_option *option) {
    return slot(config, option);
}
bool *proto_value_boolean(struct proto_config *config, const struct proto_option *option) {
    return slot(config, option);
}
char **proto_value_text(struct proto_config *config, const struct proto_option *option) {
    return slot(config, option);
}
struct proto_list *proto_value_list(struct proto_config *config,
                                    const struct proto_option *option) {
    return slot(config, option);
}

static void list_free(struct proto_list *list) {
    for (size_t i = 0; i < list->count; i++) free(list->items[i]);
    free(list->items);
    *list = (struct proto_list){0};
}

void proto_value_free(struct proto_config *config, const struct proto_option *option) {
    switch (option->type) {
    case PROTO_OPTION_TEXT:
    case PROTO_OPTION_CHOICE:
        free(*proto_value_text(config, option));
        *proto_value_text(config, option) = NULL;
        break;
    case PROTO_OPTION_LIST:
    case PROTO_OPTION_TABLE:
        list_free(proto_value_list(config, option));
        break;
    case PROTO_OPTION_INTEGER:
    case PROTO_OPTION_REAL:
    case PROTO_OPTION_BOOLEAN:
        break;
    }
}

// ---- words -------------------------------------------------------------------------------------

// "rdt-1b|rdt-tiny" -> "rdt-1b, rdt-tiny"; the choice "" is shown as quotes.
static void choices_print(const char *choices, char *text, size_t size) {
    size_t used = 0;
    for (const char *c = choices; used + 4 < size; c++) {
        if (c == choices && *c == '|') used += (size_t)snprintf(text + used, size - used, "\"\"");
        if (*c == '\0') break;
        if (*c == '|') {
            text[used++] = ',';
            text[used++] = ' ';
        } else {
            text[used++] = *c;
        }
    }
    text[used] = '\0';
}

void proto_option_expected(const struct proto_option *option, char text[static 256]) {
    const char *type = proto_option_type_name(option->type);
    const char *unit = option->unit;
    char choices[200];
    switch (option->type) {
    case PROTO_OPTION_INTEGER:
    case PROTO_OPTION_REAL:
        snprintf(text, 256, "%s, %.16g..%.16g%s%s", type, option->min, option->max,
                 *unit ? " " : "", unit);
        break;
    case PROTO_OPTION_CHOICE:
        choices_print(option->choices, choices, sizeof choices);
        snprintf(text, 256, "one of %s", choices);
        break;
    case PROTO_OPTION_BOOLEAN:
        snprintf(text, 256, "%s, true or false", type);
        break;
    case PROTO_OPTION_LIST:
        snprintf(text, 256, "%s of texts, or one text", type);
        break;
    case PROTO_OPTION_TABLE:
        snprintf(text, 256, "%s of names and texts", type);
        break;
    case PROTO_OPTION_TEXT:
        snprintf(text, 256, "%s", type);
        break;
    }
}

// What was found, as a person wrote it. Texts are cut: an error has limited room.
static void found_print(const struct proto_toml_node *node, char text[static 160]) {
    switch (node->type) {
    case PROTO_TOML_TEXT:
        snprintf(text, 160, "the text \"%.100s%s\"", node->text,
                 strlen(node->text) > 100 ? "..." : "");
        break;
    case PROTO_TOML_INTEGER:
        snprintf(text, 160, "the integer %" PRId64, node->integer);
        break;
    case PROTO_TOML_REAL:
        snprintf(text, 160, "the real number %.16g", node->real);
        break;
    case PROTO_TOML_BOOLEAN:
        snprintf(text, 160, "%s", node->boolean ? "true" : "false");
        break;
    case PROTO_TOML_TABLE:
    case PROTO_TOML_ARRAY:
    case PROTO_TOML_TIME:
        snprintf(text, 160, "%s", proto_toml_type_name(node->type));
        break;
    }
}

static bool wrong(const struct proto_option *option, const struct proto_toml_node *node,
                  struct proto_error *error) {
    char found[160], expected[256];
    found_print(node, found);
    proto_option_expected(option, expected);
    return proto_fail(error, PROTO_USAGE, "found %s, expected %s", found, expected);
}

// ---- from TOML ---------------------------------------------------------------------------------

static bool take_text(struct proto_config *config, const struct proto_option *option,
                      const struct proto_toml_node *node, struct proto_error *error) {
    if (node->type != PROTO_TOML_TEXT) return wrong(option, node, error);
    if (option->type == PROTO_OPTION_CHOICE && !proto_option_choice(option, node->text))
        return wrong(option, node, error);
    char *copy = proto_format(error, "%s", node->text);
    if (!copy) return false;
    free(*proto_value_text(config, option));
    *proto_value_text(config, option) = copy;
    return true;
}

static bool list_item(const struct proto_option *option, const struct proto_toml_node *node,
                      char **item, struct proto_error *error) {
    char found[160];
    found_print(node, found);
    const bool table = option->type == PROTO_OPTION_TABLE;
    if (table && node->type == PROTO_TOML_INTEGER)
        *item = proto_format(error, "%s=%" PRId64, node->key, node->integer);
    else if (node->type != PROTO_TOML_TEXT)
        return proto_fail(error, PROTO_USAGE, "%s holds %s, expected a text",
                          table ? node->key : "the list", found);
    else if (table)
        *item = proto_format(error, "%s=%s", node->key, node->text);
    else if (node->text[0] == '\0')
        return proto_fail(error, PROTO_USAGE, "an empty text, expected names or paths");
    else
        *item = proto_format(error, "%s", node->text);
    return *item != NULL;
}

static bool entry_name_good(const char *name, struct proto_error *error) {
    if (*name != '\0' && !strchr(name, '=')) return true;
    return proto_fail(error, PROTO_USAGE, "\"%.100s\" is no name of an environment variable", name);
}

static bool take_list(struct proto_config *config, const struct proto_option *option,
                      const struct proto_toml *toml, uint32_t number, struct proto_error *error) {
    const struct proto_toml_node *node = &toml->nodes[number];
    const bool table = option->type == PROTO_OPTION_TABLE;
    const bool single = !table && node->type == PROTO_TOML_TEXT;
    const enum proto_toml_type nested = table ? PROTO_TOML_TABLE : PROTO_TOML_ARRAY;
    if (!single && node->type != nested) return wrong(option, node, error);
    const size_t count = single ? 1 : node->children;
    if (count > PROTO_LIST_MAX)
        return proto_fail(error, PROTO_USAGE, "%zu items, expected at most %d", count,
                          PROTO_LIST_MAX);
    struct proto_list list = {0};
    bool done = false;
    list.items = proto_alloc_array(count, sizeof *list.items, error);
    if (!list.items) goto end;
    for (uint32_t i = single ? number : number + 1; list.count < count; i++) {
        const struct proto_toml_node *item = &toml->nodes[i];
        if (!single && item->parent != number) continue;  // below an item
        if (table && !entry_name_good(item->key, error)) goto end;
        if (!list_item(option, item, &list.items[list.count], error)) goto end;
        list.count++;
    }
    list_free(proto_value_list(config, option));
    *proto_value_list(config, option) = list;
    list = (struct proto_list){0};  // moved
    done = true;
end:
    list_free(&list);
    return done;
}

static bool take_number(struct proto_config *config, const struct proto_option *option,
                        const struct proto_toml_node *node, struct proto_error *error) {
    double value;
    if (node->type == PROTO_TOML_INTEGER)
        value = (double)node->integer;
    else if (node->type == PROTO_TOML_REAL && option->type == PROTO_OPTION_REAL)
        value = node->real;
    else
        return wrong(option, node, error);
    // NaN fails both comparisons
    if (!(value >= option->min && value <= option->max)) return wrong(option, node, error);
    if (option->type == PROTO_OPTION_INTEGER)
        *proto_value_integer(config, option) = node->integer;
    else
        *proto_value_real(config, option) = value;
    return true;
}

bool proto_value_take(struct proto_config *config, const struct proto_option *option,
                      const struct proto_toml *toml, uint32_t node, struct proto_error *error) {
    const struct proto_toml_node *value = &toml->nodes[node];
    switch (option->type) {
    case PROTO_OPTION_INTEGER:
    case PROTO_OPTION_REAL:
        return take_number(config, option, value, error);
    case PROTO_OPTION_BOOLEAN:
        if (value->type != PROTO_TOML_BOOLEAN) return wrong(option, value, error);
        *proto_value_boolean(config, option) = value->boolean;
        return true;
    case PROTO_OPTION_TEXT:
    case PROTO_OPTION_CHOICE:
        return take_text(config, option, value, error);
    case PROTO_OPTION_LIST:
    case PROTO_OPTION_TABLE:
        break;
    }
    return take_list(config, option, toml, node, error);
}

bool proto_value_take_entry(struct proto_config *config, const struct proto_option *option,
                            const char *name, const char *value, struct proto_error *error) {
    struct proto_list *list = proto_value_list(config, option);
    const size_t name_bytes = strlen(name);
    if (!entry_name_good(name, error)) return false;
    if (list->count >= PROTO_LIST_MAX)
        return proto_fail(error, PROTO_USAGE, "more than %d entries", PROTO_LIST_MAX);
    char *item = proto_format(error, "%s=%s", name, value);
    if (!item) return false;
    for (size_t i = 0; i < list->count; i++) {
        if (strncmp(list->items[i], name, name_bytes) != 0 || list->items[i][name_bytes] != '=')
            continue;
        free(list->items[i]);
        list->items[i] = item;
        return true;
    }
    char **items = proto_alloc_array(list->count + 1, sizeof *items, error);
    if (!items) {
        free(item);
        return false;
    }
    if (list->count > 0) memcpy(items, list->items, list->count * sizeof *items);
    items[list->count] = item;
    free(list->items);
    *list = (struct proto_list){.items = items, .count = list->count + 1};
    return true;
}

// ---- to TOML -----------------------------------------------------------------------------------

static char *real_print(double value, struct proto_error *error) {
    char text[40];
    if (fabs(value) < 1e15 && value == floor(value)) return proto_format(error, "%.1f", value);
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value) break;
    }
    return proto_format(error, "%s", text);
}

// One item, appended to *text: "b" or, in a table, "KEY" = "value".
static bool item_print(char **text, const char *item, bool table, bool first,
                       struct proto_error *error) {
    const char *equals = table ? strchr(item, '=') : NULL;
    char *name = NULL, *quoted_name = NULL, *quoted = NULL, *longer = NULL;
    if (equals) {
        name = proto_format(error, "%.*s", (int)(equals - item), item);
        quoted_name = name ? proto_toml_quote(name, error) : NULL;
        if (!quoted_name) goto end;
    }
    quoted = proto_toml_quote(equals ? equals + 1 : item, error);
    if (!quoted) goto end;
    longer = proto_format(error, "%s%s%s%s%s", *text, first ? "" : ", ",
                          quoted_name ? quoted_name : "", quoted_name ? " = " : "", quoted);
    if (!longer) goto end;
    free(*text);
    *text = longer;
end:
    free(name);
    free(quoted_name);
    free(quoted);
    return longer != NULL;
}

static char *list_print(const struct proto_list *list, bool table, struct proto_error *error) {
    char *text = proto_format(error, "%s", table ? "{" : "[");
    for (size_t i = 0; text && i < list->count; i++) {
        if (item_print(&text, list->items[i], table, i == 0, error)) continue;
        free(text);
        text = NULL;
    }
    if (!text) return NULL;
    char *closed = proto_format(error, "%s%s", text, table ? "}" : "]");
    free(text);
    return closed;
}

char *proto_value_print(const struct proto_config *config, const struct proto_option *option,
                        struct proto_error *error) {
    const void *value = (const char *)config + option->offset;
    switch (option->type) {
    case PROTO_OPTION_INTEGER:
        return proto_format(error, "%" PRId64, *(const int64_t *)value);
    case PROTO_OPTION_REAL:
        return real_print(*(const double *)value, error);
    case PROTO_OPTION_BOOLEAN:
        return proto_format(error, "%s", *(const bool *)value ? "true" : "false");
    case PROTO_OPTION_TEXT:
    case PROTO_OPTION_CHOICE:
        return proto_toml_quote(*(char *const *)value, error);
    case PROTO_OPTION_LIST:
    case PROTO_OPTION_TABLE:
        break;
    }
    return list_print(value, option->type == PROTO_OPTION_TABLE, error);
}
