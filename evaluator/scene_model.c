// evaluator/scene_model.c - the composed text to a compiled model. libmujoco trusts mesh files more
// than we do and its messages do not always name a file: files are looked at before it reads them,
// and the element that a message names is looked up.
#include "evaluator/guard.h"
#include "evaluator/scene.h"
#include "evaluator/scene_xml.h"
#include "proto/files.h"

#include <endian.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <libxml/parser.h>
#include <mujoco/mujoco.h>

#define ASSET_SIZE_MAX (256u << 20)
#define HEAD_SIZE 84

static uint32_t number_at(const uint8_t *bytes) {
    uint32_t value;
    memcpy(&value, bytes, sizeof value);
    return le32toh(value);
}

// MuJoCo's legacy format: counts of vertices, normals, texture coordinates and faces, then floats
// (3, 3, 2 each) and 3 indices a face.
static bool check_msh(const uint8_t *head, size_t head_size, uint64_t size,
                      struct proto_error *error) {
    if (head_size < 16) return proto_fail(error, PROTO_DAMAGED, "is cut off within its header");
    const uint64_t vertices = number_at(head), normals = number_at(head + 4),
                   texcoords = number_at(head + 8), faces = number_at(head + 12);
    const uint64_t expected = 16 + 12 * vertices + 12 * normals + 8 * texcoords + 12 * faces;
    return size == expected || proto_fail(error, PROTO_DAMAGED,
                                          "has %" PRIu64 " bytes, but its header promises %" PRIu64
                                          " (%" PRIu64 " vertices, %" PRIu64 " faces)",
                                          size, expected, vertices, faces);
}

static bool check_stl(const uint8_t *head, size_t head_size, uint64_t size,
                      struct proto_error *error) {
    if (head_size < HEAD_SIZE)
        return proto_fail(error, PROTO_DAMAGED, "is cut off within its header");
    const uint64_t faces = number_at(head + 80), expected = 84 + 50 * faces;
    return size >= expected || proto_fail(error, PROTO_DAMAGED,
                                          "has %" PRIu64 " bytes, but its header promises %" PRIu64
                                          " (%" PRIu64 " faces)",
                                          size, expected, faces);
}

static bool check_png(const uint8_t *head, size_t head_size, uint64_t size,
                      struct proto_error *error) {
    (void)size;
    return (head_size >= 8 && memcmp(head, "\x89PNG\r\n\x1a\n", 8) == 0) ||
           proto_fail(error, PROTO_DAMAGED, "does not begin as a PNG file");
}

static bool check_file(const char *path, struct proto_error *error) {
    static const struct {
        const char *ending;
        bool (*check)(const uint8_t *head, size_t head_size, uint64_t size,
                      struct proto_error *error);
    } kinds[] = {{".msh", check_msh}, {".stl", check_stl}, {".png", check_png}};
    uint8_t head[HEAD_SIZE];
    struct stat status;
    const int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file < 0) return proto_fail_errno(error, PROTO_MISSING, "cannot be opened");
    bool done = false;
    const ssize_t got =
        fstat(file, &status) == 0 && S_ISREG(status.st_mode) ? read(file, head, sizeof head) : -1;
    if (got < 0) {
        (void)proto_fail(error, PROTO_DAMAGED, "is not a readable file");
        goto end;
    }
    const uint64_t size = (uint64_t)status.st_size;
    if (size == 0 || size > ASSET_SIZE_MAX) {
        (void)proto_fail(error, PROTO_DAMAGED, "has %" PRIu64 " bytes, expected 1..%u", size,
                         ASSET_SIZE_MAX);
        goto end;
    }
    done = true;
    for (size_t i = 0; done && i < PROTO_COUNT(kinds); i++) {
        const size_t length = strlen(path), ending = strlen(kinds[i].ending);
        if (length > ending && strcmp(path + length - ending, kinds[i].ending) == 0)
            done = kinds[i].check(head, (size_t)got, size, error);
    }
end:
    close(file);
    return done || proto_error_where(error, "%s", path);
}

// All that lack are counted, so that an incomplete copy is mended at once.
static bool check_files(const xmlNode *assets, struct proto_error *error) {
    uint32_t lack = 0;
    char names[512] = "";
    for (const xmlNode *node = evaluator_node_first(assets, NULL); node;
         node = evaluator_node_next(node, NULL)) {
        const char *file = evaluator_node_get(node, "file");
        if (!file || proto_path_exists(file)) continue;
        const size_t used = strlen(names);
        if (lack < 4 && used + strlen(file) + 3 < sizeof names)
            snprintf(names + used, sizeof names - used, "%s%s", used ? ", " : "", file);
        lack++;
    }
    if (lack > 0)
        return proto_fail(error, PROTO_MISSING, "%u asset files of the scene lack: %s%s", lack,
                          names, lack > 4 ? ", ..." : "");
    for (const xmlNode *node = evaluator_node_first(assets, NULL); node;
         node = evaluator_node_next(node, NULL)) {
        const char *file = evaluator_node_get(node, "file");
        if (file && !check_file(file, error)) return false;
    }
    return true;
}

struct compile {
    const struct evaluator_scene *scene;
    mjSpec *spec;
    mjModel *model;
    char words[512];
};
static void compile(void *context) {
    struct compile *work = context;
    work->spec = mj_parseXMLString(work->scene->xml, NULL, work->words, sizeof work->words);
    if (!work->spec) return;
    work->words[0] = '\0';
    work->model = mj_compile(work->spec, NULL);
    if (!work->model) snprintf(work->words, sizeof work->words, "%s", mjs_getError(work->spec));
}

// The file of the asset that libmujoco's message names: "... name 'plate_1_vis' ...". "" if none.
static const char *file_named(const xmlNode *assets, const char *words) {
    for (const xmlNode *node = evaluator_node_first(assets, NULL); node;
         node = evaluator_node_next(node, NULL)) {
        const char *file = evaluator_node_get(node, "file");
        const char *name = evaluator_node_get(node, "name");
        char quoted[512];
        if (!file || !name) continue;
        snprintf(quoted, sizeof quoted, "'%s'", name);
        if (strstr(words, quoted) || strstr(words, file)) return file;
    }
    return "";
}

// Where words end in "line N": that line of the composed text, which names the thing it came from.
static const char *line_named(const char *xml, const char *words, int *length) {
    const char *at = strstr(words, "line ");
    unsigned long number = at ? strtoul(at + 5, NULL, 10) : 0;
    for (; number > 1 && xml; number--) xml = (xml = strchr(xml, '\n')) ? xml + 1 : NULL;
    if (number != 1 || !xml) return NULL;
    xml += strspn(xml, " ");
    const size_t whole = strcspn(xml, "\n");
    *length = (int)(whole < 300 ? whole : 300);
    return xml;
}

static bool compile_checked(const struct evaluator_scene *scene, const xmlNode *assets,
                            struct mjModel_ **model, struct proto_error *error) {
    struct compile work = {.scene = scene};
    const bool ran = evaluator_guard_run(compile, &work, error);
    if (work.spec) mj_deleteSpec(work.spec);
    if (!ran) error->status = PROTO_DAMAGED;  // what it raised an error about came from a file
    if (!ran) return false;
    if (work.model) {
        *model = work.model;
        return true;
    }
    for (char *c = work.words; *c; c++)
        if (*c == '\n') *c = ' ';
    const char *file = file_named(assets, work.words);
    int length = 0;
    const char *line = *file ? NULL : line_named(scene->xml, work.words, &length);
    (void)proto_fail(error, PROTO_DAMAGED, "libmujoco does not take the scene: %s%s%.*s",
                     work.words, line ? ": " : "", length, line ? line : "");
    return *file ? proto_error_where(error, "%s", file) : false;
}

bool evaluator_scene_compile(const struct evaluator_scene *scene, struct mjModel_ **model,
                             struct proto_error *error) {
    xmlDoc *doc = xmlReadMemory(scene->xml, (int)scene->xml_size, NULL, "UTF-8",
                                XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING);
    xmlNode *root = doc ? xmlDocGetRootElement(doc) : NULL;
    const xmlNode *assets = root ? evaluator_node_first(root, "asset") : NULL;
    const bool done =
        assets ? check_files(assets, error) && compile_checked(scene, assets, model, error)
               : proto_fail(error, PROTO_DAMAGED, "the scene has no assets");
    xmlFreeDoc(doc);
    return done;
}
