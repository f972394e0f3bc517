// evaluator/model_file.c - writes and reads poses of bodies in an MJCF text.
#include "evaluator/model_file.h"

#include <libxml/parser.h>
#include <libxml/tree.h>
#include <math.h>
#include <mujoco/mujoco.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define XML(text) ((const xmlChar *)(text))

// The next element in document order after `node`, below `top`; NULL at the end. No recursion: how
// deep a text nests is its own affair.
static xmlNode *node_next(xmlNode *node, const xmlNode *top) {
    if (node->children && node->type == XML_ELEMENT_NODE) return node->children;
    while (node != top && !node->next) node = node->parent;
    return node == top ? NULL : node->next;
}

// <body name="..."> anywhere in the document, or NULL.
static xmlNode *body_find(xmlDoc *document, const char *name) {
    xmlNode *top = xmlDocGetRootElement(document);
    for (xmlNode *node = top; node; node = node_next(node, top)) {
        if (node->type != XML_ELEMENT_NODE || !xmlStrEqual(node->name, XML("body"))) continue;
        xmlChar *found = xmlGetProp(node, XML("name"));
        const bool same = xmlStrEqual(found, XML(name));
        xmlFree(found);
        if (same) return node;
    }
    return NULL;
}

// No network, no external entities, no recovery, nothing printed.
static xmlDoc *text_parse(const char *text, struct proto_error *error) {
    const size_t size = strlen(text);
    xmlDoc *document = NULL;
    if (size <= EVALUATOR_MODEL_FILE_BYTES_MAX)
        document = xmlReadMemory(text, (int)size, "model_file", NULL,
                                 XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING);
    if (document && xmlDocGetRootElement(document)) return document;
    xmlFreeDoc(document);
    proto_fail(error, PROTO_DAMAGED,
               "is not an XML text of at most %zu bytes; expected a MuJoCo model",
               EVALUATOR_MODEL_FILE_BYTES_MAX);
    return NULL;
}

static bool numbers_set(xmlNode *node, const char *name, const double *values, size_t count,
                        struct proto_error *error) {
    char text[256];
    size_t used = 0;
    for (size_t i = 0; i < count; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%.17g", i > 0 ? " " : "",
                                 values[i]);
    return xmlSetProp(node, XML(name), XML(text)) ||
           proto_fail(error, PROTO_EXHAUSTED, "no memory for the model's text");
}

bool evaluator_model_file_make(const struct evaluator_world *world, struct evaluator_env *env,
                               char **text, struct proto_error *error) {
    const struct evaluator_scene *scene = evaluator_world_scene(world);
    const mjModel *model = evaluator_env_model(env);
    xmlDoc *document = text_parse(scene->xml, error);
    if (!document) return false;
    bool done = true;
    for (uint32_t i = 0; done && i < scene->thing_count; i++) {
        if (!scene->things[i].fixture) continue;
        char name[256];
        snprintf(name, sizeof name, "%s_main", scene->things[i].name);
        const int body = mj_name2id(model, mjOBJ_BODY, name);
        xmlNode *node = body_find(document, name);
        if (body < 0 || !node) {
            done = proto_fail(error, PROTO_FAILED, "the scene has no body %s", name);
            continue;
        }
        // an orientation in another notation would contradict the quaternion
        static const char *const others[] = {"euler", "axisangle", "xyaxes", "zaxis"};
        for (size_t k = 0; k < PROTO_COUNT(others); k++) xmlUnsetProp(node, XML(others[k]));
        done = numbers_set(node, "pos", model->body_pos + 3 * body, 3, error) &&
               numbers_set(node, "quat", model->body_quat + 4 * body, 4, error);
    }
    if (done) {
        xmlChar *dump = NULL;
        int size = 0;
        xmlDocDumpMemory(document, &dump, &size);
        *text = dump ? proto_format(error, "%s", (const char *)dump) : NULL;
        done = *text != NULL;
        if (!dump) proto_fail(error, PROTO_EXHAUSTED, "no memory for the model's text");
        xmlFree(dump);
    }
    xmlFreeDoc(document);
    return done;
}

// An attribute of `count` numbers; absent: `values` stay as they are.
static bool numbers_get(xmlNode *node, const char *body, const char *name, size_t count,
                        double *values, struct proto_error *error) {
    xmlChar *text = xmlGetProp(node, XML(name));
    if (!text) return true;
    const char *at = (const char *)text;
    size_t found = 0;
    bool finite = true;
    while (found <= count) {
        char *end = NULL;
        const double value = strtod(at, &end);
        if (end == at) break;
        finite = finite && isfinite(value);
        if (found < count) values[found] = value;
        found++;
        at = end;
    }
    const bool done = found == count && finite && at[strspn(at, " \t\r\n")] == '\0';
    if (!done)
        proto_fail(error, PROTO_DAMAGED, "%s of body %s is \"%.60s\"; expected %zu numbers", name,
                   body, (const char *)text, count);
    xmlFree(text);
    return done;
}

bool evaluator_model_file_place(const char *text, const struct evaluator_world *world,
                                struct evaluator_env *env, struct proto_error *error) {
    const struct evaluator_scene *scene = evaluator_world_scene(world);
    xmlDoc *document = text_parse(text, error);
    if (!document) return false;
    bool done = true;
    for (uint32_t i = 0; done && i < scene->thing_count; i++) {
        if (!scene->things[i].fixture) continue;
        char name[256];
        snprintf(name, sizeof name, "%s_main", scene->things[i].name);
        double pos[3] = {0, 0, 0}, quat[4] = {1, 0, 0, 0};
        xmlNode *node = body_find(document, name);
        if (!node) {
            done = proto_fail(error, PROTO_DAMAGED,
                              "has no body %s: was it recorded in another task's scene?", name);
            continue;
        }
        done = numbers_get(node, name, "pos", 3, pos, error) &&
               numbers_get(node, name, "quat", 4, quat, error);
        if (done &&
            quat[0] * quat[0] + quat[1] * quat[1] + quat[2] * quat[2] + quat[3] * quat[3] < 1e-6)
            done = proto_fail(error, PROTO_DAMAGED, "quat of body %s has no length", name);
        if (done) {
            mju_normalize4(quat);
            done = evaluator_env_place_fixture(env, scene->things[i].name, pos, quat, error);
        }
    }
    xmlFreeDoc(document);
    return done;
}
