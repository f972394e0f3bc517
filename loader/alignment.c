// loader/alignment.c - three regressions out of one matrix of moments.
//
// Each motion gives a vector z of features: the pose and two past motions (the motion model), the
// action at each of the three lags, the motion itself (what is to be explained). Only the moments
// sum z and sum z z' are kept, so memory does not grow with the data and the order of episodes does
// not matter. A regression on a set of features is the sweep operator applied to them: afterwards
// the diagonal of each target is what the set leaves unexplained (Goodnight 1979).
#include "loader/alignment.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define LAGS 3              // action[j - 1], action[j], action[j + 1]
#define PAST 2              // motions before that carry the robot's momentum
#define MOTIONS_MIN 30      // fewer say nothing
#define SCORE_MIN 0.02      // of the winner
#define CONFIDENCE_MIN 0.2  // of the winner over the next
#define EVIDENCE_MIN 10.0   // log likelihood ratio of the winner over the next
#define COLLINEAR 1e-9      // of a feature's variance left: it says nothing new

struct loader_alignment {
    uint32_t poses, actions;  // numbers of a pose, of an action
    uint32_t pose_channels[PROTO_CHANNELS_MAX], action_channels[PROTO_CHANNELS_MAX];
    uint32_t state_count, action_count;  // of a row of the episode's arrays
    const char *pose;
    // features: pose [poses], past motions [PAST * poses], actions [LAGS * actions], motion [poses]
    uint32_t features;
    double *origin;   // [features] the first vector: sums are taken around it
    double *feature;  // [features] the vector at hand
    double *sum;      // [features]
    double *moment;   // [features, features]
    uint64_t motions;
    uint32_t episodes;
};

static uint32_t choose_pose(const struct proto_codec *codec, const char *name, uint32_t *channels) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < codec->state_count; i++)
        if (strcmp(codec->state[i].field->name, name) == 0) channels[count++] = i;
    return count;
}

bool loader_alignment_new(const struct proto_codec *codec, struct loader_alignment **out,
                          struct proto_error *error) {
    struct loader_alignment *new = proto_alloc(sizeof *new, error);
    if (!new) return false;
    new->state_count = codec->state_count;
    new->action_count = codec->action_count;
    new->pose = "eef_pos";
    new->poses = choose_pose(codec, new->pose, new->pose_channels);
    if (new->poses == 0) {
        new->pose = "joint_pos";
        new->poses = choose_pose(codec, new->pose, new->pose_channels);
    }
    for (uint32_t i = 0; i < codec->action_count; i++)
        if (codec->action[i].field->kind == PROTO_CHANNEL_CONTINUOUS)
            new->action_channels[new->actions++] = i;
    if (new->poses == 0 || new->actions == 0) {
        free(new);
        return proto_fail(error, PROTO_REFUSED,
                          "the alignment of actions cannot be measured: the state has neither "
                          "eef_pos nor joint_pos, or no action moves the arm; set data.alignment "
                          "to \"after\" (obs[j] was stored after action[j], as LIBERO does) or "
                          "\"before\"");
    }
    new->features = (2 + PAST) * new->poses + LAGS *new->actions;
    const size_t n = new->features;
    new->origin = proto_alloc_array(3 * n + n * n, sizeof *new->origin, error);
    if (!new->origin) {
        free(new);
        return false;
    }
    new->feature = new->origin + n;
    new->sum = new->feature + n;
    new->moment = new->sum + n;
    *out = new;
    return true;
}

void loader_alignment_free(struct loader_alignment **alignment) {
    if (!alignment || !*alignment) return;
    free((*alignment)->origin);
    free(*alignment);
    *alignment = NULL;
}

static double pose_at(const struct loader_alignment *a, const struct loader_episode_numbers *e,
                      uint32_t j, uint32_t i) {
    return e->state[(size_t)j * a->state_count + a->pose_channels[i]];
}

// The features of the motion from observation j to j + 1.
static void describe(struct loader_alignment *a, const struct loader_episode_numbers *e,
                     uint32_t j) {
    double *z = a->feature;
    for (uint32_t i = 0; i < a->poses; i++) *z++ = pose_at(a, e, j, i);
    for (uint32_t past = 1; past <= PAST; past++)
        for (uint32_t i = 0; i < a->poses; i++)
            *z++ = pose_at(a, e, j - past + 1, i) - pose_at(a, e, j - past, i);
    for (uint32_t lag = 0; lag < LAGS; lag++)
        for (uint32_t i = 0; i < a->actions; i++)
            *z++ = e->action[(size_t)(j - 1 + lag) * a->action_count + a->action_channels[i]];
    for (uint32_t i = 0; i < a->poses; i++) *z++ = pose_at(a, e, j + 1, i) - pose_at(a, e, j, i);
}

void loader_alignment_add(struct loader_alignment *alignment,
                          const struct loader_episode_numbers *episode) {
    struct loader_alignment *a = alignment;
    const size_t n = a->features;
    if (episode->steps < PAST + 3) return;
    a->episodes++;
    for (uint32_t j = PAST; j + 1 < episode->steps; j++) {
        describe(a, episode, j);
        if (a->motions == 0) memcpy(a->origin, a->feature, n * sizeof *a->origin);
        for (size_t i = 0; i < n; i++) {
            const double off = a->feature[i] - a->origin[i];
            a->sum[i] += off;
            for (size_t k = 0; k <= i; k++)
                a->moment[i * n + k] += off * (a->feature[k] - a->origin[k]);
        }
        a->motions++;
    }
}

// Centred moments, whole matrix, each feature of variance 1 (or 0 when it never changes).
static void centre(const struct loader_alignment *a, double *matrix) {
    const size_t n = a->features;
    const double count = (double)a->motions;
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k <= i; k++)
            matrix[i * n + k] = a->moment[i * n + k] - a->sum[i] * a->sum[k] / count;
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < i; k++) {
            const double both = matrix[i * n + i] * matrix[k * n + k];
            matrix[i * n + k] = both > 0 ? matrix[i * n + k] / sqrt(both) : 0;
            matrix[k * n + i] = matrix[i * n + k];
        }
}

// Regresses everything on feature `s`: the sweep operator. Nothing when it says nothing new.
static void sweep(double *matrix, size_t n, size_t s) {
    const double pivot = matrix[s * n + s];
    if (pivot < COLLINEAR) return;
    for (size_t i = 0; i < n; i++) {
        if (i == s) continue;
        const double share = matrix[i * n + s] / pivot;
        for (size_t k = 0; k < n; k++)
            if (k != s) matrix[i * n + k] -= share * matrix[s * n + k];
    }
    for (size_t i = 0; i < n; i++) {
        matrix[i * n + s] = 0;
        matrix[s * n + i] = 0;
    }
}

// What is unexplained of the targets, in their own units squared: variance[i] undoes centre's
// scaling.
static double unexplained(const struct loader_alignment *a, const double *matrix,
                          const double *variance) {
    double sum = 0;
    for (size_t i = a->features - a->poses; i < a->features; i++)
        sum += fmax(matrix[i * a->features + i], 0) * variance[i];
    return sum;
}

// Scores into score [LAGS], and the log likelihood ratio of each lag over the motion model.
static bool measure(const struct loader_alignment *a, double *score, double *evidence,
                    struct proto_error *error) {
    const size_t n = a->features, model = (1 + PAST) * (size_t)a->poses;
    double *matrix = proto_alloc_array(2 * n * n + n, sizeof *matrix, error);
    if (!matrix) return false;
    double *trial = matrix + n * n, *variance = trial + n * n;
    centre(a, matrix);
    for (size_t i = 0; i < n; i++) {
        variance[i] = matrix[i * n + i];
        matrix[i * n + i] = variance[i] > 0 ? 1 : 0;
    }
    for (size_t s = 0; s < model; s++) sweep(matrix, n, s);
    const double before = unexplained(a, matrix, variance);
    for (size_t lag = 0; lag < LAGS; lag++) {
        memcpy(trial, matrix, n * n * sizeof *trial);
        for (size_t i = 0; i < a->actions; i++) sweep(trial, n, model + lag * a->actions + i);
        const double after = unexplained(a, trial, variance);
        score[lag] = before > 0 ? fmin(fmax(1 - after / before, 0), 1) : 0;
        evidence[lag] = -0.5 * (double)a->motions * log(fmax(1 - score[lag], 1e-12));
    }
    free(matrix);
    return true;
}

bool loader_alignment_decide(const struct loader_alignment *alignment,
                             struct loader_alignment_verdict *verdict, struct proto_error *error) {
    const struct loader_alignment *a = alignment;
    double evidence[LAGS] = {0};
    *verdict = (struct loader_alignment_verdict){
        .motions = a->motions, .episodes = a->episodes, .pose = a->pose};
    double *score = verdict->score;
    if (a->motions > 0 && !measure(a, score, evidence, error)) return false;
    uint32_t best = 0;
    for (uint32_t lag = 1; lag < LAGS; lag++)
        if (score[lag] > score[best]) best = lag;
    uint32_t next = best == 0 ? 1 : 0;
    for (uint32_t lag = 0; lag < LAGS; lag++)
        if (lag != best && score[lag] > score[next]) next = lag;
    verdict->after = best == 2;
    verdict->confidence = score[best] > 0 ? (score[best] - score[next]) / score[best] : 0;
    const char *reason = NULL;
    if (a->motions < MOTIONS_MIN)
        reason = "there is too little motion";
    else if (score[best] < SCORE_MIN)
        reason = "no lag explains the motion";
    else if (best == 0)
        reason = "the action before last explains it best, which neither order does";
    else if (verdict->confidence < CONFIDENCE_MIN || evidence[best] - evidence[next] < EVIDENCE_MIN)
        reason = "two lags explain the motion about equally well";
    if (!reason) return true;
    return proto_fail(error, PROTO_REFUSED,
                      "whether observations come after or before their actions cannot be told from "
                      "%llu motions of %s: %s (lag -1: %.3f, 0: %.3f, +1: %.3f); set "
                      "data.alignment to \"after\" (obs[j] was stored after action[j], as LIBERO "
                      "does) or \"before\"",
                      (unsigned long long)a->motions, a->pose, reason, score[0], score[1],
                      score[2]);
}
