// proto/checkpoint.h - the layout of checkpoint-<step>/ and the rules that keep it whole.
//
// Written as checkpoint-<step>.partial/, every file and the folder fsync'ed, then renamed: a folder
// named checkpoint-<step> is whole, always. Inside: config.json, model.safetensors,
// ema/model.safetensors, optimizer.safetensors (newest two checkpoints only), trainer_state.json,
// codec.json, dataset_statistics.json, open_loop.json, language.safetensors.
#ifndef PROTO_CHECKPOINT_H
#define PROTO_CHECKPOINT_H

#include "proto/error.h"
#include "proto/safetensors.h"

#include <jansson.h>
#include <stdint.h>

// trainer_state.json.
struct proto_trainer_state {
    uint64_t step;         // optimiser steps done
    uint64_t cursor;       // next position of the stream
    uint64_t ema_counter;  // EMA calls done
    uint64_t seed;
    uint64_t config_hash, index_hash, codec_hash;
    uint32_t attempt;  // of the run that wrote it
    uint32_t ranks, threads;
    uint64_t train_batch_size, gradient_accumulation_steps;
    char kernels[64];  // OpenBLAS kernel set and ours: bits are equal only on the same
    // fp16: the loss scale (0: none), steps since it changed; steps that the optimiser skipped
    double loss_scale;
    uint64_t loss_scale_steps, skipped_steps;
};

// Everything that is written; tensors borrowed during the call. Small files are given as paths to
// copy (codec, statistics, open loop) and JSON (config).
struct proto_checkpoint {
    struct proto_trainer_state state;
    const json_t *config;  // config.json in the official form, rdt.md 1.7
    const char *codec_path, *statistics_path, *open_loop_path;
    const struct proto_tensor_out *model, *ema, *optimizer, *language;
    size_t model_count, ema_count, optimizer_count, language_count;
};

// Writes run/checkpoint-<step>, replacing one of the same step at once when it is whole. An older
// .partial of the same step is removed first. On failure the .partial is removed as far as possible
// and nothing else was touched. PROTO_EXHAUSTED: disk full. One writer a run; may run in a thread
// beside training, but not beside proto_checkpoint_rotate or _resolve of the same run.
PROTO_MUST_CHECK bool proto_checkpoint_write(const char *run,
                                             const struct proto_checkpoint *checkpoint,
                                             struct proto_error *error);
// Removes what is over the limit: keeps the newest `keep`, the target of `best`, and any that an
// evaluator holds (shared flock on config.json); drops optimizer.safetensors from all but the
// newest two; removes left-over .partial and .removing folders. Only rank 0 calls it. A removal
// first renames to .removing.
PROTO_MUST_CHECK bool proto_checkpoint_rotate(const char *run, uint64_t keep,
                                              struct proto_error *error);

// Steps of the whole checkpoints in a run folder, ascending; the caller frees *steps.
PROTO_MUST_CHECK bool proto_checkpoint_list(const char *run, uint64_t **steps, size_t *count,
                                            struct proto_error *error);
// What run.resume means: "auto" the newest or none (*path NULL), "no" none and PROTO_USAGE when
// there is one, else that folder. The caller frees *path.
PROTO_MUST_CHECK bool proto_checkpoint_resolve(const char *run, const char *resume, char **path,
                                               struct proto_error *error);
PROTO_MUST_CHECK bool proto_checkpoint_state_read(const char *checkpoint,
                                                  struct proto_trainer_state *state,
                                                  struct proto_error *error);
// Checks that every file a resume needs is there, has the size and hash that trainer_state.json
// lists, and opens; PROTO_DAMAGED naming it, or that this checkpoint is too old to resume from (no
// optimizer.safetensors). Reads every byte.
PROTO_MUST_CHECK bool proto_checkpoint_check(const char *checkpoint, struct proto_error *error);
// One file of a checkpoint ("ema/model.safetensors"): its size and content are what
// trainer_state.json lists. *hash: xxh64 of the content, nullable. PROTO_DAMAGED, naming the file.
PROTO_MUST_CHECK bool proto_checkpoint_check_file(const char *checkpoint, const char *name,
                                                  uint64_t *hash, struct proto_error *error);
// The hash that trainer_state.json lists for a file, without a look at the file: names the content
// that a checkpoint was written with.
PROTO_MUST_CHECK bool proto_checkpoint_file_hash(const char *checkpoint, const char *name,
                                                 uint64_t *hash, struct proto_error *error);

// Pins a checkpoint for reading (evaluator): shared lock on its config.json until close.
PROTO_MUST_CHECK bool proto_checkpoint_pin(const char *checkpoint, int *descriptor,
                                           struct proto_error *error);

#endif
