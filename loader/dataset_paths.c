// loader/dataset_paths.c - files and folders of data.path, made into one list of files.
#include "loader/dataset_paths.h"

#include "proto/index.h"

#include <stdlib.h>
#include <string.h>

// Takes the file's real path into the list.
static bool file_add(struct proto_names *files, const char *path, struct proto_error *error) {
    if (files->count == PROTO_FILES_MAX)
        return proto_fail(error, PROTO_USAGE, "more than %d files", PROTO_FILES_MAX);
    char *real = realpath(path, NULL);
    if (!real) {
        proto_fail_errno(error, PROTO_USAGE, "cannot be found");
        return proto_error_where(error, "%s", path);
    }
    for (size_t i = 0; i < files->count; i++) {
        if (strcmp(files->items[i], real) != 0) continue;
        proto_fail(error, PROTO_USAGE, "is named twice; its demonstrations would count double");
        proto_error_where(error, "%s", path);
        free(real);
        return false;
    }
    files->items[files->count++] = real;
    return true;
}

static bool folder_add(struct proto_names *files, const char *folder, struct proto_error *error) {
    struct proto_names names = {0};
    if (!proto_folder_list(folder, &names, error)) return false;
    const size_t before = files->count;
    bool done = true;
    for (size_t i = 0; done && i < names.count; i++) {
        const size_t length = strlen(names.items[i]);
        if (length <= 5 || strcmp(names.items[i] + length - 5, ".hdf5") != 0) continue;
        char *path = proto_format(error, "%s/%s", folder, names.items[i]);
        done = path && (proto_path_is_folder(path) || file_add(files, path, error));
        free(path);
    }
    if (done && files->count == before) {
        proto_fail(error, PROTO_DAMAGED,
                   "the folder has no *.hdf5 files among its %zu entries (folders below it are "
                   "not searched)",
                   names.count);
        done = proto_error_where(error, "%s", folder);
    }
    proto_names_free(&names);
    return done;
}

bool loader_dataset_paths(const struct proto_list *data_path, struct proto_names *files,
                          struct proto_error *error) {
    *files = (struct proto_names){0};
    if (data_path->count == 0) {
        proto_fail(error, PROTO_USAGE,
                   "is empty; expected a LIBERO or robomimic HDF5 file or a folder of them");
        return proto_error_where(error, "data.path");
    }
    files->items = proto_alloc_array(PROTO_FILES_MAX, sizeof *files->items, error);
    bool done = files->items != NULL;
    for (size_t i = 0; done && i < data_path->count; i++) {
        const char *path = data_path->items[i];
        done = proto_path_is_folder(path) ? folder_add(files, path, error)
                                          : file_add(files, path, error);
    }
    if (done) return true;
    proto_names_free(files);
    return proto_error_where(error, "data.path");
}
