// stages/scores.c - see scores.h.
#include "stages/scores.h"

#include "proto/files.h"
#include "proto/json.h"
#include "proto/run.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define METRICS_BYTES_MAX ((size_t)64 << 20)

bool stage_score_read(const json_t *object, struct stage_score *score) {
    const json_t *step = json_object_get(object, "step");
    const json_int_t successes = json_integer_value(json_object_get(object, "successes"));
    const json_t *count = json_object_get(object, "episodes");
    const json_int_t episodes = json_integer_value(count);
    if (!json_is_integer(step) || json_integer_value(step) < 0 || !json_is_integer(count) ||
        episodes < 1 || episodes > UINT32_MAX || successes < 0 || successes > episodes)
        return false;
    *score = (struct stage_score){.step = (uint64_t)json_integer_value(step),
                                  .successes = (uint32_t)successes,
                                  .episodes = (uint32_t)episodes};
    return true;
}

bool stage_scores_note(struct stage_scores *scores, const json_t *finished) {
    struct stage_score score;
    if (!stage_score_read(finished, &score)) return false;
    size_t at = scores->count;
    while (at > 0 && scores->items[at - 1].step >= score.step) at--;
    if (at < scores->count && scores->items[at].step == score.step) {
        scores->items[at] = score;
        return true;
    }
    struct stage_score *grown =
        reallocarray(scores->items, scores->count + 1, sizeof *scores->items);
    if (!grown) return false;
    scores->items = grown;
    memmove(grown + at + 1, grown + at, (scores->count - at) * sizeof *grown);
    grown[at] = score;
    scores->count++;
    return true;
}

void stage_scores_best(struct stage_scores *scores, uint64_t step) {
    scores->best_known = true;
    scores->best_step = step;
}

void stage_scores_free(struct stage_scores *scores) {
    free(scores->items);
    *scores = (struct stage_scores){0};
}

// RUN/best -> checkpoint-N.
static void read_best(struct stage_scores *scores, const char *path) {
    static const char prefix[] = "checkpoint-";
    char target[64], *end = NULL;
    const ssize_t length = readlink(path, target, sizeof target - 1);
    if (length <= 0) return;
    target[length] = '\0';
    if (strncmp(target, prefix, sizeof prefix - 1) != 0) return;
    errno = 0;
    const unsigned long long step = strtoull(target + sizeof prefix - 1, &end, 10);
    if (errno == 0 && end != target + sizeof prefix - 1 && *end == '\0')
        stage_scores_best(scores, step);
}

bool stage_scores_open(struct stage_scores *scores, const char *run, struct proto_error *error) {
    char path[PROTO_PATH_MAX];
    char *text = NULL;
    size_t size_bytes = 0;
    *scores = (struct stage_scores){0};
    if (!proto_run_path(run, "best", path, error)) return false;
    read_best(scores, path);
    if (!proto_run_path(run, "eval/metrics.jsonl", path, error)) return false;
    if (!proto_path_exists(path)) return true;
    if (!proto_file_read(path, METRICS_BYTES_MAX, PROTO_DAMAGED, &text, &size_bytes, error))
        return proto_error_where(error, "%s", path);
    for (const char *line = text, *end;
         (end = memchr(line, '\n', size_bytes - (size_t)(line - text))); line = end + 1) {
        json_t *finished = json_loadb(line, (size_t)(end - line), 0, NULL);
        (void)stage_scores_note(scores, finished);
        json_decref(finished);
    }
    free(text);
    return true;
}

const struct stage_score *stage_scores_newest(const struct stage_scores *scores) {
    return scores->count > 0 ? &scores->items[scores->count - 1] : NULL;
}

const struct stage_score *stage_scores_best_one(const struct stage_scores *scores) {
    for (size_t i = 0; i < scores->count && scores->best_known; i++)
        if (scores->items[i].step == scores->best_step) return &scores->items[i];
    return NULL;
}

void stage_scores_text(const struct stage_score *newest, const struct stage_score *best,
                       char text[static STAGE_SCORES_TEXT_BYTES]) {
    text[0] = '\0';
    if (!newest) return;
    const int length = snprintf(text, STAGE_SCORES_TEXT_BYTES, "success %u/%u at step %" PRIu64,
                                newest->successes, newest->episodes, newest->step);
    if (length < 0 || !best) return;
    snprintf(text + length, STAGE_SCORES_TEXT_BYTES - (size_t)length,
             " (best %u/%u at %" PRIu64 ")", best->successes, best->episodes, best->step);
}

json_t *stage_score_json(const struct stage_score *score) {
    if (!score) return json_null();
    return json_pack("{s:I, s:i, s:i, s:f}", "step", (json_int_t)score->step, "successes",
                     (int)score->successes, "episodes", (int)score->episodes, "success_rate",
                     (double)score->successes / score->episodes);
}
