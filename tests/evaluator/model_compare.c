// tests/evaluator/model_compare.c - see model_compare.h. The lists of fields are libmujoco's
// (mjxmacro.h), so that a field cannot be forgotten.
#include "tests/evaluator/model_compare.h"

#include "proto/files.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <mujoco/mjxmacro.h>

static bool is_left_out(const char *field) {
    static const char *const fields[] = {"nbuffer",      "npaths",         "paths",
                                         "mesh_pathadr", "hfield_pathadr", "tex_pathadr",
                                         "skin_pathadr"};
    for (size_t i = 0; i < PROTO_COUNT(fields); i++)
        if (strcmp(fields[i], field) == 0) return true;
    return false;
}

static void note(struct model_difference *difference, double off, const char *field, size_t index,
                 double ours, double theirs) {
    if (!(off <= difference->largest)) difference->largest = isnan(off) ? INFINITY : off;
    if (difference->first[0] == '\0')
        snprintf(difference->first, sizeof difference->first, "%s[%zu] is %.17g, recorded %.17g",
                 field, index, ours, theirs);
}

// One comparison for each type of element.
#define COMPARE(name, type)                                                                        \
    static void name(struct model_difference *difference, const char *field, const void *ours,     \
                     const void *theirs, size_t count) {                                           \
        const type *a = ours, *b = theirs;                                                         \
        bool equal = true;                                                                         \
        for (size_t i = 0; i < count; i++) {                                                       \
            const double x = (double)a[i], y = (double)b[i];                                       \
            if (x == y || (isnan(x) && isnan(y))) continue;                                        \
            equal = false;                                                                         \
            note(difference, fabs(x - y), field, i, x, y);                                         \
        }                                                                                          \
        difference->fields++;                                                                      \
        difference->differing += !equal;                                                           \
    }
COMPARE(compare_mjtNum, mjtNum)
COMPARE(compare_float, float)
COMPARE(compare_int, int)
COMPARE(compare_mjtByte, mjtByte)
COMPARE(compare_char, char)

// Numbers of the visual settings, group by group.
static void compare_visual(struct model_difference *difference, const mjVisual *a,
                           const mjVisual *b) {
#define GROUP(type, first, bytes)                                                                  \
    compare_##type(difference, "vis." #first, &a->first, &b->first, (bytes) / sizeof(type))
    GROUP(int, global.orthographic, sizeof(int));
    GROUP(float, global.fovy,
          offsetof(mjVisual, global.offwidth) - offsetof(mjVisual, global.fovy));
    GROUP(int, global.offwidth, 4 * sizeof(int));
    GROUP(int, quality, sizeof a->quality);
    GROUP(float, headlight.ambient,
          offsetof(mjVisual, headlight.active) - offsetof(mjVisual, headlight.ambient));
    GROUP(int, headlight.active, sizeof(int));
    GROUP(float, map, sizeof a->map);
    GROUP(float, scale, sizeof a->scale);
    GROUP(float, rgba, sizeof a->rgba);
#undef GROUP
}

static void compare_options(struct model_difference *difference, const mjModel *a,
                            const mjModel *b) {
#define X(type, field) compare_##type(difference, "opt." #field, &a->opt.field, &b->opt.field, 1);
    MJOPTION_SCALARS
#undef X
#define X(field, count)                                                                            \
    compare_mjtNum(difference, "opt." #field, a->opt.field, b->opt.field, count);
    MJOPTION_VECTORS
#undef X
    compare_mjtNum(difference, "stat", &a->stat, &b->stat, sizeof a->stat / sizeof(mjtNum));
}

// Names are shown as text where they differ.
static void note_names(struct model_difference *difference, const mjModel *a, const mjModel *b) {
    for (int i = 0, begin = 0; i < a->nnames && i < b->nnames; i++) {
        if (a->names[i] != b->names[i]) {
            difference->largest = INFINITY;
            snprintf(difference->first, sizeof difference->first, "name \"%s\", recorded \"%s\"",
                     a->names + begin, b->names + begin);
            return;
        }
        if (a->names[i] == '\0') begin = i + 1;
    }
}

void model_compare(const mjModel *ours, const mjModel *theirs,
                   struct model_difference *difference) {
    const mjModel *m = theirs;
    MJMODEL_POINTERS_PREAMBLE(m)
    *difference = (struct model_difference){0};
    note_names(difference, ours, theirs);
    uint32_t sizes = 0;
#define X(field)                                                                                   \
    if (!is_left_out(#field)) {                                                                    \
        compare_int(difference, #field, &ours->field, &theirs->field, 1);                          \
        sizes += ours->field != theirs->field;                                                     \
    }
    MJMODEL_INTS
#undef X
    compare_options(difference, ours, theirs);
    compare_visual(difference, &ours->vis, &theirs->vis);
    if (sizes > 0) {  // arrays of different sizes have nothing to compare
        difference->largest = INFINITY;
        return;
    }
#undef MJ_M
#define MJ_M(n) (n)
#define X(type, field, rows, columns)                                                              \
    if (!is_left_out(#field))                                                                      \
        compare_##type(difference, #field, ours->field, theirs->field,                             \
                       (size_t)theirs->rows *(size_t)(columns));
    MJMODEL_POINTERS
#undef X
}

// The text with `root` in front of each relative file; NULL without memory.
static char *with_root(const char *text, const char *root) {
    static const char mark[] = "file=\"";
    size_t files = 0;
    for (const char *at = text; (at = strstr(at, mark)); at++) files++;
    const size_t size = strlen(text) + files * (strlen(root) + 1) + 1;
    char *whole = malloc(size);
    size_t used = 0;
    while (whole) {
        const char *at = strstr(text, mark);
        const size_t length = at ? (size_t)(at - text) + strlen(mark) : strlen(text);
        memcpy(whole + used, text, length + 1);  // with the next letter, or the end
        used += length;
        if (!at) break;
        text += length;
        if (*text != '/') used += (size_t)snprintf(whole + used, size - used, "%s/", root);
    }
    return whole;
}

mjModel *model_read(const char *path, const char *root, char *words, int words_size) {
    struct proto_error error = {0};
    char *text = NULL, *whole = NULL;
    size_t size = 0;
    mjModel *model = NULL;
    mjSpec *spec = NULL;
    if (!proto_file_read(path, 16u << 20, PROTO_MISSING, &text, &size, &error)) {
        snprintf(words, (size_t)words_size, "%s", error.text);
        return NULL;
    }
    whole = with_root(text, root);
    if (whole) spec = mj_parseXMLString(whole, NULL, words, words_size);
    if (spec) {
        model = mj_compile(spec, NULL);
        if (!model) snprintf(words, (size_t)words_size, "%s", mjs_getError(spec));
        mj_deleteSpec(spec);
    }
    free(whole);
    free(text);
    return model;
}
