// model/conditions.h - from the tensors of a batch to what the network sees of a moment: state and
// masks, language rows by task, frames to image tokens on the device. Trainer and evaluator fill
// the network through this one function, so that what is trained is what is evaluated.
//
//     struct model_conditions *conditions = NULL;
//     if (!model_conditions_open(&settings, &conditions, error)) ...
//     if (!model_conditions_fill(conditions, batch, count, error)) ...   // then train or sample
#ifndef MODEL_CONDITIONS_H
#define MODEL_CONDITIONS_H

#include "model/encoder.h"
#include "model/rdt.h"
#include "proto/sample.h"

// The instructions that a batch may name by its task, as language tokens. Row `count` is the empty
// instruction, which stands for dropped language. Rows are padded to the longest with zeros,
// masked out. Borrowed.
struct model_texts {
    uint32_t count, length, width;
    const float *tokens;  // [count + 1, length, width]
    const uint8_t *mask;  // [count + 1, length]
};

struct model_conditions;
struct model_conditions_settings {
    struct model_rdt *rdt;
    struct model_vision *vision;
    const struct proto_codec *codec;
    struct model_texts texts;
    uint32_t batch_max;
};
// Borrows all it is given until close. All memory is taken here.
PROTO_MUST_CHECK bool model_conditions_open(const struct model_conditions_settings *settings,
                                            struct model_conditions **conditions,
                                            struct proto_error *error);
void model_conditions_close(struct model_conditions **conditions);  // accepts NULL

// Fills state, masks, language and image tokens of the network's inputs from rows 0 .. count - 1.
// Camera places without a camera are seen as background. PROTO_FAILED: a row names a task that
// does not exist.
PROTO_MUST_CHECK bool model_conditions_fill(struct model_conditions *conditions,
                                            const struct proto_batch *batch, uint32_t count,
                                            struct proto_error *error);

// Says in the call what these rows have in common (lang_shared, img_shared): one instruction, or
// none, for all; images that none of them sees, which are all the same background. Only tasks and
// masks are looked at, never contents. Borrowed until the next call.
void model_conditions_share(struct model_conditions *conditions, const struct proto_batch *batch,
                            uint32_t count, struct model_rdt_call *call);
// The same for whoever must answer a row to the same bits whatever the other rows are: [history,
// cameras], 1: a place without a camera, in any batch. For img_shared; borrowed until close.
const uint8_t *model_conditions_absent(const struct model_conditions *conditions);

#endif
