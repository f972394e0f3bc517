// evaluator/scoreboard.c - see scoreboard.h.
#include "evaluator/scoreboard.h"

#include "proto/files.h"
#include "proto/json.h"
#include "proto/run.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#define BOARD_BYTES_MAX ((size_t)64 << 20)
#define FILE_NAME "eval/metrics.jsonl"

bool evaluator_scoreboard_lock(const char *run, int *descriptor, struct proto_error *error) {
    char folder[PROTO_PATH_MAX], path[PROTO_PATH_MAX];
    int result;
    if (!proto_run_path(run, "eval", folder, error) ||
        !proto_run_path(run, "eval/lock", path, error) || !proto_folder_make(folder, 0777, error))
        return false;
    *descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    do {
        result = *descriptor < 0 ? -1 : flock(*descriptor, LOCK_EX);
    } while (result != 0 && errno == EINTR);
    if (result == 0) return true;
    proto_fail_errno(error, PROTO_FAILED, "cannot be locked");
    if (*descriptor >= 0) close(*descriptor);
    return proto_error_where(error, "%s", path);
}

// ---- lines --------------------------------------------------------------------------------------

static json_t *count_json(const struct evaluator_count *count) {
    return json_pack("{s:I, s:I}", "successes", (json_int_t)count->successes, "episodes",
                     (json_int_t)count->episodes);
}

json_t *evaluator_score_json(const struct evaluator_score *score) {
    const struct evaluator_count *policy = &score->policy;
    char hash[17];
    proto_hex64(score->checkpoint_hash, hash);
    json_t *json = json_pack(
        "{s:I, s:f, s:[f, f], s:I, s:I, s:I, s:I, s:f, s:s}", "step", (json_int_t)score->step,
        "success_rate", policy->episodes > 0 ? (double)policy->successes / policy->episodes : 0.0,
        "interval95", score->interval95[0], score->interval95[1], "successes",
        (json_int_t)policy->successes, "episodes", (json_int_t)policy->episodes,
        "selection_successes", (json_int_t)score->selection.successes, "selection_episodes",
        (json_int_t)score->selection.episodes, "wall_s", score->wall_s, "checkpoint_hash", hash);
    bool good = json != NULL;
    if (good && score->controls)
        good = json_object_set_new(json, "open_loop", count_json(&score->open_loop)) == 0 &&
               json_object_set_new(json, "blind", count_json(&score->blind)) == 0;
    if (good && score->not_evaluated > 0)
        good = json_object_set_new(json, "not_evaluated", json_integer(score->not_evaluated)) == 0;
    if (good) return json;
    json_decref(json);
    return NULL;
}

static bool read_u32(const json_t *object, const char *key, uint32_t *value,
                     struct proto_error *error) {
    int64_t number = 0;
    if (!proto_json_integer(object, key, 0, UINT32_MAX, &number, error)) return false;
    *value = (uint32_t)number;
    return true;
}

static bool count_parse(const json_t *object, struct evaluator_count *count,
                        struct proto_error *error) {
    return read_u32(object, "successes", &count->successes, error) &&
           read_u32(object, "episodes", &count->episodes, error);
}

static bool score_parse(const json_t *line, struct evaluator_score *score,
                        struct proto_error *error) {
    const json_t *interval = NULL, *open_loop = json_object_get(line, "open_loop");
    int64_t step = 0;
    *score = (struct evaluator_score){.controls = open_loop != NULL};
    if (!proto_json_integer(line, "step", 0, INT64_MAX, &step, error) ||
        !proto_json_hex64(line, "checkpoint_hash", &score->checkpoint_hash, error) ||
        !count_parse(line, &score->policy, error) ||
        !read_u32(line, "selection_successes", &score->selection.successes, error) ||
        !read_u32(line, "selection_episodes", &score->selection.episodes, error) ||
        !proto_json_real(line, "wall_s", &score->wall_s, error) ||
        !proto_json_array(line, "interval95", 2, &interval, error))
        return false;
    score->step = (uint64_t)step;
    for (size_t i = 0; i < 2; i++)
        score->interval95[i] = json_number_value(json_array_get(interval, i));
    if (json_object_get(line, "not_evaluated") &&
        !read_u32(line, "not_evaluated", &score->not_evaluated, error))
        return false;
    return !score->controls || (count_parse(open_loop, &score->open_loop, error) &&
                                count_parse(json_object_get(line, "blind"), &score->blind, error));
}

// ---- the board ----------------------------------------------------------------------------------

// Puts a score at its place, over an earlier one of its step.
static bool board_put(struct evaluator_scoreboard *board, const struct evaluator_score *score,
                      struct proto_error *error) {
    size_t at = board->count;
    while (at > 0 && board->scores[at - 1].step >= score->step) at--;
    if (at < board->count && board->scores[at].step == score->step) {
        board->scores[at] = *score;
        return true;
    }
    struct evaluator_score *scores =
        realloc(board->scores, (board->count + 1) * sizeof *board->scores);
    if (!scores) return proto_fail(error, PROTO_EXHAUSTED, "no memory for the scores of a run");
    memmove(scores + at + 1, scores + at, (board->count - at) * sizeof *scores);
    scores[at] = *score;
    board->scores = scores;
    board->count++;
    return true;
}

bool evaluator_scoreboard_read(const char *run, struct evaluator_scoreboard *board,
                               struct proto_error *error) {
    char path[PROTO_PATH_MAX], *text = NULL;
    size_t size = 0;
    *board = (struct evaluator_scoreboard){0};
    if (!proto_run_path(run, FILE_NAME, path, error)) return false;
    if (!proto_path_exists(path)) return true;
    if (!proto_file_read(path, BOARD_BYTES_MAX, PROTO_DAMAGED, &text, &size, error)) return false;
    bool done = true;
    for (size_t begin = 0; done && begin < size;) {
        const char *newline = memchr(text + begin, '\n', size - begin);
        const size_t end = newline ? (size_t)(newline - text) : size;
        struct proto_error torn = {0};
        struct evaluator_score score;
        json_t *line = newline ? proto_json_parse(text + begin, end - begin, &torn) : NULL;
        if (line && score_parse(line, &score, &torn)) done = board_put(board, &score, error);
        json_decref(line);
        begin = end + 1;
    }
    free(text);
    if (!done) evaluator_scoreboard_free(board);
    return done;
}

void evaluator_scoreboard_free(struct evaluator_scoreboard *board) {
    free(board->scores);
    *board = (struct evaluator_scoreboard){0};
}

static void time_text(char text[static 40]) {
    struct timespec now;
    struct tm parts;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &parts);
    const size_t used = strftime(text, 40, "%Y-%m-%dT%H:%M:%S", &parts);
    snprintf(text + used, 40 - used, ".%03dZ", (int)(now.tv_nsec / 1000000));
}

bool evaluator_scoreboard_append(const char *run, const struct evaluator_score *score,
                                 struct proto_error *error) {
    char path[PROTO_PATH_MAX], when[40];
    if (!proto_run_path(run, FILE_NAME, path, error)) return false;
    json_t *json = evaluator_score_json(score);
    time_text(when);
    const bool timed = json && json_object_set_new(json, "time", json_string(when)) == 0;
    char *text = timed ? json_dumps(json, JSON_REAL_PRECISION(17)) : NULL;
    json_decref(json);
    // a line that a kill cut short ends at the newline in front
    char *line = text ? proto_format(error, "\n%s\n", text) : NULL;
    free(text);
    if (!line) return proto_fail(error, PROTO_EXHAUSTED, "no memory for a line of metrics");
    const int file = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    char last = '\n';
    const off_t end = file < 0 ? -1 : lseek(file, 0, SEEK_END);
    if (end > 0 && pread(file, &last, 1, end - 1) != 1) last = '\0';
    const char *whole = last == '\n' ? line + 1 : line;
    const size_t size = strlen(whole);
    const ssize_t wrote = file < 0 ? -1 : write(file, whole, size);
    if (wrote >= 0 && (size_t)wrote < size) errno = ENOSPC;
    const bool done = wrote == (ssize_t)size && fdatasync(file) == 0;
    if (!done) {
        proto_fail_errno(error, PROTO_FAILED, "a finished evaluation cannot be noted");
        proto_error_where(error, "%s", path);
    }
    if (file >= 0) close(file);
    free(line);
    return done;
}

const struct evaluator_score *evaluator_scoreboard_find(const struct evaluator_scoreboard *board,
                                                        uint64_t step, uint64_t checkpoint_hash) {
    for (size_t i = 0; i < board->count; i++)
        if (board->scores[i].step == step && board->scores[i].checkpoint_hash == checkpoint_hash)
            return &board->scores[i];
    return NULL;
}

// ---- best ---------------------------------------------------------------------------------------

const struct evaluator_score *evaluator_best_choose(const struct evaluator_scoreboard *board,
                                                    const struct evaluator_present *present,
                                                    size_t count) {
    const struct evaluator_score *best = NULL;
    for (size_t i = 0; i < count; i++) {
        const struct evaluator_score *score =
            evaluator_scoreboard_find(board, present[i].step, present[i].checkpoint_hash);
        if (score &&
            (!best || score->selection.successes > best->selection.successes ||
             (score->selection.successes == best->selection.successes && score->step > best->step)))
            best = score;
    }
    return best;
}

bool evaluator_best_link(const char *run, uint64_t step, bool *changed, struct proto_error *error) {
    char path[PROTO_PATH_MAX], fresh[PROTO_PATH_MAX], wanted[40], found[64];
    *changed = false;
    snprintf(wanted, sizeof wanted, "checkpoint-%" PRIu64, step);
    if (!proto_run_path(run, "best", path, error) ||
        !proto_run_path(run, "best.partial", fresh, error))
        return false;
    const ssize_t length = readlink(path, found, sizeof found - 1);
    if (length >= 0) found[length] = '\0';
    if (length >= 0 && strcmp(found, wanted) == 0) return true;
    if ((unlink(fresh) != 0 && errno != ENOENT) || symlink(wanted, fresh) != 0) {
        proto_fail_errno(error, PROTO_FAILED, "the link to the best checkpoint cannot be made");
        return proto_error_where(error, "%s", fresh);
    }
    if (!proto_path_rename(fresh, path, error) || !proto_folder_sync(run, error)) return false;
    *changed = true;
    return true;
}
