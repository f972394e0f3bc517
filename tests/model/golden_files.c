// tests/model/golden_files.c - reading the recorded folder and keeping results by name.
#include "tests/model/golden.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool add_named(struct golden_results *results, float *data, size_t count, char *name,
                      struct proto_error *error) {
    if (results->count == results->room) {
        const size_t room = results->room ? 2 * results->room : 64;
        struct golden_result *items = realloc(results->items, room * sizeof *items);
        if (!items) {
            free(data);
            free(name);
            return proto_fail(error, PROTO_EXHAUSTED, "no memory for results");
        }
        results->items = items;
        results->room = room;
    }
    results->items[results->count++] = (struct golden_result){name, data, count};
    return true;
}

bool golden_add(struct golden_results *results, const float *data, size_t count,
                struct proto_error *error, const char *format, ...) {
    char *name = NULL;
    va_list arguments;
    va_start(arguments, format);
    const int length = vasprintf(&name, format, arguments);
    va_end(arguments);
    float *copy = proto_alloc_array(count, sizeof *copy, error);
    if (length < 0 || !copy) {
        if (length >= 0) free(name);
        free(copy);
        return proto_fail(error, PROTO_EXHAUSTED, "no memory for results");
    }
    memcpy(copy, data, count * sizeof *copy);
    return add_named(results, copy, count, name, error);
}

bool golden_add_double(struct golden_results *results, const double *data, size_t count,
                       struct proto_error *error, const char *format, ...) {
    char *name = NULL;
    va_list arguments;
    va_start(arguments, format);
    const int length = vasprintf(&name, format, arguments);
    va_end(arguments);
    float *copy = proto_alloc_array(count, sizeof *copy, error);
    if (length < 0 || !copy) {
        if (length >= 0) free(name);
        free(copy);
        return proto_fail(error, PROTO_EXHAUSTED, "no memory for results");
    }
    for (size_t i = 0; i < count; i++) copy[i] = (float)data[i];
    return add_named(results, copy, count, name, error);
}

bool golden_add_parameters(struct golden *g, struct golden_results *results, const char *prefix,
                           const float *flat, struct proto_error *error) {
    for (size_t i = 0; i < g->table->count; i++) {
        const struct model_parameter *item = &g->table->items[i];
        if (!golden_add(results, flat + item->offset, item->elements, error, "%s%s", prefix,
                        item->name))
            return false;
    }
    return true;
}

const struct golden_result *golden_find(const struct golden_results *results, const char *name) {
    for (size_t i = results->count; i-- > 0;)
        if (strcmp(results->items[i].name, name) == 0) return &results->items[i];
    return NULL;
}

void golden_results_free(struct golden_results *results) {
    for (size_t i = 0; i < results->count; i++) {
        free(results->items[i].name);
        free(results->items[i].data);
    }
    free(results->items);
    *results = (struct golden_results){0};
}

bool golden_open(const struct golden *g, const char *name, struct proto_safetensors **file,
                 struct proto_error *error) {
    *file = NULL;
    char *path = proto_format(error, "%s/%s.safetensors", g->folder, name);
    if (!path) return false;
    FILE *there = fopen(path, "rb");
    bool done = true;
    if (there) {
        fclose(there);
        done = proto_safetensors_open(path, file, error);
    }
    free(path);
    return done;
}

bool golden_read(const struct proto_safetensors *file, const char *name, float **data,
                 size_t *count, struct proto_error *error) {
    const struct proto_tensor_info *info = proto_safetensors_find(file, name);
    if (!info) return proto_fail(error, PROTO_DAMAGED, "tensor %s is missing", name);
    *count = info->elements;
    *data = proto_alloc_array(info->elements, sizeof **data, error);
    if (!*data) return false;
    if (proto_safetensors_read_f32(file, info, *data, info->elements, error)) return true;
    free(*data);
    *data = NULL;
    return false;
}

bool golden_number(const struct golden *g, const char *path, double *value,
                   struct proto_error *error) {
    const json_t *at = g->info;
    char key[64];
    for (const char *rest = path; at && *rest;) {
        const size_t length = strcspn(rest, ".");
        snprintf(key, sizeof key, "%.*s", (int)length, rest);
        at = json_is_array(at) ? json_array_get(at, (size_t)strtoul(key, NULL, 10))
                               : json_object_get(at, key);
        rest += length + (rest[length] == '.');
    }
    if (!json_is_number(at))
        return proto_fail(error, PROTO_DAMAGED, "info.json: %s is not there", path);
    *value = json_number_value(at);
    return true;
}

// Uploads `row` elements of each of the rows first..first+count-1.
static bool upload_rows(struct golden *g, const char *step, const char *name, uint32_t first,
                        uint32_t count, size_t row, float *device, struct proto_error *error) {
    char full[64];
    snprintf(full, sizeof full, "%s.%s", step, name);
    float *data = NULL;
    size_t found = 0;
    if (!golden_read(g->batches, full, &data, &found, error)) return false;
    bool done = found == (size_t)g->batch * row;
    if (!done)
        proto_fail(error, PROTO_DAMAGED, "%s has %zu elements, expected %u x %zu", full, found,
                   g->batch, row);
    if (done)
        done = model_backend_upload(g->backend, device, data + first * row,
                                    count * row * sizeof *data, error);
    free(data);
    return done;
}

static bool upload_mask(struct golden *g, const char *step, uint32_t first, uint32_t count,
                        struct proto_error *error) {
    char full[64];
    snprintf(full, sizeof full, "%s.lang_mask", step);
    float *data = NULL;
    size_t found = 0;
    if (!golden_read(g->batches, full, &data, &found, error)) return false;
    bool done = found == (size_t)g->batch * g->lang_length;
    if (!done) proto_fail(error, PROTO_DAMAGED, "%s has %zu elements", full, found);
    uint8_t *mask = done ? proto_alloc(found, error) : NULL;
    done = mask != NULL;
    for (size_t i = 0; done && i < found; i++) mask[i] = data[i] != 0;
    if (done)
        done = model_backend_upload(g->backend, model_rdt_inputs(g->rdt)->lang_mask,
                                    mask + (size_t)first * g->lang_length,
                                    (size_t)count * g->lang_length, error);
    free(mask);
    free(data);
    return done;
}

bool golden_batch(struct golden *g, const char *step, uint32_t first, uint32_t count,
                  struct golden_call *held, struct proto_error *error) {
    const struct model_rdt_inputs *in = model_rdt_inputs(g->rdt);
    const size_t width = g->sizes.width, actions = g->sizes.chunk * width;
    const struct {
        const char *name;
        size_t row;
        float *device;
    } rows[] = {
        {"state", width, in->state},
        {"mask", width, in->state_mask},
        {"mask", width, in->action_mask},
        {"action", actions, in->action},
        {"noise", actions, in->noise},
        {"lang_tokens", (size_t)g->lang_length * g->sizes.lang_dim, in->lang_tokens},
        {"img_tokens", (size_t)model_rdt_img_length(&g->sizes) * g->sizes.img_dim, in->img_tokens},
    };
    for (size_t i = 0; i < PROTO_COUNT(rows); i++)
        if (!upload_rows(g, step, rows[i].name, first, count, rows[i].row, rows[i].device, error))
            return false;
    if (!upload_mask(g, step, first, count, error)) return false;
    float *numbers[2] = {NULL, NULL};
    const char *const names[2] = {"timesteps", "ctrl_freqs"};
    bool done = true;
    for (int i = 0; done && i < 2; i++) {
        char full[64];
        size_t found = 0;
        snprintf(full, sizeof full, "%s.%s", step, names[i]);
        done = golden_read(g->batches, full, &numbers[i], &found, error);
        if (done && found != g->batch)
            done = proto_fail(error, PROTO_DAMAGED, "%s has %zu elements", full, found);
    }
    for (uint32_t b = 0; done && b < count; b++) {
        held->timesteps[b] = (uint32_t)numbers[0][first + b];
        held->freqs[b] = numbers[1][first + b];
    }
    held->call = (struct model_rdt_call){.batch = count,
                                         .lang_length = g->lang_length,
                                         .timesteps = held->timesteps,
                                         .ctrl_freq = held->freqs};
    free(numbers[0]);
    free(numbers[1]);
    return done;
}

bool golden_restart(struct golden *g, struct proto_error *error) {
    const size_t bytes = g->table->elements * sizeof(float);
    return model_backend_upload(g->backend, g->device, g->initial, bytes, error) &&
           model_backend_fill(g->backend, g->gradients, 0, bytes, error);
}

bool golden_gradients(struct golden *g, float **flat, struct proto_error *error) {
    *flat = proto_alloc_array(g->table->elements, sizeof **flat, error);
    if (!*flat) return false;
    if (model_backend_download(g->backend, *flat, g->gradients, g->table->elements * sizeof **flat,
                               error))
        return true;
    free(*flat);
    return false;
}
