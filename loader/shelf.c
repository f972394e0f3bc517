// loader/shelf.c - least recently used episodes, and the files they are in.
//
// Episodes form a ring around the anchor: anchor.next is the newest, anchor.previous the oldest.
// Letting a file go lets its episodes go first, because their frames are read through it.
#include "loader/shelf.h"

#include "proto/files.h"

#include <assert.h>
#include <stdlib.h>
#include <sys/stat.h>

#define OPEN_DATASET_BYTES ((size_t)16 << 10)  // of the library, for each chunked dataset

struct slot {
    struct loader_held held;
    struct slot *next, *previous;
    uint32_t row;       // of the index
    size_t size_bytes;  // of the budget
};

struct open_file {
    struct loader_dataset *dataset;  // NULL: closed
    uint64_t used;                   // turn of the last use
};

struct loader_shelf {
    struct loader_shelf_settings settings;
    struct slot anchor;
    struct slot **slots;      // [episode_count] of the index; NULL: not held
    struct open_file *files;  // [file_count] of the index
    uint64_t turn;
    struct loader_shelf_counters counters;
};

bool loader_shelf_open(const struct loader_shelf_settings *settings, struct loader_shelf **out,
                       struct proto_error *error) {
    struct loader_shelf *shelf = proto_alloc(sizeof *shelf, error);
    if (!shelf) return false;
    shelf->settings = *settings;
    shelf->anchor.next = shelf->anchor.previous = &shelf->anchor;
    shelf->slots = proto_alloc_array(settings->index->episode_count, sizeof(void *), error);
    shelf->files = proto_alloc_array(settings->index->file_count, sizeof *shelf->files, error);
    if (shelf->slots && shelf->files) {
        *out = shelf;
        return true;
    }
    loader_shelf_close(&shelf);
    return false;
}

static void ring_leave(struct slot *slot) {
    slot->previous->next = slot->next;
    slot->next->previous = slot->previous;
}

static void ring_enter(struct loader_shelf *shelf, struct slot *slot) {
    slot->next = shelf->anchor.next;
    slot->previous = &shelf->anchor;
    slot->next->previous = slot->previous->next = slot;
}

// Frees what a slot holds, and the slot.
static void slot_free(struct slot *slot) {
    for (uint32_t c = 0; c < PROTO_CAMERAS_MAX; c++)
        if (slot->held.cameras[c].dataset) loader_frames_close(&slot->held.cameras[c]);
    loader_episode_free(&slot->held.episode);
    free(slot->held.frame_ids);
    free(slot);
}

static void slot_drop(struct loader_shelf *shelf, struct slot *slot) {
    ring_leave(slot);
    shelf->slots[slot->row] = NULL;
    shelf->counters.bytes -= slot->size_bytes;
    shelf->counters.episodes--;
    slot_free(slot);
}

static void file_drop(struct loader_shelf *shelf, uint32_t file) {
    if (!shelf->files[file].dataset) return;
    for (struct slot *slot = shelf->anchor.next, *next = NULL; slot != &shelf->anchor;
         slot = next) {
        next = slot->next;
        if (shelf->settings.index->episodes[slot->row].file == file) slot_drop(shelf, slot);
    }
    loader_dataset_close(&shelf->files[file].dataset);
    shelf->counters.files--;
}

void loader_shelf_close(struct loader_shelf **shelf_pointer) {
    struct loader_shelf *shelf = *shelf_pointer;
    if (!shelf) return;
    for (uint32_t i = 0; shelf->files && i < shelf->settings.index->file_count; i++)
        file_drop(shelf, i);
    free(shelf->files);
    free(shelf->slots);
    free(shelf);
    *shelf_pointer = NULL;
}

static bool size_compare(uint64_t size_bytes, const struct proto_index_file *row,
                         struct proto_error *error) {
    if (size_bytes == row->size_bytes) return true;
    return proto_fail(error, PROTO_DAMAGED,
                      "has changed since the index was made: it has %llu bytes, had %llu; put the "
                      "old file back or start a new run",
                      (unsigned long long)size_bytes, (unsigned long long)row->size_bytes);
}

// The file as it was opened against the index. Another time of change alone is no change of data.
static bool file_compare(const struct loader_dataset *dataset, const struct proto_index_file *row,
                         struct proto_error *error) {
    uint64_t hash = row->hash;
    if (!size_compare(dataset->size_bytes, row, error)) return false;
    if (dataset->mtime_ns == row->mtime_ns) return true;
    if (!proto_file_hash(dataset->path, &hash, error)) return false;
    if (hash == row->hash) return true;
    return proto_fail(error, PROTO_DAMAGED,
                      "has changed since the index was made: its content hash is %016llx, was "
                      "%016llx; put the old file back or start a new run",
                      (unsigned long long)hash, (unsigned long long)row->hash);
}

// Whether somebody wrote into the file while it is open.
static bool file_is_same(const struct loader_dataset *dataset) {
    struct stat status;
    return fstat(dataset->descriptor, &status) == 0 &&
           (uint64_t)status.st_size == dataset->size_bytes &&
           (int64_t)status.st_mtim.tv_sec * 1000000000 + status.st_mtim.tv_nsec ==
               dataset->mtime_ns;
}

// Makes room for one more open file.
static void files_limit(struct loader_shelf *shelf) {
    while (shelf->counters.files >= shelf->settings.files_max) {
        uint32_t oldest = UINT32_MAX;
        for (uint32_t i = 0; i < shelf->settings.index->file_count; i++)
            if (shelf->files[i].dataset &&
                (oldest == UINT32_MAX || shelf->files[i].used < shelf->files[oldest].used))
                oldest = i;
        file_drop(shelf, oldest);
    }
}

static bool file_take(struct loader_shelf *shelf, uint32_t file, struct proto_error *error) {
    struct open_file *open = &shelf->files[file];
    const struct proto_index_file *row = &shelf->settings.index->files[file];
    open->used = ++shelf->turn;
    if (open->dataset && !file_is_same(open->dataset)) file_drop(shelf, file);
    if (open->dataset) return true;
    files_limit(shelf);
    struct loader_dataset *dataset = NULL;
    struct stat status;
    // the size first: a file that was cut off is changed, not just damaged
    if (stat(row->path, &status) == 0 && !size_compare((uint64_t)status.st_size, row, error))
        return proto_error_where(error, "%s", row->path);
    if (!loader_dataset_open(row->path, &dataset, error)) {
        // it was there when the index was made
        if (error->status == PROTO_USAGE) error->status = PROTO_DAMAGED;
        return false;
    }
    if (!file_compare(dataset, row, error)) {
        loader_dataset_close(&dataset);
        return proto_error_where(error, "%s", row->path);
    }
    open->dataset = dataset;
    shelf->counters.files++;
    return true;
}

static bool slot_fill(const struct loader_shelf *shelf, const struct loader_dataset *dataset,
                      struct slot *slot, struct proto_error *error) {
    const struct proto_codec *codec = shelf->settings.codec;
    const struct proto_index_episode *row = &shelf->settings.index->episodes[slot->row];
    struct loader_held *held = &slot->held;
    if (!loader_episode_read(dataset, row->group, codec, &held->episode, error)) return false;
    if (held->episode.steps != row->steps) {
        proto_fail(error, PROTO_DAMAGED, "the episode has %u steps, the index says %u",
                   held->episode.steps, row->steps);
        return proto_error_where(error, "%s: %s", dataset->path, row->group);
    }
    const size_t ids = (size_t)row->steps * codec->camera_count;
    held->frame_ids = proto_alloc_array(ids, sizeof *held->frame_ids, error);
    if (!held->frame_ids) return false;
    slot->size_bytes = sizeof *slot + held->episode.size_bytes + ids * sizeof *held->frame_ids;
    for (uint32_t c = 0; c < codec->camera_count; c++) {
        struct loader_frames *frames = &held->cameras[c];
        // a quarter of the budget for one episode's chunks, so that several fit
        if (!loader_frames_open(dataset, row->group, codec->cameras[c], row->steps,
                                shelf->settings.budget_bytes / 4 / codec->camera_count, frames,
                                error))
            return false;
        if (frames->height != codec->image_height || frames->width != codec->image_width) {
            proto_fail(error, PROTO_DAMAGED, "frames are %u x %u pixels, the codec says %u x %u",
                       frames->height, frames->width, codec->image_height, codec->image_width);
            return proto_error_where(error, "%s: %s", dataset->path, frames->path);
        }
        if (frames->cache_bytes > 0) slot->size_bytes += frames->cache_bytes + OPEN_DATASET_BYTES;
    }
    return true;
}

static void budget_limit(struct loader_shelf *shelf) {
    while (shelf->counters.bytes > shelf->settings.budget_bytes &&
           shelf->anchor.previous != shelf->anchor.next)
        slot_drop(shelf, shelf->anchor.previous);
}

bool loader_shelf_take(struct loader_shelf *shelf, uint32_t row, struct loader_held **held,
                       struct proto_error *error) {
    assert(row < shelf->settings.index->episode_count);
    const uint32_t file = shelf->settings.index->episodes[row].file;
    if (!file_take(shelf, file, error)) return false;
    struct slot *slot = shelf->slots[row];
    if (slot) {
        ring_leave(slot);
    } else {
        slot = proto_alloc(sizeof *slot, error);
        if (!slot) return false;
        slot->row = row;
        if (!slot_fill(shelf, shelf->files[file].dataset, slot, error)) {
            slot_free(slot);
            return false;
        }
        shelf->slots[row] = slot;
        shelf->counters.bytes += slot->size_bytes;
        shelf->counters.episodes++;
        shelf->counters.opened++;
    }
    ring_enter(shelf, slot);
    budget_limit(shelf);
    *held = &slot->held;
    return true;
}

struct loader_shelf_counters loader_shelf_counters(const struct loader_shelf *shelf) {
    return shelf->counters;
}
