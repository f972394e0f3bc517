// model/weights.h - folders of weights in the published layout: config.json beside
// model.safetensors, read strictly; and the config.json of our own networks.
#ifndef MODEL_WEIGHTS_H
#define MODEL_WEIGHTS_H

#include "model/rdt.h"

#include <jansson.h>

// Reads <folder>/config.json and checks it against `sizes`; then <folder>/model.safetensors into
// flat (host [table->elements]): every parameter present with its shape, nothing else, F32, BF16 or
// F16, finite. PROTO_USAGE: the folder or config.json is not there, or sizes differ, naming the
// key. PROTO_MISSING: only pytorch_model.bin is there. PROTO_DAMAGED: the file is not whole.
PROTO_MUST_CHECK bool model_weights_read(const char *folder, const struct model_parameters *table,
                                         float *flat, struct proto_error *error);
// Sizes of a folder's network from its config.json (norm_stat and epsilon are not in the official
// form: ours adds "norm_stat", absent means variance).
PROTO_MUST_CHECK bool model_weights_sizes(const char *folder, struct model_rdt_sizes *sizes,
                                          struct proto_error *error);
// config.json in the official form. New reference; NULL and *error on lack of memory.
PROTO_MUST_CHECK json_t *model_weights_config(const struct model_rdt_sizes *sizes,
                                              uint32_t inference_steps, struct proto_error *error);

#endif
