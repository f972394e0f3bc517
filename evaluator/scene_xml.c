// evaluator/scene_xml.c - see scene_xml.h. Trees come from files of a few KB; their depth is
// bounded by libxml2 (256 elements), names and counts by the file's size.
#include "evaluator/scene_xml.h"

#include "proto/files.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <libxml/parser.h>

#define XML_SIZE_MAX (4u << 20)  // the largest file of LIBERO has 27 KB
#define VALUE_SIZE_MAX 4096

static const xmlChar *text(const char *plain) { return (const xmlChar *)plain; }

char *evaluator_path_absolute(const char *folder, const char *path, struct proto_error *error) {
    char *here = NULL, *whole = NULL;
    if (path[0] == '/') {
        whole = proto_format(error, "%s", path);
    } else if (folder[0] == '/') {
        whole = proto_format(error, "%s/%s", folder, path);
    } else if (!(here = getcwd(NULL, 0))) {
        (void)proto_fail_errno(error, PROTO_FAILED, "cannot tell the current folder");
    } else {
        whole = proto_format(error, "%s/%s/%s", here, folder, path);
    }
    free(here);
    if (!whole) return NULL;

    // Keep each part but "", "." and "..", which takes the last kept one away.
    size_t kept = 0;
    for (const char *part = whole; *part;) {
        const size_t length = strcspn(part, "/");
        if (length == 2 && part[0] == '.' && part[1] == '.') {
            while (kept > 0 && whole[--kept] != '/') continue;
        } else if (length > 0 && !(length == 1 && part[0] == '.')) {
            whole[kept++] = '/';  // never overtakes `part`: a part kept had a '/' before it
            memmove(whole + kept, part, length);
            kept += length;
        }
        part += length;
        if (*part == '/') part++;
    }
    if (kept == 0) whole[kept++] = '/';
    whole[kept] = '\0';
    return whole;
}

// MJCF says everything in attributes: comments and stray text go.
static void drop_text(xmlNode *parent) {
    for (xmlNode *node = parent->children, *next; node; node = next) {
        next = node->next;
        if (node->type == XML_ELEMENT_NODE) {
            drop_text(node);
        } else {
            xmlUnlinkNode(node);
            xmlFreeNode(node);
        }
    }
}

static bool absolute_files(struct evaluator_tree *tree, struct proto_error *error) {
    char *folder =
        proto_format(error, "%.*s", (int)(strrchr(tree->path, '/') - tree->path), tree->path);
    if (!folder) return false;
    bool done = false;
    const xmlNode *asset = evaluator_node_first(tree->root, "asset");
    for (xmlNode *node = asset ? evaluator_node_first(asset, NULL) : NULL; node;
         node = evaluator_node_next(node, NULL)) {
        const char *file = evaluator_node_get(node, "file");
        if (!file) continue;
        char *absolute = evaluator_path_absolute(folder, file, error);
        if (!absolute) goto end;
        evaluator_node_set(tree, node, "file", "%s", absolute);
        free(absolute);
    }
    done = evaluator_tree_sound(tree, error);
end:
    free(folder);
    return done;
}

static bool parse(struct evaluator_tree *tree, const char *bytes, size_t size,
                  struct proto_error *error) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, xmlInitParser);
    if (memmem(bytes, size, "<!DOCTYPE", 9) || memmem(bytes, size, "<!ENTITY", 8))
        return proto_fail(error, PROTO_DAMAGED, "has a DOCTYPE or entities, which no MJCF needs");
    xmlParserCtxt *context = xmlNewParserCtxt();
    if (!context) return proto_fail(error, PROTO_EXHAUSTED, "no memory for an XML parser");
    // The encoding is forced: in another one the search above would not have seen a DOCTYPE.
    tree->doc = xmlCtxtReadMemory(context, bytes, (int)size, NULL, "UTF-8",
                                  XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING |
                                      XML_PARSE_NODICT | XML_PARSE_NOBLANKS | XML_PARSE_NOCDATA);
    if (!tree->doc) {
        const xmlError *reason = xmlCtxtGetLastError(context);
        const char *message = reason && reason->message ? reason->message : "no memory?";
        proto_fail(error, PROTO_DAMAGED, "line %d is not XML: %.*s", reason ? reason->line : 0,
                   (int)strcspn(message, "\n"), message);
    }
    xmlFreeParserCtxt(context);
    if (!tree->doc) return false;
    tree->root = xmlDocGetRootElement(tree->doc);
    if (!tree->root || !evaluator_node_is(tree->root, "mujoco"))
        return proto_fail(error, PROTO_DAMAGED, "its root element is <%s>, expected <mujoco>",
                          tree->root ? (const char *)tree->root->name : "");
    drop_text(tree->root);
    return absolute_files(tree, error);
}

bool evaluator_tree_read(const char *path, struct evaluator_tree *tree, struct proto_error *error) {
    char *bytes = NULL;
    size_t size = 0;
    *tree = (struct evaluator_tree){.path = evaluator_path_absolute("", path, error)};
    if (!tree->path) return false;
    bool done = proto_file_read(tree->path, XML_SIZE_MAX, PROTO_MISSING, &bytes, &size, error);
    if (done) {
        done = parse(tree, bytes, size, error);
        if (!done) (void)proto_error_where(error, "%s", path);
    }
    free(bytes);
    if (!done) evaluator_tree_free(tree);
    return done;
}

void evaluator_tree_free(struct evaluator_tree *tree) {
    xmlFreeDoc(tree->doc);
    free(tree->path);
    *tree = (struct evaluator_tree){0};
}

bool evaluator_tree_sound(const struct evaluator_tree *tree, struct proto_error *error) {
    return !tree->exhausted || proto_fail(error, PROTO_EXHAUSTED,
                                          "no memory to compose a scene, or a value in it is over "
                                          "%d bytes",
                                          VALUE_SIZE_MAX);
}

bool evaluator_node_is(const xmlNode *node, const char *tag) {
    return node->type == XML_ELEMENT_NODE && strcmp((const char *)node->name, tag) == 0;
}

static xmlNode *element_from(xmlNode *node, const char *tag) {
    while (node && !(node->type == XML_ELEMENT_NODE && (!tag || evaluator_node_is(node, tag))))
        node = node->next;
    return node;
}
xmlNode *evaluator_node_first(const xmlNode *parent, const char *tag) {
    return element_from(parent->children, tag);
}
xmlNode *evaluator_node_next(const xmlNode *node, const char *tag) {
    return element_from(node->next, tag);
}

xmlNode *evaluator_node_walk(const xmlNode *node, const xmlNode *top) {
    xmlNode *next = evaluator_node_first(node, NULL);
    while (!next && node != top) {
        next = evaluator_node_next(node, NULL);
        node = node->parent;
    }
    return next;
}

xmlNode *evaluator_node_find(const xmlNode *top, const char *tag, const char *name) {
    for (xmlNode *node = evaluator_node_walk(top, top); node;
         node = evaluator_node_walk(node, top)) {
        const char *its = evaluator_node_get(node, "name");
        if (evaluator_node_is(node, tag) && its && strcmp(its, name) == 0) return node;
    }
    return NULL;
}

// Without a DOCTYPE an attribute's value is one text node.
const char *evaluator_node_get(const xmlNode *node, const char *attribute) {
    const xmlAttr *attr = xmlHasProp(node, text(attribute));
    if (!attr) return NULL;
    return attr->children && attr->children->content ? (const char *)attr->children->content : "";
}

void evaluator_node_set(struct evaluator_tree *tree, xmlNode *node, const char *attribute,
                        const char *format, ...) {
    char value[VALUE_SIZE_MAX];
    va_list arguments;
    va_start(arguments, format);
    const int length = vsnprintf(value, sizeof value, format, arguments);
    va_end(arguments);
    const bool fits = length >= 0 && (size_t)length < sizeof value;
    if (!node || !fits || !xmlSetProp(node, text(attribute), text(value))) tree->exhausted = true;
}

void evaluator_node_unset(xmlNode *node, const char *attribute) {
    xmlUnsetProp(node, text(attribute));
}

xmlNode *evaluator_node_add(struct evaluator_tree *tree, xmlNode *parent, const char *tag) {
    xmlNode *node = parent ? xmlNewChild(parent, NULL, text(tag), NULL) : NULL;
    if (!node) tree->exhausted = true;
    return node;
}

xmlNode *evaluator_node_append(struct evaluator_tree *tree, xmlNode *parent, xmlNode *node) {
    xmlNode *copy = xmlDocCopyNode(node, tree->doc, 1);
    if (copy && xmlAddChild(parent, copy)) return copy;
    xmlFreeNode(copy);
    tree->exhausted = true;
    return NULL;
}

void evaluator_node_prefix(struct evaluator_tree *tree, xmlNode *top, const char *prefix) {
    static const char *const attributes[] = {
        "name",  "mesh",  "texture", "material", "joint", "joint1", "joint2", "site",   "body",
        "body1", "body2", "geom",    "geom1",    "geom2", "target", "tendon", "objname"};
    for (xmlNode *node = top; node; node = evaluator_node_walk(node, top))
        for (size_t i = 0; i < PROTO_COUNT(attributes); i++) {
            const char *value = evaluator_node_get(node, attributes[i]);
            if (!value || strncmp(value, prefix, strlen(prefix)) == 0) continue;
            char *whole = proto_format(&(struct proto_error){0}, "%s%s", prefix, value);
            if (!whole)
                tree->exhausted = true;
            else
                evaluator_node_set(tree, node, attributes[i], "%s", whole);
            free(whole);
        }
}

bool evaluator_geom_collides(const xmlNode *geom) {
    const char *group = evaluator_node_get(geom, "group");
    return !group || strcmp(group, "0") == 0;
}

static bool has_asset(const xmlNode *assets, const xmlNode *asset) {
    const char *name = evaluator_node_get(asset, "name");
    for (xmlNode *node = evaluator_node_first(assets, (const char *)asset->name); name && node;
         node = evaluator_node_next(node, (const char *)asset->name)) {
        const char *its = evaluator_node_get(node, "name");
        if (its && strcmp(its, name) == 0) return true;
    }
    return false;
}

void evaluator_tree_merge(struct evaluator_tree *tree, const struct evaluator_tree *from,
                          const char *section) {
    const bool assets = strcmp(section, "asset") == 0;
    xmlNode *to = evaluator_node_first(tree->root, section);
    if (!to) to = evaluator_node_add(tree, tree->root, section);
    const xmlNode *source = evaluator_node_first(from->root, section);
    if (!to || !source) return;
    for (xmlNode *node = evaluator_node_first(source, NULL); node;
         node = evaluator_node_next(node, NULL))
        if (!assets || !has_asset(to, node)) (void)evaluator_node_append(tree, to, node);
}
