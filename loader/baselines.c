// loader/baselines.c - three predictors that look things up, scored like the policy.
#include "loader/baselines.h"

#include "loader/open_loop.h"
#include "proto/sample.h"
#include "proto/stream.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct baselines {
    const struct proto_codec *codec;
    const struct proto_index *index;
    const struct loader_episode_numbers *numbers;
    struct proto_open_loop *time_mean;
    double (*overall)[PROTO_CHANNELS_MAX];  // [task_count] the mean training action
    float *states;                          // [train_samples, state_count], encoded, by sample id
    float *target, *guess;                  // [chunk, width]
};

static bool trains(const struct baselines *b, uint32_t episode, uint32_t task) {
    return !b->index->episodes[episode].validation && b->numbers[episode].task == task;
}

static void overall_fit(const struct baselines *b, uint32_t task) {
    const uint32_t channels = b->codec->action_count;
    double *mean = b->overall[task];
    uint64_t rows = 0;
    for (uint32_t e = 0; e < b->index->episode_count; e++) {
        if (!trains(b, e, task)) continue;
        for (uint32_t i = 0; i < b->numbers[e].steps; i++)
            for (uint32_t k = 0; k < channels; k++)
                mean[k] += b->numbers[e].action[(size_t)i * channels + k];
        rows += b->numbers[e].steps;
    }
    for (uint32_t k = 0; k < channels && rows > 0; k++) mean[k] /= (double)rows;
}

// Encodes `rows` actions and then rest into chunk [chunk, width], as proto_sample_build does.
static void encode_chunk(const struct baselines *b, uint32_t task, const double *actions,
                         uint32_t rows, float *chunk) {
    const struct proto_codec *codec = b->codec;
    double rest[PROTO_CHANNELS_MAX];
    const uint32_t valid = rows < codec->chunk ? rows : codec->chunk;
    proto_codec_rest_action(codec, actions + (size_t)(valid - 1) * codec->action_count, rest);
    for (uint32_t i = 0; i < codec->chunk; i++)
        proto_codec_encode_action(codec, task,
                                  i < valid ? actions + (size_t)i * codec->action_count : rest,
                                  chunk + (size_t)i * codec->width, NULL);
}

// First action of the sample at observation j.
static uint32_t first_action(const struct baselines *b, uint32_t j) {
    return b->index->after ? j + 1 : j;
}

static void guess_mean(const struct baselines *b, uint32_t task) {
    for (uint32_t i = 0; i < b->codec->chunk; i++)
        proto_codec_encode_action(b->codec, task, b->overall[task],
                                  b->guess + (size_t)i * b->codec->width, NULL);
}

static void guess_time(const struct baselines *b, uint32_t task, uint32_t first) {
    const struct proto_open_loop_task *means = &b->time_mean->tasks[task];
    for (uint32_t i = 0; i < b->codec->chunk; i++) {
        const uint32_t t = first + i < means->steps ? first + i : means->steps - 1;
        proto_codec_encode_action(b->codec, task,
                                  means->actions + (size_t)t * b->codec->action_count,
                                  b->guess + (size_t)i * b->codec->width, NULL);
    }
}

// The encoded state without the columns that no channel uses: x [state_count] -> y [state_count].
static void encode_state(const struct proto_codec *codec, uint32_t task, const double *x,
                         float *y) {
    float row[PROTO_UNIFIED_WIDTH];
    proto_codec_encode_state(codec, task, x, row, NULL);
    for (uint32_t i = 0; i < codec->state_count; i++) y[i] = row[codec->state[i].column];
}

// Looks through all training samples of the task; `state` is encoded, [state_count]. False: it has
// none.
static bool guess_nearest(const struct baselines *b, uint32_t task, const float *state) {
    const uint32_t channels = b->codec->state_count;
    double nearest = INFINITY;
    uint32_t episode = 0, first = 0;
    for (uint32_t e = 0; e < b->index->episode_count; e++) {
        const struct proto_index_episode *from = &b->index->episodes[e];
        if (!trains(b, e, task)) continue;
        const float *candidate = b->states + from->sample_first * channels;
        for (uint32_t j = 0; j < from->sample_count; j++, candidate += channels) {
            double distance = 0;
            for (uint32_t k = 0; k < channels; k++) {
                const double off = (double)candidate[k] - (double)state[k];
                distance += off * off;
            }
            if (distance >= nearest) continue;
            nearest = distance;
            episode = e;
            first = first_action(b, j);
        }
    }
    if (isinf(nearest)) return false;
    const struct loader_episode_numbers *from = &b->numbers[episode];
    encode_chunk(b, task, from->action + (size_t)first * b->codec->action_count,
                 from->steps - first, b->guess);
    return true;
}

static bool score(const struct baselines *b, struct proto_place place,
                  struct proto_index_baselines *sums, struct proto_error *error) {
    const struct loader_episode_numbers *numbers = &b->numbers[place.episode];
    const uint32_t task = numbers->task, first = first_action(b, place.j);
    const uint32_t left = numbers->steps - first;
    const uint32_t valid = left < b->codec->chunk ? left : b->codec->chunk;
    float state[PROTO_CHANNELS_MAX];
    encode_chunk(b, task, numbers->action + (size_t)first * b->codec->action_count, left,
                 b->target);
    encode_state(b->codec, task, numbers->state + (size_t)place.j * b->codec->state_count, state);
    if (!guess_nearest(b, task, state))
        return proto_fail(error, PROTO_DAMAGED,
                          "task %s has validation samples but no training sample; lower "
                          "data.validation_episodes",
                          b->codec->tasks[task].name);
    sums->nearest_neighbour += proto_action_error(b->codec, b->guess, b->target, valid);
    guess_mean(b, task);
    sums->mean_action += proto_action_error(b->codec, b->guess, b->target, valid);
    guess_time(b, task, first);
    sums->time_mean += proto_action_error(b->codec, b->guess, b->target, valid);
    return true;
}

static bool prepare(struct baselines *b, struct proto_error *error) {
    const struct proto_codec *codec = b->codec;
    const size_t chunk = (size_t)codec->chunk * codec->width;
    if (!loader_open_loop_new(codec, b->index, b->numbers, &b->time_mean, error)) return false;
    b->overall = proto_alloc_array(codec->task_count, sizeof *b->overall, error);
    if (!b->overall) return false;
    size_t states = 0;
    if (!proto_mul(b->index->train_samples, codec->state_count, &states))
        return proto_fail(error, PROTO_EXHAUSTED, "too many samples for memory");
    b->states = proto_alloc_array(states, sizeof *b->states, error);
    if (!b->states) return false;
    b->target = proto_alloc_array(chunk, sizeof *b->target, error);
    if (!b->target) return false;
    b->guess = proto_alloc_array(chunk, sizeof *b->guess, error);
    if (!b->guess) return false;
    for (uint32_t t = 0; t < codec->task_count; t++) overall_fit(b, t);
    float *state = b->states;
    for (uint32_t e = 0; e < b->index->episode_count; e++) {
        if (b->index->episodes[e].validation) continue;
        for (uint32_t j = 0; j < b->index->episodes[e].sample_count; j++) {
            encode_state(codec, b->numbers[e].task,
                         b->numbers[e].state + (size_t)j * codec->state_count, state);
            state += codec->state_count;
        }
    }
    return true;
}

// Adds up the errors at positions first .. end - 1 of the validation stream.
static bool score_all(const struct baselines *b, uint64_t seed, uint64_t first, uint64_t end,
                      struct proto_index_baselines *sums, struct proto_error *error) {
    const struct proto_stream stream = {
        .seed = seed, .n = b->index->validation_samples, .purpose = PROTO_PURPOSE_VALIDATION};
    for (uint64_t g = first; g < end; g++)
        if (!score(b, proto_index_place(b->index, true, proto_stream_sample(&stream, g)), sums,
                   error))
            return false;
    return true;
}

static void add_scaled(struct proto_index_baselines *sums, double scale,
                       const struct proto_index_baselines *more) {
    sums->mean_action += scale * more->mean_action;
    sums->time_mean += scale * more->time_mean;
    sums->nearest_neighbour += scale * more->nearest_neighbour;
}

bool loader_baselines_measure(const struct proto_codec *codec, const struct proto_index *index,
                              const struct loader_episode_numbers *numbers, uint64_t seed,
                              struct proto_index_baselines *out, struct proto_error *error) {
    bool done = false;
    struct baselines b = {.codec = codec, .index = index, .numbers = numbers};
    struct proto_index_baselines epoch = {0}, rest = {0}, mean = {0};
    const uint64_t n = index->validation_samples, set = index->validation_set;
    *out = (struct proto_index_baselines){NAN, NAN, NAN};
    if (set == 0 || n == 0) return true;
    // A set larger than an epoch has every sample in each of its whole epochs: scored once.
    const uint64_t epochs = set / n;
    if (!prepare(&b, error) || (epochs > 0 && !score_all(&b, seed, 0, n, &epoch, error)) ||
        !score_all(&b, seed, epochs * n, set, &rest, error))
        goto end;
    add_scaled(&mean, (double)epochs / (double)set, &epoch);
    add_scaled(&mean, 1 / (double)set, &rest);
    *out = mean;
    done = true;
end:
    proto_open_loop_free(&b.time_mean);
    free(b.overall);
    free(b.states);
    free(b.target);
    free(b.guess);
    return done;
}
