// tests/device/device_widths.c - every operation of model/backend.h on a device, at the widths of
// the published network, in f32, bf16 and fp16, against the cpu, whose own operations are held
// against sums in double (tests/model).
//
//     device_widths DEVICE [--tiny]
//
// One line of JSON a case: largest difference of an output, relative to its largest number, and
// what is allowed; exit 1 when one is above. Allowed are 2e-5 for arithmetic in f32: sums of up to
// 4374 terms of mixed signs in two orders; a product with operands of 10 bits would be 50 times
// above. Products of rounded operands get 8 roundings u of an operand (bf16 2^-9, fp16 2^-12),
// gradients of attention 32: they pass four such products and a difference.
#include "tests/device/widths.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct widths published = {2, 32, 64, 67, 4374, 32, 128, 224};
static const struct widths tiny = {2, 2, 16, 5, 19, 7, 11, 24};

static const char *const precision_names[] = {"f32", "bf16", "fp16"};

static double allowed(enum reads reads, enum model_precision precision) {
    const double unit = precision == MODEL_BF16 ? 0x1p-9 : 0x1p-12;
    if (reads == NUMBERS || precision == MODEL_F32) return 2e-5;
    return (reads == PRODUCTS ? 8 : 32) * unit;
}

// ---- comparing ----

static double number_at(const void *host, bool wide, size_t i) {
    return wide ? ((const double *)host)[i] : (double)((const float *)host)[i];
}
// Largest difference of output i, relative to the largest number; infinite for a NaN.
static double apart(struct side *device, struct side *cpu, size_t i, struct proto_error *error) {
    const struct output *ours = &device->outputs[i], *theirs = &cpu->outputs[i];
    const size_t bytes = ours->count * (ours->wide ? sizeof(double) : sizeof(float));
    void *x = proto_alloc(bytes, error), *y = x ? proto_alloc(bytes, error) : NULL;
    double largest = 0, off = INFINITY;
    if (y && model_backend_download(device->backend, x, ours->device, bytes, error) &&
        model_backend_download(cpu->backend, y, theirs->device, bytes, error)) {
        off = 0;
        for (size_t k = 0; k < ours->count; k++) {
            const double a = number_at(x, ours->wide, k), b = number_at(y, ours->wide, k);
            if (!(fabs(a - b) <= off)) off = isnan(a - b) ? (double)INFINITY : fabs(a - b);
            if (fabs(b) > largest) largest = fabs(b);
        }
        if (largest > 0) off /= largest;
    }
    free(x);
    free(y);
    return off;
}
static void side_clear(struct side *s) {
    for (size_t i = 0; i < s->memory_count; i++) model_backend_free(s->backend, s->memories[i]);
    s->memory_count = s->output_count = 0;
    s->error = (struct proto_error){0};
}

static bool run_case(struct side *device, struct side *cpu, size_t at) {
    const enum model_precision precision = model_backend_precision_of(device->backend);
    const double limit = allowed(widths_cases[at].reads, precision);
    struct proto_error error = {0};
    double worst = INFINITY;
    if (widths_cases[at].run(device) && widths_cases[at].run(cpu)) {
        worst = 0;
        for (size_t i = 0; i < cpu->output_count; i++)
            worst = fmax(worst, apart(device, cpu, i, &error));
    }
    const bool passed = worst <= limit;
    printf("{\"what\": \"operation\", \"operation\": \"%s\", \"case\": \"%s\", \"precision\": "
           "\"%s\", \"error\": %.3g, \"tolerance\": %.3g, \"passed\": %s}\n",
           widths_cases[at].operation, widths_cases[at].name, precision_names[precision],
           isfinite(worst) ? worst : 1e300, limit, passed ? "true" : "false");
    fflush(stdout);
    const struct proto_error *const said[] = {&device->error, &cpu->error, &error};
    for (size_t i = 0; i < PROTO_COUNT(said); i++)
        if (said[i]->status)
            fprintf(stderr, "device_widths: %s: %s\n", widths_cases[at].operation, said[i]->text);
    side_clear(device);
    side_clear(cpu);
    return passed;
}

// Is there a case of every operation of the table?
static bool table_is_covered(struct proto_error *error) {
#define NAME(name, args) #name,
    static const char *const names[] = {MODEL_OPERATIONS(NAME)};
    for (size_t i = 0; i < PROTO_COUNT(names); i++) {
        size_t at = 0;
        while (at < widths_case_count && strcmp(widths_cases[at].operation, names[i]) != 0) at++;
        if (at == widths_case_count)
            return proto_fail(error, PROTO_FAILED, "no case of the operation %s", names[i]);
    }
    return true;
}

int main(int count, char **words) {
    const bool small = count == 3 && strcmp(words[2], "--tiny") == 0;
    struct proto_error error = {0};
    if (count != 2 && !small) {
        fprintf(stderr, "usage: device_widths DEVICE [--tiny]\n");
        return PROTO_USAGE;
    }
    static struct side device, cpu;
    device.w = cpu.w = small ? tiny : published;
    bool done = table_is_covered(&error) &&
                model_backend_open(words[1], 1, &device.backend, &error) &&
                model_backend_open("cpu", 0, &cpu.backend, &error);
    size_t above = 0;
    for (int p = MODEL_F32; done && p <= MODEL_FP16; p++) {
        done = model_backend_precision(device.backend, (enum model_precision)p, &error);
        for (size_t i = 0; done && i < widths_case_count; i++)
            if (p == MODEL_F32 || widths_cases[i].reads != NUMBERS)
                above += !run_case(&device, &cpu, i);
    }
    model_backend_close(&device.backend);
    model_backend_close(&cpu.backend);
    if (done && above > 0)
        done = proto_fail(&error, PROTO_FAILED, "%zu cases are above their tolerance", above);
    return done ? PROTO_DONE : proto_error_print("device_widths", &error);
}
