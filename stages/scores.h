// stages/scores.h - how often the robot succeeded with each checkpoint of a run, as its evaluators
// said or as RUN/eval/metrics.jsonl and RUN/best tell of earlier lives. Knows no process.
#ifndef STAGES_SCORES_H
#define STAGES_SCORES_H

#include "proto/error.h"

#include <jansson.h>
#include <stdint.h>

#define STAGE_SCORES_TEXT_BYTES 96

struct stage_score {
    uint64_t step;
    uint32_t successes, episodes;
};
struct stage_scores {
    struct stage_score *items;  // by step, ascending; one a checkpoint
    size_t count;
    bool best_known;
    uint64_t best_step;
};

// Reads what the run folder has; without an eval folder there is nothing, and that is well. Lines
// that make no sense are passed over: only people read what comes of them.
PROTO_MUST_CHECK bool stage_scores_open(struct stage_scores *scores, const char *run,
                                        struct proto_error *error);
// Takes {"step", "successes", "episodes"}, a later word about a step replaces the one before.
// False: it was not of that form, or there is no memory.
bool stage_scores_note(struct stage_scores *scores, const json_t *finished);
void stage_scores_best(struct stage_scores *scores, uint64_t step);
void stage_scores_free(struct stage_scores *scores);

// Of the newest checkpoint that is evaluated, and of the best; NULL when there is none.
const struct stage_score *stage_scores_newest(const struct stage_scores *scores);
const struct stage_score *stage_scores_best_one(const struct stage_scores *scores);

// "success 18/20 at step 2000 (best 20/20 at 1750)"; "" while nothing is known.
void stage_scores_text(const struct stage_score *newest, const struct stage_score *best,
                       char text[static STAGE_SCORES_TEXT_BYTES]);
// {"step", "successes", "episodes", "success_rate"} and back.
json_t *stage_score_json(const struct stage_score *score);  // NULL: null
bool stage_score_read(const json_t *object, struct stage_score *score);

#endif
