// proto/index.c - index.json: written whole, read strictly, and where a sample id lies.
//
// {"format": "pipeline-index", "version": 1, "alignment": "after" | "before",
//  "files": [{"path", "size_bytes", "hash", "mtime_ns"}...],
//  "tasks": [{"name", "instruction"}...],
//  "episodes": [{"file", "task", "group", "steps", "validation", "sample_count",
//  "sample_first"}...], "train_samples", "validation_samples", "validation_set",
//  "baselines": {"mean_action", "time_mean", "nearest_neighbour"} (null: none), "hash"}
// The hash leaves out paths, times, validation_set and baselines: data that was moved gives the
// same stream.
#include "proto/index.h"

#include "proto/json_strict.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define FORMAT "pipeline-index"
#define VERSION 1
#define FILE_BYTES_MAX ((size_t)512 << 20)
#define STEPS_MAX 10000000
#define SAMPLES_MAX ((int64_t)1 << 40)  // what a stream can permute

void proto_index_free(struct proto_index **index) {
    if (!index || !*index) return;
    struct proto_index *i = *index;
    for (uint32_t k = 0; i->files && k < i->file_count; k++) free(i->files[k].path);
    for (uint32_t k = 0; i->tasks && k < i->task_count; k++) {
        free(i->tasks[k].name);
        free(i->tasks[k].instruction);
    }
    for (uint32_t k = 0; i->episodes && k < i->episode_count; k++) free(i->episodes[k].group);
    free(i->files);
    free(i->tasks);
    free(i->episodes);
    free(i);
    *index = NULL;
}

// What must hold of a whole index.

static bool check_episode(const struct proto_index *index, uint32_t i, uint64_t next[static 2],
                          struct proto_error *error) {
    const struct proto_index_episode *e = &index->episodes[i];
    const uint32_t lost = index->after ? 1 : 0, want = e->steps > lost ? e->steps - lost : 0;
    if (e->file >= index->file_count)
        return proto_fail(error, PROTO_DAMAGED, "file is %u, there are %u", e->file,
                          index->file_count);
    if (i > 0 && e->file < index->episodes[i - 1].file)
        return proto_fail(error, PROTO_DAMAGED, "episodes are not in the order of their files");
    if (e->task >= index->task_count)
        return proto_fail(error, PROTO_DAMAGED, "task is %u, there are %u", e->task,
                          index->task_count);
    if (!e->group || e->group[0] == '\0') return proto_fail(error, PROTO_DAMAGED, "group is empty");
    if (e->steps < 1 || e->steps > STEPS_MAX)
        return proto_fail(error, PROTO_DAMAGED, "steps is %u, must be 1..%d", e->steps, STEPS_MAX);
    if (e->sample_count != want)
        return proto_fail(error, PROTO_DAMAGED, "sample_count is %u, %u steps give %u",
                          e->sample_count, e->steps, want);
    if (e->sample_first != next[e->validation])
        return proto_fail(error, PROTO_DAMAGED, "sample_first is %llu, the next free id is %llu",
                          (unsigned long long)e->sample_first,
                          (unsigned long long)next[e->validation]);
    next[e->validation] += e->sample_count;
    return true;
}

static bool check_names(const struct proto_index *index, struct proto_error *error) {
    for (uint32_t i = 0; i < index->file_count; i++)
        if (!index->files[i].path || index->files[i].path[0] != '/') {
            proto_fail(error, PROTO_DAMAGED, "path is not absolute");
            return proto_error_where(error, "files[%u]", i);
        }
    for (uint32_t i = 0; i < index->task_count; i++) {
        const char *name = index->tasks[i].name;
        bool ok = true;
        if (!name || !index->tasks[i].instruction || name[0] == '\0')
            ok = proto_fail(error, PROTO_DAMAGED, "has no name");
        for (uint32_t k = 0; k < i && ok; k++)
            if (strcmp(index->tasks[k].name, name) == 0)
                ok = proto_fail(error, PROTO_DAMAGED, "task \"%.100s\" is there twice", name);
        if (!ok) return proto_error_where(error, "tasks[%u]", i);
    }
    return true;
}

static bool index_check(const struct proto_index *index, struct proto_error *error) {
    uint64_t next[2] = {0, 0};
    if (index->file_count < 1 || index->task_count < 1 || index->episode_count < 1)
        return proto_fail(error, PROTO_DAMAGED,
                          "%u files, %u tasks, %u episodes: there must be one of each at least",
                          index->file_count, index->task_count, index->episode_count);
    if (!check_names(index, error)) return false;
    for (uint32_t i = 0; i < index->episode_count; i++)
        if (!check_episode(index, i, next, error))
            return proto_error_where(error, "episodes[%u]", i);
    if (index->train_samples != next[0] || index->validation_samples != next[1])
        return proto_fail(error, PROTO_DAMAGED,
                          "train_samples %llu and validation_samples %llu, the episodes have %llu "
                          "and %llu",
                          (unsigned long long)index->train_samples,
                          (unsigned long long)index->validation_samples,
                          (unsigned long long)next[0], (unsigned long long)next[1]);
    if (next[0] > SAMPLES_MAX || next[1] > SAMPLES_MAX)
        return proto_fail(error, PROTO_DAMAGED, "more than 2^40 samples");
    if (index->validation_set > 0 && index->validation_samples == 0)
        return proto_fail(error, PROTO_DAMAGED,
                          "validation_set is %llu, but there are no validation samples",
                          (unsigned long long)index->validation_set);
    return true;
}

// Writing. `place` adds what is no content: paths, times.

static bool append(json_t **array, json_t *item) {
    if (*array && json_array_append_new(*array, item) == 0) return true;
    json_decref(*array);
    *array = NULL;
    return false;
}

static json_t *files_json(const struct proto_index *index, bool place) {
    json_t *array = json_array();
    for (uint32_t i = 0; i < index->file_count; i++) {
        const struct proto_index_file *f = &index->files[i];
        char hash[17];
        proto_hex64(f->hash, hash);
        json_t *item =
            place ? json_pack("{s:s, s:I, s:s, s:I}", "path", f->path, "size_bytes",
                              (json_int_t)f->size_bytes, "hash", hash, "mtime_ns",
                              (json_int_t)f->mtime_ns)
                  : json_pack("{s:I, s:s}", "size_bytes", (json_int_t)f->size_bytes, "hash", hash);
        if (!append(&array, item)) break;
    }
    return array;
}

static json_t *tasks_json(const struct proto_index *index) {
    json_t *array = json_array();
    for (uint32_t i = 0; i < index->task_count; i++)
        if (!append(&array, json_pack("{s:s, s:s}", "name", index->tasks[i].name, "instruction",
                                      index->tasks[i].instruction)))
            break;
    return array;
}

static json_t *episodes_json(const struct proto_index *index) {
    json_t *array = json_array();
    for (uint32_t i = 0; i < index->episode_count; i++) {
        const struct proto_index_episode *e = &index->episodes[i];
        if (!append(&array,
                    json_pack("{s:I, s:I, s:s, s:I, s:b, s:I, s:I}", "file", (json_int_t)e->file,
                              "task", (json_int_t)e->task, "group", e->group, "steps",
                              (json_int_t)e->steps, "validation", e->validation ? 1 : 0,
                              "sample_count", (json_int_t)e->sample_count, "sample_first",
                              (json_int_t)e->sample_first)))
            break;
    }
    return array;
}

static json_t *index_json(const struct proto_index *index, bool place) {
    return json_pack("{s:s, s:i, s:s, s:o, s:o, s:o, s:I, s:I, s:I}", "format", FORMAT, "version",
                     VERSION, "alignment", index->after ? "after" : "before", "files",
                     files_json(index, place), "tasks", tasks_json(index), "episodes",
                     episodes_json(index), "train_samples", (json_int_t)index->train_samples,
                     "validation_samples", (json_int_t)index->validation_samples, "validation_set",
                     (json_int_t)index->validation_set);
}

uint64_t proto_index_hash(const struct proto_index *index) {
    json_t *json = index_json(index, false);
    if (json) json_object_del(json, "validation_set");  // how much is validated is no data
    const uint64_t hash = proto_json_hash(json);
    json_decref(json);
    return hash;
}

// A number that may be missing: JSON has no NaN.
static json_t *number_json(double number) {
    return isnan(number) ? json_null() : json_real(number);
}

bool proto_index_write(const char *path, const struct proto_index *index,
                       struct proto_error *error) {
    bool done = false;
    char hash[17];
    uint64_t content = 0;
    json_t *json = NULL, *baselines = NULL;
    const struct proto_index_baselines *b = &index->baselines;
    if (!index_check(index, error)) goto end;
    content = proto_index_hash(index);
    proto_hex64(content, hash);
    json = index_json(index, true);
    baselines = json_pack("{s:o, s:o, s:o}", "mean_action", number_json(b->mean_action),
                          "time_mean", number_json(b->time_mean), "nearest_neighbour",
                          number_json(b->nearest_neighbour));
    if (content == 0 || !json || json_object_set_new(json, "baselines", baselines) != 0 ||
        json_object_set_new(json, "hash", json_string(hash)) != 0) {
        proto_fail(error, PROTO_EXHAUSTED, "a name is not UTF-8 text, or there is no memory");
        goto end;
    }
    done = proto_json_write(path, json, error);
end:
    json_decref(json);
    return done || proto_error_where(error, "%s", path);
}

// Reading.

static bool read_u64(const json_t *object, const char *key, int64_t max, uint64_t *value,
                     struct proto_error *error) {
    int64_t number = 0;
    if (!proto_json_integer(object, key, 0, max, &number, error)) return false;
    *value = (uint64_t)number;
    return true;
}

static bool read_u32(const json_t *object, const char *key, int64_t max, uint32_t *value,
                     struct proto_error *error) {
    uint64_t number = 0;
    if (!read_u64(object, key, max, &number, error)) return false;
    *value = (uint32_t)number;
    return true;
}

static bool read_files(const json_t *json, struct proto_index *index, struct proto_error *error) {
    static const char *const keys[] = {"path", "size_bytes", "hash", "mtime_ns"};
    const json_t *array = NULL;
    if (!proto_json_array(json, "files", PROTO_FILES_MAX, &array, error)) return false;
    const size_t count = json_array_size(array);
    index->files = proto_alloc_array(count, sizeof *index->files, error);
    if (!index->files) return false;
    index->file_count = (uint32_t)count;
    for (uint32_t i = 0; i < index->file_count; i++) {
        const json_t *item = json_array_get(array, i);
        struct proto_index_file *f = &index->files[i];
        if (!proto_json_only(item, keys, PROTO_COUNT(keys), error) ||
            !proto_json_text_copy(item, "path", &f->path, error) ||
            !read_u64(item, "size_bytes", INT64_MAX, &f->size_bytes, error) ||
            !proto_json_hex64(item, "hash", &f->hash, error) ||
            !proto_json_integer(item, "mtime_ns", INT64_MIN, INT64_MAX, &f->mtime_ns, error))
            return proto_error_where(error, "files[%u]", i);
    }
    return true;
}

static bool read_tasks(const json_t *json, struct proto_index *index, struct proto_error *error) {
    static const char *const keys[] = {"name", "instruction"};
    const json_t *array = NULL;
    if (!proto_json_array(json, "tasks", PROTO_TASKS_MAX, &array, error)) return false;
    const size_t count = json_array_size(array);
    index->tasks = proto_alloc_array(count, sizeof *index->tasks, error);
    if (!index->tasks) return false;
    index->task_count = (uint32_t)count;
    for (uint32_t i = 0; i < index->task_count; i++) {
        const json_t *item = json_array_get(array, i);
        if (!proto_json_only(item, keys, PROTO_COUNT(keys), error) ||
            !proto_json_text_copy(item, "name", &index->tasks[i].name, error) ||
            !proto_json_text_copy(item, "instruction", &index->tasks[i].instruction, error))
            return proto_error_where(error, "tasks[%u]", i);
    }
    return true;
}

static bool read_episodes(const json_t *json, struct proto_index *index,
                          struct proto_error *error) {
    static const char *const keys[] = {"file",       "task",         "group",       "steps",
                                       "validation", "sample_count", "sample_first"};
    const json_t *array = NULL;
    if (!proto_json_array(json, "episodes", PROTO_EPISODES_MAX, &array, error)) return false;
    const size_t count = json_array_size(array);
    index->episodes = proto_alloc_array(count, sizeof *index->episodes, error);
    if (!index->episodes) return false;
    index->episode_count = (uint32_t)count;
    for (uint32_t i = 0; i < index->episode_count; i++) {
        const json_t *item = json_array_get(array, i);
        struct proto_index_episode *e = &index->episodes[i];
        if (!proto_json_only(item, keys, PROTO_COUNT(keys), error) ||
            !read_u32(item, "file", PROTO_FILES_MAX - 1, &e->file, error) ||
            !read_u32(item, "task", PROTO_TASKS_MAX - 1, &e->task, error) ||
            !proto_json_text_copy(item, "group", &e->group, error) ||
            !read_u32(item, "steps", STEPS_MAX, &e->steps, error) ||
            !proto_json_boolean(item, "validation", &e->validation, error) ||
            !read_u32(item, "sample_count", STEPS_MAX, &e->sample_count, error) ||
            !read_u64(item, "sample_first", SAMPLES_MAX, &e->sample_first, error))
            return proto_error_where(error, "episodes[%u]", i);
    }
    return true;
}

static bool read_baseline(const json_t *object, const char *key, double *value,
                          struct proto_error *error) {
    *value = NAN;
    if (json_is_null(json_object_get(object, key))) return true;
    if (!proto_json_real(object, key, value, error)) return false;
    if (isfinite(*value) && *value >= 0) return true;
    return proto_fail(error, PROTO_DAMAGED, "%s is %g, expected an error of 0 or more", key,
                      *value);
}

static bool read_rest(const json_t *json, struct proto_index *index, struct proto_error *error) {
    static const char *const keys[] = {
        "format",         "version",   "alignment",     "files",
        "tasks",          "episodes",  "train_samples", "validation_samples",
        "validation_set", "baselines", "hash"};
    static const char *const inner[] = {"mean_action", "time_mean", "nearest_neighbour"};
    const json_t *baselines = json_object_get(json, "baselines");
    const char *alignment = NULL;
    if (!proto_json_format(json, FORMAT, VERSION, error) ||
        !proto_json_only(json, keys, PROTO_COUNT(keys), error) ||
        !proto_json_text(json, "alignment", &alignment, error) ||
        !read_u64(json, "train_samples", SAMPLES_MAX, &index->train_samples, error) ||
        !read_u64(json, "validation_samples", SAMPLES_MAX, &index->validation_samples, error) ||
        !read_u64(json, "validation_set", SAMPLES_MAX, &index->validation_set, error) ||
        !proto_json_hex64(json, "hash", &index->hash, error))
        return false;
    index->after = strcmp(alignment, "after") == 0;
    if (!index->after && strcmp(alignment, "before") != 0)
        return proto_fail(error, PROTO_DAMAGED, "alignment is \"%.64s\", must be after or before",
                          alignment);
    if (!proto_json_only(baselines, inner, PROTO_COUNT(inner), error) ||
        !read_baseline(baselines, inner[0], &index->baselines.mean_action, error) ||
        !read_baseline(baselines, inner[1], &index->baselines.time_mean, error) ||
        !read_baseline(baselines, inner[2], &index->baselines.nearest_neighbour, error))
        return proto_error_where(error, "baselines");
    return true;
}

bool proto_index_read(const char *path, struct proto_index **index, struct proto_error *error) {
    bool done = false;
    struct proto_index *new = NULL;
    json_t *json = proto_json_read(path, FILE_BYTES_MAX, error);
    if (!json) return false;
    new = proto_alloc(sizeof *new, error);
    if (!new) goto end;
    if (!read_rest(json, new, error) || !read_files(json, new, error) ||
        !read_tasks(json, new, error) || !read_episodes(json, new, error) ||
        !index_check(new, error))
        goto end;
    if (!proto_json_hash_agrees(proto_index_hash(new), new->hash,
                                "make it again with `pipeline-loader index`", error))
        goto end;
    *index = new;
    new = NULL;  // moved to the caller
    done = true;
end:
    json_decref(json);
    proto_index_free(&new);
    return done || proto_error_where(error, "%s", path);
}

// Episodes of both splits lie mixed in one table; sample_first does not fall within a split. The
// search halves the table and then walks to the nearest episode of the split, which an episode
// without samples may be as well.
struct proto_place proto_index_place(const struct proto_index *index, bool validation,
                                     uint64_t id) {
    assert(id < (validation ? index->validation_samples : index->train_samples));
    uint32_t low = 0, high = index->episode_count;  // the episode is in low .. high - 1
    while (true) {
        assert(low < high);  // the ids of a split have no gaps: index_check
        uint32_t middle = low + (high - low) / 2, k = middle;
        while (k < high && index->episodes[k].validation != validation) k++;
        if (k == high) {  // none of the split in the upper half
            high = middle;
            continue;
        }
        const struct proto_index_episode *e = &index->episodes[k];
        if (id < e->sample_first)
            high = middle;
        else if (id >= e->sample_first + e->sample_count)
            low = k + 1;
        else
            return (struct proto_place){.episode = k, .j = (uint32_t)(id - e->sample_first)};
    }
}
