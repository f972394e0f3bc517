// evaluator/verb_doctor.c - `doctor`: what this machine offers the simulator, as findings that
// `pipeline doctor` takes over. It looks and changes nothing.
#include "evaluator/env.h"
#include "evaluator/gl.h"
#include "evaluator/inventory.h"
#include "evaluator/verb.h"

#include "proto/findings.h"
#include "proto/words.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MUJOCO_WANTED "3.3.2"

static void look_at_mujoco(json_t *findings) {
    const char *version = evaluator_mujoco_version();
    proto_finding(findings, "libmujoco",
                  strcmp(version, MUJOCO_WANTED) != 0
                      ? "success rates are comparable with " MUJOCO_WANTED " only: scripts/setup.sh"
                      : NULL,
                  "%s", version);
}

static void look_at_gl(json_t *findings) {
    struct evaluator_gl *gl = NULL;
    struct proto_error error = {0};
    if (evaluator_gl_open("auto", &gl, &error)) {
        proto_finding(findings, "GL", NULL, "%s", evaluator_gl_name(gl));
        evaluator_gl_close(&gl);
    } else {
        proto_finding(
            findings, "GL",
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
    proto_finding(findings, "LIBERO assets",
                  libero->assets[0] ? NULL
                                    : "rollouts need them: set libero.root to a LIBERO checkout",
                  "%s", libero->assets[0] ? libero->assets : "nowhere");
    proto_finding(findings, "LIBERO tasks",
                  libero->bddl_files[0] && libero->init_files[0] ? NULL
                                                                 : "scripts/setup.sh fetches them",
                  "%s", libero->bddl_files[0] ? libero->bddl_files : "nowhere");
    proto_finding(findings, "robot files",
                  libero->robosuite[0] ? NULL : "scripts/setup.sh fetches them", "%s",
                  libero->robosuite[0] ? libero->robosuite : "nowhere");
    if (!evaluator_inventory_take(libero, inventory, &error)) {
        proto_finding(findings, "LIBERO files", NULL, "not looked at: %s", error.text);
        goto end;
    }
    char names[2048] = "";
    for (uint32_t i = 0; i < inventory->missing_count && i < EVALUATOR_INVENTORY_SHOWN; i++) {
        const size_t used = strlen(names);
        snprintf(names + used, sizeof names - used, "%s%s", i > 0 ? ", " : ": ",
                 inventory->missing[i]);
    }
    proto_finding(
        findings, "LIBERO files",
        inventory->missing_count > 0 ? "complete the folder; tasks that need none of them run"
                                     : NULL,
        "%u tasks name %u files%s, %u missing%s%s", inventory->task_count, inventory->file_count,
        complete ? "" : " of the parts that are there", inventory->missing_count, names,
        inventory->missing_count > EVALUATOR_INVENTORY_SHOWN ? ", ..." : "");
end:
    free(libero);
    free(inventory);
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
        proto_findings_write(findings, stdout);
    }
    json_decref(report);
    json_decref(findings);
    if (fflush(stdout) == 0) return PROTO_DONE;
    proto_fail_errno(&error, PROTO_FAILED, "stdout cannot be written");
    return proto_error_print("pipeline doctor", &error);
}
