// trainer/plan.h - what a rank is set up to do: its configuration, index and codec, and the numbers
// that follow from them. Read once at the start; nothing in it changes afterwards.
#ifndef TRAINER_PLAN_H
#define TRAINER_PLAN_H

#include "model/encoder.h"
#include "model/rdt.h"
#include "proto/codec.h"
#include "proto/config.h"
#include "proto/index.h"
#include "proto/run.h"
#include "proto/stream.h"
#include "proto/wire.h"

// Tickets asked for ahead: enough that no loader waits, bounded so that memory is.
#define TRAINER_WINDOW_MIN 4
#define TRAINER_WINDOW_MAX 32

struct trainer_plan {
    char run[PROTO_PATH_MAX];  // folder
    uint32_t rank, ranks, attempt, threads;
    const char *device;  // "cpu", "cuda:0"; borrowed from config
    enum model_precision precision;
    struct proto_config *config;
    struct proto_index *index;
    struct proto_codec *codec;
    uint64_t config_hash;
    struct proto_stream training;    // what a step consumes
    uint32_t batch, accumulation;    // samples of a micro step over all ranks; micro steps
    uint32_t rank_batch;             // samples of this rank's micro step
    uint32_t validation_batch;       // samples of a validation batch over all ranks
    uint32_t rank_validation_batch;  // largest share of a rank in it
    uint64_t validation_set;         // samples; 0: no validation
    uint32_t batch_max;              // of the network
    uint32_t window;                 // tickets
    uint64_t steps, sample_period, checkpoint_period;
};

// Reads run/pipeline.toml, index.json and codec.json. PROTO_USAGE: rank or batch do not fit the
// devices. Free also after a failure.
PROTO_MUST_CHECK bool trainer_plan_read(const char *run, uint32_t rank, uint32_t attempt,
                                        struct trainer_plan *plan, struct proto_error *error);
void trainer_plan_free(struct trainer_plan *plan);

// What the configuration alone says of the network: width, lang_dim, img_patches and img_dim, which
// follow from data and encoders, are 0.
struct model_rdt_sizes trainer_config_sizes(const struct proto_config *config);
enum model_precision trainer_config_precision(const struct proto_config *config);

// What the encoders are opened with, and the sizes of the network that follow from them.
struct model_vision_settings trainer_plan_vision(const struct trainer_plan *plan);
PROTO_MUST_CHECK bool trainer_plan_sizes(const struct trainer_plan *plan,
                                         const struct model_language *language,
                                         struct model_rdt_sizes *sizes, struct proto_error *error);

#endif
