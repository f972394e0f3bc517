// model/rdt_shared.c - conditions that are the same in every sample of a batch (one instruction, a
// place without a camera): adaptor, keys and values are computed for the first sample only. Its
// keys and values are copied to the other samples, and gradients of theirs are added to its own
// before any product. The rest of the network sees keys and values of every sample, as ever.
#include "model/rdt_layout.h"

// The first sample is computed whole; of the others, each run of rows that are not shared.
void rdt_shared_begin(struct rdt_condition *c, uint32_t batch, const uint8_t *shared,
                      size_t places) {
    const size_t place_rows = c->rows / places;
    bool any = false;
    for (size_t place = 0; shared && place < places; place++) any = any || shared[place];
    c->own_count = 1;
    c->shared_count = 0;
    c->own[0] = (struct rdt_rows){0, any ? c->rows : batch * c->rows};
    for (size_t place = 0, next = 0; any && place < places; place = next) {
        next = place + 1;
        while (next < places && !shared[next] == !shared[place]) next++;
        const size_t first = place * place_rows, count = (next - place) * place_rows;
        if (shared[place]) c->shared[c->shared_count++] = (struct rdt_rows){first, count};
        for (uint32_t b = 1; !shared[place] && b < batch; b++)
            c->own[c->own_count++] = (struct rdt_rows){b * c->rows + first, count};
    }
}

bool rdt_shared_linear(struct model_rdt *rdt, const struct rdt_condition *c, struct rdt_linear l,
                       struct proto_error *error) {
    for (size_t i = 0; i < c->own_count; i++) {
        const struct rdt_rows own = c->own[i];
        struct rdt_linear part = l;
        part.rows = own.count;
        part.x += own.first * l.in;
        part.y += own.first * l.out;
        if (l.aux) part.aux += own.first * l.out;
        if (l.c) {
            part.c += own.first % c->rows * l.out;
            part.c_rows = own.count > c->rows ? c->rows : 0;
        }
        if (!rdt_linear(rdt, part, error)) return false;
    }
    return true;
}

bool rdt_shared_linear_back(struct model_rdt *rdt, const struct rdt_condition *c,
                            struct rdt_linear_back l, struct proto_error *error) {
    for (size_t i = 0; i < c->own_count; i++) {
        const struct rdt_rows own = c->own[i];
        struct rdt_linear_back part = l;
        part.rows = own.count;
        part.dy += own.first * l.out;
        part.x += own.first * l.in;
        if (l.dx) part.dx += own.first * l.in;
        if (l.aux) part.aux += own.first * l.in;
        if (!rdt_linear_back(rdt, part, error)) return false;
    }
    return true;
}

bool rdt_shared_copy(struct model_rdt *rdt, const struct rdt_condition *c, float *x, size_t width,
                     struct proto_error *error) {
    for (size_t i = 0; i < c->shared_count; i++)
        for (uint32_t b = 1; b < rdt->call->batch; b++) {
            const float *from = x + c->shared[i].first * width;
            float *to = x + (b * c->rows + c->shared[i].first) * width;
            if (!model_backend_copy(rdt->backend, to, from,
                                    c->shared[i].count * width * sizeof(float), error))
                return false;
        }
    return true;
}

bool rdt_shared_sum(struct model_rdt *rdt, const struct rdt_condition *c, float *dx, size_t width,
                    struct proto_error *error) {
    for (size_t i = 0; i < c->shared_count; i++)
        for (uint32_t b = 1; b < rdt->call->batch; b++) {
            const struct model_axpby add = {
                .n = c->shared[i].count * width,
                .a = 1,
                .x = dx + (b * c->rows + c->shared[i].first) * width,
                .b = 1,
                .y = dx + c->shared[i].first * width,
            };
            if (!model_axpby(rdt->backend, &add, error)) return false;
        }
    return true;
}

bool rdt_shared_position_back(struct model_rdt *rdt, const struct rdt_condition *c,
                              struct proto_error *error) {
    const size_t hidden = rdt->sizes.hidden;
    for (size_t i = 0; i < c->own_count; i++) {
        const struct rdt_rows own = c->own[i];
        const bool samples = own.count > c->rows;
        const struct model_sum_batch sum = {
            .batch = samples ? own.count / c->rows : 1,
            .n = (samples ? c->rows : own.count) * hidden,
            .x = c->dcond + own.first * hidden,
            .y = rdt->g + c->position + own.first % c->rows * hidden,
        };
        if (!model_sum_batch(rdt->backend, &sum, error)) return false;
    }
    return true;
}
