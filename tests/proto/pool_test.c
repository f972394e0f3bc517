// tests/proto/pool_test.c - loans go out once, come back from any thread, and say so.
#include "proto/pool.h"
#include "tests/check.h"

#include <poll.h>
#include <pthread.h>

static const struct proto_codec codec = {
    .width = 8,
    .chunk = 4,
    .history = 1,
    .camera_count = 1,
    .image_height = 4,
    .image_width = 4,
};

static bool readable(const struct proto_pool *pool, int wait_ms) {
    struct pollfd item = {.fd = proto_pool_descriptor(pool), .events = POLLIN};
    return poll(&item, 1, wait_ms) == 1;
}

static struct proto_loan *take(struct proto_pool *pool, uint32_t rows) {
    struct proto_loan *loan = NULL;
    struct proto_error error = {0};
    CHECK_OK(proto_pool_take(pool, rows, &loan, &error), error);
    return loan;
}

TEST(pool_gives_out_no_more_than_it_has_and_says_when_one_is_back) {
    struct proto_pool *pool = NULL;
    struct proto_error error = {0};
    CHECK_OK(proto_pool_new(&codec, 2, &pool, &error), error);
    struct proto_loan *a = take(pool, 3), *b = take(pool, 1);
    CHECK(a && b && a != b);
    CHECK(take(pool, 1) == NULL);
    CHECK_INT(proto_pool_out(pool), 2);
    CHECK(!readable(pool, 0));
    proto_loan_hold(a);
    proto_loan_drop(a);
    CHECK(!readable(pool, 0));  // one hold is left
    proto_loan_drop(a);
    CHECK(readable(pool, 0));
    proto_pool_settle(pool);
    CHECK(!readable(pool, 0));
    CHECK(take(pool, 2) == a);
    CHECK(proto_loan_batch(a)->batch >= 2);
    proto_loan_drop(a);
    proto_loan_drop(b);
    b = take(pool, 9);  // grows
    CHECK(proto_loan_batch(b)->batch == 9);
    proto_loan_drop(b);
    proto_pool_free(&pool);
    CHECK(pool == NULL);
}

TEST(pool_says_when_no_batch_can_be_made_and_stays_usable) {
    struct proto_pool *pool = NULL;
    struct proto_loan *loan = NULL;
    struct proto_error error = {0};
    CHECK_OK(proto_pool_new(&codec, 1, &pool, &error), error);
    CHECK(!proto_pool_take(pool, UINT32_MAX, &loan, &error));
    CHECK(loan == NULL && error.text[0] != '\0');
    loan = take(pool, 1);
    CHECK(loan != NULL);
    proto_loan_drop(loan);
    proto_pool_free(&pool);
}

static void *drop_one(void *loan) {
    proto_loan_drop(loan);
    return NULL;
}

// What one holder wrote is what the next reads, though another thread gave it back.
TEST(pool_takes_back_from_other_threads) {
    struct proto_pool *pool = NULL;
    struct proto_error error = {0};
    CHECK_OK(proto_pool_new(&codec, 1, &pool, &error), error);
    for (uint32_t i = 0; i < 200; i++) {
        pthread_t thread;
        struct proto_loan *loan = take(pool, 1);
        CHECK(loan != NULL);
        CHECK(i == 0 || proto_loan_batch(loan)->task[0] == i - 1);
        proto_loan_batch(loan)->task[0] = i;
        CHECK(pthread_create(&thread, NULL, drop_one, loan) == 0);
        CHECK(readable(pool, 5000));
        proto_pool_settle(pool);
        pthread_join(thread, NULL);
    }
    proto_pool_free(&pool);
}

TEST_MAIN(UNIT(pool_gives_out_no_more_than_it_has_and_says_when_one_is_back),
          UNIT(pool_says_when_no_batch_can_be_made_and_stays_usable),
          UNIT(pool_takes_back_from_other_threads))
