// evaluator/model_file.h - the attribute model_file of a demonstration: the composed MJCF with the
// fixtures where they stood. Their poses are not in the recorded states; this text is where a
// replay finds them.
#ifndef EVALUATOR_MODEL_FILE_H
#define EVALUATOR_MODEL_FILE_H

#include "evaluator/env.h"

#define EVALUATOR_MODEL_FILE_BYTES_MAX ((size_t)16 << 20)

// The text of an environment as it stands now; the caller frees it.
PROTO_MUST_CHECK bool evaluator_model_file_make(const struct evaluator_world *world,
                                                struct evaluator_env *env, char **text,
                                                struct proto_error *error);

// Puts every fixture of the world's scene where the text says. PROTO_DAMAGED: it is not XML, lacks
// the body "<fixture>_main", or a pose is not 3 or 4 finite numbers.
PROTO_MUST_CHECK bool evaluator_model_file_place(const char *text,
                                                 const struct evaluator_world *world,
                                                 struct evaluator_env *env,
                                                 struct proto_error *error);

#endif
