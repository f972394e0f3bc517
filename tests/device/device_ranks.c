// tests/device/device_ranks.c - ranks on real devices: sums out of device memory, and an abort that
// every rank hears.
//
//     device_ranks nccl|staged RANKS [each]
//
// All ranks on cuda:0, or with `each` rank R on cuda:R. Oracle of the sums: in double. f32 rounds
// each of the additions and the scale by at most 2^-24 of the sum of the terms' sizes. One line of
// JSON; exit 1 when a rank's sums are wrong, or one does not hear an abort within 5 s.
#include "tests/trainer/collective_world.h"

#include "proto/words.h"

#include <math.h>

#define COUNT 1000003  // neither a whole number of warps nor of pieces
#define ABORT_SECONDS_MAX 5.0

static bool check_sums(const float *found, uint32_t size, struct proto_error *error) {
    for (size_t i = 0; i < COUNT; i++) {
        double sum = 0, terms = 0;
        for (uint32_t rank = 0; rank < size; rank++) {
            sum += (double)number(rank, i);
            terms += fabs((double)number(rank, i));
        }
        if (!(fabs((double)found[i] - sum / size) <= size * 0x1p-24 * terms))
            return proto_fail(error, PROTO_FAILED, "element %zu is %.9g, expected %.9g", i,
                              (double)found[i], sum / size);
    }
    return true;
}

// Rank 0 aborts in the middle; whatever comes next must fail, on every rank, and soon.
static bool hear_abort(struct trainer_collective *collective, uint32_t rank, float *data,
                       struct proto_error *error) {
    struct proto_error heard = {0};
    double begin = now_s();
    while (now_s() - begin < CASE_SECONDS_MAX / 2) {
        if (!trainer_collective_start(collective, data, COUNT, 1, &heard)) break;
        if (rank == 0) {
            begin = now_s();
            trainer_collective_abort(collective);
        }
        if (!trainer_collective_finish(collective, &heard)) break;
    }
    if (heard.status == 0)
        return proto_fail(error, PROTO_FAILED, "rank %u goes on after an abort", rank);
    return rank != 0 || now_s() - begin < ABORT_SECONDS_MAX ||
           proto_fail(error, PROTO_FAILED, "the abort took %.1f s", now_s() - begin);
}

static bool work(struct trainer_collective *collective, uint32_t rank, struct proto_error *error) {
    static float host[COUNT];
    const uint32_t size = trainer_collective_size(collective);
    for (size_t i = 0; i < COUNT; i++) host[i] = number(rank, i);
    float *data = vector_new(host, COUNT, error);
    bool done = data && trainer_collective_barrier(collective, error);
    for (uint32_t round = 0; done && round < 4; round++) {
        done = model_backend_upload(world_device, data, host, sizeof host, error);
        const double begin = now_s();
        static float found[COUNT];
        done = done &&
               trainer_collective_all_reduce(collective, data, COUNT, 1.0f / (float)size, error);
        // the fastest round, in microseconds
        const uint64_t took = (uint64_t)((now_s() - begin) * 1e6) + 1;
        if (round == 0 || took < findings[rank].operations) findings[rank].operations = took;
        done = done && vector_read(found, data, COUNT, error) && check_sums(found, size, error);
    }
    done = done && hear_abort(collective, rank, data, error);
    vector_free(data);
    return done;
}

int main(int count, char **words) {
    struct proto_error error = {0};
    uint64_t ranks = 0;
    if (count < 3 || count > 4 || (count == 4 && strcmp(words[3], "each") != 0)) {
        fprintf(stderr, "usage: device_ranks nccl|staged RANKS [each]\n");
        return PROTO_USAGE;
    }
    if (!proto_words_number("RANKS", words[2], RANKS_MAX, &ranks, &error) || ranks < 1)
        return proto_error_print("device_ranks", &error);
    const struct plan plan = {.size = (uint32_t)ranks,
                              .epoch = 1,
                              .elements_max = COUNT,
                              .deadline_s = 20,
                              .work = work,
                              .backend = words[1],
                              .device = "cuda:0",
                              .device_each = count == 4};
    TEST_CASE(plan.backend);
    ranks_run(&plan);
    bool done = true;
    for (uint32_t rank = 0; rank < plan.size; rank++) {
        if (findings[rank].done) continue;
        done = false;
        fprintf(stderr, "device_ranks: rank %u: %s\n", rank,
                *findings[rank].text ? findings[rank].text : "died");
    }
    if (done)
        printf("{\"what\": \"ranks\", \"backend\": \"%s\", \"ranks\": %u, \"elements\": %d, "
               "\"microseconds\": %llu}\n",
               plan.backend, plan.size, COUNT, (unsigned long long)findings[0].operations);
    return done ? PROTO_DONE : PROTO_FAILED;
}
