// loader/frames.c - reads frames of one camera, past libhdf5 where the layout allows.
#include "loader/frames.h"

#include "loader/hdf5.h"
#include "proto/place.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define CHUNK_BYTES_MAX ((size_t)1 << 28)
#define FRAME_CHUNKS_BYTES_MAX ((size_t)1 << 28)
#define SLOTS_MAX 65537

// How the two kinds of file name a camera's images, best first.
static const char *const camera_names[] = {"obs/%s_rgb", "obs/%s_image", "obs/robot0_%s_image",
                                           "obs/robot0_%s_rgb"};

// The name for a camera in one of these ways; the pattern's only %s is replaced.
static bool camera_name(const char *pattern, const char *camera, char name[static 128]) {
    const char *gap = strstr(pattern, "%s");
    const int wrote =
        snprintf(name, 128, "%.*s%s%s", (int)(gap - pattern), pattern, camera, gap + 2);
    return wrote > 0 && wrote < 128;
}

bool loader_frames_find(const struct loader_dataset *dataset, const char *group, const char *camera,
                        char name[static 128], struct proto_error *error) {
    for (size_t i = 0; i < PROTO_COUNT(camera_names); i++)
        if (camera_name(camera_names[i], camera, name) && loader_array_exists(dataset, group, name))
            return true;
    char path[320], found[320] = "nothing";
    snprintf(path, sizeof path, "%s/obs", group);
    if (loader_hdf5_exists(dataset->file, path)) {
        const hid_t obs = H5Gopen2(dataset->file, path, H5P_DEFAULT);
        if (obs >= 0) {
            loader_hdf5_describe(obs, found, sizeof found);
            H5Gclose(obs);
        }
    }
    proto_fail(error, PROTO_DAMAGED,
               "no images of camera %s (data.cameras): obs has %s; expected %s_rgb, %s_image or "
               "robot0_%s_image",
               camera, found, camera, camera, camera);
    return proto_error_where(error, "%s: %s", dataset->path, group);
}

// Bytes of the chunks that one frame lies in: the smallest cache that unpacks none twice for it.
static bool frame_chunks_bytes(const struct loader_array *array, size_t *bytes,
                               size_t *chunk_bytes) {
    *bytes = *chunk_bytes = array->chunk[0];
    for (uint32_t i = 1; i < 4; i++) {
        const size_t chunks = (array->shape[i] + array->chunk[i] - 1) / array->chunk[i];
        if (!proto_mul(*chunk_bytes, array->chunk[i], chunk_bytes) ||
            !proto_mul(*bytes, chunks * array->chunk[i], bytes))
            return false;
    }
    return *chunk_bytes <= CHUNK_BYTES_MAX && *bytes <= FRAME_CHUNKS_BYTES_MAX;
}

// Opens the chunked array once more with a cache of its own.
static bool cache_size(struct loader_frames *frames, size_t cache_bytes,
                       struct proto_error *error) {
    struct loader_array *array = &frames->array;
    size_t least = 0, chunk_bytes = 0;
    if (!frame_chunks_bytes(array, &least, &chunk_bytes))
        return proto_fail(error, PROTO_DAMAGED,
                          "a frame lies in chunks of %zu x %zu x %zu x %zu bytes, over %zu MiB "
                          "together: repack the file with smaller ones (h5repack)",
                          array->chunk[0], array->chunk[1], array->chunk[2], array->chunk[3],
                          FRAME_CHUNKS_BYTES_MAX >> 20);
    const size_t whole = least * ((array->shape[0] + array->chunk[0] - 1) / array->chunk[0]);
    size_t bytes = cache_bytes < whole ? cache_bytes : whole;
    if (bytes < least) bytes = least;
    // slots: many more than chunks, so that two rarely want the same; odd, as the hash is a modulo
    size_t slots = 16 * (bytes / chunk_bytes + 1) + 1;
    if (slots > SLOTS_MAX) slots = SLOTS_MAX;
    const hid_t access = H5Pcreate(H5P_DATASET_ACCESS);
    hid_t id = -1;
    if (access >= 0 && H5Pset_chunk_cache(access, slots, bytes, 0.75) >= 0) {
        // it must be closed first, or the open one's cache is shared
        loader_array_close(array);
        id = H5Dopen2(frames->dataset->file, frames->path, access);
    }
    if (id < 0) loader_hdf5_fail(error, "cannot be opened");
    if (access >= 0) H5Pclose(access);
    array->id = id;
    frames->cache_bytes = bytes;
    return id >= 0;
}

static bool form_check(struct loader_frames *frames, uint32_t steps, struct proto_error *error) {
    const struct loader_array *array = &frames->array;
    if (!array->byte || array->rank != 4 || array->shape[3] != 3)
        return proto_fail(error, PROTO_DAMAGED,
                          "is no series of RGB images: %u axes of %s, last of %zu; expected u1 "
                          "[%u, height, width, 3]",
                          array->rank,
                          array->byte   ? "u1"
                          : array->real ? "real numbers"
                                        : "other integers",
                          array->shape[array->rank - 1], steps);
    if (array->shape[0] != steps)
        return proto_fail(error, PROTO_DAMAGED, "has %zu frames; the episode has %u actions",
                          array->shape[0], steps);
    frames->steps = steps;
    frames->height = (uint32_t)array->shape[1];
    frames->width = (uint32_t)array->shape[2];
    frames->frame_bytes = array->shape[1] * array->shape[2] * 3;
    return true;
}

bool loader_frames_open(const struct loader_dataset *dataset, const char *group, const char *camera,
                        uint32_t steps, size_t cache_bytes, struct loader_frames *frames,
                        struct proto_error *error) {
    char name[128];
    *frames = (struct loader_frames){.dataset = dataset, .array = {.id = -1}};
    if (!loader_frames_find(dataset, group, camera, name, error) ||
        !loader_array_open(dataset, group, name, &frames->array, error))
        return false;
    snprintf(frames->path, sizeof frames->path, "%s/%s", group, name);
    const bool done = form_check(frames, steps, error) &&
                      (frames->array.chunk[0] == 0 || cache_size(frames, cache_bytes, error));
    if (done && frames->array.offset > 0) loader_array_close(&frames->array);  // not needed again
    if (done) return true;
    loader_frames_close(frames);
    return proto_error_where(error, "%s: %s", dataset->path, frames->path);
}

void loader_frames_close(struct loader_frames *frames) { loader_array_close(&frames->array); }

static bool frame_read_plain(const struct loader_frames *frames, uint32_t j, uint8_t *out,
                             struct proto_error *error) {
    size_t done = 0;
    const uint64_t begin = frames->array.offset + (uint64_t)j * frames->frame_bytes;
    while (done < frames->frame_bytes) {
        const ssize_t got = pread(frames->dataset->descriptor, out + done,
                                  frames->frame_bytes - done, (off_t)(begin + done));
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return proto_fail_errno(error, PROTO_DAMAGED, "frame %u cannot be read", j);
        if (got == 0)
            return proto_fail(error, PROTO_DAMAGED,
                              "the file ends inside frame %u: it was cut off while in use", j);
        done += (size_t)got;
    }
    return true;
}

static bool frame_read_library(const struct loader_frames *frames, uint32_t j, uint8_t *out,
                               struct proto_error *error) {
    const hsize_t start[4] = {j}, count[4] = {1, frames->height, frames->width, 3};
    const hid_t all = H5Dget_space(frames->array.id), one = H5Screate_simple(4, count, NULL);
    const bool done = all >= 0 && one >= 0 &&
                      H5Sselect_hyperslab(all, H5S_SELECT_SET, start, NULL, count, NULL) >= 0 &&
                      H5Dread(frames->array.id, H5T_NATIVE_UINT8, one, all, H5P_DEFAULT, out) >= 0;
    if (!done) loader_hdf5_fail(error, "frame %u cannot be read", j);
    if (one >= 0) H5Sclose(one);
    if (all >= 0) H5Sclose(all);
    return done;
}

bool loader_frames_read(const struct loader_frames *frames, uint32_t j, uint8_t *out,
                        struct proto_error *error) {
    const bool plain = frames->array.offset > 0;
    if (!plain) proto_place_note(frames->dataset->path, frames->path);
    const bool done =
        plain ? frame_read_plain(frames, j, out, error) : frame_read_library(frames, j, out, error);
    return done || proto_error_where(error, "%s: %s", frames->dataset->path, frames->path);
}
