// evaluator/scene_xml.h - the tree edits that scenes are composed with, over libxml2.
//
// Files are read without network, without entities and within size limits; a DOCTYPE is refused.
// Comments do not survive. Edits that need memory and get none set `exhausted`, which the composer
// looks at after each step, so that a chain of edits reads like the rule it follows.
#ifndef EVALUATOR_SCENE_XML_H
#define EVALUATOR_SCENE_XML_H

#include "proto/error.h"

#include <libxml/tree.h>

// A parsed MJCF file.
struct evaluator_tree {
    char *path;      // absolute
    xmlDoc *doc;     // owned
    xmlNode *root;   // <mujoco>
    bool exhausted;  // an edit found no memory
};
// Paths in its <asset> become absolute. PROTO_MISSING: no such file; PROTO_DAMAGED: not MJCF.
PROTO_MUST_CHECK bool evaluator_tree_read(const char *path, struct evaluator_tree *tree,
                                          struct proto_error *error);
void evaluator_tree_free(struct evaluator_tree *tree);  // of a zeroed or read tree
// False with PROTO_EXHAUSTED when an edit of the tree failed.
PROTO_MUST_CHECK bool evaluator_tree_sound(const struct evaluator_tree *tree,
                                           struct proto_error *error);
// Absolute, without "." and ".." (by text, as os.path.abspath). The caller frees.
PROTO_MUST_CHECK char *evaluator_path_absolute(const char *folder, const char *path,
                                               struct proto_error *error);

// Elements: the first child and the next sibling that are elements, `tag` NULL for any.
xmlNode *evaluator_node_first(const xmlNode *parent, const char *tag);
xmlNode *evaluator_node_next(const xmlNode *node, const char *tag);
// The next element in document order below `top`, top itself left out; NULL at the end.
xmlNode *evaluator_node_walk(const xmlNode *node, const xmlNode *top);
// The first element below `top` with this tag and name.
xmlNode *evaluator_node_find(const xmlNode *top, const char *tag, const char *name);
bool evaluator_node_is(const xmlNode *node, const char *tag);
// Borrowed until the attribute changes; NULL when it is absent.
const char *evaluator_node_get(const xmlNode *node, const char *attribute);
void evaluator_node_set(struct evaluator_tree *tree, xmlNode *node, const char *attribute,
                        const char *format, ...) PROTO_PRINTF(4, 5);
void evaluator_node_unset(xmlNode *node, const char *attribute);
// A new last child.
xmlNode *evaluator_node_add(struct evaluator_tree *tree, xmlNode *parent, const char *tag);
// A copy of `node`, of whichever tree, as new last child.
xmlNode *evaluator_node_append(struct evaluator_tree *tree, xmlNode *parent, xmlNode *node);

// Puts `prefix` in front of every name and reference at and below `top` that lacks it.
void evaluator_node_prefix(struct evaluator_tree *tree, xmlNode *top, const char *prefix);
// Whether a geom counts for contacts: group 0 or none.
bool evaluator_geom_collides(const xmlNode *geom);

// Adds what the section <name> of `from` has to the same section of `tree` (made when absent).
// Assets whose tag and name are there already are left out.
void evaluator_tree_merge(struct evaluator_tree *tree, const struct evaluator_tree *from,
                          const char *section);

#endif
