// loader/hdf5.c - libhdf5 with its errors folded into ours.
#include "loader/hdf5.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define MEMORY_BYTES_MAX ((rlim_t)256 << 20)

void loader_hdf5_quiet(void) { H5Eset_auto2(H5E_DEFAULT, NULL, NULL); }

// The library's stack: entry 0 is the call we made, the last one is where it went wrong.
struct reasons {
    char outer[160], inner[256];
};

static herr_t reason_take(unsigned n, const H5E_error2_t *entry, void *context) {
    struct reasons *reasons = context;
    const char *text = entry->desc ? entry->desc : "no reason given";
    if (n == 0) snprintf(reasons->outer, sizeof reasons->outer, "%s", text);
    snprintf(reasons->inner, sizeof reasons->inner, "%s", text);
    return 0;
}

bool loader_hdf5_fail(struct proto_error *error, const char *format, ...) {
    struct reasons reasons = {{0}, {0}};
    H5Ewalk2(H5E_DEFAULT, H5E_WALK_DOWNWARD, reason_take, &reasons);
    H5Eclear2(H5E_DEFAULT);
    char text[384];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (reasons.outer[0] == '\0') return proto_fail(error, PROTO_DAMAGED, "%s", text);
    if (strcmp(reasons.outer, reasons.inner) == 0)
        return proto_fail(error, PROTO_DAMAGED, "%s (HDF5: %s)", text, reasons.inner);
    return proto_fail(error, PROTO_DAMAGED, "%s (HDF5: %s: %s)", text, reasons.outer,
                      reasons.inner);
}

bool loader_hdf5_exists(hid_t place, const char *path) {
    char part[LOADER_NAME_BYTES_MAX];
    for (const char *end = path; *end != '\0';) {
        end += strcspn(end, "/");
        const size_t length = (size_t)(end - path);
        if (length >= sizeof part) return false;
        memcpy(part, path, length);
        part[length] = '\0';
        H5L_info_t info;
        if (H5Lexists(place, part, H5P_DEFAULT) <= 0 ||
            H5Lget_info(place, part, &info, H5P_DEFAULT) < 0 ||
            (info.type != H5L_TYPE_HARD && info.type != H5L_TYPE_SOFT))
            return false;
        if (*end == '/') end++;
    }
    return H5Oexists_by_name(place, path, H5P_DEFAULT) > 0;
}

static herr_t name_take(hid_t group, const char *name, const H5L_info_t *info, void *context) {
    (void)group;
    (void)info;
    const struct loader_hdf5_names *names = context;
    if (strlen(name) < LOADER_NAME_BYTES_MAX) names->take(names->context, name);
    return 0;
}

bool loader_hdf5_list(hid_t group, const struct loader_hdf5_names *names,
                      struct proto_error *error) {
    struct loader_hdf5_names copy = *names;
    if (H5Literate(group, H5_INDEX_NAME, H5_ITER_INC, NULL, name_take, &copy) < 0)
        return loader_hdf5_fail(error, "its names cannot be listed");
    return true;
}

// A text that grows up to its size, and how many names there were beside those that fit.
struct description {
    char *text;
    size_t size_bytes, used;
    uint64_t count;
};

static void describe_take(void *context, const char *name) {
    struct description *description = context;
    const size_t room = description->size_bytes - description->used;
    description->count++;
    if (description->count > 16 || strlen(name) + 32 > room) return;
    const int wrote = snprintf(description->text + description->used, room, "%s%s",
                               description->used > 0 ? ", " : "", name);
    description->used += (size_t)wrote;
}

void loader_hdf5_describe(hid_t group, char *text, size_t size_bytes) {
    struct description description = {.text = text, .size_bytes = size_bytes};
    struct proto_error ignored;
    snprintf(text, size_bytes, "nothing");
    const bool listed =
        loader_hdf5_list(group, &(struct loader_hdf5_names){describe_take, &description}, &ignored);
    if (listed && description.count > 16)
        snprintf(text + description.used, size_bytes - description.used, " (%llu in all)",
                 (unsigned long long)description.count);
}

// A text of variable length tells its length itself, and the library believes it: a damaged one
// costs gigabytes. Until the limit is put back, this process can only grow by MEMORY_BYTES_MAX.
static bool memory_limit(struct rlimit *before) {
    size_t pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    const bool known = file && fscanf(file, "%zu", &pages) == 1;
    if (file) fclose(file);
    if (!known || getrlimit(RLIMIT_AS, before) != 0) return false;
    struct rlimit limit = *before;
    const rlim_t most = (rlim_t)pages * (rlim_t)sysconf(_SC_PAGESIZE) + MEMORY_BYTES_MAX;
    if (limit.rlim_cur == RLIM_INFINITY || most < limit.rlim_cur) limit.rlim_cur = most;
    return setrlimit(RLIMIT_AS, &limit) == 0;
}

// The bytes of a text attribute, variable or fixed. *text is the caller's.
static bool text_read(hid_t attribute, hid_t type, char **text, struct proto_error *error) {
    if (H5Tis_variable_str(type) > 0) {
        char *borrowed = NULL;
        const hid_t memory = H5Tcopy(H5T_C_S1);
        bool done = memory >= 0 && H5Tset_size(memory, H5T_VARIABLE) >= 0 &&
                    H5Tset_cset(memory, H5Tget_cset(type)) >= 0;
        struct rlimit before;
        const bool limited = memory_limit(&before);
        done = done && H5Aread(attribute, memory, &borrowed) >= 0;
        if (limited) setrlimit(RLIMIT_AS, &before);
        if (!done) {
            loader_hdf5_fail(error, "cannot be read");
        } else if (!borrowed || strlen(borrowed) > LOADER_TEXT_BYTES_MAX) {
            done = proto_fail(error, PROTO_DAMAGED, "is a text over %zu bytes or none at all",
                              LOADER_TEXT_BYTES_MAX);
        } else {
            *text = proto_format(error, "%s", borrowed);
            done = *text != NULL;
        }
        if (borrowed) H5free_memory(borrowed);
        if (memory >= 0) H5Tclose(memory);
        return done;
    }
    const size_t size_bytes = H5Tget_size(type);
    if (size_bytes < 1 || size_bytes > LOADER_TEXT_BYTES_MAX)
        return proto_fail(error, PROTO_DAMAGED, "is a text of %zu bytes, must be 1..%zu",
                          size_bytes, LOADER_TEXT_BYTES_MAX);
    char *fixed = proto_alloc(size_bytes + 1, error);  // zeroed: always ends
    if (!fixed) return false;
    if (H5Aread(attribute, type, fixed) < 0) {
        free(fixed);
        return loader_hdf5_fail(error, "cannot be read");
    }
    *text = fixed;
    return true;
}

bool loader_hdf5_text(hid_t object, const char *name, char **text, struct proto_error *error) {
    *text = NULL;
    if (H5Aexists(object, name) <= 0) return true;
    bool done = false;
    hid_t attribute = -1, type = -1, space = -1;
    if ((attribute = H5Aopen(object, name, H5P_DEFAULT)) < 0 ||
        (type = H5Aget_type(attribute)) < 0 || (space = H5Aget_space(attribute)) < 0) {
        loader_hdf5_fail(error, "cannot be opened");
    } else if (H5Tget_class(type) != H5T_STRING || H5Sget_simple_extent_npoints(space) != 1) {
        proto_fail(error, PROTO_DAMAGED, "is not one text");
    } else {
        done = text_read(attribute, type, text, error);
    }
    if (space >= 0) H5Sclose(space);
    if (type >= 0) H5Tclose(type);
    if (attribute >= 0) H5Aclose(attribute);
    return done || proto_error_where(error, "attribute %s", name);
}

bool loader_hdf5_integer(hid_t object, const char *name, int64_t *value, bool *found,
                         struct proto_error *error) {
    *found = H5Aexists(object, name) > 0;
    if (!*found) return true;
    bool done = false;
    hid_t attribute = -1, type = -1, space = -1;
    if ((attribute = H5Aopen(object, name, H5P_DEFAULT)) < 0 ||
        (type = H5Aget_type(attribute)) < 0 || (space = H5Aget_space(attribute)) < 0) {
        loader_hdf5_fail(error, "cannot be opened");
    } else if (H5Tget_class(type) != H5T_INTEGER || H5Sget_simple_extent_npoints(space) != 1) {
        proto_fail(error, PROTO_DAMAGED, "is not one integer");
    } else if (H5Aread(attribute, H5T_NATIVE_INT64, value) < 0) {
        loader_hdf5_fail(error, "cannot be read");
    } else {
        done = true;
    }
    if (space >= 0) H5Sclose(space);
    if (type >= 0) H5Tclose(type);
    if (attribute >= 0) H5Aclose(attribute);
    return done || proto_error_where(error, "attribute %s", name);
}
