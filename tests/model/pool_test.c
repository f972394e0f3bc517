// tests/model/pool_test.c - threads of one backend: every part runs once, parts cover everything,
// and thousands of tasks in a row, with pauses that put workers to sleep, are all done when their
// call returns.
#include "tests/check.h"

#include "model/pool.h"

#include <time.h>

struct work {
    uint32_t done[8];  // by thread
    size_t sum[8];
    size_t count;
};
static void add_part(void *context, uint32_t thread, uint32_t threads) {
    struct work *work = context;
    const struct model_part part = model_part_of(work->count, 4, thread, threads);
    for (size_t i = part.begin; i < part.end; i++) work->sum[thread] += i;
    work->done[thread]++;
}

TEST(parts_cover_everything_once) {
    for (uint32_t threads = 1; threads <= 5; threads++)
        for (size_t count = 0; count < 70; count++) {
            size_t at = 0;
            for (uint32_t t = 0; t < threads; t++) {
                const struct model_part part = model_part_of(count, 8, t, threads);
                CHECK_INT(part.begin, at);
                CHECK(part.begin == count || part.begin % 8 == 0);
                at = part.end;
            }
            CHECK_INT(at, count);
        }
}

TEST(tasks_are_done_when_run_returns) {
    for (uint32_t threads = 1; threads <= 4; threads++) {
        struct proto_error error = {0};
        struct model_pool *pool = NULL;
        CHECK_OK(model_pool_new(threads, &pool, &error), error);
        for (uint32_t round = 1; round <= 500; round++) {
            struct work work = {.count = 1000 + round};
            model_pool_run(pool, add_part, &work);
            size_t sum = 0;
            for (uint32_t t = 0; t < threads; t++) {
                CHECK_INT(work.done[t], 1);
                sum += work.sum[t];
            }
            CHECK_INT(sum, work.count * (work.count - 1) / 2);
            // now and then long enough for workers to stop spinning
            const struct timespec pause = {.tv_nsec = 300000};
            if (round % 50 == 0) nanosleep(&pause, NULL);
        }
        model_pool_free(&pool);
        CHECK(!pool);
    }
}

TEST_MAIN(UNIT(parts_cover_everything_once), UNIT(tasks_are_done_when_run_returns))
