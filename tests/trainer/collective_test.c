// tests/trainer/collective_test.c - what ranks of one machine get from each other, and what they
// hear when one of them dies, hangs, disagrees or gives up: over the host's memory, and of a cpu
// "device" through the thread of the staged kind.
//
// Oracle of the sums: a serial loop over the ranks in order, compared bit for bit.
#include "tests/trainer/collective_world.h"

#include <dirent.h>

// The same promises hold for both.
static const struct { const char *backend, *device; } kinds[] = {{"host", NULL}, {"staged", "cpu"}};

static const size_t counts[] = {0, 1, 15, 16, 17, 1000, 4096, (1u << 20) + 12345};

static bool same(const float *found, size_t i, float expected, const char *what,
                 struct proto_error *error) {
    return memcmp(&found[i], &expected, sizeof expected) == 0 ||
           proto_fail(error, PROTO_FAILED, "%s: element %zu is %.9g, expected %.9g", what, i,
                      (double)found[i], (double)expected);
}

static float sum_of(uint32_t size, size_t i, float scale) {
    float sum = number(0, i);
    for (uint32_t rank = 1; rank < size; rank++) sum += number(rank, i);
    return sum * scale;
}

// In one piece, and in pieces of odd sizes that are all started before any is waited for.
static bool sums_equal(struct trainer_collective *collective, uint32_t rank, uint32_t size,
                       size_t count, bool pieces, struct proto_error *error) {
    float *host = malloc((count + 1) * sizeof *host);
    for (size_t i = 0; i < count; i++) host[i] = number(rank, i);
    float *data = vector_new(host, count, error);
    bool done =
        data && (pieces || trainer_collective_all_reduce(collective, data, count, 0.37f, error));
    const size_t piece = count / 5 + 3;
    for (size_t at = 0; done && pieces && at < count; at += piece)
        done = trainer_collective_start(collective, data + at,
                                        count - at < piece ? count - at : piece, 0.37f, error);
    done = done && (!pieces || trainer_collective_finish(collective, error)) &&
           vector_read(host, data, count, error);
    for (size_t i = 0; done && i < count; i++)
        done = same(host, i, sum_of(size, i, 0.37f), "all_reduce", error);
    vector_free(data);
    free(host);
    return done;
}

// Cut into shards, added, scaled, and put together again: the all-reduce in two halves.
static bool shards_equal(struct trainer_collective *collective, uint32_t rank, uint32_t size,
                         size_t count, struct proto_error *error) {
    float *host = malloc((size * count + 1) * sizeof *host);
    for (size_t i = 0; i < size * count; i++) host[i] = number(rank, i);
    float *data = vector_new(host, size * count, error), *shard = vector_new(host, count, error);
    bool done = data && shard &&
                trainer_collective_reduce_scatter(collective, data, shard, count, 0.5f, error) &&
                vector_read(host, shard, count, error);
    for (size_t i = 0; done && i < count; i++)
        done = same(host, i, sum_of(size, rank * count + i, 0.5f), "reduce_scatter", error);
    done = done && trainer_collective_all_gather(collective, shard, data, count, error) &&
           vector_read(host, data, size * count, error);
    for (size_t i = 0; done && i < size * count; i++)
        done = same(host, i, sum_of(size, i, 0.5f), "all_gather", error);
    vector_free(data);
    vector_free(shard);
    free(host);
    return done;
}

static bool broadcasts_equal(struct trainer_collective *collective, uint32_t rank, uint32_t root,
                             struct proto_error *error) {
    float host[100];
    for (size_t i = 0; i < 100; i++) host[i] = number(rank, i);
    float *data = vector_new(host, 100, error);
    bool done = data && trainer_collective_broadcast(collective, data, 100, root, error) &&
                vector_read(host, data, 100, error);
    for (size_t i = 0; done && i < 100; i++)
        done = same(host, i, number(root, i), "broadcast", error);
    vector_free(data);
    return done;
}

static bool all_operations(struct trainer_collective *collective, uint32_t rank, uint32_t size,
                           struct proto_error *error) {
    for (size_t i = 0; i < PROTO_COUNT(counts); i++)
        if (!sums_equal(collective, rank, size, counts[i], false, error) ||
            !sums_equal(collective, rank, size, counts[i], true, error) ||
            !shards_equal(collective, rank, size, counts[i] / size, error))
            return false;
    double small[3] = {1.0 / (rank + 3), 1e16 * (rank + 1), -1e16}, sum[3] = {0};
    for (uint32_t other = 0; other < size; other++) {
        const double theirs[3] = {1.0 / (other + 3), 1e16 * (other + 1), -1e16};
        for (int i = 0; i < 3; i++) sum[i] = other == 0 ? theirs[i] : sum[i] + theirs[i];
    }
    if (!trainer_collective_sum(collective, small, 3, error)) return false;
    if (memcmp(small, sum, sizeof sum) != 0) return proto_fail(error, PROTO_FAILED, "f64 sum");
    uint64_t ledger = UINT64_MAX - rank, expected = 0;
    for (uint32_t other = 0; other < size; other++) expected += UINT64_MAX - other;
    if (!trainer_collective_sum_u64(collective, &ledger, 1, error)) return false;
    if (ledger != expected) return proto_fail(error, PROTO_FAILED, "u64 sum");
    const double mine[2] = {rank, rank * 10.0};
    double gathered[2 * RANKS_MAX];
    if (!trainer_collective_gather(collective, mine, 2, gathered, error)) return false;
    for (uint32_t other = 0; other < size; other++)
        if (gathered[2 * other] != other || gathered[2 * other + 1] != other * 10.0)
            return proto_fail(error, PROTO_FAILED, "gathered of rank %u", other);
    for (uint32_t root = 0; root < size; root++)
        if (!broadcasts_equal(collective, rank, root, error)) return false;
    return trainer_collective_barrier(collective, error);
}

static uint32_t work_size;
static bool work_all(struct trainer_collective *collective, uint32_t rank,
                     struct proto_error *error) {
    // three times: both buffers are used again
    for (findings[rank].operations = 0; findings[rank].operations < 3; findings[rank].operations++)
        if (!all_operations(collective, rank, work_size, error)) return false;
    return true;
}

TEST(collective_gives_every_rank_the_sum_in_rank_order_bit_for_bit) {
    for (size_t kind = 0; kind < PROTO_COUNT(kinds); kind++)
        for (uint32_t size = 1; size <= RANKS_MAX; size++) {
            const struct plan plan = {.size = size,
                                      .epoch = 1,
                                      .elements_max = counts[PROTO_COUNT(counts) - 1],
                                      .deadline_s = 30,
                                      .work = work_all,
                                      .backend = kinds[kind].backend,
                                      .device = kinds[kind].device};
            work_size = size;
            ranks_run(&plan);
            for (uint32_t rank = 0; rank < size; rank++) {
                TEST_CASE(findings[rank].text);
                CHECK(findings[rank].done);
            }
            TEST_CASE("");
        }
}

// The same, and a vector larger than the shared buffers goes through in chunks.
TEST(collective_memory_is_bounded_by_the_chunk) {
    const struct plan plan = {
        .size = 2, .epoch = 1, .elements_max = 1000, .deadline_s = 30, .work = work_all};
    work_size = 2;
    ranks_run(&plan);
    TEST_CASE(findings[0].text);
    CHECK(findings[0].done && findings[1].done);
    TEST_CASE("");
}

static bool work_disagree(struct trainer_collective *collective, uint32_t rank,
                          struct proto_error *error) {
    double small[2] = {0};
    float vector[10] = {0};
    if (!trainer_collective_barrier(collective, error)) return false;
    if (rank == 1) return trainer_collective_sum(collective, small, 2, error);
    return trainer_collective_all_reduce(collective, vector, 10, 1, error);
}
static bool work_lengths(struct trainer_collective *collective, uint32_t rank,
                         struct proto_error *error) {
    float vector[12] = {0};
    return trainer_collective_all_reduce(collective, vector, 10 + rank, 1, error);
}

TEST(collective_names_both_operations_on_every_rank_when_ranks_disagree) {
    struct plan plan = {
        .size = 3, .epoch = 1, .elements_max = 10, .deadline_s = 30, .work = work_disagree};
    ranks_run(&plan);
    for (uint32_t rank = 0; rank < 3; rank++) {
        CHECK(findings[rank].opened && !findings[rank].done);
        CHECK_HAS(findings[rank].text, "rank 0 is at operation 3, all_reduce of 10");
        CHECK_HAS(findings[rank].text, "rank 1 is at operation 3, sum of 2");
    }
    plan.work = work_lengths;
    plan.size = 2;
    ranks_run(&plan);
    CHECK_HAS(findings[0].text, "all_reduce of 10");
    CHECK_HAS(findings[0].text, "all_reduce of 11");
    CHECK_TEXT(findings[0].text, findings[1].text);
}

static bool work_forever(struct trainer_collective *collective, uint32_t rank,
                         struct proto_error *error) {
    static float host[300000];
    float *vector = vector_new(host, PROTO_COUNT(host), error);
    double small[4] = {0};
    for (;;) {
        if (!vector || !trainer_collective_start(collective, vector, 100000, 0.5f, error) ||
            !trainer_collective_start(collective, vector + 100000, 200000, 0.5f, error) ||
            !trainer_collective_finish(collective, error))
            return false;
        if (!trainer_collective_sum(collective, small, 4, error)) return false;
        findings[rank].operations++;
    }
}

static void wait_operations(uint32_t rank, uint64_t operations) {
    const double end_s = now_s() + 20;
    while (*(volatile uint64_t *)&findings[rank].operations < operations && now_s() < end_s)
        sched_yield();
}

// At twenty moments between and inside operations; the others hear it at once and by name, and the
// next attempt works.
// More pieces than there are places for.
static bool work_many(struct trainer_collective *collective, uint32_t rank,
                      struct proto_error *error) {
    float host[1000];
    for (size_t i = 0; i < 1000; i++) host[i] = number(rank, i);
    float *data = vector_new(host, 1000, error);
    bool done = data != NULL;
    for (size_t i = 0; done && i < 1000; i++)
        done = trainer_collective_start(collective, data + i, 1, 1, error);
    done = done && trainer_collective_finish(collective, error) &&
           vector_read(host, data, 1000, error);
    for (size_t i = 0; done && i < 1000; i++)
        done = same(host, i, sum_of(2, i, 1), "a thousand pieces", error);
    vector_free(data);
    return done;
}

TEST(collective_takes_any_number_of_pieces) {
    for (size_t kind = 0; kind < PROTO_COUNT(kinds); kind++) {
        const struct plan plan = {.size = 2,
                                  .epoch = 1,
                                  .elements_max = 1000,
                                  .deadline_s = 30,
                                  .work = work_many,
                                  .backend = kinds[kind].backend,
                                  .device = kinds[kind].device};
        ranks_run(&plan);
        TEST_CASE(findings[0].text);
        CHECK(findings[0].done && findings[1].done);
        TEST_CASE("");
    }
}

TEST(collective_ends_on_all_ranks_when_one_is_killed_at_any_moment) {
    for (uint32_t turn = 0; turn < 20; turn++) {
        struct plan plan = {.size = 3,
                            .epoch = 10 + turn,
                            .elements_max = 300000,
                            .deadline_s = 30,
                            .work = work_forever,
                            .backend = kinds[turn % 2].backend,
                            .device = kinds[turn % 2].device};
        pid_t pids[RANKS_MAX];
        const uint32_t victim = turn % 3;
        ranks_start(&plan, pids);
        wait_operations(0, 1 + turn % 4);
        const struct timespec moment = {.tv_nsec = 37000 * (long)turn};  // where in an operation
        nanosleep(&moment, NULL);
        kill(pids[victim], SIGKILL);
        const double killed_s = now_s();
        ranks_wait(&plan, pids);
        CHECK(now_s() - killed_s < 5.0);
        for (uint32_t rank = 0; rank < 3; rank++) {
            if (rank == victim) continue;
            char name[32];
            snprintf(name, sizeof name, "rank %u ", victim);
            CHECK(findings[rank].opened && !findings[rank].done);
            CHECK_HAS(findings[rank].text, name);
            CHECK_HAS(findings[rank].text, "died");
        }
    }
    const struct plan next = {
        .size = 3, .epoch = 99, .elements_max = 1000, .deadline_s = 30, .work = work_all};
    work_size = 3;
    ranks_run(&next);
    CHECK(findings[0].done && findings[1].done && findings[2].done);
}

// A rank that never joins, because it died first or belongs to another attempt.
TEST(collective_join_ends_at_the_deadline_and_names_who_is_missing) {
    const struct plan plan = {.size = 2,
                              .epoch = 1,
                              .elements_max = 10,
                              .deadline_s = 0.3,
                              .work = work_forever,
                              .other_epoch_of_last = true};
    ranks_run(&plan);
    CHECK(!findings[0].opened && !findings[1].opened);
    CHECK_TEXT(findings[0].text, "rank 1 did not join within 0.3 s");
    CHECK_TEXT(findings[1].text, "rank 0 did not let rank 1 join within 0.3 s");
}

TEST(collective_join_refuses_ranks_of_another_configuration) {
    const struct plan plan = {.size = 2,
                              .epoch = 1,
                              .elements_max = 10,
                              .deadline_s = 20,
                              .work = work_forever,
                              .other_size_of_last = 3};
    ranks_run(&plan);
    for (uint32_t rank = 0; rank < 2; rank++) {
        CHECK(!findings[rank].opened);
        CHECK_HAS(findings[rank].text, "rank 1 expects 3 ranks");
        CHECK_HAS(findings[rank].text, "rank 0 expects 2 ranks");
    }
}

static bool work_stop(struct trainer_collective *collective, uint32_t rank,
                      struct proto_error *error) {
    if (!trainer_collective_barrier(collective, error)) return false;
    findings[rank].operations = 1;
    if (rank == 1) raise(SIGSTOP);
    return trainer_collective_barrier(collective, error);
}

TEST(collective_gives_up_a_stopped_rank_at_the_deadline) {
    const struct plan plan = {
        .size = 2, .epoch = 1, .elements_max = 10, .deadline_s = 0.4, .work = work_stop};
    pid_t pids[RANKS_MAX];
    ranks_start(&plan, pids);
    waitpid(pids[0], NULL, 0);
    CHECK(!findings[0].done);
    CHECK_HAS(findings[0].text, "rank 1 (process ");
    CHECK_HAS(findings[0].text, "did not come to operation 3 within 0.4 s");
    kill(pids[1], SIGCONT);
    waitpid(pids[1], NULL, 0);
    CHECK(!findings[1].done);
    CHECK_TEXT(findings[1].text, "rank 0 gave up waiting for rank 1, which is stopped or hung");
}

static void *abort_soon(void *collective) {
    trainer_collective_abort(collective);
    trainer_collective_abort(collective);  // idempotent
    return NULL;
}
static bool work_abort(struct trainer_collective *collective, uint32_t rank,
                       struct proto_error *error) {
    pthread_t thread;
    if (!trainer_collective_barrier(collective, error)) return false;
    if (rank == 2) {  // never comes to the second barrier, a thread ends the wait of the others
        pthread_create(&thread, NULL, abort_soon, collective);
        pthread_join(thread, NULL);
    }
    const bool passed = trainer_collective_barrier(collective, error);
    findings[rank].operations = passed;
    return passed;
}

TEST(collective_abort_from_a_thread_ends_all_waits) {
    const struct plan plan = {
        .size = 3, .epoch = 1, .elements_max = 10, .deadline_s = 30, .work = work_abort};
    const double start_s = now_s();
    ranks_run(&plan);
    CHECK(now_s() - start_s < 5.0);
    for (uint32_t rank = 0; rank < 3; rank++) {
        CHECK(!findings[rank].done);
        CHECK_TEXT(findings[rank].text, "rank 2 aborted the collective");
    }
}

static bool work_fail(struct trainer_collective *collective, uint32_t rank,
                      struct proto_error *error) {
    if (rank == 1) {
        proto_fail(error, PROTO_EXHAUSTED, "the device is full");
        trainer_collective_fail(collective, error);
        return false;
    }
    const bool passed = trainer_collective_barrier(collective, error);
    findings[rank].operations = error->status;
    return passed;
}

// Whichever rank is heard first, its words name the cause, and its exit code is the cause's.
TEST(collective_tells_the_others_why_a_rank_failed) {
    const struct plan plan = {
        .size = 3, .epoch = 1, .elements_max = 10, .deadline_s = 30, .work = work_fail};
    ranks_run(&plan);
    for (uint32_t rank = 0; rank < 3; rank += 2) {
        CHECK_TEXT(findings[rank].text, "rank 1 aborted the collective: the device is full");
        CHECK_INT(findings[rank].operations, PROTO_EXHAUSTED);
    }
}

static bool work_leave(struct trainer_collective *collective, uint32_t rank,
                       struct proto_error *error) {
    if (!trainer_collective_barrier(collective, error)) return false;
    return rank == 1 || trainer_collective_barrier(collective, error);
}

TEST(collective_tells_a_waiting_rank_that_another_left) {
    const struct plan plan = {
        .size = 2, .epoch = 1, .elements_max = 10, .deadline_s = 30, .work = work_leave};
    ranks_run(&plan);
    CHECK(findings[1].done && !findings[0].done);
    CHECK_HAS(findings[0].text, "rank 1 (process ");
    CHECK(strstr(findings[0].text, "left") || strstr(findings[0].text, "died"));
}

static bool work_time(struct trainer_collective *collective, uint32_t rank,
                      struct proto_error *error) {
    const struct timespec work = {.tv_nsec = 200000000};
    if (!trainer_collective_barrier(collective, error)) return false;
    trainer_collective_waited_s(collective);
    if (rank == 1) nanosleep(&work, NULL);  // the slower rank's own arithmetic
    if (!trainer_collective_barrier(collective, error)) return false;
    const double waited_s = trainer_collective_waited_s(collective);
    const bool right = rank == 1 ? waited_s < 0.1 : waited_s > 0.15 && waited_s < 2;
    if (!right) return proto_fail(error, PROTO_FAILED, "waited %g s", waited_s);
    if (trainer_collective_waited_s(collective) > 0)
        return proto_fail(error, PROTO_FAILED, "not since the last call");
    return true;
}

TEST(collective_measures_the_wait_for_others) {
    const struct plan plan = {
        .size = 2, .epoch = 1, .elements_max = 10, .deadline_s = 30, .work = work_time};
    ranks_run(&plan);
    for (uint32_t rank = 0; rank < 2; rank++) {
        TEST_CASE(findings[rank].text);
        CHECK(findings[rank].done);
    }
    TEST_CASE("");
}

// Last, after all the kills above: no name in /dev/shm, no bound socket of this user's ranks that
// nobody serves (abstract names go with their process; the kernel lists those that live).
TEST(collective_leaves_nothing_behind) {
    DIR *folder = opendir("/dev/shm");
    CHECK(folder);
    for (const struct dirent *entry = readdir(folder); entry; entry = readdir(folder))
        CHECK(!strstr(entry->d_name, "pipeline-ranks") && !strstr(entry->d_name, run_name));
    closedir(folder);
}

TEST(collective_refuses_an_unknown_kind_by_name) {
    struct proto_error error = {0};
    struct trainer_collective *collective = NULL;
    struct trainer_collective_settings settings = {
        .backend = "gloo", .name = "x", .rank = 0, .size = 1, .deadline_s = 1};
    CHECK(!trainer_collective_open(&settings, &collective, &error));
    CHECK_INT(error.status, PROTO_MISSING);
    CHECK_HAS(error.text, "gloo");
    settings.backend = "nccl";
    setenv("PIPELINE_NCCL_MODULE", "/nowhere.so", 1);
    CHECK(!trainer_collective_open(&settings, &collective, &error));
    CHECK_INT(error.status, PROTO_MISSING);
    CHECK_HAS(error.text, "/nowhere.so");
    unsetenv("PIPELINE_NCCL_MODULE");
}

TEST_MAIN(UNIT(collective_gives_every_rank_the_sum_in_rank_order_bit_for_bit),
          UNIT(collective_takes_any_number_of_pieces),
          UNIT(collective_memory_is_bounded_by_the_chunk),
          UNIT(collective_names_both_operations_on_every_rank_when_ranks_disagree),
          UNIT(collective_ends_on_all_ranks_when_one_is_killed_at_any_moment),
          UNIT(collective_join_ends_at_the_deadline_and_names_who_is_missing),
          UNIT(collective_join_refuses_ranks_of_another_configuration),
          UNIT(collective_gives_up_a_stopped_rank_at_the_deadline),
          UNIT(collective_abort_from_a_thread_ends_all_waits),
          UNIT(collective_tells_the_others_why_a_rank_failed),
          UNIT(collective_tells_a_waiting_rank_that_another_left),
          UNIT(collective_measures_the_wait_for_others),
          UNIT(collective_refuses_an_unknown_kind_by_name), UNIT(collective_leaves_nothing_behind))
