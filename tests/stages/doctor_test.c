// tests/stages/doctor_test.c - `pipeline doctor` and `pipeline version` print what their pages
// promise, in both forms. Oracle: this machine, asked another way.
#include "stages/verb.h"

#include "tests/check.h"

#include <jansson.h>
#include <sched.h>
#include <unistd.h>
#include <zmq.h>

// Runs a verb with stdout in a file; the caller frees *output.
static int run(int (*verb)(int, char **), const char *first, const char *second, char **output) {
    char folder[256], path[300];
    char *words[] = {"verb", (char *)(uintptr_t)first, (char *)(uintptr_t)second, NULL};
    const int count = second ? 3 : first ? 2 : 1;
    check_folder(folder);
    snprintf(path, sizeof path, "%s/out", folder);
    fflush(stdout);
    const int kept = dup(STDOUT_FILENO);
    CHECK(kept >= 0 && freopen(path, "w", stdout));
    const int code = verb(count, words);
    fflush(stdout);
    CHECK(dup2(kept, STDOUT_FILENO) >= 0);
    close(kept);
    FILE *file = fopen(path, "r");
    *output = calloc(1, 65536);
    CHECK(file && *output);
    (void)!fread(*output, 1, 65535, file);
    (void)fclose(file);
    unlink(path);
    rmdir(folder);
    return code;
}

static json_t *run_json(int (*verb)(int, char **)) {
    char *output;
    CHECK_INT(run(verb, "--json", NULL, &output), 0);
    json_t *report = json_loads(output, JSON_REJECT_DUPLICATES, NULL);
    CHECK(report);
    free(output);
    return report;
}

static const char *found(const json_t *report, const char *name) {
    size_t i;
    const json_t *finding;
    json_array_foreach(
        json_object_get(report, "findings"), i,
        finding) if (strcmp(json_string_value(json_object_get(finding, "name")), name) ==
                     0) return json_string_value(json_object_get(finding, "found"));
    fail_msg("no finding %s", name);
    return "";
}

TEST(doctor_reports_what_a_run_needs) {
    static const char *const names[] = {
        "cores",           "memory",           "disk",     "shared memory", "open files", "sockets",
        "pipeline-loader", "pipeline-trainer", "OpenBLAS", "CUDA",          "simulator"};
    json_t *report = run_json(stage_doctor);
    cpu_set_t set;
    CHECK(sched_getaffinity(0, sizeof set, &set) == 0);
    for (size_t i = 0; i < PROTO_COUNT(names); i++) {
        TEST_CASE(names[i]);
        CHECK(strlen(found(report, names[i])) > 0);
    }
    TEST_CASE("");
    CHECK_INT(strtol(found(report, "cores"), NULL, 10), CPU_COUNT(&set));
    CHECK(json_array_size(json_object_get(report, "libero")) >= 1);
    json_decref(report);
}

TEST(doctor_takes_libero_as_other_verbs_do) {
    char *output;
    CHECK_INT(run(stage_doctor, "--libero", "/nonexistent/libero", &output), 0);
    CHECK_HAS(output, "/nonexistent/libero: no such folder");
    CHECK_HAS(output, "libero.root");
    free(output);
}

TEST(version_names_program_protocol_and_libraries) {
    int major, minor, patch;
    char zmq[32], *output;
    zmq_version(&major, &minor, &patch);
    snprintf(zmq, sizeof zmq, "%d.%d.%d", major, minor, patch);
    json_t *report = run_json(stage_version);
    CHECK_TEXT(json_string_value(json_object_get(report, "version")), PIPELINE_VERSION);
    const json_t *libraries = json_object_get(report, "libraries");
    CHECK_TEXT(json_string_value(json_object_get(libraries, "zeromq")), zmq);
    static const char *const names[] = {"msgpack", "lz4", "xxhash", "jansson", "toml++"};
    for (size_t i = 0; i < PROTO_COUNT(names); i++) {
        TEST_CASE(names[i]);
        CHECK(json_is_string(json_object_get(libraries, names[i])));
    }
    TEST_CASE("");
    json_decref(report);
    CHECK_INT(run(stage_version, NULL, NULL, &output), 0);
    CHECK_HAS(output, "pipeline " PIPELINE_VERSION);
    CHECK_HAS(output, zmq);
    free(output);
}

TEST(doctor_and_version_refuse_unknown_words) {
    char *output;
    CHECK_INT(run(stage_doctor, "--jsn", NULL, &output), PROTO_USAGE);
    free(output);
    CHECK_INT(run(stage_version, "extra", NULL, &output), PROTO_USAGE);
    free(output);
}

TEST_MAIN(UNIT(doctor_reports_what_a_run_needs), UNIT(doctor_takes_libero_as_other_verbs_do),
          UNIT(version_names_program_protocol_and_libraries),
          UNIT(doctor_and_version_refuse_unknown_words))
