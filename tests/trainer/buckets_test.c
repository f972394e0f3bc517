// tests/trainer/buckets_test.c - gradients that leave in pieces come back as the mean over ranks,
// whatever the pieces, and one that was forgotten is no silent error.
//
// Oracle: the sum in rank order, halved, bit for bit.
#include "tests/trainer/collective_world.h"

#include "trainer/buckets.h"

#define ELEMENTS 1000
#define MIB(numbers) ((double)(numbers) * sizeof(float) / (1024 * 1024))

// Ranges as a backward pass tells them: from the end, with one kept until last.
static const struct {
    size_t first, count;
} told[] = {{900, 100}, {500, 150}, {400, 100}, {100, 300}, {650, 250}, {0, 100}};

static const double buckets_mib[] = {MIB(1), MIB(120), MIB(400), MIB(2000)};

static bool round_trip(struct trainer_collective *collective, uint32_t rank, double bucket_mib,
                       size_t ranges, struct proto_error *error) {
    struct trainer_buckets buckets;
    float host[ELEMENTS];
    for (size_t i = 0; i < ELEMENTS; i++) host[i] = number(rank, i);
    float *gradients = vector_new(host, ELEMENTS, error);
    if (!gradients) return false;
    trainer_buckets_open(&buckets, world_device, collective, gradients, ELEMENTS, bucket_mib);
    const struct model_rdt_ready *ready = trainer_buckets_ready(&buckets);
    bool done = true;
    for (size_t i = 0; done && i < ranges; i++)
        done = ready->take(ready->context, told[i].first, told[i].count, error);
    done = done && trainer_buckets_finish(&buckets, error) &&
           vector_read(host, gradients, ELEMENTS, error);
    vector_free(gradients);
    for (size_t i = 0; done && i < ELEMENTS; i++) {
        const float mean = (number(0, i) + number(1, i)) * 0.5f;
        if (memcmp(&mean, &host[i], sizeof mean) != 0)
            return proto_fail(error, PROTO_FAILED, "gradient %zu is %g, expected %g", i,
                              (double)host[i], (double)mean);
    }
    return done;
}

static bool work_steps(struct trainer_collective *collective, uint32_t rank,
                       struct proto_error *error) {
    for (size_t i = 0; i < PROTO_COUNT(buckets_mib); i++)
        if (!round_trip(collective, rank, buckets_mib[i], PROTO_COUNT(told), error)) return false;
    // nothing was told, as with the host's collective
    return round_trip(collective, rank, 1, 0, error);
}

static bool work_forgets(struct trainer_collective *collective, uint32_t rank,
                         struct proto_error *error) {
    return round_trip(collective, rank, 1, PROTO_COUNT(told) - 1, error);
}

static const struct plan staged = {.size = 2,
                                   .epoch = 1,
                                   .elements_max = ELEMENTS,
                                   .deadline_s = 20,
                                   .work = work_steps,
                                   .backend = "staged",
                                   .device = "cpu"};

TEST(buckets_give_the_mean_whatever_their_size) {
    ranks_run(&staged);
    for (uint32_t rank = 0; rank < 2; rank++) {
        TEST_CASE(findings[rank].text);
        CHECK(findings[rank].done);
    }
    TEST_CASE("");
}

TEST(buckets_miss_a_gradient_that_nobody_told) {
    struct plan plan = staged;
    plan.work = work_forgets;
    ranks_run(&plan);
    for (uint32_t rank = 0; rank < 2; rank++)
        CHECK_TEXT(findings[rank].text, "900 of 1000 gradients were added over the ranks");
}

static bool work_host(struct trainer_collective *collective, uint32_t rank,
                      struct proto_error *error) {
    struct trainer_buckets buckets;
    struct model_backend *cpu = NULL;
    float gradients[2] = {(float)rank, 10};
    if (!model_backend_open("cpu", 1, &cpu, error)) return false;
    trainer_buckets_open(&buckets, cpu, collective, gradients, 2, 25);
    const bool whole = trainer_buckets_ready(&buckets) == NULL;
    const bool done = trainer_buckets_finish(&buckets, error);
    model_backend_close(&cpu);
    return done && ((whole && gradients[0] == 0.5f && gradients[1] == 10) ||
                    proto_fail(error, PROTO_FAILED, "not the mean"));
}

TEST(buckets_are_one_with_the_hosts_collective) {
    const struct plan plan = {
        .size = 2, .epoch = 1, .elements_max = 2, .deadline_s = 20, .work = work_host};
    ranks_run(&plan);
    TEST_CASE(findings[0].text);
    CHECK(findings[0].done && findings[1].done);
    TEST_CASE("");
}

TEST_MAIN(UNIT(buckets_give_the_mean_whatever_their_size),
          UNIT(buckets_miss_a_gradient_that_nobody_told),
          UNIT(buckets_are_one_with_the_hosts_collective))
