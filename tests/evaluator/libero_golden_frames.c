// tests/evaluator/libero_golden_frames.c - recorded frames CAMERA_NN.png against ours of the same
// step. The recording was drawn by Mesa's software rasteriser, so ours is too; two levels of 255
// leave room for the few pixels on which a changed last digit of a pose turns a rounding.
#include "tests/evaluator/libero_golden.h"

#include "evaluator/camera.h"
#include "proto/files.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const double level_limit = 2;  // of 255

struct golden_frames {
    struct golden_task *task;
    struct proto_names names;
    struct evaluator_camera *camera;
    uint32_t height, width;
    uint8_t *ours;
    uint32_t compared, listed;
    size_t differing;  // pixels
    double largest;
    char worst[128];
};

// "agentview_30.png": camera and step of a frame; false for other files.
static bool split(const char *name, char camera[static 64], uint32_t *step) {
    const char *mark = strrchr(name, '_');
    char *end;
    if (!mark || mark == name || mark - name >= 64) return false;
    const unsigned long number = strtoul(mark + 1, &end, 10);
    if (end == mark + 1 || strcmp(end, ".png") != 0 || number > UINT32_MAX) return false;
    memcpy(camera, name, (size_t)(mark - name));
    camera[mark - name] = '\0';
    *step = (uint32_t)number;
    return true;
}

bool golden_frames_open(struct golden_task *task, struct golden_frames **frames,
                        struct proto_error *error) {
    struct golden_frames *made = proto_alloc(sizeof *made, error);
    char camera[64];
    uint32_t step;
    if (!made) return false;
    *frames = made;
    made->task = task;
    if (!proto_folder_list(task->folder, &made->names, error)) return false;
    for (size_t i = 0; i < made->names.count; i++)
        made->listed += split(made->names.items[i], camera, &step);
    evaluator_env_keep_pictures(task->env, made->listed > 0);
    return true;
}

// The camera of the frame's size, opened at the first frame.
static bool prepare(struct golden_frames *frames, uint32_t height, uint32_t width,
                    struct proto_error *error) {
    if (frames->camera && frames->height == height && frames->width == width) return true;
    evaluator_camera_close(&frames->camera);
    free(frames->ours);
    frames->height = height;
    frames->width = width;
    frames->ours = proto_alloc_array((size_t)height * width, 3, error);
    return frames->ours &&
           evaluator_camera_open(frames->task->world, "cpu", height, width, &frames->camera, error);
}

static bool compare(struct golden_frames *frames, const char *name, const char *camera,
                    struct proto_error *error) {
    char path[EVALUATOR_PATH_MAX];
    uint8_t *recorded = NULL;
    uint32_t height, width;
    snprintf(path, sizeof path, "%s/%s", frames->task->folder, name);
    if (!evaluator_png_read(path, &recorded, &height, &width, error)) return false;
    const bool done =
        prepare(frames, height, width, error) &&
        evaluator_camera_draw(frames->camera, frames->task->env, camera, frames->ours, error);
    for (size_t row = 0; done && row < height; row++) {
        const uint8_t *theirs = recorded + row * width * 3;
        const uint8_t *ours = frames->ours + (height - 1 - row) * width * 3;  // bottom row first
        for (size_t i = 0; i < (size_t)width * 3; i++) {
            const int off = abs((int)ours[i] - (int)theirs[i]);
            frames->differing += off > 0;
            if (off <= frames->largest) continue;
            frames->largest = off;
            snprintf(frames->worst, sizeof frames->worst, "%s", name);
        }
    }
    frames->compared += done;
    free(recorded);
    return done;
}

bool golden_frames_step(struct golden_frames *frames, uint32_t step, struct proto_error *error) {
    for (size_t i = 0; i < frames->names.count; i++) {
        char camera[64];
        uint32_t of;
        if (!split(frames->names.items[i], camera, &of) || of != step) continue;
        if (!compare(frames, frames->names.items[i], camera, error))
            return proto_error_where(error, "%s", frames->names.items[i]);
    }
    return true;
}

void golden_frames_close(struct golden_frames **frames) {
    struct golden_frames *old = *frames;
    if (!old) return;
    if (old->listed > 0) {
        char what[64], place[256];
        snprintf(what, sizeof what, "%u frames, levels of 255", old->compared);
        snprintf(place, sizeof place, "%zu values differ%s%s", old->differing,
                 old->worst[0] ? ", most in " : "", old->worst);
        golden_report(old->task, what, old->largest, level_limit, place);
        golden_report_count(old->task, "frames of no step", old->listed - old->compared,
                            old->listed, "");
    }
    evaluator_camera_close(&old->camera);
    proto_names_free(&old->names);
    free(old->ours);
    free(old);
    *frames = NULL;
}
