// loader/array.c - the form and the numbers of one HDF5 dataset.
#include "loader/array.h"

#include "loader/hdf5.h"
#include "proto/place.h"

#include <math.h>
#include <stdio.h>

// "data/demo_3/obs/ee_pos"; false when it is too long to be one of ours.
static bool path_join(const char *group, const char *name, char path[static 320]) {
    return snprintf(path, 320, "%s/%s", group, name) < 320;
}

bool loader_array_exists(const struct loader_dataset *dataset, const char *group,
                         const char *name) {
    char path[320];
    return path_join(group, name, path) && loader_hdf5_exists(dataset->file, path);
}

// The message for a dataset that is not there: what the folder holds that it should be in.
static bool missing(const struct loader_dataset *dataset, char *path, struct proto_error *error) {
    char found[320] = "nothing", parent[320];
    snprintf(parent, sizeof parent, "%s", path);
    for (;;) {
        char *slash = NULL;
        for (char *c = parent; *c != '\0'; c++)
            if (*c == '/') slash = c;
        if (!slash) break;
        *slash = '\0';
        if (!loader_hdf5_exists(dataset->file, parent)) continue;
        const hid_t group = H5Gopen2(dataset->file, parent, H5P_DEFAULT);
        if (group >= 0) {
            loader_hdf5_describe(group, found, sizeof found);
            H5Gclose(group);
        }
        break;
    }
    return proto_fail(error, PROTO_DAMAGED, "is missing; %s has %s", parent, found);
}

static bool type_read(struct loader_array *array, size_t *item_bytes, struct proto_error *error) {
    const hid_t type = H5Dget_type(array->id);
    if (type < 0) return loader_hdf5_fail(error, "its type cannot be read");
    const H5T_class_t class = H5Tget_class(type);
    *item_bytes = H5Tget_size(type);
    const bool is_signed = class == H5T_INTEGER && H5Tget_sign(type) == H5T_SGN_2;
    H5Tclose(type);
    array->real = class == H5T_FLOAT && (*item_bytes == 4 || *item_bytes == 8);
    array->byte = class == H5T_INTEGER && *item_bytes == 1 && !is_signed;
    if (array->real || class == H5T_INTEGER) return true;
    return proto_fail(error, PROTO_DAMAGED,
                      "holds neither numbers nor images: found %s of %zu bytes; expected f4, f8 "
                      "or u1",
                      class == H5T_FLOAT ? "a float" : "another type", *item_bytes);
}

static bool shape_read(struct loader_array *array, size_t item_bytes, struct proto_error *error) {
    hsize_t shape[4] = {0};
    const hid_t space = H5Dget_space(array->id);
    if (space < 0) return loader_hdf5_fail(error, "its shape cannot be read");
    const int rank = H5Sget_simple_extent_ndims(space);
    const bool fits = rank >= 1 && rank <= 4 && H5Sget_simple_extent_dims(space, shape, NULL) >= 0;
    H5Sclose(space);
    if (!fits) return proto_fail(error, PROTO_DAMAGED, "has %d axes; expected 1 to 4", rank);
    if (shape[0] > LOADER_STEPS_MAX)
        return proto_fail(error, PROTO_DAMAGED, "has %llu rows; at most %d are read",
                          (unsigned long long)shape[0], LOADER_STEPS_MAX);
    array->rank = (uint32_t)rank;
    array->items = 1;
    for (int i = 0; i < rank; i++) {
        if (i > 0 && (shape[i] < 1 || shape[i] > LOADER_COLUMNS_MAX))
            return proto_fail(error, PROTO_DAMAGED, "axis %d is %llu long, must be 1..%d", i,
                              (unsigned long long)shape[i], LOADER_COLUMNS_MAX);
        array->shape[i] = (size_t)shape[i];
        if (!proto_mul(array->items, array->shape[i], &array->items))
            return proto_fail(error, PROTO_DAMAGED, "its shape overflows");
    }
    if (!proto_mul(array->items, item_bytes, &array->size_bytes))
        return proto_fail(error, PROTO_DAMAGED, "its size overflows");
    return true;
}

// Where the numbers lie. An array that was declared but never written reads as zeros: a recording
// that was cut off, not a robot at rest.
static bool layout_read(const struct loader_dataset *dataset, struct loader_array *array,
                        struct proto_error *error) {
    hsize_t chunk[4] = {0};
    const hid_t plan = H5Dget_create_plist(array->id);
    if (plan < 0) return loader_hdf5_fail(error, "its layout cannot be read");
    const H5D_layout_t layout = H5Pget_layout(plan);
    const int outside = H5Pget_external_count(plan);
    const bool chunked = layout == H5D_CHUNKED && H5Pget_chunk(plan, 4, chunk) > 0;
    H5Pclose(plan);
    if (outside != 0 || (!chunked && layout != H5D_CONTIGUOUS && layout != H5D_COMPACT))
        return proto_fail(error, PROTO_DAMAGED,
                          "keeps its numbers outside this file (external or virtual dataset); "
                          "expected a contiguous or chunked one");
    if (array->items > 0 && H5Dget_storage_size(array->id) == 0)
        return proto_fail(error, PROTO_DAMAGED,
                          "declares %zu rows but nothing was written: was the recording cut off?",
                          array->shape[0]);
    for (int i = 0; i < 4; i++) array->chunk[i] = chunked ? (size_t)chunk[i] : 0;
    array->offset = 0;
    if (layout != H5D_CONTIGUOUS || array->items == 0) return true;
    const haddr_t offset = H5Dget_offset(array->id);
    size_t end = 0;
    if (offset == HADDR_UNDEF || !proto_add((size_t)offset, array->size_bytes, &end) ||
        end > dataset->size_bytes)
        return proto_fail(error, PROTO_DAMAGED, "lies outside the file of %llu bytes",
                          (unsigned long long)dataset->size_bytes);
    array->offset = (uint64_t)offset;
    return true;
}

bool loader_array_open(const struct loader_dataset *dataset, const char *group, const char *name,
                       struct loader_array *array, struct proto_error *error) {
    char path[320];
    size_t item_bytes = 0;
    *array = (struct loader_array){.id = -1};
    bool done = false;
    if (!path_join(group, name, path)) {
        proto_fail(error, PROTO_USAGE, "the name is over 300 bytes long");
        goto end;
    }
    proto_place_note(dataset->path, path);
    if (!loader_hdf5_exists(dataset->file, path)) {
        missing(dataset, path, error);
        goto end;
    }
    array->id = H5Dopen2(dataset->file, path, H5P_DEFAULT);
    if (array->id < 0) {
        loader_hdf5_fail(error, "cannot be opened as a dataset");
        goto end;
    }
    done = type_read(array, &item_bytes, error) && shape_read(array, item_bytes, error) &&
           layout_read(dataset, array, error);
end:
    if (done) return true;
    loader_array_close(array);
    return proto_error_where(error, "%s: %s/%s", dataset->path, group, name);
}

void loader_array_close(struct loader_array *array) {
    if (array->id >= 0) H5Dclose(array->id);
    array->id = -1;
}

static bool numbers_read(const struct loader_array *array, size_t rows, size_t columns, double *out,
                         struct proto_error *error) {
    const size_t found = array->rank == 1 ? 1 : array->shape[1];
    if (!array->real || array->rank > 2 || array->shape[0] != rows || found != columns)
        return proto_fail(error, PROTO_DAMAGED,
                          "is %s [%zu, %zu%s]; expected real numbers (f4 or f8) [%zu, %zu]",
                          array->real ? "real numbers" : "integers", array->shape[0], found,
                          array->rank > 2 ? ", ..." : "", rows, columns);
    if (H5Dread(array->id, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, out) < 0)
        return loader_hdf5_fail(error, "cannot be read; copy or record the file again");
    for (size_t i = 0; i < rows * columns; i++)
        if (!isfinite(out[i]))
            return proto_fail(error, PROTO_DAMAGED,
                              "row %zu, column %zu is %s; every number must be finite: remove "
                              "the episode or repair it",
                              i / columns, i % columns, isnan(out[i]) ? "NaN" : "infinite");
    return true;
}

bool loader_array_numbers(const struct loader_dataset *dataset, const char *group, const char *name,
                          size_t rows, size_t columns, double *out, struct proto_error *error) {
    struct loader_array array;
    if (!loader_array_open(dataset, group, name, &array, error)) return false;
    const bool done = numbers_read(&array, rows, columns, out, error);
    loader_array_close(&array);
    return done || proto_error_where(error, "%s: %s/%s", dataset->path, group, name);
}
