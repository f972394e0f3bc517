// model/backend_cpu.h - the CPU backend: OpenBLAS for products, our loops for everything else, one
// pool of threads for both.
#ifndef MODEL_BACKEND_CPU_H
#define MODEL_BACKEND_CPU_H

#include "model/backend.h"
#include "model/loops.h"
#include "model/pool.h"

// threads 0: one per core that this process may use.
PROTO_MUST_CHECK bool model_backend_cpu_open(uint32_t threads, struct model_backend **backend,
                                             struct proto_error *error);
// As open, with the loops of one instruction set ("sse4", "avx2", "avx512", "plain"), for tests,
// and with every operation shared by all threads, however small it is;
// PROTO_MISSING when this machine lacks it.
PROTO_MUST_CHECK bool model_backend_cpu_open_set(uint32_t threads, const char *set,
                                                 struct model_backend **backend,
                                                 struct proto_error *error);

struct model_backend_cpu {
    struct model_backend base;
    const struct model_loops *loops;
    struct model_pool *pool;
    size_t split_from;  // elements from which an operation is shared by the threads
    float *scratch;     // grows when a shape needs more than any before
    size_t scratch_elements;
};

// Scratch of at least `elements` floats per thread, for one operation.
PROTO_MUST_CHECK float *model_backend_cpu_scratch(struct model_backend_cpu *cpu, size_t elements,
                                                  struct proto_error *error);

// Operations that are not one loop: backend_cpu_gemm.c, backend_cpu_inputs.c.
bool model_cpu_gemm(struct model_backend *backend, const struct model_gemm *a,
                    struct proto_error *error);
bool model_cpu_sinusoid(struct model_backend *backend, const struct model_sinusoid *a,
                        struct proto_error *error);
bool model_cpu_tokens(struct model_backend *backend, const struct model_tokens *a,
                      struct proto_error *error);
bool model_cpu_concat(struct model_backend *backend, const struct model_concat *a,
                      struct proto_error *error);
bool model_cpu_concat_backward(struct model_backend *backend, const struct model_concat_backward *a,
                               struct proto_error *error);
bool model_cpu_mask_rows(struct model_backend *backend, const struct model_mask_rows *a,
                         struct proto_error *error);
bool model_cpu_patches(struct model_backend *backend, const struct model_patches *a,
                       struct proto_error *error);

#endif
