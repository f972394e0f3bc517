// proto/checkpoint_write.c - writing a checkpoint so that its name appears only when all of it is
// on the disk.
//
// Order: every file (written, fsync), ema/ (fsync), the folder (fsync), the name (rename), the run
// folder (fsync). A step that is written again exchanges names with the older one, so that at no
// moment the step is missing.
#include "proto/checkpoint.h"
#include "proto/checkpoint_parts.h"
#include "proto/files.h"
#include "proto/json.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

// A checkpoint being written: its folder, and what trainer_state.json will list.
struct writing {
    const char *folder;
    json_t *files;
};

static bool no_memory(struct proto_error *error) {
    return proto_fail(error, PROTO_EXHAUSTED, "no memory to write a checkpoint");
}

static bool list_add(struct writing *writing, const char *name, uint64_t size_bytes, uint64_t hash,
                     struct proto_error *error) {
    char hex[17];
    proto_hex64(hash, hex);
    json_t *entry = json_pack("{s:I, s:s}", "size_bytes", (json_int_t)size_bytes, "hash", hex);
    if (!entry || json_object_set_new(writing->files, name, entry) != 0) return no_memory(error);
    return true;
}

static bool put_bytes(struct writing *writing, const char *name, const void *data,
                      size_t size_bytes, struct proto_error *error) {
    struct proto_writer writer;
    char *path = proto_format(error, "%s/%s", writing->folder, name);
    if (!path) return false;
    bool done = proto_writer_open(&writer, path, error);
    if (done && proto_writer_add(&writer, data, size_bytes, error)) {
        done = proto_writer_finish(&writer, error) &&
               list_add(writing, name, writer.size_bytes, writer.hash, error);
    } else if (done) {
        proto_writer_abandon(&writer);
        done = false;
    }
    free(path);
    return done;
}

static bool put_json(struct writing *writing, const char *name, const json_t *json,
                     struct proto_error *error) {
    char *text = json_dumps(json, JSON_INDENT(2) | JSON_REAL_PRECISION(17));
    if (!text) return no_memory(error);
    const bool done = put_bytes(writing, name, text, strlen(text), error);
    free(text);
    return done;
}

static bool put_copy(struct writing *writing, const char *name, const char *from,
                     struct proto_error *error) {
    char *data = NULL;
    size_t size_bytes = 0;
    if (!proto_file_read(from, CHECKPOINT_JSON_BYTES_MAX, PROTO_DAMAGED, &data, &size_bytes, error))
        return false;
    const bool done = put_bytes(writing, name, data, size_bytes, error);
    free(data);
    return done;
}

static bool put_tensors(struct writing *writing, const char *name,
                        const struct proto_tensor_out *tensors, size_t count,
                        struct proto_error *error) {
    uint64_t size_bytes = 0, hash = 0;
    // what PyTorch's own writer puts there, so that its readers know the layout
    static const char *const metadata[][2] = {{"format", "pt"}};
    char *path = proto_format(error, "%s/%s", writing->folder, name);
    if (!path) return false;
    const bool done = proto_safetensors_write_hashed(path, tensors, count, metadata, 1, &size_bytes,
                                                     &hash, error) &&
                      list_add(writing, name, size_bytes, hash, error);
    free(path);
    return done;
}

static json_t *state_json(const struct proto_trainer_state *state, json_t *files) {
    char seed[17], config_hash[17], index_hash[17], codec_hash[17];
    proto_hex64(state->seed, seed);
    proto_hex64(state->config_hash, config_hash);
    proto_hex64(state->index_hash, index_hash);
    proto_hex64(state->codec_hash, codec_hash);
    json_t *json = json_pack(
        "{s:i, s:I, s:I, s:I, s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:s, s:O}",  //
        "format", CHECKPOINT_FORMAT, "step", (json_int_t)state->step, "cursor",
        (json_int_t)state->cursor, "ema_counter", (json_int_t)state->ema_counter, "seed", seed,
        "config_hash", config_hash, "index_hash", index_hash, "codec_hash", codec_hash, "attempt",
        (json_int_t)state->attempt, "ranks", (json_int_t)state->ranks, "threads",
        (json_int_t)state->threads, "train_batch_size", (json_int_t)state->train_batch_size,
        "gradient_accumulation_steps", (json_int_t)state->gradient_accumulation_steps, "kernels",
        state->kernels, "files", files);
    const bool scaled =
        !json || (json_object_set_new(json, "loss_scale", json_real(state->loss_scale)) == 0 &&
                  json_object_set_new(json, "loss_scale_steps",
                                      json_integer((json_int_t)state->loss_scale_steps)) == 0 &&
                  json_object_set_new(json, "skipped_steps",
                                      json_integer((json_int_t)state->skipped_steps)) == 0);
    if (scaled) return json;
    json_decref(json);
    return NULL;
}

// Every file into the folder, trainer_state.json last.
static bool put_all(struct writing *writing, const struct proto_checkpoint *c,
                    struct proto_error *error) {
    char *ema = proto_format(error, "%s/ema", writing->folder);
    if (!ema) return false;
    bool done = proto_folder_make(ema, 0777, error);
#define NAME(part) checkpoint_files[CHECKPOINT_##part].name
    done = done && put_json(writing, NAME(CONFIG), c->config, error) &&
           put_copy(writing, NAME(CODEC), c->codec_path, error) &&
           put_copy(writing, NAME(STATISTICS), c->statistics_path, error) &&
           put_copy(writing, NAME(OPEN_LOOP), c->open_loop_path, error) &&
           put_tensors(writing, NAME(LANGUAGE), c->language, c->language_count, error) &&
           put_tensors(writing, NAME(MODEL), c->model, c->model_count, error) &&
           put_tensors(writing, NAME(EMA), c->ema, c->ema_count, error) &&
           put_tensors(writing, NAME(OPTIMIZER), c->optimizer, c->optimizer_count, error);
#undef NAME
    if (done) {
        json_t *state = state_json(&c->state, writing->files);
        done = state ? put_json(writing, CHECKPOINT_STATE_NAME, state, error) : no_memory(error);
        json_decref(state);
    }
    done = done && proto_folder_sync(ema, error) && proto_folder_sync(writing->folder, error);
    free(ema);
    return done;
}

// Gives the finished folder its name. *replaced: what the older checkpoint of the same step is now
// called, CHECKPOINT_WHOLE when there was none.
static bool publish(const char *run, uint64_t step, const char *partial,
                    enum checkpoint_kind *replaced, struct proto_error *error) {
    bool done = false;
    *replaced = CHECKPOINT_WHOLE;
    char *old = checkpoint_path(run, step, CHECKPOINT_OLD, error);
    char *whole = old ? checkpoint_path(run, step, CHECKPOINT_WHOLE, error) : NULL;
    if (!whole) goto end;
    if (!proto_path_exists(whole)) {
        done = proto_path_rename(partial, whole, error);
    } else if (proto_disk()->exchange(partial, whole) == 0) {
        *replaced = CHECKPOINT_PARTIAL;
        done = true;
    } else if (errno == EINVAL || errno == ENOSYS || errno == EOPNOTSUPP) {
        // no exchange on this file system: checkpoint_recover knows the moment between the two
        *replaced = CHECKPOINT_OLD;
        done = proto_folder_remove(old, error) && proto_path_rename(whole, old, error) &&
               proto_path_rename(partial, whole, error);
    } else {
        proto_fail_errno(error, PROTO_FAILED, "cannot be replaced by its rewrite");
        proto_error_where(error, "%s", whole);
    }
end:
    free(old);
    free(whole);
    return done;
}

// Removes as far as possible; what stays goes with the next rotation.
static void remove_quietly(const char *run, uint64_t step, enum checkpoint_kind kind) {
    struct proto_error ignored;
    char *path = checkpoint_path(run, step, kind, &ignored);
    const bool removed = path && proto_folder_remove(path, &ignored);
    (void)removed;
    free(path);
}

bool proto_checkpoint_write(const char *run, const struct proto_checkpoint *checkpoint,
                            struct proto_error *error) {
    struct proto_error ignored;
    bool done = false;
    enum checkpoint_kind replaced = CHECKPOINT_WHOLE;
    const uint64_t step = checkpoint->state.step;
    struct writing writing = {.files = json_object()};
    char *partial = checkpoint_path(run, step, CHECKPOINT_PARTIAL, error);
    if (!partial) goto end;
    if (!writing.files) {
        no_memory(error);
        goto end;
    }
    writing.folder = partial;
    if (!checkpoint_recover(run, error) || !proto_folder_remove(partial, error)) goto end;
    if (!proto_folder_make(partial, 0777, error) || !put_all(&writing, checkpoint, error) ||
        !publish(run, step, partial, &replaced, error)) {
        // `error` keeps the reason, whatever else goes wrong on the way back
        if (checkpoint_recover(run, &ignored)) remove_quietly(run, step, CHECKPOINT_PARTIAL);
        goto end;
    }
    done = proto_folder_sync(run, error);
    // only now, with the new name durable, the older one may go
    if (done && replaced != CHECKPOINT_WHOLE) remove_quietly(run, step, replaced);
end:
    free(partial);
    json_decref(writing.files);
    return done;
}
