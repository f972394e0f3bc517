// evaluator/serve_look.c - what lies in the run folder: which checkpoints there are, what is done,
// who is at work, what was given up.
#include "evaluator/serve_parts.h"

#include "proto/checkpoint.h"
#include "proto/evaluated.h"
#include "proto/files.h"
#include "proto/json.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#define WEIGHTS "ema/model.safetensors"  // what is rolled out
#define FAILED_BYTES_MAX ((size_t)1 << 20)

bool evaluator_serve_checkpoint(const char *run, uint64_t step, char path[static PROTO_PATH_MAX],
                                struct proto_error *error) {
    char name[40];
    snprintf(name, sizeof name, "checkpoint-%" PRIu64, step);
    return proto_run_path(run, name, path, error);
}

bool evaluator_serve_hash(const char *run, uint64_t step, uint64_t *hash) {
    struct proto_error ignored = {0};
    char path[PROTO_PATH_MAX];
    return evaluator_serve_checkpoint(run, step, path, &ignored) &&
           proto_checkpoint_file_hash(path, WEIGHTS, hash, &ignored);
}

// ---- who is at work -----------------------------------------------------------------------------

static int flock_whole(int descriptor, int kind) {
    int result;
    do {
        result = flock(descriptor, kind);
    } while (result != 0 && errno == EINTR);
    return result;
}

static bool lock_open(const char *run, uint64_t step, int *descriptor, struct proto_error *error) {
    char path[PROTO_PATH_MAX];
    if (!proto_evaluated_path(run, step, NULL, path, error) ||
        !proto_folder_make(path, 0777, error) ||
        !proto_evaluated_path(run, step, "workers.lock", path, error))
        return false;
    *descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (*descriptor >= 0) return true;
    proto_fail_errno(error, PROTO_FAILED, "cannot be opened");
    return proto_error_where(error, "%s", path);
}

bool evaluator_serve_join(const char *run, uint64_t step, int *descriptor, bool *alone,
                          struct proto_error *error) {
    if (!lock_open(run, step, descriptor, error)) return false;
    *alone = flock_whole(*descriptor, LOCK_EX | LOCK_NB) == 0;
    // nobody keeps the exclusive lock for longer than this line
    if (flock_whole(*descriptor, LOCK_SH) == 0) return true;
    proto_fail_errno(error, PROTO_FAILED, "the folder of an evaluation cannot be locked");
    close(*descriptor);
    return false;
}

bool evaluator_serve_others(const char *run, uint64_t step) {
    struct proto_error ignored = {0};
    char path[PROTO_PATH_MAX];
    if (!proto_evaluated_path(run, step, "workers.lock", path, &ignored)) return false;
    const int descriptor = open(path, O_RDWR | O_CLOEXEC);
    if (descriptor < 0) return false;
    const bool others = flock_whole(descriptor, LOCK_EX | LOCK_NB) != 0;
    close(descriptor);
    return others;
}

// ---- what was given up --------------------------------------------------------------------------

// The process whose life a failure is remembered for: the supervisor, or by hand this one.
static json_int_t session(const struct evaluator_serve *serve) {
    return proto_link_supervised(serve->link) ? (json_int_t)getppid() : (json_int_t)getpid();
}

static bool given_up(const struct evaluator_serve *serve, uint64_t step, uint64_t hash) {
    struct proto_error ignored = {0};
    char path[PROTO_PATH_MAX];
    uint64_t found = 0;
    int64_t process = 0;
    if (!proto_evaluated_path(serve->run, step, "failed.json", path, &ignored) ||
        !proto_path_exists(path))
        return false;
    json_t *json = proto_json_read(path, FAILED_BYTES_MAX, &ignored);
    const bool is = json && proto_json_integer(json, "process", 0, INT64_MAX, &process, &ignored) &&
                    proto_json_hex64(json, "checkpoint_hash", &found, &ignored) &&
                    process == session(serve) && found == hash;
    json_decref(json);
    return is;
}

bool evaluator_serve_give_up(struct evaluator_serve *serve, uint64_t step, uint64_t hash,
                             const struct proto_error *why, bool *told, struct proto_error *error) {
    char path[PROTO_PATH_MAX], text[17];
    *told = given_up(serve, step, hash);
    if (*told) return true;
    proto_hex64(hash, text);
    if (!proto_evaluated_path(serve->run, step, "failed.json", path, error)) return false;
    json_t *json = json_pack("{s:s, s:i, s:o, s:o, s:I}", "checkpoint_hash", text, "status",
                             (int)why->status, "where", proto_json_string(why->where), "text",
                             proto_json_string(why->text), "process", session(serve));
    if (!json) return proto_fail(error, PROTO_EXHAUSTED, "no memory");
    const bool done = proto_json_write(path, json, error);
    json_decref(json);
    return done;
}

// ---- the look -----------------------------------------------------------------------------------

static bool is_left(const struct evaluator_serve *serve, uint64_t step) {
    for (size_t i = 0; i < serve->left_count; i++)
        if (serve->left[i] == step) return true;
    return false;
}

static void look_at(struct evaluator_serve *serve, uint64_t step, struct evaluator_serve_item *item,
                    struct evaluator_present *present) {
    uint64_t hash = 0;
    const bool known = evaluator_serve_hash(serve->run, step, &hash);
    const struct evaluator_score *score =
        known ? evaluator_scoreboard_find(&serve->board, step, hash) : NULL;
    *present = (struct evaluator_present){step, hash};
    *item = (struct evaluator_serve_item){
        .step = step,
        .done = score && proto_evaluated_done(serve->run, step),
        .controls = score && score->controls,
        .failed = given_up(serve, step, hash),
        .others = is_left(serve, step) && evaluator_serve_others(serve->run, step),
    };
}

bool evaluator_serve_look(struct evaluator_serve *serve, struct proto_error *error) {
    uint64_t *steps = NULL;
    size_t count = 0;
    evaluator_scoreboard_free(&serve->board);
    free(serve->items);
    free(serve->present);
    serve->items = NULL;
    serve->present = NULL;
    serve->count = 0;
    if (!evaluator_scoreboard_read(serve->run, &serve->board, error) ||
        !proto_checkpoint_list(serve->run, &steps, &count, error))
        return false;
    serve->items = proto_alloc_array(count, sizeof *serve->items, error);
    serve->present = serve->items ? proto_alloc_array(count, sizeof *serve->present, error) : NULL;
    for (size_t i = 0; serve->present && i < count; i++)
        look_at(serve, steps[i], &serve->items[i], &serve->present[i]);
    free(steps);
    if (!serve->present) return false;
    serve->count = count;
    return true;
}
