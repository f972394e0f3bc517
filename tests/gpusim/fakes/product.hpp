// tests/gpusim/fakes/product.hpp - what a product of cublasLt is, read out of its descriptors, and
// how it is made (product.cpp).
#ifndef TESTS_GPUSIM_FAKES_PRODUCT_HPP
#define TESTS_GPUSIM_FAKES_PRODUCT_HPP

#include <cublasLt.h>

#include <cstddef>

namespace gpusim {

// Column-major: element (r, c) of matrix b is at b * stride + c * ld + r.
struct layout {
    int32_t type, order;
    uint64_t rows, columns;
    int64_t ld;
    int32_t batch;
    int64_t stride;
};

struct operation {
    int32_t compute, scale, pointer_mode, transpose_a, transpose_b, transpose_c;
    uint32_t epilogue;
    int32_t sm_count;
    void *bias;
    int64_t bias_stride;
    void *aux;
    int64_t aux_ld, aux_stride;
    int32_t aux_type, bias_type;  // -1: as d
};

struct product {
    operation op;
    layout a_layout, b_layout, c_layout, d_layout;
    const void *a, *b, *c;
    void *d;
    float alpha, beta;
};

size_t element_bytes(int32_t type);
size_t layout_bytes(const layout &l);  // from its first element to its last
int32_t aux_type_of(const product &p);
int32_t bias_type_of(const product &p);
// Elements of a bias of this product; 0: its epilogue has none.
size_t bias_elements(const product &p);

// Operands are read in their types, products summed in f32, results rounded to theirs.
void make(const product &p);

}  // namespace gpusim

#endif
