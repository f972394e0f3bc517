// proto/checkpoint.c - finding, reading and checking checkpoints.
//
// trainer_state.json is written last and lists size and xxh64 of every other file, so that a
// checkpoint damaged on the disk is an error and not a strange loss.
#include "proto/checkpoint.h"
#include "proto/checkpoint_parts.h"
#include "proto/files.h"
#include "proto/json.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

const struct checkpoint_file checkpoint_files[CHECKPOINT_PARTS] = {
    [CHECKPOINT_CONFIG] = {"config.json", CHECKPOINT_JSON},
    [CHECKPOINT_CODEC] = {"codec.json", CHECKPOINT_JSON},
    [CHECKPOINT_STATISTICS] = {"dataset_statistics.json", CHECKPOINT_JSON},
    [CHECKPOINT_OPEN_LOOP] = {"open_loop.json", CHECKPOINT_JSON},
    [CHECKPOINT_LANGUAGE] = {"language.safetensors", CHECKPOINT_TENSORS},
    [CHECKPOINT_MODEL] = {"model.safetensors", CHECKPOINT_TENSORS},
    [CHECKPOINT_EMA] = {"ema/model.safetensors", CHECKPOINT_TENSORS},
    [CHECKPOINT_OPTIMIZER] = {"optimizer.safetensors", CHECKPOINT_TENSORS},
};

static const char *const suffixes[] = {
    [CHECKPOINT_WHOLE] = "",
    [CHECKPOINT_PARTIAL] = ".partial",
    [CHECKPOINT_REMOVING] = ".removing",
    [CHECKPOINT_OLD] = ".old",
};

bool checkpoint_name_parse(const char *name, uint64_t *step, enum checkpoint_kind *kind) {
    static const char prefix[] = "checkpoint-";
    if (strncmp(name, prefix, sizeof prefix - 1) != 0) return false;
    const char *digits = name + sizeof prefix - 1, *end = digits;
    uint64_t number = 0;
    for (; *end >= '0' && *end <= '9'; end++) {
        if (number > (UINT64_MAX - 9) / 10) return false;
        number = 10 * number + (uint64_t)(*end - '0');
    }
    // one name per step: "007" is none of ours
    if (end == digits || (*digits == '0' && end - digits > 1)) return false;
    for (size_t i = 0; i < PROTO_COUNT(suffixes); i++)
        if (strcmp(end, suffixes[i]) == 0) {
            *step = number;
            *kind = (enum checkpoint_kind)i;
            return true;
        }
    return false;
}

char *checkpoint_path(const char *run, uint64_t step, enum checkpoint_kind kind,
                      struct proto_error *error) {
    return proto_format(error, "%s/checkpoint-%" PRIu64 "%s", run, step, suffixes[kind]);
}

static int step_order(const void *a, const void *b) {
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

bool proto_checkpoint_list(const char *run, uint64_t **steps, size_t *count,
                           struct proto_error *error) {
    struct proto_names names = {0};
    *steps = NULL;
    *count = 0;
    if (!proto_path_exists(run)) return true;  // a run that never began has none
    if (!proto_folder_list(run, &names, error)) return false;
    uint64_t *found = proto_alloc_array(names.count, sizeof *found, error);
    size_t used = 0;
    for (size_t i = 0; found && i < names.count; i++) {
        enum checkpoint_kind kind;
        if (!checkpoint_name_parse(names.items[i], &found[used], &kind)) continue;
        if (kind == CHECKPOINT_WHOLE) used++;
    }
    proto_names_free(&names);
    if (!found) return false;
    if (used > 0) qsort(found, used, sizeof *found, step_order);
    *steps = found;
    *count = used;
    return true;
}

bool checkpoint_recover(const char *run, struct proto_error *error) {
    struct proto_names names = {0};
    bool done = true;
    if (!proto_path_exists(run)) return true;
    if (!proto_folder_list(run, &names, error)) return false;
    for (size_t i = 0; done && i < names.count; i++) {
        enum checkpoint_kind kind;
        uint64_t step = 0;
        if (!checkpoint_name_parse(names.items[i], &step, &kind) || kind != CHECKPOINT_OLD)
            continue;
        char *old = checkpoint_path(run, step, CHECKPOINT_OLD, error);
        char *whole = old ? checkpoint_path(run, step, CHECKPOINT_WHOLE, error) : NULL;
        done = whole != NULL;
        // another process may have done it meanwhile
        if (done && !proto_path_exists(whole) && proto_disk()->rename(old, whole) != 0 &&
            errno != ENOENT) {
            proto_fail_errno(error, PROTO_FAILED, "cannot take back its name");
            done = proto_error_where(error, "%s", old);
        }
        free(old);
        free(whole);
    }
    proto_names_free(&names);
    return done;
}

// run.resume = a path: that folder, from the caller's directory or else in the run folder.
static bool resolve_path(const char *run, const char *resume, char **path,
                         struct proto_error *error) {
    *path = proto_format(error, "%s", resume);
    if (*path && !proto_path_is_folder(*path) && resume[0] != '/') {
        free(*path);
        *path = proto_format(error, "%s/%s", run, resume);
    }
    if (!*path) return false;
    if (proto_path_is_folder(*path)) return true;
    free(*path);
    *path = NULL;
    proto_fail(error, PROTO_USAGE,
               "there is no such checkpoint; run.resume must be \"auto\", \"no\" or a folder "
               "checkpoint-<step>");
    return proto_error_where(error, "%s", resume);
}

bool proto_checkpoint_resolve(const char *run, const char *resume, char **path,
                              struct proto_error *error) {
    uint64_t *steps = NULL;
    size_t count = 0;
    bool done = true;
    *path = NULL;
    if (!checkpoint_recover(run, error)) return false;
    const bool automatic = strcmp(resume, "auto") == 0;
    if (!automatic && strcmp(resume, "no") != 0) return resolve_path(run, resume, path, error);
    if (!proto_checkpoint_list(run, &steps, &count, error)) return false;
    if (automatic && count > 0) {
        *path = checkpoint_path(run, steps[count - 1], CHECKPOINT_WHOLE, error);
        done = *path != NULL;
    } else if (count > 0) {
        proto_fail(error, PROTO_USAGE,
                   "holds checkpoint-%" PRIu64 ", but run.resume = \"no\" asks for a fresh start: "
                   "choose another run.output_dir, or resume with \"auto\"",
                   steps[count - 1]);
        done = proto_error_where(error, "%s", run);
    }
    free(steps);
    return done;
}

// Reads trainer_state.json; the caller gets a new reference to it.
static json_t *state_json(const char *checkpoint, struct proto_error *error) {
    int64_t format = 0;
    char *path = proto_format(error, "%s/" CHECKPOINT_STATE_NAME, checkpoint);
    if (!path) return NULL;
    json_t *json = proto_json_read(path, CHECKPOINT_JSON_BYTES_MAX, error);
    if (json &&
        !proto_json_integer(json, "format", CHECKPOINT_FORMAT, CHECKPOINT_FORMAT, &format, error)) {
        proto_error_where(error, "%s", path);
        json_decref(json);
        json = NULL;
    }
    free(path);
    return json;
}

static bool read_u64(const json_t *json, const char *key, uint64_t *value,
                     struct proto_error *error) {
    int64_t number = 0;
    if (!proto_json_integer(json, key, 0, INT64_MAX, &number, error)) return false;
    *value = (uint64_t)number;
    return true;
}

static bool read_u32(const json_t *json, const char *key, uint32_t *value,
                     struct proto_error *error) {
    int64_t number = 0;
    if (!proto_json_integer(json, key, 0, UINT32_MAX, &number, error)) return false;
    *value = (uint32_t)number;
    return true;
}

static bool state_parse(const json_t *json, struct proto_trainer_state *state,
                        struct proto_error *error) {
    const char *kernels = NULL;
    if (!read_u64(json, "step", &state->step, error) ||
        !read_u64(json, "cursor", &state->cursor, error) ||
        !read_u64(json, "ema_counter", &state->ema_counter, error) ||
        !proto_json_hex64(json, "seed", &state->seed, error) ||
        !proto_json_hex64(json, "config_hash", &state->config_hash, error) ||
        !proto_json_hex64(json, "index_hash", &state->index_hash, error) ||
        !proto_json_hex64(json, "codec_hash", &state->codec_hash, error) ||
        !read_u32(json, "attempt", &state->attempt, error) ||
        !read_u32(json, "ranks", &state->ranks, error) ||
        !read_u32(json, "threads", &state->threads, error) ||
        !read_u64(json, "train_batch_size", &state->train_batch_size, error) ||
        !read_u64(json, "gradient_accumulation_steps", &state->gradient_accumulation_steps,
                  error) ||
        !proto_json_text(json, "kernels", &kernels, error))
        return false;
    if (strlen(kernels) >= sizeof state->kernels)
        return proto_fail(error, PROTO_DAMAGED, "kernels has %zu bytes, at most %zu are known",
                          strlen(kernels), sizeof state->kernels - 1);
    snprintf(state->kernels, sizeof state->kernels, "%s", kernels);
    // checkpoints from before there was fp16 have none of these
    if (!json_object_get(json, "loss_scale")) return true;
    return proto_json_real(json, "loss_scale", &state->loss_scale, error) &&
           read_u64(json, "loss_scale_steps", &state->loss_scale_steps, error) &&
           read_u64(json, "skipped_steps", &state->skipped_steps, error);
}

bool proto_checkpoint_state_read(const char *checkpoint, struct proto_trainer_state *state,
                                 struct proto_error *error) {
    struct proto_trainer_state found = {0};
    json_t *json = state_json(checkpoint, error);
    if (!json) return false;
    const bool done = state_parse(json, &found, error);
    json_decref(json);
    if (!done) return proto_error_where(error, "%s/" CHECKPOINT_STATE_NAME, checkpoint);
    *state = found;
    return true;
}

// Size and hash of one file must be those that trainer_state.json lists; then it must open.
static bool file_check(const char *path, const struct checkpoint_file *file, const json_t *listed,
                       struct proto_error *error) {
    struct stat status;
    const json_t *entry = NULL;
    uint64_t size_bytes = 0, hash = 0, found = 0;
    if (!proto_json_object(listed, file->name, &entry, error) ||
        !read_u64(entry, "size_bytes", &size_bytes, error) ||
        !proto_json_hex64(entry, "hash", &hash, error))
        return proto_error_where(error, "the entry of " CHECKPOINT_STATE_NAME " for it");
    if (stat(path, &status) != 0) return proto_fail_errno(error, PROTO_DAMAGED, "cannot be read");
    if ((uint64_t)status.st_size != size_bytes)
        return proto_fail(error, PROTO_DAMAGED,
                          "has %lld bytes, must have %" PRIu64
                          ": it was changed or cut short after it was written",
                          (long long)status.st_size, size_bytes);
    if (!proto_file_hash(path, &found, error)) {
        error->where[0] = '\0';  // the caller names the file
        return false;
    }
    if (found != hash)
        return proto_fail(error, PROTO_DAMAGED,
                          "its content is not what was written (xxh64 %016" PRIx64
                          ", must be %016" PRIx64 ")",
                          found, hash);
    return true;
}

static bool file_opens(const char *path, const struct checkpoint_file *file,
                       struct proto_error *error) {
    if (file->form == CHECKPOINT_JSON) {
        json_t *json = proto_json_read(path, CHECKPOINT_JSON_BYTES_MAX, error);
        json_decref(json);
        return json != NULL;
    }
    struct proto_safetensors *tensors = NULL;
    if (!proto_safetensors_open(path, &tensors, error)) return false;
    proto_safetensors_close(&tensors);
    return true;
}

bool proto_checkpoint_check(const char *checkpoint, struct proto_error *error) {
    struct proto_trainer_state state;
    const json_t *listed = NULL;
    if (!proto_path_is_folder(checkpoint)) {
        proto_fail(error, PROTO_DAMAGED, "there is no such checkpoint");
        return proto_error_where(error, "%s", checkpoint);
    }
    if (!proto_checkpoint_state_read(checkpoint, &state, error)) return false;
    json_t *json = state_json(checkpoint, error);
    if (!json) return false;
    bool done = proto_json_object(json, "files", &listed, error) ||
                proto_error_where(error, "%s/" CHECKPOINT_STATE_NAME, checkpoint);
    for (size_t i = 0; done && i < CHECKPOINT_PARTS; i++) {
        const struct checkpoint_file *file = &checkpoint_files[i];
        char *path = proto_format(error, "%s/%s", checkpoint, file->name);
        if (!path) {
            done = false;
        } else if (!proto_path_exists(path)) {
            proto_fail(error, PROTO_DAMAGED, "%s",
                       i == CHECKPOINT_OPTIMIZER
                           ? "is not there: this checkpoint is too old to resume from (only the "
                             "newest two keep it); choose a newer one"
                           : "is missing");
            done = proto_error_where(error, "%s", path);
        } else if (!file_check(path, file, listed, error)) {
            done = proto_error_where(error, "%s", path);
        } else {
            done = file_opens(path, file, error);
        }
        free(path);
    }
    json_decref(json);
    return done;
}

bool proto_checkpoint_check_file(const char *checkpoint, const char *name, uint64_t *hash,
                                 struct proto_error *error) {
    const struct checkpoint_file file = {.name = name};
    const json_t *listed = NULL, *entry = NULL;
    char *path = proto_format(error, "%s/%s", checkpoint, name);
    json_t *json = path ? state_json(checkpoint, error) : NULL;
    bool done = false;
    if (json) {
        done = (proto_json_object(json, "files", &listed, error) &&
                file_check(path, &file, listed, error)) ||
               proto_error_where(error, "%s", path);
        done = done && (!hash || (proto_json_object(listed, name, &entry, error) &&
                                  proto_json_hex64(entry, "hash", hash, error)));
    }
    json_decref(json);
    free(path);
    return done;
}

bool proto_checkpoint_file_hash(const char *checkpoint, const char *name, uint64_t *hash,
                                struct proto_error *error) {
    const json_t *listed = NULL, *entry = NULL;
    json_t *json = state_json(checkpoint, error);
    if (!json) return false;
    const bool done = (proto_json_object(json, "files", &listed, error) &&
                       proto_json_object(listed, name, &entry, error) &&
                       proto_json_hex64(entry, "hash", hash, error)) ||
                      proto_error_where(error, "%s/" CHECKPOINT_STATE_NAME, checkpoint);
    json_decref(json);
    return done;
}

bool proto_checkpoint_pin(const char *checkpoint, int *descriptor, struct proto_error *error) {
    struct stat pinned, named;
    char *path = proto_format(error, "%s/config.json", checkpoint);
    if (!path) return false;
    bool done = false;
    const int opened = open(path, O_RDONLY | O_CLOEXEC);
    if (opened < 0 || fstat(opened, &pinned) != 0)
        proto_fail_errno(error, PROTO_DAMAGED, "cannot be opened");
    else if (flock(opened, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK)
        proto_fail(error, PROTO_DAMAGED, "the checkpoint is being removed");
    else if (stat(path, &named) != 0 || named.st_ino != pinned.st_ino ||
             named.st_dev != pinned.st_dev)
        proto_fail(error, PROTO_DAMAGED, "the checkpoint was removed or replaced meanwhile");
    else
        done = true;
    if (done) {
        *descriptor = opened;
    } else {
        proto_error_where(error, "%s", path);
        if (opened >= 0) close(opened);
    }
    free(path);
    return done;
}
