// trainer/intake.h - from a batch that a loader sent to the inputs of the network: diffusion noise
// and timesteps keyed by position, language rows by task, frames to image tokens on the device.
//
// Noise of position g is drawn from (seed, DIFFUSION, g) and its timestep from (seed, TIMESTEP, g),
// so neither depends on which rank or micro step g falls into. All memory is taken at open.
#ifndef TRAINER_INTAKE_H
#define TRAINER_INTAKE_H

#include "model/encoder.h"
#include "model/rdt.h"
#include "proto/sample.h"
#include "trainer/instructions.h"

struct trainer_intake;
struct trainer_intake_settings {
    struct model_rdt *rdt;
    struct model_vision *vision;
    const struct proto_codec *codec;
    const struct trainer_instructions *instructions;
    uint64_t seed;
    uint32_t batch_max;
};
// Borrows all it is given until close.
PROTO_MUST_CHECK bool trainer_intake_open(const struct trainer_intake_settings *settings,
                                          struct trainer_intake **intake,
                                          struct proto_error *error);
void trainer_intake_close(struct trainer_intake **intake);  // accepts NULL

// Fills the network's inputs from rows 0 .. count - 1 of the batch, which hold the positions from
// `first` on. *call borrows from intake and batch until the next call. PROTO_FAILED: a row names a
// task that does not exist.
PROTO_MUST_CHECK bool trainer_intake_train(struct trainer_intake *intake,
                                           const struct proto_batch *batch, uint64_t first,
                                           uint32_t count, struct model_rdt_call *call,
                                           struct proto_error *error);
// The same for a prediction: no target, no timestep; *noise [count, chunk, width] is the solver's
// start, keyed by (seed, SAMPLING, position), borrowed until the next call.
PROTO_MUST_CHECK bool trainer_intake_sample(struct trainer_intake *intake,
                                            const struct proto_batch *batch, uint64_t first,
                                            uint32_t count, struct model_rdt_call *call,
                                            const float **noise, struct proto_error *error);

#endif
