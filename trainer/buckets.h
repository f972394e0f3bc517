// trainer/buckets.h - gradients leave while the backward pass goes on: what it says is final is put
// together to pieces of some MiB, and each is added over the ranks while the rest is computed.
//
// How the vector is cut depends on the sizes of the network only, so all ranks cut alike. With the
// host's collective nothing is won by that, and the whole is added behind the backward pass: the
// same bits.
//
//     for each micro step: call.ready = last one ? trainer_buckets_ready(&buckets) : NULL
//     trainer_buckets_finish(&buckets, error)    gradients are the mean over ranks
#ifndef TRAINER_BUCKETS_H
#define TRAINER_BUCKETS_H

#include "model/rdt.h"
#include "trainer/collective.h"

struct trainer_buckets {
    struct model_backend *backend;  // borrowed, as what follows
    struct trainer_collective *collective;
    float *gradients;        // device [elements]
    size_t elements, piece;  // numbers of a bucket, at least
    size_t first, count;     // final and not started yet
    size_t started;          // numbers, of this step
    struct model_rdt_ready ready;
};

void trainer_buckets_open(struct trainer_buckets *buckets, struct model_backend *backend,
                          struct trainer_collective *collective, float *gradients, size_t elements,
                          double bucket_mib);
// For the last micro step of a step; NULL where nothing is won.
const struct model_rdt_ready *trainer_buckets_ready(struct trainer_buckets *buckets);
// Gradients become the mean over ranks, on every rank.
PROTO_MUST_CHECK bool trainer_buckets_finish(struct trainer_buckets *buckets,
                                             struct proto_error *error);

#endif
