// tests/device/widths.h - the cases of device_widths: operations at some widths on one side of a
// comparison, with what is read, and which results are compared.
#ifndef TESTS_DEVICE_WIDTHS_H
#define TESTS_DEVICE_WIDTHS_H

#include "model/backend.h"

#define OUTPUTS_MAX 8
#define MEMORIES_MAX 24

struct widths {
    size_t batch, heads, head_width, queries, image_keys, language_keys, width, pixels;
};
// One side of a comparison: memory of a case, and which of it are results.
struct side {
    struct model_backend *backend;
    struct widths w;
    struct proto_error error;
    void *memories[MEMORIES_MAX];
    size_t memory_count, output_count;
    struct output {
        void *device;
        size_t count;
        bool wide;  // f64
    } outputs[OUTPUTS_MAX];
};
enum reads { NUMBERS, PRODUCTS, CHAINS };  // what of it is rounded; CHAINS: gradients of attention
struct widths_case {
    const char *operation, *name;
    bool (*run)(struct side *s);
    enum reads reads;
};
extern const struct widths_case widths_cases[];
extern const size_t widths_case_count;

#endif
