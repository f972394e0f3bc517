// model/kernels_elements.cu - kernels that do one thing to every element: the optimiser, linear
// combinations, masks, activations, and the assembly of the network's rows (a block per row).
#include "model/kernels.cuh"

#define ROW_THREADS 128

// Columns of a row, each thread its own.
#define FOR_EACH_COLUMN(i, n)                                                                      \
    size_t i = threadIdx.x;                                                                        \
    i < (n);                                                                                       \
    i += blockDim.x

// ---- whole buffers ----

struct adamw_numbers {
    float scale, keep, beta1, rest1, beta2, rest2, step, root2, epsilon, old, now;
};
__global__ void __launch_bounds__(BLOCK_THREADS)
    adamw_kernel(struct model_adamw a, struct adamw_numbers s, enum model_precision precision,
                 uint16_t *rounded) {
    for (FOR_EACH_ELEMENT(i, a.n)) {
        const float gradient = a.g[i] * s.scale;
        const float first = a.m[i] * s.beta1 + gradient * s.rest1;
        const float second = a.v[i] * s.beta2 + gradient * gradient * s.rest2;
        const float change = first / (sqrtf(second) / s.root2 + s.epsilon) * s.step;
        const float weight = a.p[i] * s.keep - change;
        a.m[i] = first;
        a.v[i] = second;
        a.p[i] = weight;
        if (rounded) rounded[i] = rounded_of(precision, weight);
        if (a.ema) a.ema[i] = a.ema[i] * s.old + weight * s.now;
    }
}
void model_kernel_adamw(struct CUstream_st *stream, const struct model_adamw *a,
                        enum model_precision precision, uint16_t *rounded) {
    const struct model_adamw args = *a;
    const struct adamw_numbers numbers = {float(a->gradient_scale),
                                          float(1 - a->rate * a->weight_decay),
                                          float(a->beta1),
                                          float(1 - a->beta1),
                                          float(a->beta2),
                                          float(1 - a->beta2),
                                          float(a->rate / a->correction1),
                                          float(sqrt(a->correction2)),
                                          float(a->epsilon),
                                          float(a->ema_decay),
                                          float(1 - a->ema_decay)};
    LAUNCH(adamw_kernel, element_blocks(a->n), BLOCK_THREADS, 0, stream, args, numbers, precision,
           rounded);
}

__global__ void __launch_bounds__(BLOCK_THREADS) axpby_kernel(struct model_axpby a) {
    for (FOR_EACH_ELEMENT(i, a.n)) a.y[i] = a.b == 0 ? a.a * a.x[i] : a.a * a.x[i] + a.b * a.y[i];
}
void model_kernel_axpby(struct CUstream_st *stream, const struct model_axpby *a) {
    const struct model_axpby args = *a;
    LAUNCH(axpby_kernel, element_blocks(a->n), BLOCK_THREADS, 0, stream, args);
}

__global__ void __launch_bounds__(BLOCK_THREADS) combine_kernel(struct model_combine a) {
    for (FOR_EACH_ELEMENT(i, a.n)) {
        float sum = a.c0 * a.m0[i];
        if (a.cx != 0) sum += a.cx * a.x[i];
        if (a.c1 != 0) sum += a.c1 * a.m1[i];
        a.x[i] = sum;
    }
}
void model_kernel_combine(struct CUstream_st *stream, const struct model_combine *a) {
    const struct model_combine args = *a;
    LAUNCH(combine_kernel, element_blocks(a->n), BLOCK_THREADS, 0, stream, args);
}

__global__ void __launch_bounds__(BLOCK_THREADS) sum_batch_kernel(struct model_sum_batch a) {
    for (FOR_EACH_ELEMENT(i, a.n)) {
        float sum = 0;
        for (size_t b = 0; b < a.batch; b++) sum += a.x[b * a.n + i];
        a.y[i] += sum;
    }
}
void model_kernel_sum_batch(struct CUstream_st *stream, const struct model_sum_batch *a) {
    const struct model_sum_batch args = *a;
    LAUNCH(sum_batch_kernel, element_blocks(a->n), BLOCK_THREADS, 0, stream, args);
}

// ---- rows of the network's input ----

__global__ void __launch_bounds__(ROW_THREADS) mask_rows_kernel(struct model_mask_rows a) {
    const size_t row = blockIdx.x, sample = row / a.rows;
    for (FOR_EACH_COLUMN(i, a.width))
        a.y[row * a.width + i] = a.x[row * a.width + i] * a.mask[sample * a.width + i];
}
void model_kernel_mask_rows(struct CUstream_st *stream, const struct model_mask_rows *a) {
    const struct model_mask_rows args = *a;
    LAUNCH(mask_rows_kernel, a->batch * a->rows, ROW_THREADS, 0, stream, args);
}

// Exponent and angle are rounded as the reference does, w from double (model/backend.h). The angle
// is reduced in double, because sinf of large angles needs memory of its own in every thread.
__global__ void __launch_bounds__(ROW_THREADS)
    sinusoid_kernel(struct model_sinusoid a, float log_period) {
    const size_t row = blockIdx.x, half = a.width / 2;
    for (FOR_EACH_COLUMN(k, half)) {
        const float w = float(exp(double(log_period * float(k) / float(half))));
        const float angle = a.v[row] * w;
        const double turns = double(angle) * 0.15915494309189535;  // 1 / (2 pi)
        const float part = float(2 * (turns - rint(turns)));       // in units of pi
        a.y[row * a.width + k] = cospif(part);
        a.y[row * a.width + half + k] = sinpif(part);
    }
}
void model_kernel_sinusoid(struct CUstream_st *stream, const struct model_sinusoid *a) {
    const struct model_sinusoid args = *a;
    const float log_period = float(-log(10000.0));
    LAUNCH(sinusoid_kernel, a->rows, ROW_THREADS, 0, stream, args, log_period);
}

__global__ void __launch_bounds__(ROW_THREADS) tokens_kernel(struct model_tokens a) {
    const size_t sample = blockIdx.x / (1 + a.chunk), t = blockIdx.x % (1 + a.chunk);
    const float *mask = (t == 0 ? a.state_mask : a.action_mask) + sample * a.width;
    const size_t from = (sample * a.chunk + t - 1) * a.width;  // of a step of the chunk
    float *y = a.y + blockIdx.x * 2 * a.width;
    for (FOR_EACH_COLUMN(i, a.width)) {
        float value = 0;
        if (t == 0)
            value = a.state[sample * a.width + i];
        else if (a.noise)
            value = a.signal[sample] * a.action[from + i] + a.grain[sample] * a.noise[from + i];
        else
            value = a.action[from + i];
        y[i] = value;
        y[a.width + i] = mask[i];
    }
}
void model_kernel_tokens(struct CUstream_st *stream, const struct model_tokens *a) {
    const struct model_tokens args = *a;
    LAUNCH(tokens_kernel, a->batch * (1 + a->chunk), ROW_THREADS, 0, stream, args);
}

__global__ void __launch_bounds__(ROW_THREADS) concat_kernel(struct model_concat a) {
    const size_t rows = 2 + a.rest_rows, sample = blockIdx.x / rows, row = blockIdx.x % rows;
    const float *from = row == 0   ? a.first + sample * a.width
                        : row == 1 ? a.second + sample * a.width
                                   : a.rest + (sample * a.rest_rows + row - 2) * a.width;
    for (FOR_EACH_COLUMN(i, a.width))
        a.x[blockIdx.x * a.width + i] = from[i] + a.position[row * a.width + i];
}
void model_kernel_concat(struct CUstream_st *stream, const struct model_concat *a) {
    const struct model_concat args = *a;
    LAUNCH(concat_kernel, a->batch * (2 + a->rest_rows), ROW_THREADS, 0, stream, args);
}

// A block per row of the position table, which it alone sums.
__global__ void __launch_bounds__(ROW_THREADS)
    concat_backward_kernel(struct model_concat_backward a) {
    const size_t row = blockIdx.x, from_step = (2 + a.rest_rows) * a.width;
    const size_t to_step = row < 2 ? a.width : a.rest_rows * a.width;  // from sample to sample
    float *target = row == 0 ? a.dfirst : row == 1 ? a.dsecond : a.drest + (row - 2) * a.width;
    for (FOR_EACH_COLUMN(i, a.width)) {
        const float *from = a.dx + row * a.width + i;
        float *to = target + i;
        float sum = 0;
        for (size_t b = 0; b < a.batch; b++, from += from_step, to += to_step) {
            *to = *from;
            sum += *from;
        }
        a.dposition[row * a.width + i] += sum;
    }
}
void model_kernel_concat_backward(struct CUstream_st *stream,
                                  const struct model_concat_backward *a) {
    const struct model_concat_backward args = *a;
    LAUNCH(concat_backward_kernel, 2 + a->rest_rows, ROW_THREADS, 0, stream, args);
}

// ---- around a product ----

__global__ void __launch_bounds__(BLOCK_THREADS) prefill_kernel(struct model_gemm a) {
    const size_t row = blockIdx.x, c_row = a.c_rows ? row % a.c_rows : row;
    for (FOR_EACH_COLUMN(j, a.n)) {
        float sum = a.c ? a.c[c_row * a.c_stride + j] : 0.0f;
        if (a.bias) sum += a.bias[j];
        a.d[row * a.d_stride + j] = sum;
    }
}
void model_kernel_prefill(struct CUstream_st *stream, const struct model_gemm *a) {
    const struct model_gemm args = *a;
    LAUNCH(prefill_kernel, a->m, BLOCK_THREADS, 0, stream, args);
}

// y = x s and s + x s (1 - s) slope, s the sigmoid of `inner`, slope its derivative.
struct activated {
    float y, derivative;
};
static __device__ __forceinline__ struct activated activated_of(float x, float inner, float slope) {
    const float s = 1.0f / (1.0f + expf(-inner));
    return {x * s, s + x * s * (1.0f - s) * slope};
}
static __device__ __forceinline__ struct activated gelu(float x) {
    const float c = 1.5957691216f, cube = c * 0.044715f;  // 2 sqrt(2 / pi)
    const float square = x * x;
    return activated_of(x, x * (c + cube * square), c + 3 * cube * square);
}
__global__ void __launch_bounds__(BLOCK_THREADS) activate_kernel(struct model_gemm a) {
    const size_t row = blockIdx.x;
    for (FOR_EACH_COLUMN(j, a.n)) {
        float *d = a.d + row * a.d_stride + j, *aux = a.aux ? a.aux + row * a.n + j : nullptr;
        const float x = *d;
        switch (a.activation) {
        case MODEL_LINEAR:
            break;
        case MODEL_GELU:
            *d = gelu(x).y;
            if (aux) *aux = x;
            break;
        case MODEL_SILU: {
            const struct activated result = activated_of(x, x, 1);
            *d = result.y;
            if (aux) *aux = result.derivative;
            break;
        }
        case MODEL_GELU_BACKWARD:
            *d = x * gelu(*aux).derivative;
            break;
        case MODEL_SILU_BACKWARD:
            *d = x * *aux;
            break;
        }
    }
}
void model_kernel_activate(struct CUstream_st *stream, const struct model_gemm *a) {
    const struct model_gemm args = *a;
    LAUNCH(activate_kernel, a->m, BLOCK_THREADS, 0, stream, args);
}
