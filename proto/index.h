// proto/index.h - index.json: what the data of a run is. Written once by `pipeline-loader index`;
// a trainer learns n from it and never opens a data set; a loader compares what it opens with it.
#ifndef PROTO_INDEX_H
#define PROTO_INDEX_H

#include "proto/error.h"

#include <stdint.h>

#define PROTO_FILES_MAX 4096
#define PROTO_TASKS_MAX 1024
#define PROTO_EPISODES_MAX 1000000

struct proto_index_file {
    char *path;                 // absolute
    uint64_t size_bytes, hash;  // xxh64 of the whole content
    int64_t mtime_ns;           // same size and mtime: the hash is not computed again
};

struct proto_index_task {
    char *name;         // stem of the BDDL file, or of the HDF5 file without "_demo"
    char *instruction;  // the sentence, not the file's name
};

struct proto_index_episode {
    uint32_t file, task;    // rows of the two tables above
    char *group;            // "data/demo_3"
    uint32_t steps;         // T
    bool validation;        // never trained on
    uint32_t sample_count;  // T - 1 under `after`, T under `before`
    uint64_t sample_first;  // id of its first sample within its split (training or validation)
};

// Action errors of predictors that need no training, on the run's validation set (the first
// sample_batch_size * num_sample_batches samples in the order of the validation stream), as mean
// square over valid steps and action channels, in the codec's units. NaN without validation.
struct proto_index_baselines {
    double mean_action, time_mean, nearest_neighbour;
};

struct proto_index {
    struct proto_index_file *files;
    struct proto_index_task *tasks;
    struct proto_index_episode *episodes;  // by file, then by number of the demonstration
    uint32_t file_count, task_count, episode_count;
    bool after;  // alignment: obs[j] follows action[j]
    uint64_t train_samples, validation_samples;
    uint64_t validation_set;  // samples of the fixed validation set
    struct proto_index_baselines baselines;
    uint64_t hash;  // over contents (not paths): equal index, equal stream
};

PROTO_MUST_CHECK bool proto_index_write(const char *path, const struct proto_index *index,
                                        struct proto_error *error);
PROTO_MUST_CHECK bool proto_index_read(const char *path, struct proto_index **index,
                                       struct proto_error *error);
void proto_index_free(struct proto_index **index);
uint64_t proto_index_hash(const struct proto_index *index);

// Where sample `id` of a split is: an episode and its observation j. id must be below the split's
// n.
struct proto_place {
    uint32_t episode, j;
};
struct proto_place proto_index_place(const struct proto_index *index, bool validation, uint64_t id);

#endif
