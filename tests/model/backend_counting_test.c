// tests/model/backend_counting_test.c - a device that counts: sizes of operations against formulas,
// memory against what was asked for.
#include "tests/check.h"

#include "model/backend_counting.h"

struct totals {
    double flop, bytes, rounding_bytes;
    uint32_t operations;
    const float *weight;
};
static void add(void *context, const struct model_counted *counted) {
    struct totals *totals = context;
    totals->flop += counted->flop;
    totals->bytes += counted->bytes;
    totals->rounding_bytes += counted->rounding_bytes;
    totals->operations++;
    totals->weight = counted->weight;
}

static struct model_backend *opened(struct totals *totals, enum model_precision precision) {
    struct proto_error error = {0};
    struct model_backend *backend = NULL;
    const struct model_counting_settings settings = {.see = add, .context = totals};
    *totals = (struct totals){0};
    CHECK_OK(model_backend_counting_open(&settings, &backend, &error), error);
    CHECK_OK(model_backend_precision(backend, precision, &error), error);
    return backend;
}

TEST(counting_holds_memory_by_purpose_that_nobody_touches) {
    struct proto_error error = {0};
    struct totals totals;
    struct model_backend_memory memory;
    struct model_backend *backend = opened(&totals, MODEL_BF16);
    model_backend_purpose(backend, "weights");
    // a hundred times what a machine has: only addresses are taken
    float *weights = model_backend_alloc(backend, (size_t)1 << 42, &error);
    CHECK_OK(weights != NULL, error);
    CHECK_OK(model_backend_parameters(backend, weights, 1000, &error), error);
    model_backend_purpose(backend, "activations");
    void *activations = model_backend_alloc(backend, 77, &error);
    CHECK_OK(activations != NULL, error);
    CHECK_OK(model_backend_memory(backend, &memory, &error), error);
    CHECK_INT(memory.count, 3);
    CHECK_INT(memory.held_bytes, ((size_t)1 << 42) + 2000 + 77);
    CHECK_TEXT(memory.held[1].purpose, "rounded weights");
    CHECK_INT(memory.held[1].bytes, 2000);
    model_backend_free(backend, weights);
    model_backend_free(backend, activations);
    CHECK_OK(model_backend_memory(backend, &memory, &error), error);
    CHECK_INT(memory.held_bytes, 2000);
    // no address space is that large
    CHECK(model_backend_alloc(backend, SIZE_MAX - 5, &error) == NULL);
    CHECK_INT(error.status, PROTO_EXHAUSTED);
    model_backend_close(&backend);
}

TEST(counting_knows_the_products_of_a_linear_layer) {
    struct proto_error error = {0};
    struct totals totals;
    float place[3];  // never followed
    const struct model_gemm forward = {.transpose_b = true,
                                       .m = 7,
                                       .n = 5,
                                       .k = 3,
                                       .a = place,
                                       .a_stride = 3,
                                       .b = place + 1,
                                       .b_stride = 3,
                                       .d = place + 2,
                                       .d_stride = 5};
    struct model_backend *backend = opened(&totals, MODEL_F32);
    CHECK_OK(model_gemm(backend, &forward, &error), error);
    CHECK(totals.flop == 2 * 7 * 5 * 3);
    CHECK(totals.bytes == 4 * (7 * 3 + 3 * 5 + 7 * 5));
    CHECK(totals.rounding_bytes == 0);
    CHECK(totals.weight == place + 1);
    model_backend_close(&backend);
    // bf16: operands are half as wide, and only the activation is rounded at the spot
    backend = opened(&totals, MODEL_BF16);
    CHECK_OK(model_gemm(backend, &forward, &error), error);
    CHECK(totals.bytes == 2 * (7 * 3 + 3 * 5) + 4 * 7 * 5);
    CHECK(totals.rounding_bytes == 6 * 7 * 3);
    // the gradient of a weight [5, 3] reads two activations
    const struct model_gemm gradient = {.transpose_a = true,
                                        .m = 5,
                                        .n = 3,
                                        .k = 7,
                                        .a = place,
                                        .a_stride = 5,
                                        .b = place + 1,
                                        .b_stride = 3,
                                        .c = place + 2,
                                        .c_stride = 3,
                                        .d = place + 2,
                                        .d_stride = 3};
    totals = (struct totals){0};
    CHECK_OK(model_gemm(backend, &gradient, &error), error);
    CHECK(totals.rounding_bytes == 6 * (7 * 5 + 7 * 3));
    CHECK(totals.weight == place + 2);
    model_backend_close(&backend);
}

TEST(counting_sends_zeros_and_counts_what_travels) {
    struct proto_error error = {0};
    struct totals totals;
    double host[4] = {1, 2, 3, 4};
    struct model_backend *backend = opened(&totals, MODEL_F32);
    double *device = model_backend_alloc(backend, sizeof host, &error);
    CHECK_OK(device != NULL, error);
    CHECK_OK(model_backend_upload(backend, device, host, sizeof host, &error), error);
    CHECK_OK(model_backend_download(backend, host, device, sizeof host, &error), error);
    CHECK(host[0] == 0 && host[3] == 0);
    CHECK(totals.bytes == 2 * sizeof host);
    CHECK_INT(totals.operations, 2);
    model_backend_free(backend, device);
    model_backend_close(&backend);
}

TEST(counting_still_checks_shapes) {
    struct proto_error error = {0};
    struct totals totals;
    struct model_backend *backend = opened(&totals, MODEL_F32);
    const struct model_gemm nothing = {.m = 0, .n = 5, .k = 3};
    CHECK(!model_gemm(backend, &nothing, &error));
    CHECK_INT(totals.operations, 0);
    model_backend_close(&backend);
}

TEST_MAIN(UNIT(counting_holds_memory_by_purpose_that_nobody_touches),
          UNIT(counting_knows_the_products_of_a_linear_layer),
          UNIT(counting_sends_zeros_and_counts_what_travels), UNIT(counting_still_checks_shapes))
