// loader/dataset.c - opens an HDF5 file of demonstrations and finds out what is in it.
#include "loader/dataset.h"

#include "loader/hdf5.h"
#include "proto/json.h"
#include "proto/place.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

// A small cache of the library for the insides of one file: there may be many files.
static bool metadata_cache_limit(hid_t access) {
    H5AC_cache_config_t cache = {.version = H5AC__CURR_CACHE_CONFIG_VERSION};
    if (H5Pget_mdc_config(access, &cache) < 0) return false;
    cache.set_initial_size = true;
    cache.initial_size = cache.min_size = (size_t)256 << 10;
    cache.max_size = (size_t)2 << 20;
    return H5Pset_mdc_config(access, &cache) >= 0;
}

// The library's own file, read-only and without locks: archives and network disks have none.
static bool file_open(struct loader_dataset *dataset, struct proto_error *error) {
    struct stat status;
    dataset->descriptor = open(dataset->path, O_RDONLY | O_CLOEXEC);
    if (dataset->descriptor < 0 || fstat(dataset->descriptor, &status) != 0)
        return proto_fail_errno(error, errno == ENOENT ? PROTO_USAGE : PROTO_FAILED,
                                "cannot be opened");
    if (!S_ISREG(status.st_mode))
        return proto_fail(error, PROTO_USAGE, "is not a file; expected an HDF5 file");
    dataset->size_bytes = (uint64_t)status.st_size;
    dataset->mtime_ns = (int64_t)status.st_mtim.tv_sec * 1000000000 + status.st_mtim.tv_nsec;
    if (status.st_size == 0)
        return proto_fail(error, PROTO_DAMAGED, "is empty; expected an HDF5 file");
    const htri_t known = H5Fis_hdf5(dataset->path);
    if (known == 0)
        return proto_fail(error, PROTO_DAMAGED,
                          "is not an HDF5 file (no HDF5 signature in its %llu bytes)",
                          (unsigned long long)dataset->size_bytes);
    const hid_t access = H5Pcreate(H5P_FILE_ACCESS);
    if (access >= 0 && H5Pset_fclose_degree(access, H5F_CLOSE_STRONG) >= 0 &&
        H5Pset_file_locking(access, false, true) >= 0 && metadata_cache_limit(access))
        dataset->file = H5Fopen(dataset->path, H5F_ACC_RDONLY, access);
    if (dataset->file < 0)
        loader_hdf5_fail(error, "cannot be opened as HDF5: cut off or damaged; copy or record "
                                "it again");
    if (access >= 0) H5Pclose(access);
    return dataset->file >= 0;
}

// demo_N with N in decimal digits.
static bool demo_number(const char *name, uint64_t *number) {
    if (strncmp(name, "demo_", 5) != 0 || !isdigit((unsigned char)name[5])) return false;
    char *end = NULL;
    errno = 0;
    *number = strtoull(name + 5, &end, 10);
    return errno == 0 && *end == '\0';
}

// Demonstrations as they are found, in an array that doubles.
struct demo_list {
    struct loader_dataset *dataset;
    size_t room;
    bool full;
    struct proto_error error;
};

static void demo_take(void *context, const char *name) {
    struct demo_list *list = context;
    struct loader_dataset *dataset = list->dataset;
    uint64_t number = 0;
    if (list->full || !demo_number(name, &number)) return;
    if (dataset->demo_count == list->room) {
        const size_t room = list->room > 0 ? 2 * list->room : 64;
        void *grown = realloc(dataset->demos, room * sizeof *dataset->demos);
        if (!grown) {
            list->full = true;
            proto_fail(&list->error, PROTO_EXHAUSTED, "no memory for %zu demonstrations", room);
            return;
        }
        dataset->demos = grown;
        list->room = room;
    }
    char *group = proto_format(&list->error, "data/%s", name);
    list->full = group == NULL;
    if (group) dataset->demos[dataset->demo_count++] = (struct loader_demo){group, number};
}

static int demo_compare(const void *a, const void *b) {
    const struct loader_demo *one = a, *other = b;
    if (one->number != other->number) return one->number < other->number ? -1 : 1;
    return strcmp(one->group, other->group);
}

static bool demos_list(struct loader_dataset *dataset, hid_t data, struct proto_error *error) {
    struct demo_list list = {.dataset = dataset};
    if (!loader_hdf5_list(data, &(struct loader_hdf5_names){demo_take, &list}, error))
        return proto_error_where(error, "data");
    if (list.full) {
        *error = list.error;
        return false;
    }
    if (dataset->demo_count == 0) {
        char found[256];
        loader_hdf5_describe(data, found, sizeof found);
        proto_fail(error, PROTO_DAMAGED,
                   "no demonstrations: found %s; expected groups demo_0, demo_1, ...", found);
        return proto_error_where(error, "data");
    }
    qsort(dataset->demos, dataset->demo_count, sizeof *dataset->demos, demo_compare);
    return true;
}

// The part of a path after its last slash and before `suffix`, if it ends so. The caller frees it.
static char *stem(const char *path, const char *const *suffixes, size_t suffix_count,
                  struct proto_error *error) {
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    size_t length = strlen(name);
    for (size_t i = 0; i < suffix_count; i++) {
        const size_t size = strlen(suffixes[i]);
        if (length <= size || strncmp(name + length - size, suffixes[i], size) != 0) continue;
        length -= size;
        break;
    }
    return proto_format(error, "%.*s", (int)(length < 255 ? length : 255), name);
}

char *loader_instruction_from_task(const char *task, struct proto_error *error) {
    // "KITCHEN_SCENE10_" says where, the rest says what
    const char *scene = isupper((unsigned char)task[0]) ? strstr(task, "SCENE") : NULL;
    const char *words = task;
    if (scene) {
        const char *after = scene + 5 + strspn(scene + 5, "0123456789");
        if (after[0] == '_' && after[1] != '\0') words = after + 1;
    }
    char *sentence = proto_format(error, "%s", words);
    for (char *c = sentence; c && *c != '\0'; c++)
        if (*c == '_') *c = ' ';
    return sentence;
}

// A sentence without white space or quotation marks around it. The caller frees it.
static char *trimmed(const char *text, struct proto_error *error) {
    size_t length = strlen(text);
    while (length > 0 && (isspace((unsigned char)*text) || *text == '"')) text++, length--;
    while (length > 0 && (isspace((unsigned char)text[length - 1]) || text[length - 1] == '"'))
        length--;
    return proto_format(error, "%.*s", (int)length, text);
}

// An attribute of /data that holds JSON; *object is NULL when there is none, else the caller's.
static bool json_attribute(hid_t data, const char *name, json_t **object,
                           struct proto_error *error) {
    char *text = NULL;
    *object = NULL;
    if (!loader_hdf5_text(data, name, &text, error)) return proto_error_where(error, "data");
    if (!text) return true;
    *object = proto_json_parse(text, strlen(text), error);
    free(text);
    if (*object) return true;
    error->status = PROTO_DAMAGED;
    return proto_error_where(error, "data: attribute %s", name);
}

// language_instruction out of problem_info.
static bool instruction_read(struct loader_dataset *dataset, hid_t data,
                             struct proto_error *error) {
    json_t *problem = NULL;
    if (!json_attribute(data, "problem_info", &problem, error)) return false;
    const json_t *value = json_object_get(problem, "language_instruction");
    bool done = true;
    if (json_is_string(value)) {
        dataset->instruction = trimmed(json_string_value(value), error);
        done = dataset->instruction != NULL;
    } else if (value) {
        proto_fail(error, PROTO_DAMAGED, "language_instruction is not a text");
        done = proto_error_where(error, "data: attribute problem_info");
    }
    json_decref(problem);
    return done;
}

// env_kwargs.control_freq out of env_args.
static bool control_freq_read(struct loader_dataset *dataset, hid_t data,
                              struct proto_error *error) {
    json_t *environment = NULL;
    if (!json_attribute(data, "env_args", &environment, error)) return false;
    const json_t *value =
        json_object_get(json_object_get(environment, "env_kwargs"), "control_freq");
    if (json_is_number(value)) dataset->control_freq_hz = json_number_value(value);
    json_decref(environment);
    return true;
}

// How images lie in memory: robosuite's macro, which LIBERO keeps with the data.
static bool image_convention_read(struct loader_dataset *dataset, hid_t data,
                                  struct proto_error *error) {
    if (!loader_hdf5_text(data, "macros_image_convention", &dataset->image_convention, error))
        return proto_error_where(error, "data");
    const char *found = dataset->image_convention;
    if (!found || strcmp(found, "opengl") == 0 || strcmp(found, "opencv") == 0) return true;
    proto_fail(error, PROTO_DAMAGED, "is \"%.40s\"; expected opengl or opencv", found);
    return proto_error_where(error, "data: attribute macros_image_convention");
}

// Task and instruction, from the attributes as far as they are there.
static bool identify(struct loader_dataset *dataset, hid_t data, struct proto_error *error) {
    static const char *const bddl[] = {".bddl"};
    static const char *const file[] = {"_demo.hdf5", ".hdf5", ".h5"};
    char *bddl_path = NULL;
    bool done = loader_hdf5_text(data, "bddl_file_name", &bddl_path, error);
    if (!done) {
        proto_error_where(error, "data");
    } else {
        const bool named = bddl_path && *bddl_path != '\0';
        dataset->task = named ? stem(bddl_path, bddl, 1, error)
                              : stem(dataset->path, file, PROTO_COUNT(file), error);
        done = dataset->task != NULL;
    }
    done = done && instruction_read(dataset, data, error) &&
           control_freq_read(dataset, data, error) && image_convention_read(dataset, data, error);
    if (done && (!dataset->instruction || dataset->instruction[0] == '\0')) {
        free(dataset->instruction);
        dataset->instruction = loader_instruction_from_task(dataset->task, error);
        done = dataset->instruction != NULL;
    }
    free(bddl_path);
    return done;
}

// The names in /mask, if there is one.
static bool filters_read(struct loader_dataset *dataset, struct proto_error *error) {
    char found[256] = "";
    if (loader_hdf5_exists(dataset->file, "mask")) {
        const hid_t mask = H5Gopen2(dataset->file, "mask", H5P_DEFAULT);
        if (mask >= 0) {
            loader_hdf5_describe(mask, found, sizeof found);
            H5Gclose(mask);
        }
    }
    dataset->filters = proto_format(error, "%s", found);
    return dataset->filters != NULL;
}

static bool contents_read(struct loader_dataset *dataset, struct proto_error *error) {
    if (!loader_hdf5_exists(dataset->file, "data")) {
        char found[256];
        loader_hdf5_describe(dataset->file, found, sizeof found);
        return proto_fail(error, PROTO_DAMAGED,
                          "no group /data: found %s; expected a LIBERO or robomimic file", found);
    }
    const hid_t data = H5Gopen2(dataset->file, "data", H5P_DEFAULT);
    if (data < 0) return loader_hdf5_fail(error, "group /data cannot be opened");
    const bool done = demos_list(dataset, data, error) && identify(dataset, data, error) &&
                      filters_read(dataset, error);
    H5Gclose(data);
    return done;
}

bool loader_dataset_open(const char *path, struct loader_dataset **out, struct proto_error *error) {
    loader_hdf5_quiet();
    proto_place_note(path, "");
    struct loader_dataset *dataset = proto_alloc(sizeof *dataset, error);
    if (!dataset) return false;
    dataset->file = -1;
    dataset->descriptor = -1;
    dataset->path = proto_format(error, "%s", path);
    if (dataset->path && file_open(dataset, error) && contents_read(dataset, error)) {
        *out = dataset;
        return true;
    }
    loader_dataset_close(&dataset);
    return proto_error_where(error, "%s", path);
}

void loader_dataset_close(struct loader_dataset **dataset_pointer) {
    struct loader_dataset *dataset = *dataset_pointer;
    if (!dataset) return;
    if (dataset->file >= 0) H5Fclose(dataset->file);
    if (dataset->descriptor >= 0) close(dataset->descriptor);
    for (uint32_t i = 0; i < dataset->demo_count; i++) free(dataset->demos[i].group);
    free(dataset->demos);
    free(dataset->filters);
    free(dataset->image_convention);
    free(dataset->instruction);
    free(dataset->task);
    free(dataset->path);
    free(dataset);
    *dataset_pointer = NULL;
}
