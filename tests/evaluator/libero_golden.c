// tests/evaluator/libero_golden.c - the program `libero_golden DIR [--libero ROOT]`: checks folders
// recorded in the official LIBERO environment against this one. DIR is one task (info.json: a
// trace, predicates.json: states with their truth) or a folder of such; folders with neither are
// skipped by name. The scene is always composed by us from the BDDL file.
//
// Limits follow from float64: the model's numbers are equal; torques differ by the order of sums in
// 7 x 7 systems (1e-13, times what a recording's other BLAS may add); a stiff contact of the robot
// multiplies a difference of 1e-16 to 1e-8 or 1e-6 within one step, so that limits widen there.
#include "tests/evaluator/libero_golden.h"

#include "proto/files.h"
#include "proto/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FILE_BYTES_MAX = 256 << 20 };

// ---- report -------------------------------------------------------------------------------------

void golden_report(struct golden_task *task, const char *what, double deviation, double limit,
                   const char *place) {
    const bool good = deviation <= limit;
    printf("  %-34s %10.3g   limit %7.1g  %s%s%s\n", what, deviation, limit, good ? "ok" : "FAILED",
           place && *place ? "  " : "", place ? place : "");
    task->failed = task->failed || !good;
}

void golden_report_count(struct golden_task *task, const char *what, size_t differing, size_t of,
                         const char *first) {
    printf("  %-34s %5zu of %zu differ       %s%s%s\n", what, differing, of,
           differing == 0 ? "ok" : "FAILED", differing > 0 ? "  first: " : "",
           differing > 0 ? first : "");
    task->failed = task->failed || differing > 0;
}

double golden_deviation(const double *a, const double *b, size_t count) {
    double largest = 0;
    for (size_t i = 0; i < count; i++) {
        const double off = fabs(a[i] - b[i]);
        if (!(off <= largest)) largest = isnan(off) ? INFINITY : off;
    }
    return largest;
}

double *golden_doubles(const struct golden_task *task, const char *name, size_t count,
                       struct proto_error *error) {
    char path[EVALUATOR_PATH_MAX];
    char *bytes;
    size_t size;
    snprintf(path, sizeof path, "%s/%s.f64", task->folder, name);
    if (!proto_file_read(path, FILE_BYTES_MAX, PROTO_DAMAGED, &bytes, &size, error)) return NULL;
    double *values = NULL;
    if (size != count * sizeof *values) {
        proto_fail(error, PROTO_DAMAGED, "%zu bytes, must be %zu doubles", size, count);
        proto_error_where(error, "%s", path);
    } else {
        values = proto_alloc_array(count, sizeof *values, error);
        if (values) memcpy(values, bytes, size);
    }
    free(bytes);
    return values;
}

// ---- one task -----------------------------------------------------------------------------------

static bool open_world(struct golden_task *task, struct proto_error *error) {
    static const char prefix[] = "bddl_files/";
    const char *bddl;
    char path[EVALUATOR_PATH_MAX * 2];
    if (!proto_json_text(task->info, "bddl", &bddl, error)) return false;
    if (strncmp(bddl, prefix, strlen(prefix)) == 0) bddl += strlen(prefix);
    snprintf(path, sizeof path, "%s/%s", task->libero->bddl_files, bddl);
    if (!evaluator_world_open(task->libero, path, 0, &task->world, error) ||
        !evaluator_env_new(task->world, &task->env, error))
        return false;
    int64_t seed = 0;
    if (json_object_get(task->info, "numpy_seed_before_reset") &&
        !proto_json_integer(task->info, "numpy_seed_before_reset", 0, UINT32_MAX, &seed, error))
        return false;
    evaluator_env_seed(task->env, (uint32_t)seed);
    return evaluator_env_reset(task->env, error);
}

static bool check_task(struct golden_task *task, const char *file, struct proto_error *error) {
    const bool trace = strcmp(file, "info.json") == 0;
    char path[EVALUATOR_PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", task->folder, file);
    task->info = proto_json_read(path, FILE_BYTES_MAX, error);
    return task->info && open_world(task, error) && golden_scene(task, error) &&
           (trace ? golden_trace(task, error) : golden_predicates(task, error));
}

// The file that says what a folder is, or NULL.
static const char *kind_of(const char *folder) {
    static const char *const files[] = {"info.json", "predicates.json"};
    char path[EVALUATOR_PATH_MAX];
    for (size_t i = 0; i < PROTO_COUNT(files); i++) {
        snprintf(path, sizeof path, "%s/%s", folder, files[i]);
        if (proto_path_exists(path)) return files[i];
    }
    return NULL;
}

struct tally {
    uint32_t passed, failed, skipped;
};

static void run_task(const struct evaluator_libero *libero, const char *links, const char *folder,
                     struct tally *tally) {
    struct golden_task task = {.libero = libero, .links = links, .folder = folder};
    struct proto_error error = {0};
    const char *name = strrchr(folder, '/');
    printf("%s\n", name ? name + 1 : folder);
    if (!check_task(&task, kind_of(folder), &error)) {
        printf("  FAILED: %s: %s\n", error.where, error.text);
        task.failed = true;
    }
    evaluator_env_free(&task.env);
    evaluator_world_close(&task.world);
    json_decref(task.info);
    *(task.failed ? &tally->failed : &tally->passed) += 1;
    fflush(stdout);
}

// ---- all tasks ----------------------------------------------------------------------------------

static bool run_folder(const struct evaluator_libero *libero, const char *links, const char *folder,
                       struct tally *tally, struct proto_error *error) {
    if (kind_of(folder)) {
        run_task(libero, links, folder, tally);
        return true;
    }
    struct proto_names names = {0};
    if (!proto_folder_list(folder, &names, error)) return false;
    for (size_t i = 0; i < names.count; i++) {
        char path[EVALUATOR_PATH_MAX];
        snprintf(path, sizeof path, "%s/%s", folder, names.items[i]);
        if (!proto_path_is_folder(path)) continue;
        if (kind_of(path)) {
            run_task(libero, links, path, tally);
        } else {
            printf("%s\n  skipped: has neither info.json nor predicates.json\n", names.items[i]);
            tally->skipped++;
        }
    }
    proto_names_free(&names);
    return true;
}

// Recorded models name their files below libero/ and robosuite/ of one folder.
static bool make_links(const struct evaluator_libero *libero, char folder[static 256],
                       struct proto_error *error) {
    const char *temporary = getenv("TMPDIR");
    const char *const links[][2] = {{"libero", libero->assets}, {"robosuite", libero->robosuite}};
    snprintf(folder, 256, "%s/libero-golden-XXXXXX", temporary && *temporary ? temporary : "/tmp");
    if (!mkdtemp(folder)) return proto_fail_errno(error, PROTO_FAILED, "cannot make %s", folder);
    for (size_t i = 0; i < PROTO_COUNT(links); i++) {
        char path[512], *whole = realpath(links[i][1], NULL);
        snprintf(path, sizeof path, "%s/%s", folder, links[i][0]);
        const bool made = whole && symlink(whole, path) == 0;
        free(whole);
        if (!made) return proto_fail_errno(error, PROTO_FAILED, "cannot link %s", path);
    }
    return true;
}

int main(int count, char **words) {
    const char *folder = NULL, *root = getenv("LIBERO_ROOT");
    for (int i = 1; i < count; i++) {
        if (strcmp(words[i], "--libero") == 0 && i + 1 < count)
            root = words[++i];
        else if (!folder && words[i][0] != '-')
            folder = words[i];
        else
            folder = "";
    }
    if (!folder || !*folder) {
        fprintf(stderr, "libero_golden DIR [--libero ROOT]\n");
        return PROTO_USAGE;
    }
    char whole[EVALUATOR_PATH_MAX];
    snprintf(whole, sizeof whole, "%s", folder);
    for (size_t end = strlen(whole); end > 1 && whole[end - 1] == '/';) whole[--end] = '\0';
    struct proto_error error = {0};
    struct evaluator_libero libero;
    struct tally tally = {0};
    char links[256] = "";
    const bool ran = evaluator_libero_find(root, &libero, &error) &&
                     make_links(&libero, links, &error) &&
                     run_folder(&libero, links, whole, &tally, &error);
    struct proto_error ignored;
    if (links[0] && !proto_folder_remove(links, &ignored)) fprintf(stderr, "left: %s\n", links);
    if (!ran) return proto_error_print("libero_golden", &error);
    printf("%u passed, %u failed, %u skipped\n", tally.passed, tally.failed, tally.skipped);
    return tally.failed > 0 || tally.passed == 0 ? PROTO_FAILED : PROTO_DONE;
}
