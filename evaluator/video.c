// evaluator/video.c - draws the exterior camera, writes the caption below it, and hands both to a
// movie per episode.
#include "evaluator/video.h"

#include "evaluator/caption.h"
#include "evaluator/movie.h"
#include "proto/files.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    SIDE = 384,       // pixels of the camera's picture
    SCALE = 2,        // of the caption's dots
    MARGIN = 6,       // pixels
    WORDS_LINES = 3,  // of the instruction
    BAR = 2 * MARGIN + (WORDS_LINES + 1) * EVALUATOR_CAPTION_LINE * SCALE,
    FRAMES_PER_S = 20,  // a control step is 50 ms
    HOLD_FRAMES = 20,   // the last frame stands for a second
    ENVIRONMENTS_MAX = 1024,
};

struct evaluator_video {
    struct evaluator_video_settings settings;  // its texts are not kept
    char *folder, *render;
    const struct evaluator_results_task *task;  // borrowed between enter and leave
    struct evaluator_simulation *simulation;
    struct evaluator_camera *camera;
    struct evaluator_audience audience;
    struct evaluator_movie *movies[ENVIRONMENTS_MAX];  // of the episodes under way
    bool dropped;
    uint8_t drawn[SIDE * SIDE * 3], frame[(SIDE + BAR) * SIDE * 3];
};

// ---- frames -------------------------------------------------------------------------------------

static void compose(struct evaluator_video *video, const struct evaluator_episode *episode,
                    enum evaluator_scene_end end) {
    static const uint8_t white[] = {240, 240, 240}, green[] = {90, 220, 110}, red[] = {240, 90, 80};
    const struct evaluator_canvas canvas = {video->frame, SIDE + BAR, SIDE};
    const size_t row = (size_t)SIDE * 3;
    char line[64];
    // the camera's bottom row comes first
    for (size_t i = 0; i < SIDE; i++)
        memcpy(video->frame + i * row, video->drawn + (SIDE - 1 - i) * row, row);
    memset(video->frame + SIDE * row, 24, BAR * row);
    evaluator_caption_paragraph(&canvas, MARGIN, SIDE + MARGIN, SCALE, white,
                                (SIDE - 2 * MARGIN) / (EVALUATOR_CAPTION_ADVANCE * SCALE),
                                WORDS_LINES, video->task->language);
    snprintf(line, sizeof line, "step %u%s", episode->steps,
             end == EVALUATOR_SUCCEEDED ? "  success"
             : end == EVALUATOR_GAVE_UP ? "  failure"
                                        : "");
    evaluator_caption_line(&canvas, MARGIN,
                           SIDE + MARGIN + WORDS_LINES * EVALUATOR_CAPTION_LINE * SCALE, SCALE,
                           end == EVALUATOR_SUCCEEDED ? green
                           : end == EVALUATOR_GAVE_UP ? red
                                                      : white,
                           line);
}

static char *path_of(const struct evaluator_video *video, const struct evaluator_episode *episode,
                     const char *outcome, struct proto_error *error) {
    return proto_format(error, "%s/%s-%u-%s%s.mp4", video->folder, video->task->task, episode->row,
                        evaluator_pilot_names[episode->pilot], outcome);
}

static bool finish(struct evaluator_video *video, const struct evaluator_episode *episode,
                   uint32_t environment, bool success, struct proto_error *error) {
    for (uint32_t i = 1; i < HOLD_FRAMES; i++)
        if (!evaluator_movie_add(video->movies[environment], video->frame, error)) return false;
    char *path = path_of(video, episode, success ? "-success" : "-failure", error);
    const bool done = path && evaluator_movie_finish(&video->movies[environment], path, error);
    free(path);
    return done;
}

static bool wants(void *context, const struct evaluator_episode *episode) {
    const struct evaluator_video *video = context;
    return !video->dropped && episode->pilot == EVALUATOR_POLICY &&
           episode->row - video->settings.row_first < video->settings.episodes;
}

static bool shoot(struct evaluator_video *video, const struct evaluator_episode *episode,
                  uint32_t environment, enum evaluator_scene_end end, struct proto_error *error) {
    struct evaluator_env *env = evaluator_simulation_env(video->simulation, environment);
    if (environment >= ENVIRONMENTS_MAX)
        return proto_fail(error, PROTO_USAGE, "videos of at most %d environments",
                          ENVIRONMENTS_MAX);
    if (!video->movies[environment]) {
        char *path = path_of(video, episode, "", error);
        const bool opened = path && evaluator_movie_open(path, SIDE + BAR, SIDE, FRAMES_PER_S,
                                                         &video->movies[environment], error);
        free(path);
        if (!opened) return false;
    }
    if (!evaluator_camera_draw(video->camera, env, "agentview", video->drawn, error)) return false;
    compose(video, episode, end);
    if (!evaluator_movie_add(video->movies[environment], video->frame, error)) return false;
    return end == EVALUATOR_RUNNING ||
           finish(video, episode, environment, end == EVALUATOR_SUCCEEDED, error);
}

// Half a video is of no use to anybody: it goes, and so do those of the other environments.
static bool drop(struct evaluator_video *video, const struct proto_error *error) {
    if (!video->settings.dropped) return false;
    video->dropped = true;
    for (uint32_t i = 0; i < ENVIRONMENTS_MAX; i++) evaluator_movie_abandon(&video->movies[i]);
    video->settings.dropped(video->settings.context, error);
    return true;
}

static bool frame(void *context, const struct evaluator_episode *episode, uint32_t environment,
                  enum evaluator_scene_end end, struct proto_error *error) {
    struct evaluator_video *video = context;
    return video->dropped || shoot(video, episode, environment, end, error) || drop(video, error);
}

// ---- open, enter, leave -------------------------------------------------------------------------

bool evaluator_video_open(const struct evaluator_video_settings *settings,
                          struct evaluator_video **video, struct proto_error *error) {
    if (!proto_folder_make(settings->folder, 0777, error)) return false;
    struct evaluator_video *opened = proto_alloc(sizeof *opened, error);
    if (!opened) return false;
    opened->settings = *settings;
    opened->folder = proto_format(error, "%s", settings->folder);
    opened->render = opened->folder ? proto_format(error, "%s", settings->render) : NULL;
    opened->audience =
        (struct evaluator_audience){.context = opened, .wants = wants, .frame = frame};
    if (opened->render) {
        *video = opened;
        return true;
    }
    evaluator_video_close(&opened);
    return false;
}

static void leave(void *context) {
    struct evaluator_video *video = context;
    for (uint32_t i = 0; i < ENVIRONMENTS_MAX; i++) evaluator_movie_abandon(&video->movies[i]);
    evaluator_camera_close(&video->camera);
}

static bool enter(void *context, const struct evaluator_results_task *task,
                  struct evaluator_simulation *simulation, struct evaluator_audience **audience,
                  struct proto_error *error) {
    struct evaluator_video *video = context;
    video->task = task;
    video->simulation = simulation;
    *audience = video->dropped ? NULL : &video->audience;
    return video->dropped ||
           evaluator_camera_open(evaluator_simulation_world(simulation), video->render, SIDE, SIDE,
                                 &video->camera, error) ||
           drop(video, error);
}

void evaluator_video_close(struct evaluator_video **video) {
    if (!*video) return;
    leave(*video);
    free((*video)->folder);
    free((*video)->render);
    free(*video);
    *video = NULL;
}

struct evaluator_cinema evaluator_video_cinema(struct evaluator_video *video) {
    return (struct evaluator_cinema){.context = video, .enter = enter, .leave = leave};
}
