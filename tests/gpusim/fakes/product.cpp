// tests/gpusim/fakes/product.cpp - d = epilogue(alpha op(a) op(b) + beta c), column-major, in f32
// by OpenBLAS. The tanh form of GELU; its AUX is what the activation reads.
//
// Two readings of cublasLt's manual that only a device can confirm: gradients of a bias overwrite
// and are not scaled by alpha, and every epilogue exists for every combination of types here.
#include "gpusim/fakes/product.hpp"

#include "gpusim/fakes/half.hpp"

#include <cblas.h>
#include <vector>

namespace gpusim {

size_t element_bytes(int32_t type) { return type == CUDA_R_32F ? 4 : 2; }
size_t layout_bytes(const layout &l) {
    const size_t one = size_t(l.ld) * (l.columns - 1) + l.rows;
    return (size_t(l.batch - 1) * size_t(l.stride) + one) * element_bytes(l.type);
}
int32_t aux_type_of(const product &p) {
    return p.op.aux_type >= 0 ? p.op.aux_type : p.d_layout.type;
}
int32_t bias_type_of(const product &p) {
    return p.op.bias_type >= 0 ? p.op.bias_type : p.d_layout.type;
}

static bool has(const product &p, uint32_t bit) { return (p.op.epilogue & bit) != 0; }
static constexpr uint32_t relu_bit = 2, bias_bit = 4, bgrad_bit = 16, gelu_bit = 32, dgelu_bit = 64,
                          aux_bit = 128, bgrada_bit = 256, bgradb_bit = 512;

size_t bias_elements(const product &p) {
    if (has(p, bgradb_bit)) return p.d_layout.columns;
    return has(p, bias_bit | bgrad_bit | bgrada_bit) ? p.d_layout.rows : 0;
}

static float load(const void *memory, int32_t type, size_t at) {
    if (type == CUDA_R_32F) return static_cast<const float *>(memory)[at];
    const uint16_t h = static_cast<const uint16_t *>(memory)[at];
    return type == CUDA_R_16BF ? from_bf16(h) : from_f16(h);
}
static void store(void *memory, int32_t type, size_t at, float x) {
    if (type == CUDA_R_32F)
        static_cast<float *>(memory)[at] = x;
    else
        static_cast<uint16_t *>(memory)[at] = type == CUDA_R_16BF ? to_bf16(x) : to_f16(x);
}

// One matrix of an operand, dense, each element as `read` gives it.
template <typename Element, typename Read>
static std::vector<float> dense(const void *memory, const layout &l, size_t matrix, Read read) {
    std::vector<float> x(l.rows * l.columns);
    const auto *from = static_cast<const Element *>(memory) + matrix * size_t(l.stride);
    for (size_t c = 0; c < l.columns; c++)
        for (size_t r = 0; r < l.rows; r++) x[c * l.rows + r] = read(from[c * size_t(l.ld) + r]);
    return x;
}
// The same, as the multiplication reads it.
static std::vector<float> operand(const void *memory, const layout &l, size_t matrix,
                                  int32_t compute) {
    if (l.type == CUDA_R_16BF) return dense<uint16_t>(memory, l, matrix, from_bf16);
    if (l.type == CUDA_R_16F) return dense<uint16_t>(memory, l, matrix, from_f16);
    switch (compute) {
    case CUBLAS_COMPUTE_32F_FAST_TF32:
        return dense<float>(memory, l, matrix, [](float x) { return round_mantissa(x, 13); });
    case CUBLAS_COMPUTE_32F_FAST_16BF:
        return dense<float>(memory, l, matrix, [](float x) { return from_bf16(to_bf16(x)); });
    case CUBLAS_COMPUTE_32F_FAST_16F:
        return dense<float>(memory, l, matrix, [](float x) { return from_f16(to_f16(x)); });
    default:
        return dense<float>(memory, l, matrix, [](float x) { return x; });
    }
}

// Hendrycks & Gimpel 2016, tanh form: x / 2 (1 + tanh(u)), u = sqrt(2 / pi) (x + 0.044715 x^3).
static constexpr double root = 0.7978845608028654, cubic = 0.044715;
static float gelu(float x) {
    const double v = x;
    return float(v / 2 * (1 + tanh(root * (v + cubic * v * v * v))));
}
static float gelu_slope(float x) {
    const double v = x, t = tanh(root * (v + cubic * v * v * v));
    return float((1 + t) / 2 + v / 2 * (1 - t * t) * root * (1 + 3 * cubic * v * v));
}

// What stands in d and in the arrays beside it, from the sums y [m, n] of one matrix.
static void finish(const product &p, size_t matrix, std::vector<float> &y) {
    const layout &d = p.d_layout;
    const size_t m = d.rows, bias_at = matrix * size_t(p.op.bias_stride);
    std::vector<double> gradient(has(p, bgrad_bit) ? m : 0);
    for (size_t c = 0; c < d.columns; c++)
        for (size_t r = 0; r < m; r++) {
            const size_t at = c * size_t(d.ld) + r;
            const size_t aux_at = matrix * size_t(p.op.aux_stride) + c * size_t(p.op.aux_ld) + r;
            float v = p.alpha * y[c * m + r];
            if (p.beta != 0)
                v += p.beta *
                     load(p.c, p.c_layout.type,
                          matrix * size_t(p.c_layout.stride) + c * size_t(p.c_layout.ld) + r);
            if (has(p, bias_bit)) v += load(p.op.bias, bias_type_of(p), bias_at + r);
            if (has(p, gelu_bit)) {
                if (has(p, aux_bit)) store(p.op.aux, aux_type_of(p), aux_at, v);
                v = gelu(v);
            }
            if (has(p, relu_bit)) v = v > 0 ? v : 0;
            if (has(p, dgelu_bit)) v *= gelu_slope(load(p.op.aux, aux_type_of(p), aux_at));
            if (has(p, bgrad_bit)) gradient[r] += double(v);
            store(p.d, d.type, matrix * size_t(d.stride) + at, v);
        }
    for (size_t r = 0; r < gradient.size(); r++)
        store(p.op.bias, bias_type_of(p), bias_at + r, float(gradient[r]));
}

// Sums of an operand's rows (a) or columns (b) over what the multiplication sums over.
static void sum_operand(const product &p, size_t matrix, const std::vector<float> &x, size_t count,
                        size_t step, size_t k, size_t k_step) {
    for (size_t i = 0; i < count; i++) {
        double sum = 0;
        for (size_t j = 0; j < k; j++) sum += double(x[i * step + j * k_step]);
        store(p.op.bias, bias_type_of(p), matrix * size_t(p.op.bias_stride) + i, float(sum));
    }
}

void make(const product &p) {
    const bool ta = p.op.transpose_a != CUBLAS_OP_N, tb = p.op.transpose_b != CUBLAS_OP_N;
    const size_t m = p.d_layout.rows, n = p.d_layout.columns;
    const size_t k = ta ? p.a_layout.rows : p.a_layout.columns;
    for (size_t matrix = 0; matrix < size_t(p.d_layout.batch); matrix++) {
        const auto a = operand(p.a, p.a_layout, matrix, p.op.compute);
        const auto b = operand(p.b, p.b_layout, matrix, p.op.compute);
        std::vector<float> y(m * n);
        cblas_sgemm(CblasColMajor, ta ? CblasTrans : CblasNoTrans, tb ? CblasTrans : CblasNoTrans,
                    blasint(m), blasint(n), blasint(k), 1, a.data(), blasint(p.a_layout.rows),
                    b.data(), blasint(p.b_layout.rows), 0, y.data(), blasint(m));
        if (has(p, bgrada_bit)) sum_operand(p, matrix, a, m, ta ? k : 1, k, ta ? 1 : m);
        if (has(p, bgradb_bit)) sum_operand(p, matrix, b, n, tb ? 1 : k, k, tb ? n : 1);
        finish(p, matrix, y);
    }
}

}  // namespace gpusim
