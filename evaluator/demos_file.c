// evaluator/demos_file.c - groups, attributes and arrays of a LIBERO file through libhdf5.
//
// libhdf5 does not survive a full disk: 1.10.8 crashes in H5Dclose after a write that failed. So
// the bytes of a demonstration are reserved before it is written, and a disk that has no room says
// so there; what is too much is cut off at the end.
#include "evaluator/demos_file.h"

#include "loader/hdf5.h"
#include "proto/files.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ACTION_WIDTH 7
#define OBSERVED_WIDTH 30                // numbers of a step below obs, and robot_states
#define BESIDES_BYTES ((size_t)1 << 20)  // more than all that libhdf5 keeps of one group

struct evaluator_demos_file {
    char *path, *partial;
    hid_t file, data;
    int descriptor;                      // of the same file
    struct evaluator_demos_about about;  // sizes only: its texts are the caller's
    uint32_t demo_count;
    uint64_t step_count;
};

// libhdf5 says why in its own words; a failed write is no damaged data but a disk.
static bool write_fail(struct proto_error *error, const char *what) {
    loader_hdf5_fail(error, "cannot write %s", what);
    error->status = errno == ENOSPC || errno == EDQUOT ? PROTO_EXHAUSTED : PROTO_FAILED;
    return false;
}

static bool text_write(hid_t object, const char *name, const char *text,
                       struct proto_error *error) {
    const hid_t type = H5Tcopy(H5T_C_S1), space = H5Screate(H5S_SCALAR);
    hid_t attribute = -1;
    bool done =
        type >= 0 && space >= 0 && H5Tset_size(type, H5T_VARIABLE) >= 0 &&
        H5Tset_cset(type, H5T_CSET_UTF8) >= 0 &&
        (attribute = H5Acreate2(object, name, type, space, H5P_DEFAULT, H5P_DEFAULT)) >= 0 &&
        H5Awrite(attribute, type, &text) >= 0;
    if (!done) write_fail(error, name);
    if (attribute >= 0 && H5Aclose(attribute) < 0 && done) done = write_fail(error, name);
    if (space >= 0) H5Sclose(space);
    if (type >= 0) H5Tclose(type);
    return done;
}

// A number (count 0) or a row of numbers as an attribute.
static bool numbers_write(hid_t object, const char *name, hid_t stored, hid_t memory, hsize_t count,
                          const void *values, struct proto_error *error) {
    const hid_t space = count > 0 ? H5Screate_simple(1, &count, NULL) : H5Screate(H5S_SCALAR);
    hid_t attribute = -1;
    bool done =
        space >= 0 &&
        (attribute = H5Acreate2(object, name, stored, space, H5P_DEFAULT, H5P_DEFAULT)) >= 0 &&
        H5Awrite(attribute, memory, values) >= 0;
    if (!done) write_fail(error, name);
    if (attribute >= 0 && H5Aclose(attribute) < 0 && done) done = write_fail(error, name);
    if (space >= 0) H5Sclose(space);
    return done;
}

static bool integer_write(hid_t object, const char *name, int64_t value,
                          struct proto_error *error) {
    return numbers_write(object, name, H5T_STD_I64LE, H5T_NATIVE_INT64, 0, &value, error);
}

// The members of an env_args text that never change, as LIBERO's recorder writes them.
static json_t *env_kwargs(const struct evaluator_demos_about *about) {
    json_t *controller = json_pack(
        "{s:s, s:i, s:i, s:[f,f,f,f,f,f], s:[f,f,f,f,f,f], s:i, s:i, s:s, s:[i,i], s:[i,i], s:n, "
        "s:n, s:b, s:b, s:n, s:f}",
        "type", "OSC_POSE", "input_max", 1, "input_min", -1, "output_max", 0.05, 0.05, 0.05, 0.5,
        0.5, 0.5, "output_min", -0.05, -0.05, -0.05, -0.5, -0.5, -0.5, "kp", 150, "damping_ratio",
        1, "impedance_mode", "fixed", "kp_limits", 0, 300, "damping_ratio_limits", 0, 10,
        "position_limits", "orientation_limits", "uncouple_pos_ori", 1, "control_delta", 1,
        "interpolation", "ramp_ratio", 0.2);
    return json_pack("{s:[s], s:o, s:s, s:b, s:b, s:b, s:b, s:b, s:[s,s], s:b, s:i, s:I, s:I, s:n}",
                     "robots", "Panda", "controller_configs", controller, "bddl_file_name",
                     about->bddl_name, "has_renderer", 0, "has_offscreen_renderer", 1,
                     "ignore_done", 1, "use_camera_obs", 1, "camera_depths", 0, "camera_names",
                     "robot0_eye_in_hand", "agentview", "reward_shaping", 1, "control_freq", 20,
                     "camera_heights", (json_int_t)about->height, "camera_widths",
                     (json_int_t)about->width, "camera_segmentations");
}

// Takes over `object` (NULL: there was no memory for it) and writes it as one line of JSON.
static bool json_write(hid_t place, const char *name, json_t *object, struct proto_error *error) {
    char *text = object ? json_dumps(object, JSON_REAL_PRECISION(15)) : NULL;
    const bool done = text ? text_write(place, name, text, error)
                           : proto_fail(error, PROTO_EXHAUSTED, "no memory for %s", name);
    free(text);
    json_decref(object);
    return done;
}

// The class that LIBERO has for a problem: every word of its name with a capital.
static char *class_name(const char *problem, struct proto_error *error) {
    char *name = proto_format(error, "%s", problem);
    for (char *c = name; c && *c != '\0'; c++)
        if (c == name || c[-1] == '_') *c = (char)toupper((unsigned char)*c);
    return name;
}

static bool about_write(struct evaluator_demos_file *file,
                        const struct evaluator_demos_about *about, struct proto_error *error) {
    char *class = class_name(about->problem, error);
    if (!class) return false;
    json_t *problem = json_pack("{s:s, s:s, s:s}", "problem_name", about->problem, "domain_name",
                                "robosuite", "language_instruction", about->language);
    json_t *args =
        json_pack("{s:i, s:s, s:s, s:s, s:o}", "type", 1, "env_name", class, "problem_name",
                  about->problem, "bddl_file", about->bddl_name, "env_kwargs", env_kwargs(about));
    const bool written = json_write(file->data, "problem_info", problem, error);
    const bool done = json_write(file->data, "env_args", args, error) && written &&
                      text_write(file->data, "env_name", class, error) &&
                      text_write(file->data, "macros_image_convention", "opengl", error) &&
                      text_write(file->data, "bddl_file_name", about->bddl_name, error) &&
                      text_write(file->data, "bddl_file_content", about->bddl_content, error);
    free(class);
    return done;
}

// The file can grow by so many bytes.
static bool room_reserve(struct evaluator_demos_file *file, size_t bytes,
                         struct proto_error *error) {
    hsize_t now = 0;
    size_t end = 0;
    if (H5Fget_filesize(file->file, &now) < 0) return write_fail(error, "the file");
    if (!proto_add(bytes, BESIDES_BYTES, &end) || !proto_add(end, (size_t)now, &end))
        return proto_fail(error, PROTO_EXHAUSTED, "the file would be too large");
    errno = posix_fallocate(file->descriptor, 0, (off_t)end);  // returns it, does not set it
    return errno == 0 || proto_fail_errno(error, PROTO_EXHAUSTED, "no room for %zu bytes", bytes);
}

bool evaluator_demos_file_create(const char *path, const struct evaluator_demos_about *about,
                                 struct evaluator_demos_file **out, struct proto_error *error) {
    if (proto_path_exists(path)) {
        proto_fail(error, PROTO_USAGE, "exists already: remove it or name another file");
        return proto_error_where(error, "%s", path);
    }
    loader_hdf5_quiet();
    struct evaluator_demos_file *file = proto_alloc(sizeof *file, error);
    if (!file) return false;
    file->file = file->data = file->descriptor = -1;
    file->about = *about;
    file->path = proto_format(error, "%s", path);
    file->partial = proto_format(error, "%s.partial", path);
    bool done = file->path && file->partial;
    if (done) {
        errno = 0;
        file->file = H5Fcreate(file->partial, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
        if (file->file >= 0) file->descriptor = open(file->partial, O_WRONLY | O_CLOEXEC);
        done = file->descriptor >= 0 ? room_reserve(file, strlen(about->bddl_content), error)
                                     : write_fail(error, "the file");
    }
    if (done) {
        file->data = H5Gcreate2(file->file, "data", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
        done = file->data >= 0 ? about_write(file, about, error) : write_fail(error, "the file");
    }
    if (!done) {
        evaluator_demos_file_abandon(&file);
        return proto_error_where(error, "%s", path);
    }
    *out = file;
    return true;
}

// A whole array below `place`; `name` may go through a group that exists.
static bool array_write(hid_t place, const char *name, hid_t stored, hid_t memory, int rank,
                        const hsize_t *shape, const void *values, struct proto_error *error) {
    const hid_t plan = H5Pcreate(H5P_DATASET_CREATE), space = H5Screate_simple(rank, shape, NULL);
    hid_t id = -1;
    errno = 0;
    bool done =
        plan >= 0 && space >= 0 && H5Pset_obj_track_times(plan, false) >= 0 &&
        (id = H5Dcreate2(place, name, stored, space, H5P_DEFAULT, plan, H5P_DEFAULT)) >= 0 &&
        H5Dwrite(id, memory, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0;
    if (!done) write_fail(error, name);
    if (id >= 0 && H5Dclose(id) < 0 && done) done = write_fail(error, name);
    if (space >= 0) H5Sclose(space);
    if (plan >= 0) H5Pclose(plan);
    return done;
}

static bool table_write(hid_t place, const char *name, uint32_t steps, uint32_t width,
                        const double *values, struct proto_error *error) {
    return array_write(place, name, H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, 2, (hsize_t[]){steps, width},
                       values, error);
}

// Columns of observations: from where in the structure, how many; a table may join several.
struct columns {
    size_t offset;
    uint32_t count;
};
#define SEEN(member, count)                                                                        \
    { offsetof(struct evaluator_observation, member), count }
static const struct {
    const char *name;
    struct columns parts[3];
} observed[] = {
    {"obs/gripper_states", {SEEN(gripper_qpos, 2)}},
    {"obs/joint_states", {SEEN(joint_pos, 7)}},
    {"obs/ee_states", {SEEN(eef_pos, 3), SEEN(ee_ori, 3)}},
    {"obs/ee_pos", {SEEN(eef_pos, 3)}},
    {"obs/ee_ori", {SEEN(ee_ori, 3)}},
    {"robot_states", {SEEN(gripper_qpos, 2), SEEN(eef_pos, 3), SEEN(eef_quat, 4)}},
};
#define OBSERVED_WIDTH_MAX 9

static bool observations_write(hid_t group, const struct evaluator_demo *demo,
                               struct proto_error *error) {
    double *table =
        proto_alloc_array((size_t)demo->steps * OBSERVED_WIDTH_MAX, sizeof *table, error);
    if (!table) return false;
    bool done = true;
    for (size_t i = 0; done && i < PROTO_COUNT(observed); i++) {
        double *out = table;
        uint32_t width = 0;
        for (size_t p = 0; p < 3; p++) width += observed[i].parts[p].count;
        for (uint32_t t = 0; t < demo->steps; t++) {
            const char *seen = (const char *)&demo->observations[t];
            for (size_t p = 0; p < 3; p++) {
                const struct columns *part = &observed[i].parts[p];
                memcpy(out, seen + part->offset, part->count * sizeof *out);
                out += part->count;
            }
        }
        done = table_write(group, observed[i].name, demo->steps, width, table, error);
    }
    free(table);
    return done;
}

// rewards and dones: 1 on the last step, as LIBERO writes them.
static bool ends_write(hid_t group, uint32_t steps, struct proto_error *error) {
    uint8_t *ends = proto_alloc(steps, error);
    if (!ends) return false;
    ends[steps - 1] = 1;
    const hsize_t shape = steps;
    const bool done =
        array_write(group, "rewards", H5T_STD_U8LE, H5T_NATIVE_UINT8, 1, &shape, ends, error) &&
        array_write(group, "dones", H5T_STD_U8LE, H5T_NATIVE_UINT8, 1, &shape, ends, error);
    free(ends);
    return done;
}

static bool images_write(const struct evaluator_demos_file *file, hid_t group,
                         const struct evaluator_demo *demo, struct proto_error *error) {
    const hsize_t shape[4] = {demo->steps, file->about.height, file->about.width, 3};
    return (!demo->agentview || array_write(group, "obs/agentview_rgb", H5T_STD_U8LE,
                                            H5T_NATIVE_UINT8, 4, shape, demo->agentview, error)) &&
           (!demo->eye_in_hand ||
            array_write(group, "obs/eye_in_hand_rgb", H5T_STD_U8LE, H5T_NATIVE_UINT8, 4, shape,
                        demo->eye_in_hand, error));
}

// What a demonstration takes; SIZE_MAX when that cannot be said.
static size_t demo_bytes(const struct evaluator_demos_file *file,
                         const struct evaluator_demo *demo) {
    size_t step, all;
    const size_t numbers = 2 * ACTION_WIDTH + OBSERVED_WIDTH + file->about.state_width + 1;
    if (!proto_mul(file->about.height, file->about.width, &step) || !proto_mul(step, 6, &step) ||
        !proto_add(step, numbers * sizeof(double), &step) || !proto_mul(step, demo->steps, &all) ||
        !proto_add(all, strlen(demo->model_file), &all))
        return SIZE_MAX;
    return all;
}

bool evaluator_demos_file_append(struct evaluator_demos_file *file,
                                 const struct evaluator_demo *demo, struct proto_error *error) {
    char name[32];
    snprintf(name, sizeof name, "demo_%u", file->demo_count);
    if (demo->steps == 0) return proto_fail(error, PROTO_FAILED, "%s has no steps", name);
    if (!room_reserve(file, demo_bytes(file, demo), error))
        return proto_error_where(error, "%s: data/%s", file->path, name);
    errno = 0;
    const hid_t group = H5Gcreate2(file->data, name, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    const hid_t obs =
        group >= 0 ? H5Gcreate2(group, "obs", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT) : -1;
    bool done =
        obs >= 0
            ? integer_write(group, "num_samples", demo->steps, error) &&
                  integer_write(group, "init_row", demo->init_row, error) &&
                  integer_write(group, "reset_seed", demo->reset_seed, error) &&
                  text_write(group, "model_file", demo->model_file, error) &&
                  numbers_write(group, "init_state", H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE,
                                file->about.state_width, demo->states, error) &&
                  table_write(group, "actions", demo->steps, ACTION_WIDTH, demo->actions, error) &&
                  table_write(group, "actions_clean", demo->steps, ACTION_WIDTH,
                              demo->actions_clean, error) &&
                  table_write(group, "states", demo->steps, file->about.state_width, demo->states,
                              error) &&
                  observations_write(group, demo, error) && ends_write(group, demo->steps, error) &&
                  images_write(file, group, demo, error)
            : write_fail(error, "its group");
    if (obs >= 0) H5Gclose(obs);
    if (group >= 0) H5Gclose(group);
    if (!done) return proto_error_where(error, "%s: data/%s", file->path, name);
    file->demo_count++;
    file->step_count += demo->steps;
    return true;
}

// Closes what is open of the library's; false when the last bytes could not be written.
static bool handles_close(struct evaluator_demos_file *file) {
    bool done = true;
    if (file->data >= 0 && H5Gclose(file->data) < 0) done = false;
    if (file->file >= 0 && H5Fclose(file->file) < 0) done = false;
    file->data = file->file = -1;
    return done;
}

static void file_free(struct evaluator_demos_file **file) {
    if ((*file)->descriptor >= 0) close((*file)->descriptor);
    free((*file)->path);
    free((*file)->partial);
    free(*file);
    *file = NULL;
}

// Cuts off what was reserved and not used, and waits for the disk.
static bool end_set(const struct evaluator_demos_file *file, hsize_t size,
                    struct proto_error *error) {
    return (ftruncate(file->descriptor, (off_t)size) == 0 && fsync(file->descriptor) == 0) ||
           proto_fail_errno(error, PROTO_FAILED, "cannot be made durable");
}

bool evaluator_demos_file_finish(struct evaluator_demos_file **file_pointer,
                                 struct proto_error *error) {
    struct evaluator_demos_file *file = *file_pointer;
    bool done = integer_write(file->data, "num_demos", file->demo_count, error) &&
                integer_write(file->data, "total", (int64_t)file->step_count, error);
    hsize_t size = 0;
    errno = 0;
    if (done && (H5Fflush(file->file, H5F_SCOPE_LOCAL) < 0 ||
                 H5Fget_filesize(file->file, &size) < 0 || !handles_close(file)))
        done = write_fail(error, "the end of the file");
    done = done && end_set(file, size, error);
    if (!done) proto_error_where(error, "%s", file->path);
    done = done && proto_path_rename(file->partial, file->path, error) &&
           proto_folder_sync_above(file->path, error);
    if (!done) {
        evaluator_demos_file_abandon(file_pointer);
        return false;
    }
    file_free(file_pointer);
    return true;
}

void evaluator_demos_file_abandon(struct evaluator_demos_file **file) {
    if (!*file) return;
    handles_close(*file);
    if ((*file)->partial) unlink((*file)->partial);
    file_free(file);
}
