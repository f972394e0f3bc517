// stages/doctor.c - `pipeline doctor`: what this machine offers a run, what would be missing, and
// what to do about it. It looks and changes nothing.
#include "proto/findings.h"
#include "proto/libero_root.h"
#include "proto/probe.h"
#include "proto/programs.h"
#include "proto/run.h"
#include "proto/words.h"
#include "stages/doctor_gpus.h"
#include "stages/verb.h"

#include <glob.h>
#include <jansson.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define MIB (1024.0 * 1024.0)
#define GIB (1024.0 * MIB)

#define FILES_WANTED 1024       // open files: 8 loaders with data files and sockets to each rank
#define SHARED_MIB_WANTED 64.0  // rdt-tiny needs 4 MiB a rank, rdt-170m 0.7 GiB a rank
#define DISK_GIB_WANTED 5.0     // five checkpoints of rdt-tiny are 0.1 GiB, one of rdt-1b some 20
#define MEMORY_GIB_WANTED 2.0

// ---- cores, memory, disk, limits ---------------------------------------------------------------

// The number behind "key:" in a file of lines like /proc/meminfo, in KiB; negative: not there.
static double meminfo_kib(const char *key) {
    FILE *file = fopen("/proc/meminfo", "r");
    char line[256];
    double found = -1;
    const size_t key_bytes = strlen(key);
    while (file && fgets(line, sizeof line, file))
        if (strncmp(line, key, key_bytes) == 0 && line[key_bytes] == ':')
            found = strtod(line + key_bytes + 1, NULL);
    if (file) (void)fclose(file);
    return found;
}

// The first line of a small file, or "".
static void first_line(const char *path, char *line, int size) {
    FILE *file = fopen(path, "r");
    line[0] = '\0';
    if (file && !fgets(line, size, file)) line[0] = '\0';
    if (file) (void)fclose(file);
    line[strcspn(line, "\n")] = '\0';
}

static void look_at_machine(json_t *findings) {
    cpu_set_t set;
    char limit[64];
    const int cores = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    first_line("/sys/fs/cgroup/cpu.max", limit, sizeof limit);
    const bool limited = limit[0] != '\0' && strncmp(limit, "max", 3) != 0;
    proto_finding(findings, "cores",
                  cores < 2 ? "two ranks will share one core: name one device in trainer.devices"
                            : NULL,
                  "%d%s%s%s", cores, limited ? ", limited by cgroup to (us, period) " : "",
                  limited ? limit : "", "");
    const double total = meminfo_kib("MemTotal") * 1024 / GIB;
    const double available = meminfo_kib("MemAvailable") * 1024 / GIB;
    first_line("/sys/fs/cgroup/memory.max", limit, sizeof limit);
    const double ceiling = strtod(limit, NULL) / GIB;  // "max" gives 0
    proto_finding(
        findings, "memory",
        available < MEMORY_GIB_WANTED ? "close other programs, or use fewer loader.workers" : NULL,
        ceiling > 0 ? "%.1f GiB, %.1f available, limited by cgroup to %.1f GiB"
                    : "%.1f GiB, %.1f available",
        total, available, ceiling);
}

static void look_at_space(json_t *findings, const char *name, const char *path, double wanted_bytes,
                          const char *advice) {
    struct statvfs space;
    if (statvfs(path, &space) != 0) {
        proto_finding(findings, name, advice, "%s is not there", path);
        return;
    }
    const double free_bytes = (double)space.f_bavail * (double)space.f_frsize;
    const double size_bytes = (double)space.f_blocks * (double)space.f_frsize;
    proto_finding(findings, name, free_bytes < wanted_bytes ? advice : NULL,
                  "%.2f GiB free of %.2f at %s", free_bytes / GIB, size_bytes / GIB, path);
}

static void look_at_limits(json_t *findings) {
    struct rlimit files;
    char folder[PROTO_PATH_MAX];
    struct proto_error error;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0)
        proto_finding(
            findings, "open files",
            files.rlim_cur < FILES_WANTED ? "raise it before `pipeline up`: ulimit -n 4096" : NULL,
            "%llu, can be raised to %llu", (unsigned long long)files.rlim_cur,
            (unsigned long long)files.rlim_max);
    if (proto_run_sockets_root(folder, &error))
        proto_finding(findings, "sockets", NULL, "%s", folder);
    else
        proto_finding(findings, "sockets", "set XDG_RUNTIME_DIR to a folder of your own",
                      "%.200s: %.200s", error.where, error.text);
}

// ---- programs, libraries, devices --------------------------------------------------------------

static void look_at_programs(json_t *findings) {
    static const char *const programs[] = {"pipeline-loader", "pipeline-trainer"};
    for (size_t i = 0; i < PROTO_COUNT(programs); i++) {
        char path[PROTO_PATH_MAX];
        struct proto_error error;
        if (proto_programs_path(programs[i], path, &error) && access(path, X_OK) == 0)
            proto_finding(findings, programs[i], NULL, "%s", path);
        else
            proto_finding(findings, programs[i], "build or install all programs together",
                          "not beside this program");
    }
}

// Debian keeps one folder for each variant of OpenBLAS and a link to the one in use.
static void look_at_openblas(json_t *findings) {
    const char *chosen = getenv("OPENBLAS_CORETYPE");
    glob_t links;
    char path[PROTO_PATH_MAX] = "";
    if (glob("/usr/lib/*/libopenblas.so.0", 0, NULL, &links) == 0) {
        char *real = realpath(links.gl_pathv[0], NULL);
        snprintf(path, sizeof path, "%s", real ? real : "");
        free(real);
    }
    globfree(&links);
    const bool openmp = strstr(path, "openmp") != NULL;
    proto_finding(
        findings, "OpenBLAS",
        openmp ? "the openmp variant is slow when called from threads: install libopenblas0-pthread"
               : NULL,
        "%s%s%s; kernels are named at a trainer's start", path[0] ? path : "not at Debian's place",
        chosen ? ", OPENBLAS_CORETYPE=" : "", chosen ? chosen : "");
}

// What the simulator says of itself; a build without libmujoco has none.
static void look_at_simulator(json_t *findings, const char *root) {
    struct proto_error error = {0};
    char *word = root[0] != '\0' ? proto_format(&error, "--libero=%s", root) : NULL;
    const char *const words[] = {word, NULL};
    json_t *answer =
        proto_probe_with("pipeline-evaluator", "doctor", words, PROTO_PROBE_MS, &error);
    free(word);
    size_t i;
    json_t *finding;
    json_array_foreach(json_object_get(answer, "findings"), i, finding) {
        if (json_is_string(json_object_get(finding, "name")) &&
            json_is_string(json_object_get(finding, "found")))
            json_array_append(findings, finding);
    }
    if (!answer)
        proto_finding(findings, "simulator",
                      error.status == PROTO_MISSING
                          ? "training needs none; rollouts do: scripts/setup.sh, then build again"
                          : "pipeline-evaluator doctor says more",
                      "%.200s", error.status == PROTO_MISSING ? "not built" : error.text);
    json_decref(answer);
}

// ---- LIBERO ------------------------------------------------------------------------------------

static json_t *libero_new(const char *root_option) {
    struct proto_libero_root root;
    proto_libero_find(root_option, &root);
    json_t *places = json_array();
    for (size_t i = 0; i < root.count; i++) {
        const struct proto_libero_place *place = &root.places[i];
        json_array_append_new(places, json_pack("{s:s, s:s, s:s, s:b}", "rule", place->rule, "path",
                                                place->path, "missing", place->missing, "chosen",
                                                place == root.chosen));
    }
    return places;
}

static void print_libero(const json_t *places) {
    size_t i;
    const json_t *place;
    bool any = false;
    printf("\nLIBERO's own files (assets, bddl_files, init_files), in the order looked:\n");
    json_array_foreach(places, i, place) {
        const char *missing = json_string_value(json_object_get(place, "missing"));
        const bool chosen = json_is_true(json_object_get(place, "chosen"));
        any = any || chosen;
        printf("  %-20s %s%s%s%s\n", json_string_value(json_object_get(place, "rule")),
               json_string_value(json_object_get(place, "path")), missing[0] ? ": " : "", missing,
               chosen ? "  <- taken" : "");
    }
    if (!any)
        printf("  -> none: training needs none; rollouts do. Set libero.root to a LIBERO folder "
               "with all three.\n");
}

static json_t *findings_new(const char *root) {
    json_t *findings = json_array();
    if (!findings) return NULL;
    look_at_machine(findings);
    look_at_space(findings, "disk", ".", DISK_GIB_WANTED * GIB,
                  "checkpoints go to run.output_dir: choose another disk, or lower "
                  "trainer.checkpoints_total_limit");
    look_at_space(findings, "shared memory", "/dev/shm", SHARED_MIB_WANTED * MIB,
                  "gradients of cpu ranks are added in it: enlarge it (containers: --shm-size=1g)");
    look_at_limits(findings);
    look_at_programs(findings);
    look_at_openblas(findings);
    stage_doctor_gpus(findings);
    look_at_simulator(findings, root);
    return findings;
}

int stage_doctor(int count, char **words) {
    bool json = false;
    const char *root = "";
    const struct proto_word options[] = {{"--json", PROTO_WORD_FLAG, &json},
                                         {"--libero", PROTO_WORD_TEXT, &root}};
    const char *rest[1];
    size_t rest_count;
    struct proto_error error = {0};
    if (!proto_words_read(count, words, options, PROTO_COUNT(options), rest, 1, &rest_count,
                          &error))
        return proto_error_print("pipeline doctor", &error);
    if (rest_count > 0 && strcmp(rest[0], "nccl") == 0) return stage_doctor_nccl(json);
    if (rest_count > 0) {
        proto_fail(&error, PROTO_USAGE, "there is no doctor for %.60s; there is one for nccl",
                   rest[0]);
        return proto_error_print("pipeline doctor", &error);
    }
    json_t *findings = findings_new(root), *libero = libero_new(root);
    json_t *report = json_pack("{s:O, s:O}", "findings", findings, "libero", libero);
    int code = PROTO_DONE;
    if (!report) {
        proto_fail(&error, PROTO_EXHAUSTED, "no memory for a report");
        code = proto_error_print("pipeline doctor", &error);
    } else if (json) {
        json_dumpf(report, stdout, JSON_INDENT(2));
        putchar('\n');
    } else {
        proto_findings_write(findings, stdout);
        print_libero(libero);
    }
    json_decref(report);
    json_decref(findings);
    json_decref(libero);
    return code;
}
