// evaluator/policy_files.c - finds and checks the files of a checkpoint.
#include "evaluator/policy_files.h"

#include "model/weights.h"
#include "proto/checkpoint.h"
#include "proto/files.h"
#include "proto/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CONFIG_BYTES_MAX (1 << 20)
#define SUFFIX ".safetensors"

static bool is_weights_file(const char *path) {
    const size_t length = strlen(path), suffix = strlen(SUFFIX);
    return length > suffix && strcmp(path + length - suffix, SUFFIX) == 0 &&
           !proto_path_is_folder(path);
}

static bool put_path(char path[static EVALUATOR_POLICY_PATH_MAX], const char *folder,
                     const char *name, struct proto_error *error) {
    const int length = snprintf(path, EVALUATOR_POLICY_PATH_MAX, "%s%s%s", folder,
                                name[0] != '\0' ? "/" : "", name);
    return (length >= 0 && length < EVALUATOR_POLICY_PATH_MAX) ||
           proto_fail(error, PROTO_USAGE, "the path of the checkpoint is too long: %.200s", folder);
}

static bool has_codec(const char *folder) {
    char path[EVALUATOR_POLICY_PATH_MAX];
    struct proto_error ignored;
    return put_path(path, folder, "codec.json", &ignored) && proto_path_exists(path);
}

// The nearest folder above a file that has a codec.json.
static bool folder_above(const char *file, char folder[static EVALUATOR_POLICY_PATH_MAX],
                         struct proto_error *error) {
    char *whole = realpath(file, NULL);
    if (!whole) {
        proto_fail_errno(error, PROTO_USAGE, "cannot be opened");
        return proto_error_where(error, "%s", file);
    }
    bool found = false;
    for (char *slash = strrchr(whole, '/'); slash && !found; slash = strrchr(whole, '/')) {
        *slash = '\0';
        found = has_codec(whole);
        if (whole[0] == '\0') break;
    }
    if (!found) {
        proto_fail(
            error, PROTO_DAMAGED,
            "no folder above it has a codec.json: without the codec it was trained with, its "
            "outputs mean nothing. Give the checkpoint folder that training wrote");
        free(whole);
        return proto_error_where(error, "%s", file);
    }
    found = put_path(folder, whole, "", error);
    free(whole);
    return found;
}

// Folder and file of the weights.
static bool find_weights(const char *checkpoint, bool raw, struct evaluator_policy_facts *facts,
                         struct proto_error *error) {
    if (is_weights_file(checkpoint))
        return folder_above(checkpoint, facts->folder, error) &&
               put_path(facts->weights, checkpoint, "", error);
    if (!proto_path_is_folder(checkpoint)) {
        proto_fail(error, PROTO_USAGE,
                   "there is no such checkpoint: give a folder checkpoint-<step>, or a " SUFFIX
                   " of one");
        return proto_error_where(error, "%s", checkpoint);
    }
    if (!has_codec(checkpoint)) {
        proto_fail(error, PROTO_DAMAGED,
                   "has no codec.json: without the codec it was trained with, its outputs mean "
                   "nothing. Give a checkpoint folder that training wrote");
        return proto_error_where(error, "%s", checkpoint);
    }
    char config[EVALUATOR_POLICY_PATH_MAX];
    if (!put_path(config, checkpoint, "config.json", error)) return false;
    if (!proto_path_exists(config)) {
        proto_fail(error, PROTO_DAMAGED,
                   "has a codec.json but no config.json: a run's folder is no checkpoint, give one "
                   "of its checkpoint-<step> folders");
        return proto_error_where(error, "%s", checkpoint);
    }
    return put_path(facts->folder, checkpoint, "", error) &&
           put_path(facts->weights, checkpoint, raw ? "model" SUFFIX : "ema/model" SUFFIX, error);
}

// Every small file that is read is what was written; of the weights also the hash is wanted. A
// .safetensors that is none of the checkpoint's own files is taken as it is.
static bool check_files(struct evaluator_policy_facts *facts, struct proto_error *error) {
    static const char *const names[] = {"config.json", "codec.json", "open_loop.json",
                                        "language.safetensors"};
    static const char *const weights[] = {"ema/model.safetensors", "model.safetensors"};
    struct proto_trainer_state state;
    if (!proto_checkpoint_state_read(facts->folder, &state, error)) return false;
    facts->step = state.step;
    for (size_t i = 0; i < PROTO_COUNT(names); i++)
        if (!proto_checkpoint_check_file(facts->folder, names[i], NULL, error)) return false;
    char *own = realpath(facts->weights, NULL);
    bool done = true, listed = false;
    for (size_t i = 0; own && done && !listed && i < PROTO_COUNT(weights); i++) {
        char path[EVALUATOR_POLICY_PATH_MAX];
        done = put_path(path, facts->folder, weights[i], error);
        char *whole = done ? realpath(path, NULL) : NULL;
        listed = whole && strcmp(whole, own) == 0;
        free(whole);
        if (listed)
            done = proto_checkpoint_check_file(facts->folder, weights[i], &facts->checkpoint_hash,
                                               error);
    }
    free(own);
    if (done && !listed) done = proto_file_hash(facts->weights, &facts->checkpoint_hash, error);
    return done;
}

static bool read_solver_steps(const char *folder, uint32_t *steps, struct proto_error *error) {
    char path[EVALUATOR_POLICY_PATH_MAX];
    const json_t *scheduler = NULL;
    int64_t number = 0;
    if (!put_path(path, folder, "config.json", error)) return false;
    json_t *config = proto_json_read(path, CONFIG_BYTES_MAX, error);
    if (!config) return false;
    const bool done =
        proto_json_object(config, "noise_scheduler", &scheduler, error) &&
        proto_json_integer(scheduler, "num_inference_timesteps", 1, 1000, &number, error);
    json_decref(config);
    *steps = (uint32_t)number;
    return done || proto_error_where(error, "%s", path);
}

// Network, codec and encoders must be of one mind about every size they share.
static bool sizes_agree(const struct evaluator_policy_files *files, struct proto_error *error) {
    const struct model_rdt_sizes *sizes = &files->sizes;
    const struct proto_codec *codec = files->codec;
    if (sizes->width == codec->width && sizes->chunk == codec->chunk &&
        sizes->img_history == codec->history && sizes->img_cameras >= codec->camera_count)
        return true;
    proto_fail(error, PROTO_DAMAGED,
               "config.json is of a network for %u columns, %u actions, %u frames and %u cameras, "
               "codec.json has %u, %u, %u and %u: they do not belong together",
               sizes->width, sizes->chunk, sizes->img_history, sizes->img_cameras, codec->width,
               codec->chunk, codec->history, codec->camera_count);
    return proto_error_where(error, "%s", files->facts.folder);
}

bool evaluator_policy_files_open(const char *checkpoint, bool raw,
                                 struct evaluator_policy_files *files, struct proto_error *error) {
    struct evaluator_policy_facts *facts = &files->facts;
    char codec[EVALUATOR_POLICY_PATH_MAX], open_loop[EVALUATOR_POLICY_PATH_MAX];
    memset(files, 0, sizeof *files);
    files->pin = -1;
    if (!find_weights(checkpoint, raw, facts, error) ||
        !proto_checkpoint_pin(facts->folder, &files->pin, error) || !check_files(facts, error) ||
        !put_path(codec, facts->folder, "codec.json", error) ||
        !put_path(open_loop, facts->folder, "open_loop.json", error) ||
        !proto_codec_read(codec, &files->codec, error) ||
        !proto_open_loop_read(open_loop, files->codec, &files->open_loop, error) ||
        !model_encoder_config_read(facts->folder, &files->encoders, error) ||
        !model_weights_sizes(facts->folder, &files->sizes, error) ||
        !read_solver_steps(facts->folder, &files->solver_steps, error))
        return false;
    memcpy(facts->vision, files->encoders.vision, sizeof facts->vision);
    memcpy(facts->language, files->encoders.language, sizeof facts->language);
    facts->codec = files->codec;
    facts->open_loop = files->open_loop;
    return sizes_agree(files, error);
}

void evaluator_policy_files_close(struct evaluator_policy_files *files) {
    proto_codec_free(&files->codec);
    proto_open_loop_free(&files->open_loop);
    if (files->pin >= 0) close(files->pin);
    memset(files, 0, sizeof *files);
    files->pin = -1;
}
