// model/loops_set.h - what the loop files of one instruction set share: names of its functions, and
// the norm of one row. LOOPS (v2, v3, v4, plain) and LOOPS_NAME come from model/CMakeLists.txt.
#ifndef MODEL_LOOPS_SET_H
#define MODEL_LOOPS_SET_H

#include "model/lanes.h"
#include "model/loops.h"

#define LOOPS_FUNCTION(name) LOOPS_JOIN(model_loops_##name, LOOPS)
#define LOOPS_JOIN(name, set) LOOPS_JOIN_OF(name, set)
#define LOOPS_JOIN_OF(name, set) name##_##set

size_t LOOPS_FUNCTION(attention_scratch)(const struct model_attention *a);
void LOOPS_FUNCTION(attention)(const struct model_attention *a, size_t begin, size_t end,
                               float *scratch);
void LOOPS_FUNCTION(attention_backward)(const struct model_attention_backward *a, size_t begin,
                                        size_t end, float *scratch, float *gains);

// 1 / sqrt(v + epsilon) of a row; *mean is 0 for mean_square.
static inline float norm_scale(enum model_norm_stat stat, float epsilon, const float *x, size_t n,
                               float *mean) {
    struct sum s = {0};
    const size_t whole = n - n % SUM_LANES;
    float centre = 0;
    if (stat == MODEL_VARIANCE) {
        for (size_t j = 0; j < whole; j += SUM_LANES)
            for (size_t i = 0; i < SUM_VECS; i++) s.part[i] += load(x + j + i * LANES);
        centre = sum_total(&s);
        for (size_t j = whole; j < n; j++) centre += x[j];
        centre /= (float)n;
        s = (struct sum){0};
    }
    for (size_t j = 0; j < whole; j += SUM_LANES)
        for (size_t i = 0; i < SUM_VECS; i++) {
            const vec off = load(x + j + i * LANES) - centre;
            s.part[i] += off * off;
        }
    float square = sum_total(&s);
    for (size_t j = whole; j < n; j++) square += (x[j] - centre) * (x[j] - centre);
    *mean = centre;
    return 1.0f / sqrtf(square / (float)(stat == MODEL_VARIANCE ? n - 1 : n) + epsilon);
}

static inline void norm_apply(const float *x, const float *gain, float scale, size_t n, float *y) {
    size_t j = 0;
    for (; j + LANES <= n; j += LANES) store(y + j, load(x + j) * scale * load(gain + j));
    for (; j < n; j++) y[j] = x[j] * scale * gain[j];
}

// dx_j = g_j w_j s - s^3 (x_j - mean) / (n - 1) sum_i(g_i w_i x_i); mean_square: mean 0, n.
static inline void norm_back(enum model_norm_stat stat, const float *x, const float *gain,
                             const float *dy, float mean, float scale, size_t n, bool add,
                             float *dx, float *dgain) {
    struct sum s = {0};
    const size_t whole = n - n % SUM_LANES;
    for (size_t j = 0; j < whole; j += SUM_LANES)
        for (size_t i = 0; i < SUM_VECS; i++) {
            const size_t at = j + i * LANES;
            const vec product = load(dy + at) * load(x + at);
            s.part[i] += product * load(gain + at);
            store(dgain + at, load(dgain + at) + product * scale);
        }
    float dot = sum_total(&s);
    for (size_t j = whole; j < n; j++) {
        const float product = dy[j] * x[j];
        dot += product * gain[j];
        dgain[j] += product * scale;
    }
    const float pull = scale * scale * scale * dot / (float)(stat == MODEL_VARIANCE ? n - 1 : n);
    size_t j = 0;
    for (; j + LANES <= n; j += LANES) {
        const vec d = load(dy + j) * load(gain + j) * scale - (load(x + j) - mean) * pull;
        store(dx + j, add ? load(dx + j) + d : d);
    }
    for (; j < n; j++) {
        const float d = dy[j] * gain[j] * scale - (x[j] - mean) * pull;
        dx[j] = add ? dx[j] + d : d;
    }
}

#endif
