// tests/loader/demo_file.h - small HDF5 files in the layouts of LIBERO and robomimic, with numbers
// that say where they come from, and ways to spoil them one dataset at a time.
//
// The arm is a mass that commands push: position p[t+1] = p[t] + 0.02 a[t] + 0.7 (p[t] - p[t-1]),
// so that alignment can be measured. Pixel i of frame t of camera c in demo d is a hash of all
// four.
#ifndef TESTS_LOADER_DEMO_FILE_H
#define TESTS_LOADER_DEMO_FILE_H

#include "tests/check.h"

#include "proto/config.h"
#include "proto/random.h"

#include <hdf5.h>
#include <math.h>

#define DEMO_SIDE 16

enum demo_layout { DEMO_CONTIGUOUS, DEMO_CHUNKED, DEMO_GZIP };

struct demo_file {
    enum demo_layout layout;  // of images
    bool robomimic;           // names, f4 numbers, no attributes of LIBERO
    bool before;              // obs[j] stored before action[j]
    uint32_t demos, steps;    // demo d has steps + d steps
    uint32_t seed;
    const char *instruction;  // NULL: "close the drawer"
};

static inline uint8_t demo_pixel(uint32_t demo, uint32_t t, uint32_t camera, uint32_t i) {
    uint32_t x = (demo * 31 + t) * 2654435761u ^ (camera * 97 + i) * 2246822519u;
    x ^= x >> 15;
    return (uint8_t)(x * 2654435761u >> 24);
}

static inline void demo_text(hid_t object, const char *name, const char *text) {
    const hid_t type = H5Tcopy(H5T_C_S1), space = H5Screate(H5S_SCALAR);
    H5Tset_size(type, H5T_VARIABLE);
    H5Tset_cset(type, H5T_CSET_UTF8);
    const hid_t attribute = H5Acreate2(object, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
    CHECK(attribute >= 0 && H5Awrite(attribute, type, &text) >= 0);
    H5Aclose(attribute);
    H5Sclose(space);
    H5Tclose(type);
}

static inline void demo_integer(hid_t object, const char *name, int64_t value) {
    const hid_t space = H5Screate(H5S_SCALAR);
    const hid_t attribute =
        H5Acreate2(object, name, H5T_STD_I64LE, space, H5P_DEFAULT, H5P_DEFAULT);
    CHECK(attribute >= 0 && H5Awrite(attribute, H5T_NATIVE_INT64, &value) >= 0);
    H5Aclose(attribute);
    H5Sclose(space);
}

// Writes a dataset; data NULL: declared, never written.
static inline void demo_array(hid_t place, const char *name, hid_t type, hid_t memory, int rank,
                              const hsize_t *shape, enum demo_layout layout, const void *data) {
    const hid_t plan = H5Pcreate(H5P_DATASET_CREATE), links = H5Pcreate(H5P_LINK_CREATE);
    const hid_t space = H5Screate_simple(rank, shape, NULL);
    H5Pset_create_intermediate_group(links, 1);
    H5Pset_obj_track_times(plan, false);  // the same settings give the same bytes at any time
    if (layout != DEMO_CONTIGUOUS) {
        // frames in pieces that cut them and span several, as the recorded LIBERO file has them
        hsize_t chunk[4] = {5, 7, DEMO_SIDE, 3};
        for (int i = 0; i < rank; i++)
            if (chunk[i] > shape[i]) chunk[i] = shape[i];
        H5Pset_chunk(plan, rank, chunk);
        if (layout == DEMO_GZIP) H5Pset_deflate(plan, 4);
    }
    const hid_t id = H5Dcreate2(place, name, type, space, links, plan, H5P_DEFAULT);
    CHECK(id >= 0);
    if (data) CHECK(H5Dwrite(id, memory, H5S_ALL, H5S_ALL, H5P_DEFAULT, data) >= 0);
    H5Dclose(id);
    H5Sclose(space);
    H5Pclose(links);
    H5Pclose(plan);
}

// Recorded numbers of one demo: [steps] rows.
struct demo_numbers {
    double action[64][7], joint[64][7], gripper[64][2], position[64][3], orientation[64][3];
    double quaternion[64][4];
};

static inline void demo_numbers_make(const struct demo_file *file, uint32_t demo, uint32_t steps,
                                     struct demo_numbers *n) {
    struct proto_random random = proto_random_at(file->seed, PROTO_PURPOSE_WORD, demo);
    double p[66][3] = {{0.1, 0.2, 1.0}, {0.1, 0.2, 1.0}};
    assert_true(steps <= 64);
    for (uint32_t t = 0; t < steps; t++) {
        for (uint32_t k = 0; k < 7; k++) {
            const double push = 1.6 * proto_random_uniform(&random) - 0.8;
            n->action[t][k] = k == 6 ? (t % 20 < 10 ? -1 : 1) : k < 3 ? push : 0.1 * push;
        }
        for (uint32_t k = 0; k < 3; k++)
            p[t + 2][k] = p[t + 1][k] + 0.02 * n->action[t][k] + 0.7 * (p[t + 1][k] - p[t][k]);
    }
    for (uint32_t t = 0; t < steps; t++) {
        const double *at = p[t + (file->before ? 1 : 2)];
        for (uint32_t k = 0; k < 7; k++) n->joint[t][k] = 0.3 * (k + 1) + at[k % 3] * (k + 1);
        for (uint32_t k = 0; k < 3; k++) n->position[t][k] = at[k];
        for (uint32_t k = 0; k < 3; k++) n->orientation[t][k] = k == 2 ? 0 : 0.5 * at[k];
        n->gripper[t][0] = 0.02 + 0.01 * at[0];
        n->gripper[t][1] = -n->gripper[t][0];
        // the same rotation as a quaternion, xyzw
        const double *v = n->orientation[t];
        const double angle = sqrt(v[0] * v[0] + v[1] * v[1] + v[2] * v[2]);
        for (uint32_t k = 0; k < 3; k++)
            n->quaternion[t][k] = angle > 0 ? v[k] / angle * sin(angle / 2) : 0;
        n->quaternion[t][3] = cos(angle / 2);
    }
}

static inline void demo_write(hid_t group, const struct demo_file *file, uint32_t demo,
                              uint32_t steps) {
    static const char *const names[2][7] = {
        {"actions", "obs/joint_states", "obs/gripper_states", "obs/ee_pos", "obs/ee_ori",
         "obs/agentview_rgb", "obs/eye_in_hand_rgb"},
        {"actions", "obs/robot0_joint_pos", "obs/robot0_gripper_qpos", "obs/robot0_eef_pos",
         "obs/robot0_eef_quat", "obs/agentview_image", "obs/robot0_eye_in_hand_image"}};
    static struct demo_numbers n;
    const char *const *name = names[file->robomimic];
    demo_numbers_make(file, demo, steps, &n);
    const hid_t type = file->robomimic ? H5T_IEEE_F32LE : H5T_IEEE_F64LE;
    const hsize_t widths[5] = {7, 7, 2, 3, file->robomimic ? 4 : 3};
    const void *data[5] = {n.action, n.joint, n.gripper, n.position,
                           file->robomimic ? (const void *)n.quaternion : n.orientation};
    for (int i = 0; i < 5; i++)
        demo_array(group, name[i], type, H5T_NATIVE_DOUBLE, 2, (hsize_t[]){steps, widths[i]},
                   DEMO_CONTIGUOUS, data[i]);
    const size_t frame = DEMO_SIDE * DEMO_SIDE * 3;
    uint8_t *images = malloc(steps * frame);
    for (uint32_t c = 0; c < 2; c++) {
        for (uint32_t t = 0; t < steps; t++)
            for (uint32_t i = 0; i < frame; i++) images[t * frame + i] = demo_pixel(demo, t, c, i);
        demo_array(group, name[5 + c], H5T_STD_U8LE, H5T_NATIVE_UINT8, 4,
                   (hsize_t[]){steps, DEMO_SIDE, DEMO_SIDE, 3}, file->layout, images);
    }
    free(images);
    demo_integer(group, "num_samples", steps);
}

static inline void demo_file_write(const char *path, const struct demo_file *file) {
    const hid_t id = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    CHECK(id >= 0);
    const hid_t data = H5Gcreate2(id, "data", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    char text[256], name[32];
    if (!file->robomimic) {
        snprintf(text, sizeof text, "{\"language_instruction\": \"%s\"}",
                 file->instruction ? file->instruction : "close the drawer");
        demo_text(data, "problem_info", text);
        demo_text(data, "bddl_file_name", "suite/KITCHEN_SCENE1_close_the_drawer.bddl");
        demo_text(data, "macros_image_convention", "opengl");
    }
    demo_text(data, "env_args", "{\"env_name\": \"x\", \"env_kwargs\": {\"control_freq\": 20}}");
    for (uint32_t d = 0; d < file->demos; d++) {
        snprintf(name, sizeof name, "demo_%u", d);
        const hid_t group = H5Gcreate2(data, name, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
        CHECK(group >= 0);
        demo_write(group, file, d, file->steps + d);
        H5Gclose(group);
    }
    H5Gclose(data);
    H5Fclose(id);
}

// Opens a written file to spoil it; the caller closes it.
static inline hid_t demo_file_edit(const char *path) {
    const hid_t id = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT);
    CHECK(id >= 0);
    return id;
}

// Replaces a dataset of the file by one of another form (zeros when data is NULL and written).
static inline void demo_replace(hid_t file, const char *path, hid_t type, hid_t memory, int rank,
                                const hsize_t *shape, const void *data) {
    CHECK(H5Ldelete(file, path, H5P_DEFAULT) >= 0);
    demo_array(file, path, type, memory, rank, shape, DEMO_CONTIGUOUS, data);
}

// The defaults with data.path, the tiny preset and further settings, up to a NULL.
static inline struct proto_config *demo_config(const char *path, const char *const *more) {
    char setting[512];
    const char *sets[32] = {setting, "model.preset=rdt-tiny", "data.validation_episodes=1",
                            "trainer.sample_batch_size=2"};
    size_t count = 4;
    struct proto_config *config = NULL;
    struct proto_error error = {0};
    snprintf(setting, sizeof setting, "data.path=\"%s\"", path);
    while (more && *more && count < PROTO_COUNT(sets)) sets[count++] = *more++;
    CHECK_OK(proto_config_read(NULL, sets, count, &config, &error), error);
    return config;
}

#endif
