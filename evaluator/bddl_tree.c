// evaluator/bddl_tree.c - one pass over the text with a stack of open lists.
#include "evaluator/bddl_tree.h"

#include <stdlib.h>
#include <string.h>

struct reader {
    const char *name;
    struct evaluator_bddl_tree *tree;
    uint32_t capacity, line;
    uint32_t open[EVALUATOR_BDDL_DEPTH_MAX];  // lists that wait for their bracket
    uint32_t last[EVALUATOR_BDDL_DEPTH_MAX];  // newest child of each
    uint32_t depth;
};

static bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
static bool is_end(char c) { return is_space(c) || c == '(' || c == ')' || c == ';'; }

static bool fail_here(const struct reader *reader, struct proto_error *error) {
    return proto_error_where(error, "%s:%u", reader->name, reader->line);
}

// Appends a node to the innermost open list.
static bool add_node(struct reader *reader, const char *word, struct proto_error *error) {
    struct evaluator_bddl_tree *tree = reader->tree;
    if (tree->count == reader->capacity) {
        if (tree->count >= EVALUATOR_BDDL_NODES_MAX) {
            proto_fail(error, PROTO_DAMAGED, "more than %d words and lists, a task has some 300",
                       EVALUATOR_BDDL_NODES_MAX);
            return fail_here(reader, error);
        }
        const uint32_t capacity = reader->capacity * 2;
        struct evaluator_bddl_node *nodes = realloc(tree->nodes, capacity * sizeof *nodes);
        if (!nodes) return proto_fail(error, PROTO_EXHAUSTED, "no memory for %u words", capacity);
        tree->nodes = nodes;
        reader->capacity = capacity;
    }
    const uint32_t self = tree->count++;
    tree->nodes[self] = (struct evaluator_bddl_node){.word = word,
                                                     .first = EVALUATOR_BDDL_NONE,
                                                     .next = EVALUATOR_BDDL_NONE,
                                                     .line = reader->line};
    if (reader->depth > 0) {
        struct evaluator_bddl_node *parent = &tree->nodes[reader->open[reader->depth - 1]];
        uint32_t *last = &reader->last[reader->depth - 1];
        if (parent->first == EVALUATOR_BDDL_NONE)
            parent->first = self;
        else
            tree->nodes[*last].next = self;
        *last = self;
        parent->count++;
    }
    return true;
}

static bool open_list(struct reader *reader, struct proto_error *error) {
    if (reader->depth == EVALUATOR_BDDL_DEPTH_MAX) {
        proto_fail(error, PROTO_DAMAGED, "%d brackets are open, a task has at most 6",
                   EVALUATOR_BDDL_DEPTH_MAX);
        return fail_here(reader, error);
    }
    if (!add_node(reader, NULL, error)) return false;
    reader->open[reader->depth++] = reader->tree->count - 1;
    return true;
}

// A word begins at *at: lower-cases it in place and moves *at behind it. The byte behind a word is
// white or a bracket, which the caller still needs: words are ended later, by end_words.
static bool add_word(struct reader *reader, char *text, size_t size, size_t *at,
                     struct proto_error *error) {
    const size_t begin = *at;
    size_t end = begin;
    for (; end < size && !is_end(text[end]); end++) {
        const char c = text[end];
        if ((unsigned char)c < ' ' || c == 0x7f) {
            proto_fail(error, PROTO_DAMAGED, "byte 0x%02x, expected text", (unsigned char)c);
            return fail_here(reader, error);
        }
        if (c >= 'A' && c <= 'Z') text[end] = (char)(c - 'A' + 'a');
    }
    if (end - begin > EVALUATOR_BDDL_WORD_BYTES_MAX) {
        proto_fail(error, PROTO_DAMAGED, "a word of %zu bytes, at most %d are taken", end - begin,
                   EVALUATOR_BDDL_WORD_BYTES_MAX);
        return fail_here(reader, error);
    }
    if (!add_node(reader, text + begin, error)) return false;
    *at = end;
    return true;
}

static bool read_all(struct reader *reader, char *text, size_t size, struct proto_error *error) {
    bool closed = false;
    for (size_t i = 0; i < size;) {
        const char c = text[i];
        if (c == '\n') reader->line++;
        if (c == ';') {
            while (i < size && text[i] != '\n' && text[i] != '\r') i++;
        } else if (is_space(c)) {
            i++;
        } else if (closed || (reader->depth == 0 && c != '(')) {
            proto_fail(error, PROTO_DAMAGED,
                       closed ? "text behind the end of (define ...), expected nothing"
                              : "the text does not begin with (define ...)");
            return fail_here(reader, error);
        } else if (c == '(') {
            if (!open_list(reader, error)) return false;
            i++;
        } else if (c == ')') {
            closed = --reader->depth == 0;
            i++;
        } else if (!add_word(reader, text, size, &i, error)) {
            return false;
        }
    }
    if (closed) return true;
    if (reader->depth == 0)
        proto_fail(error, PROTO_DAMAGED, "no text, expected (define ...)");
    else
        proto_fail(error, PROTO_DAMAGED, "the text ends with %u brackets open, the last of line %u",
                   reader->depth, reader->tree->nodes[reader->open[reader->depth - 1]].line);
    return fail_here(reader, error);
}

// Writes a NUL behind each word, now that nothing else of the text is needed.
static void end_words(struct evaluator_bddl_tree *tree) {
    for (uint32_t i = 0; i < tree->count; i++) {
        if (!tree->nodes[i].word) continue;
        char *end = tree->text + (tree->nodes[i].word - tree->text);
        while (*end != '\0' && !is_end(*end)) end++;
        *end = '\0';
    }
}

bool evaluator_bddl_tree_read(const char *name, const char *text, size_t size,
                              struct evaluator_bddl_tree *tree, struct proto_error *error) {
    *tree = (struct evaluator_bddl_tree){0};
    struct reader reader = {.name = name, .tree = tree, .capacity = 512, .line = 1};
    if (size > EVALUATOR_BDDL_BYTES_MAX) {
        proto_fail(error, PROTO_DAMAGED, "%zu bytes, a task has some 3000 and at most %u are taken",
                   size, EVALUATOR_BDDL_BYTES_MAX);
        return proto_error_where(error, "%s", name);
    }
    tree->text = proto_alloc(size + 1, error);
    tree->nodes = proto_alloc_array(reader.capacity, sizeof *tree->nodes, error);
    if (tree->text && size > 0) memcpy(tree->text, text, size);
    if (!tree->text || !tree->nodes || !read_all(&reader, tree->text, size, error)) {
        evaluator_bddl_tree_free(tree);
        return false;
    }
    end_words(tree);
    return true;
}

void evaluator_bddl_tree_free(struct evaluator_bddl_tree *tree) {
    free(tree->nodes);
    free(tree->text);
    *tree = (struct evaluator_bddl_tree){0};
}
