// evaluator/verb_version.c - `version`: this program and the libraries that a picture or a state
// depends on, as they say of themselves at run time.
#include "evaluator/env.h"
#include "evaluator/verb.h"

#include "proto/words.h"

#include <png.h>
#include <stdio.h>

int evaluator_verb_version(int argc, char **argv) {
    bool json = false;
    const struct proto_word options[] = {{"--json", PROTO_WORD_FLAG, &json}};
    const char *rest[1];
    size_t rest_count;
    struct proto_error error = {0};
    if (!proto_words_read(argc, argv, options, PROTO_COUNT(options), rest, 0, &rest_count, &error))
        return proto_error_print("pipeline version", &error);
    const char *mujoco = evaluator_mujoco_version(), *png = png_get_libpng_ver(NULL);
    if (json)
        printf("{\"pipeline-evaluator\": \"%s\", \"mujoco\": \"%s\", \"libpng\": \"%s\"}\n",
               PIPELINE_VERSION, mujoco, png);
    else
        printf("pipeline-evaluator %s\nmujoco %s\nlibpng %s\n", PIPELINE_VERSION, mujoco, png);
    if (fflush(stdout) == 0) return PROTO_DONE;
    proto_fail_errno(&error, PROTO_FAILED, "stdout cannot be written");
    return proto_error_print("pipeline version", &error);
}
