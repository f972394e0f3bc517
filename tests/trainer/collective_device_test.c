// tests/trainer/collective_device_test.c - what ranks get from each other out of device memory, on
// the simulated GPU and its fake of NCCL: `staged` with all ranks on one GPU, `nccl` with one GPU
// each; and what the survivors hear when one is killed or stopped.
//
// Oracle of the sums: in rank order in double. f32 rounds each of size - 1 additions and the scale
// by half an ulp of a partial sum, at most 2^-24 of the sum of the terms' sizes: staged adds in
// rank order too, NCCL in an order of its own. The device's work is delayed by a seed, so that a
// missing event between the queue and the sums gives wrong numbers.
#include "tests/trainer/collective_world.h"

#include <math.h>

#define COUNT 70000

static const struct {
    const char *backend;
    bool each;  // a GPU
} kinds[] = {{"staged", false}, {"nccl", true}};

static struct plan plan_of(size_t kind, uint32_t size,
                           bool (*work)(struct trainer_collective *, uint32_t,
                                        struct proto_error *)) {
    return (struct plan){.size = size,
                         .epoch = 1,
                         .elements_max = COUNT,
                         .deadline_s = 30,
                         .work = work,
                         .backend = kinds[kind].backend,
                         .device = "cuda:0",
                         .device_each = kinds[kind].each};
}

static bool near(const float *found, size_t count, uint32_t size, double scale, size_t offset,
                 struct proto_error *error) {
    for (size_t i = 0; i < count; i++) {
        double sum = 0, terms = 0;
        for (uint32_t rank = 0; rank < size; rank++) {
            sum += (double)number(rank, offset + i);
            terms += fabs((double)number(rank, offset + i));
        }
        if (!(fabs((double)found[i] - sum * scale) <= size * 0x1p-24 * terms * scale))
            return proto_fail(error, PROTO_FAILED, "element %zu is %.9g, expected %.9g", i,
                              (double)found[i], sum * scale);
    }
    return true;
}

// The numbers get onto the device by an operation of the queue right before: a sum that does not
// wait for the queue adds what was there before.
static bool reduce_pieces(struct trainer_collective *collective, uint32_t rank, float *data,
                          const float *host, struct proto_error *error) {
    static float found[COUNT];
    const uint32_t size = trainer_collective_size(collective);
    const float scale = 1.0f / (float)size;
    if (!model_backend_fill(world_device, data, 0, COUNT * sizeof *data, error)) return false;
    for (size_t at = 0; at < COUNT; at += 9000) {
        const size_t piece = COUNT - at < 9000 ? COUNT - at : 9000;
        if (!model_backend_upload(world_device, data + at, host + at, piece * sizeof *host,
                                  error) ||
            !trainer_collective_start(collective, data + at, piece, scale, error))
            return false;
    }
    // what comes next in the queue sees the sums
    const struct model_axpby twice = {.n = COUNT, .a = 1, .x = data, .b = 1, .y = data};
    (void)rank;
    return trainer_collective_finish(collective, error) &&
           model_axpby(world_device, &twice, error) && vector_read(found, data, COUNT, error) &&
           near(found, COUNT, size, 2 * scale, 0, error);
}

static bool shards(struct trainer_collective *collective, uint32_t rank, float *data,
                   const float *host, struct proto_error *error) {
    static float found[COUNT];
    const uint32_t size = trainer_collective_size(collective);
    const size_t count = COUNT / size;
    float *shard = vector_new(host, count, error);
    bool done = shard &&
                model_backend_upload(world_device, data, host, COUNT * sizeof *host, error) &&
                trainer_collective_reduce_scatter(collective, data, shard, count, 1, error) &&
                vector_read(found, shard, count, error) &&
                near(found, count, size, 1, rank * count, error) &&
                trainer_collective_all_gather(collective, shard, data, count, error) &&
                vector_read(found, data, size * count, error) &&
                near(found, size * count, size, 1, 0, error) &&
                model_backend_upload(world_device, data, host, COUNT * sizeof *host, error) &&
                trainer_collective_broadcast(collective, data, COUNT, size - 1, error) &&
                vector_read(found, data, COUNT, error);
    for (size_t i = 0; done && i < COUNT; i++)
        done = found[i] == number(size - 1, i) ||
               proto_fail(error, PROTO_FAILED, "broadcast: element %zu", i);
    vector_free(shard);
    return done;
}

static bool work_all(struct trainer_collective *collective, uint32_t rank,
                     struct proto_error *error) {
    static float host[COUNT];
    for (size_t i = 0; i < COUNT; i++) host[i] = number(rank, i);
    float *data = vector_new(host, COUNT, error);
    bool done = data && trainer_collective_on_device(collective);
    for (int round = 0; done && round < 2; round++)
        done = reduce_pieces(collective, rank, data, host, error) &&
               shards(collective, rank, data, host, error) &&
               trainer_collective_status(collective, error) &&
               trainer_collective_barrier(collective, error);
    vector_free(data);
    return done;
}

TEST(device_sums_are_right_and_in_order_with_the_queue) {
    for (size_t kind = 0; kind < PROTO_COUNT(kinds); kind++)
        for (uint32_t size = 1; size <= 3; size++) {
            const struct plan plan = plan_of(kind, size, work_all);
            ranks_run(&plan);
            for (uint32_t rank = 0; rank < size; rank++) {
                TEST_CASE(findings[rank].text);
                CHECK(findings[rank].done);
            }
            TEST_CASE("");
        }
}

static bool work_forever(struct trainer_collective *collective, uint32_t rank,
                         struct proto_error *error) {
    static float host[COUNT];
    float *data = vector_new(host, COUNT, error);
    double small[4] = {0};
    while (data && trainer_collective_start(collective, data, COUNT / 2, 1, error) &&
           trainer_collective_start(collective, data + COUNT / 2, COUNT / 2, 1, error) &&
           trainer_collective_finish(collective, error) &&
           trainer_collective_sum(collective, small, 4, error))
        findings[rank].operations++;
    return false;
}

static void wait_operations(uint32_t rank, uint64_t operations) {
    const double end_s = now_s() + 20;
    while (*(volatile uint64_t *)&findings[rank].operations < operations && now_s() < end_s)
        sched_yield();
}

// At ten moments between and inside operations: the others are out within 5 s, by name.
TEST(device_survivors_leave_when_one_is_killed_at_any_moment) {
    for (uint32_t turn = 0; turn < 10; turn++) {
        pid_t pids[RANKS_MAX];
        struct plan plan = plan_of(turn % 2, 3, work_forever);
        const uint32_t victim = turn / 2 % 3;
        plan.epoch = 10 + turn;
        ranks_start(&plan, pids);
        wait_operations(0, 1 + turn % 4);
        const struct timespec moment = {.tv_nsec = 370000 * (long)turn};  // in an operation
        nanosleep(&moment, NULL);
        kill(pids[victim], SIGKILL);
        const double killed_s = now_s();
        ranks_wait(&plan, pids);
        CHECK(now_s() - killed_s < 5.0);
        for (uint32_t rank = 0; rank < 3; rank++) {
            if (rank == victim) continue;
            char name[32];
            snprintf(name, sizeof name, "rank %u ", victim);
            TEST_CASE(findings[rank].text);
            CHECK(findings[rank].opened && !findings[rank].done);
            CHECK_HAS(findings[rank].text, name);
            CHECK_HAS(findings[rank].text, "died");
            TEST_CASE("");
        }
    }
}

// A stopped rank is given up at the deadline, and a rank that comes back later is told.
TEST(device_ranks_give_up_a_stopped_one_at_the_deadline) {
    for (size_t kind = 0; kind < PROTO_COUNT(kinds); kind++) {
        pid_t pids[RANKS_MAX];
        struct plan plan = plan_of(kind, 2, work_forever);
        plan.deadline_s = 1.5;
        ranks_start(&plan, pids);
        wait_operations(1, 3);
        kill(pids[1], SIGSTOP);
        const double stopped_s = now_s();
        waitpid(pids[0], NULL, 0);
        CHECK(now_s() - stopped_s < 1.5 + 5.0);
        TEST_CASE(findings[0].text);
        CHECK(findings[0].opened);
        CHECK(strstr(findings[0].text, "stopped"));
        TEST_CASE("");
        kill(pids[1], SIGCONT);
        waitpid(pids[1], NULL, 0);
        CHECK_HAS(findings[1].text, "rank 0 gave up waiting");
    }
}

static bool work_disagree(struct trainer_collective *collective, uint32_t rank,
                          struct proto_error *error) {
    static float host[64];
    float *data = vector_new(host, 64, error);
    return data && trainer_collective_all_reduce(collective, data, 32, 1, error) &&
           (rank == 0 ? trainer_collective_barrier(collective, error)
                      : trainer_collective_all_reduce(collective, data, 32, 1, error));
}

TEST(device_ranks_that_disagree_do_not_hang) {
    for (size_t kind = 0; kind < PROTO_COUNT(kinds); kind++) {
        const struct plan plan = plan_of(kind, 2, work_disagree);
        const double start_s = now_s();
        ranks_run(&plan);
        CHECK(now_s() - start_s < 5.0);
        for (uint32_t rank = 0; rank < 2; rank++) {
            TEST_CASE(findings[rank].text);
            CHECK(!findings[rank].done && findings[rank].text[0]);
        }
        TEST_CASE("");
    }
}

// The fake's planned failures: words, the status, and no rank left waiting.
TEST(device_says_what_nccl_says_when_it_does_not_start) {
    setenv("GPUSIM_FAULT", "ncclCommInitRankConfig@1:1:3", 1);
    const struct plan plan = plan_of(1, 2, work_all);
    const double start_s = now_s();
    ranks_run(&plan);
    unsetenv("GPUSIM_FAULT");
    CHECK(now_s() - start_s < 5.0);
    CHECK(!findings[0].opened && !findings[1].opened);
    CHECK_HAS(findings[1].text, "NCCL, joining the ranks: ");
    CHECK_HAS(findings[1].text, "pipeline doctor nccl");
    CHECK_HAS(findings[1].text, "collective.backend = \"staged\"");
    CHECK_HAS(findings[0].text, "rank 1 aborted the collective");
}

int main(void) {
    const struct CMUnitTest units[] = {
        UNIT(device_sums_are_right_and_in_order_with_the_queue),
        UNIT(device_survivors_leave_when_one_is_killed_at_any_moment),
        UNIT(device_ranks_give_up_a_stopped_one_at_the_deadline),
        UNIT(device_ranks_that_disagree_do_not_hang),
        UNIT(device_says_what_nccl_says_when_it_does_not_start)};
    if (!getenv("PIPELINE_CUDA_MODULE") || !getenv("PIPELINE_NCCL_MODULE")) {
        puts("skipped: no modules over the simulated GPU are named by the environment");
        return 0;
    }
    setenv("GPUSIM_DEVICES", "4", 1);
    setenv("GPUSIM_DELAY", "7", 0);
    return cmocka_run_group_tests(units, NULL, NULL);
}
