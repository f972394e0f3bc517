// evaluator/verb_doctor.c - `doctor`: what this machine offers the simulator, as findings that
// `pipeline doctor` takes over. It looks and changes nothing.
#include "evaluator/env.h"
#include "evaluator/gl.h"
#include "evaluator/inventory.h"
#include "evaluator/verb.h"

#include "proto/json.h"
#include "proto/words.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MUJOCO_WANTED "3.3.2"

// {"name", "found", "advice"}; advice is there only where something is missing.
static void note(json_t *findings, const char *name, const char *advice, const char *format, ...)
    PROTO_PRINTF(4, 5);
static void note(json_t *findings, const char *name, const char *advice, const char *format, ...) {
    char found[4096];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(found, sizeof found, format, arguments);
    va_end(arguments);
    json_t *finding = json_pack("{s:s, s:o}", "name", name, "found", proto_json_string(found));
    if (finding && advice) json_object_set_new(finding, "advice", json_string(advice));
    json_array_append_new(findings, finding);
}

static void look_at_mujoco(json_t *findings) {
    const char *version = evaluator_mujoco_version();
    note(findings, "libmujoco",
         strcmp(version, MUJOCO_WANTED) != 0 ? "success rates are comparable with " MUJOCO_WANTED
                                               " only: scripts/setup.sh"
                                             : NULL,
         "%s", version);
}

static void look_at_gl(json_t *findings) {
    struct evaluator_gl *gl = NULL;
    struct proto_error error = {0};
    if (evaluator_gl_open("auto", &gl, &error)) {
        note(findings, "GL", NULL, "%s", evaluator_gl_name(gl));
        evaluator_gl_close(&gl);
    } else {
        note(findings, "GL",
             "without pictures only states can be simulated: install libegl1 or libosmesa6", "%s",
             error.text);
    }
}

static void look_at_files(json_t *findings, const char *root) {
    struct evaluator_libero *libero = calloc(1, sizeof *libero);
    struct evaluator_inventory *inventory = calloc(1, sizeof *inventory);
    struct proto_error error = {0};
    if (!libero || !inventory) goto end;
    const bool complete = evaluator_libero_find(root, libero, &error);
    note(findings, "LIBERO assets",
         libero->assets[0] ? NULL : "rollouts need them: set libero.root to a LIBERO checkout",
         "%s", libero->assets[0] ? libero->assets : "nowhere");
    note(findings, "LIBERO tasks",
         libero->bddl_files[0] && libero->init_files[0] ? NULL : "scripts/setup.sh fetches them",
         "%s", libero->bddl_files[0] ? libero->bddl_files : "nowhere");
    note(findings, "robot files", libero->robosuite[0] ? NULL : "scripts/setup.sh fetches them",
         "%s", libero->robosuite[0] ? libero->robosuite : "nowhere");
    if (!evaluator_inventory_take(libero, inventory, &error)) {
        note(findings, "LIBERO files", NULL, "not looked at: %s", error.text);
        goto end;
    }
    char names[2048] = "";
    for (uint32_t i = 0; i < inventory->missing_count && i < EVALUATOR_INVENTORY_SHOWN; i++) {
        const size_t used = strlen(names);
        snprintf(names + used, sizeof names - used, "%s%s", i > 0 ? ", " : ": ",
                 inventory->missing[i]);
    }
    note(findings, "LIBERO files",
         inventory->missing_count > 0 ? "complete the folder; tasks that need none of them run"
                                      : NULL,
         "%u tasks name %u files%s, %u missing%s%s", inventory->task_count, inventory->file_count,
         complete ? "" : " of the parts that are there", inventory->missing_count, names,
         inventory->missing_count > EVALUATOR_INVENTORY_SHOWN ? ", ..." : "");
end:
    free(libero);
    free(inventory);
}

static void print_findings(const json_t *findings) {
    size_t i;
    const json_t *finding;
    json_array_foreach(findings, i, finding) {
        const json_t *advice = json_object_get(finding, "advice");
        printf("%s %-17s %s\n", advice ? "!" : " ",
               json_string_value(json_object_get(finding, "name")),
               json_string_value(json_object_get(finding, "found")));
        if (advice) printf("  %-17s -> %s\n", "", json_string_value(advice));
    }
}

int evaluator_verb_doctor(int argc, char **argv) {
    bool json = false;
    const char *root = "";
    const struct proto_word options[] = {{"--json", PROTO_WORD_FLAG, &json},
                                         {"--libero", PROTO_WORD_TEXT, &root}};
    const char *rest[1];
    size_t rest_count;
    struct proto_error error = {0};
    if (!proto_words_read(argc, argv, options, PROTO_COUNT(options), rest, 0, &rest_count, &error))
        return proto_error_print("pipeline doctor", &error);
    json_t *findings = json_array();
    json_t *report = json_pack("{s:O}", "findings", findings);
    if (!report) {
        json_decref(findings);
        proto_fail(&error, PROTO_EXHAUSTED, "no memory for a report");
        return proto_error_print("pipeline doctor", &error);
    }
    look_at_mujoco(findings);
    look_at_gl(findings);
    look_at_files(findings, root);
    if (json) {
        json_dumpf(report, stdout, JSON_INDENT(2));
        putchar('\n');
    } else {
        print_findings(findings);
    }
    json_decref(report);
    json_decref(findings);
    if (fflush(stdout) == 0) return PROTO_DONE;
    proto_fail_errno(&error, PROTO_FAILED, "stdout cannot be written");
    return proto_error_print("pipeline doctor", &error);
}
