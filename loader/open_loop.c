// loader/open_loop.c - means over episodes, step by step.
#include "loader/open_loop.h"

struct training {
    const struct proto_index *index;
    const struct loader_episode_numbers *numbers;
    uint32_t task, channels;
};

// Whether episode e is of the task, trained on, and has a step i.
static bool reaches(const struct training *from, uint32_t e, uint32_t i) {
    return !from->index->episodes[e].validation && from->numbers[e].task == from->task &&
           from->numbers[e].steps > i;
}

static bool task_fit(const struct training *from, struct proto_open_loop_task *out,
                     struct proto_error *error) {
    for (uint32_t e = 0; e < from->index->episode_count; e++) {
        if (!reaches(from, e, 0)) continue;
        out->episodes++;
        if (from->numbers[e].steps > out->steps) out->steps = from->numbers[e].steps;
    }
    out->actions =
        proto_alloc_array((size_t)out->steps * from->channels, sizeof *out->actions, error);
    if (!out->actions) return false;
    for (uint32_t i = 0; i < out->steps; i++) {
        double *mean = out->actions + (size_t)i * from->channels;
        uint32_t count = 0;
        for (uint32_t e = 0; e < from->index->episode_count; e++) {
            if (!reaches(from, e, i)) continue;
            const double *x = from->numbers[e].action + (size_t)i * from->channels;
            for (uint32_t k = 0; k < from->channels; k++) mean[k] += x[k];
            count++;
        }
        for (uint32_t k = 0; k < from->channels; k++) mean[k] /= count;
    }
    return true;
}

bool loader_open_loop_new(const struct proto_codec *codec, const struct proto_index *index,
                          const struct loader_episode_numbers *numbers,
                          struct proto_open_loop **open_loop, struct proto_error *error) {
    struct proto_open_loop *made = proto_alloc(sizeof *made, error);
    if (!made) return false;
    made->action_count = codec->action_count;
    made->tasks = proto_alloc_array(codec->task_count, sizeof *made->tasks, error);
    bool done = made->tasks != NULL;
    if (done) made->task_count = codec->task_count;
    for (uint32_t t = 0; done && t < codec->task_count; t++) {
        const struct training from = {index, numbers, t, codec->action_count};
        done = task_fit(&from, &made->tasks[t], error);
    }
    if (done)
        *open_loop = made;
    else
        proto_open_loop_free(&made);
    return done;
}
