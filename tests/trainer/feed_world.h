// tests/trainer/feed_world.h - the small world in which the feed's tests live: a codec, and batches
// whose every number follows from their ticket, so that a taken batch proves whose it is.
#ifndef TESTS_TRAINER_FEED_WORLD_H
#define TESTS_TRAINER_FEED_WORLD_H

#include "proto/sample.h"
#include "proto/wire.h"
#include "trainer/feed.h"

#include <time.h>

#define WORLD_BATCH_MAX 8
#define WORLD_INDEX_HASH 0x1234abcdULL

static const struct proto_codec world_codec = {
    .width = 8,
    .chunk = 4,
    .history = 1,
    .camera_count = 2,
    .image_height = 32,
    .image_width = 32,
    .task_count = 3,
    .hash = 0xc0dec,
};

static inline void world_fill(const struct proto_ticket *ticket, struct proto_batch *batch) {
    const size_t image =
        (size_t)batch->history * batch->cameras * batch->height * batch->width_px * 3;
    for (uint32_t i = 0; i < ticket->count; i++) {
        const uint64_t g = ticket->first + i;
        batch->samples[i] = g * 2 + ticket->validation;
        batch->task[i] = (uint32_t)(g % world_codec.task_count);
        batch->steps_valid[i] = (uint32_t)(g % (batch->chunk + 1));
        for (uint32_t w = 0; w < batch->width; w++)
            batch->state[i * batch->width + w] = (float)(g % 1000) + (float)w;
        memset(batch->images + i * image, (int)(g % 251), image);
    }
}

static inline bool world_is(const struct proto_batch *batch, bool validation, uint64_t first,
                            uint32_t count) {
    const size_t image =
        (size_t)batch->history * batch->cameras * batch->height * batch->width_px * 3;
    if (batch->batch != count) return false;
    for (uint32_t i = 0; i < count; i++) {
        const uint64_t g = first + i;
        if (batch->samples[i] != g * 2 + validation) return false;
        if (batch->task[i] != g % world_codec.task_count) return false;
        if (batch->state[i * batch->width + 3] != (float)(g % 1000) + 3) return false;
        if (batch->images[i * image] != g % 251 || batch->images[(i + 1) * image - 1] != g % 251)
            return false;
    }
    return true;
}

static inline int64_t world_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

// Time that work takes, in tests of what happens meanwhile.
static inline void world_work(uint32_t ms) {
    const struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};
    nanosleep(&time, NULL);
}

// Ticket n of a test's order: sizes and streams vary.
static inline struct proto_ticket world_ticket(uint64_t n) {
    return (struct proto_ticket){.validation = n % 7 == 3,
                                 .first = n * WORLD_BATCH_MAX,
                                 .count = (uint32_t)(1 + n % WORLD_BATCH_MAX)};
}

// Keeps the window full and takes tickets first .. last - 1, each of which must come once and in
// order.
static inline void world_consume(struct trainer_feed *feed, uint64_t *wanted, uint64_t first,
                                 uint64_t last) {
    for (uint64_t n = first; n < last;) {
        const struct proto_batch *batch = NULL;
        struct proto_error error = {0};
        while (trainer_feed_room(feed) && *wanted < last) {
            const struct proto_ticket next = world_ticket((*wanted)++);
            trainer_feed_want(feed, next.validation, next.first, next.count);
        }
        CHECK_OK(trainer_feed_take(feed, 20000, &batch, &error), error);
        if (!batch) fail_msg("ticket %d did not come within 20 s", (int)n);
        const struct proto_ticket expected = world_ticket(n++);
        CHECK(world_is(batch, expected.validation, expected.first, expected.count));
        trainer_feed_release(feed);
    }
}

#endif
