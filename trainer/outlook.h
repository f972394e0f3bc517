// trainer/outlook.h - everything that `pipeline plan` says of a configuration, gathered: what the
// run will take of devices, host and disk, how long it will take on which cards, what is not there
// yet and what is assumed instead. Needs no GPU, no data and no weights.
#ifndef TRAINER_OUTLOOK_H
#define TRAINER_OUTLOOK_H

#include "proto/codec.h"
#include "proto/config.h"
#include "proto/index.h"
#include "trainer/forecast.h"

#define TRAINER_OUTLOOK_MISSING_MAX 16
#define TRAINER_OUTLOOK_ROWS_MAX 16

// Something that is not there, and what the numbers rest on instead.
struct trainer_missing {
    char what[256];     // "data.path: datasets/x is not there"
    char assumed[192];  // "2 cameras of 128 x 128 frames"; "": no number depends on it
};

// The same work on some number of cards of one kind.
struct trainer_outlook_row {
    const struct trainer_card *card;
    uint32_t cards;
    bool here;            // a device of this machine
    char device[64];      // its own name then
    double memory_bytes;  // of one
    struct trainer_fit fit;
    struct trainer_forecast_time time;  // at what fits
    double scaling;  // samples a second over those of one card; 0: not comparable
};

struct trainer_outlook {
    struct proto_config *config;
    struct proto_codec *codec;  // of the run folder; NULL: not indexed yet
    struct proto_index *index;
    uint32_t cameras, tasks;  // with data; tasks 1 when they are not known
    uint32_t height, width;   // of frames
    struct trainer_missing missing[TRAINER_OUTLOOK_MISSING_MAX];
    size_t missing_count;
    uint32_t threads;                   // of a cpu rank
    struct trainer_forecast *forecast;  // as the file says
    struct trainer_card cpu;            // measured, for cpu ranks
    struct trainer_outlook_row rows[TRAINER_OUTLOOK_ROWS_MAX];
    size_t row_count;
    double host_ranks, host_loaders;  // bytes: of all trainers, of all loaders
    double checkpoint_bytes;          // one, without the optimiser's file
    double optimiser_bytes;           // that file; the newest two have it
    double checkpoints, videos;       // bytes on the disk at the end
    uint64_t checkpoint_count, evaluations;
    double disk_free;             // bytes where the run folder will be; negative: not known
    uint64_t first_epoch_images;  // 0: not known
};

// PROTO_USAGE as for `up`. Free also after a failure.
PROTO_MUST_CHECK bool trainer_outlook_make(const char *file, const char *const *sets,
                                           size_t set_count, struct trainer_outlook *outlook,
                                           struct proto_error *error);
void trainer_outlook_free(struct trainer_outlook *outlook);

#endif
