// evaluator/bddl_tree.h - the brackets of a BDDL text as a tree of words and lists, each with its
// line. Lower-cased and without comments (; to the end of the line), as the official reader does.
// Everything is bounded: a text of any bytes costs little memory and no recursion.
#ifndef EVALUATOR_BDDL_TREE_H
#define EVALUATOR_BDDL_TREE_H

#include "proto/error.h"

#include <stdint.h>

#define EVALUATOR_BDDL_BYTES_MAX (1u << 18)
#define EVALUATOR_BDDL_WORD_BYTES_MAX 128
#define EVALUATOR_BDDL_DEPTH_MAX 16
#define EVALUATOR_BDDL_NODES_MAX 8192
#define EVALUATOR_BDDL_NONE UINT32_MAX

struct evaluator_bddl_node {
    const char *word;      // NULL: a list
    uint32_t first, next;  // indices; EVALUATOR_BDDL_NONE: no child, no further brother
    uint32_t count;        // children of a list
    uint32_t line;
};
struct evaluator_bddl_tree {
    struct evaluator_bddl_node *nodes;  // [0] is the outermost list
    uint32_t count;
    char *text;  // the words lie in it
};
// name is the place of errors: "name:line".
PROTO_MUST_CHECK bool evaluator_bddl_tree_read(const char *name, const char *text, size_t size,
                                               struct evaluator_bddl_tree *tree,
                                               struct proto_error *error);
void evaluator_bddl_tree_free(struct evaluator_bddl_tree *tree);

#endif
