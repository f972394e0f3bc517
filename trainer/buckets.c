// trainer/buckets.c - cuts the gradients into pieces as they become final.
#include "trainer/buckets.h"

#include <string.h>

static bool buckets_send(struct trainer_buckets *buckets, struct proto_error *error) {
    const float scale = 1.0f / (float)trainer_collective_size(buckets->collective);
    const size_t first = buckets->first, count = buckets->count;
    buckets->count = 0;
    buckets->started += count;
    return count == 0 || trainer_collective_start(buckets->collective, buckets->gradients + first,
                                                  count, scale, error);
}

// A range that does not lie beside what is held sends that first.
static bool buckets_take(void *context, size_t first, size_t count, struct proto_error *error) {
    struct trainer_buckets *buckets = context;
    const bool below = first + count == buckets->first,
               above = first == buckets->first + buckets->count;
    if (buckets->count > 0 && !below && !above && !buckets_send(buckets, error)) return false;
    if (buckets->count == 0 || below) buckets->first = first;
    buckets->count += count;
    return buckets->count < buckets->piece || buckets_send(buckets, error);
}

void trainer_buckets_open(struct trainer_buckets *buckets, struct model_backend *backend,
                          struct trainer_collective *collective, float *gradients, size_t elements,
                          double bucket_mib) {
    const double numbers = bucket_mib * 1024 * 1024 / sizeof(float);
    *buckets = (struct trainer_buckets){.backend = backend,
                                        .collective = collective,
                                        .gradients = gradients,
                                        .elements = elements,
                                        .piece = numbers < 1 ? 1 : (size_t)numbers};
    buckets->ready = (struct model_rdt_ready){buckets, buckets_take};
}

const struct model_rdt_ready *trainer_buckets_ready(struct trainer_buckets *buckets) {
    const bool won = trainer_collective_on_device(buckets->collective) &&
                     trainer_collective_size(buckets->collective) > 1;
    return won ? &buckets->ready : NULL;
}

bool trainer_buckets_finish(struct trainer_buckets *buckets, struct proto_error *error) {
    const size_t elements = buckets->elements;
    if (trainer_collective_size(buckets->collective) == 1) return true;
    if (buckets->started == 0 && buckets->count == 0) {
        // the host's collective reads the memory itself; the others come behind the queue
        if (!trainer_collective_on_device(buckets->collective) &&
            !model_backend_wait(buckets->backend, error))
            return false;
        buckets->first = 0;
        buckets->count = elements;
    }
    if (!buckets_send(buckets, error)) return false;
    const size_t started = buckets->started;
    buckets->started = 0;
    if (started != elements)
        return proto_fail(error, PROTO_FAILED, "%zu of %zu gradients were added over the ranks",
                          started, elements);
    return trainer_collective_finish(buckets->collective, error);
}
