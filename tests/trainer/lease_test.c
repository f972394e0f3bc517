// tests/trainer/lease_test.c - which loader gets which ticket, and that none is lost or answered
// twice. Oracle of the random run: a list of what was consumed, which must be 0, 1, 2, ...
#include "proto/random.h"
#include "tests/check.h"
#include "trainer/lease.h"

static struct proto_identity who(uint8_t name) {
    return (struct proto_identity){.bytes = {name}, .size = 1};
}

static struct trainer_loader *hear(struct trainer_lease *lease, uint8_t name, uint32_t credits,
                                   int64_t now_ms) {
    const struct proto_identity from = who(name);
    const struct proto_ready ready = {.number = name, .credits = credits};
    struct trainer_loader *loader = trainer_lease_hear(lease, &from, &ready, now_ms);
    CHECK(loader != NULL);
    return loader;
}

// Leases the next ticket; 0: none, else the loader's name.
static uint8_t grant(struct trainer_lease *lease, int64_t now_ms, uint64_t *id) {
    struct trainer_ticket *ticket = NULL;
    struct trainer_loader *loader = NULL;
    if (!trainer_lease_next(lease, &ticket, &loader)) return 0;
    trainer_lease_grant(lease, ticket, loader, now_ms);
    if (id) *id = ticket->ticket.id;
    return loader->identity.bytes[0];
}

static bool answer(struct trainer_lease *lease, uint8_t name, uint64_t id, int64_t now_ms) {
    const struct proto_identity from = who(name);
    struct trainer_ticket *ticket = trainer_lease_open(lease, id);
    if (ticket) trainer_lease_answer(lease, &from, ticket, TRAINER_TICKET_READY, 1000, now_ms);
    return ticket != NULL;
}

TEST(lease_spreads_tickets_by_free_credits) {
    struct trainer_lease *lease = NULL;
    struct proto_error error = {0};
    CHECK_OK(trainer_lease_new(1, 8, 1000, &lease, &error), error);
    hear(lease, 1, 2, 0);
    hear(lease, 2, 4, 0);
    for (uint64_t i = 0; i < 8; i++) trainer_lease_want(lease, false, i, 1);
    uint32_t got[3] = {0};
    for (uint8_t name; (name = grant(lease, 0, NULL)) != 0;) got[name]++;
    CHECK_INT(got[1], 2);  // never over the credits: two tickets wait
    CHECK_INT(got[2], 4);
    free(lease);
}

TEST(lease_ids_carry_the_attempt_and_old_ones_open_nothing) {
    struct trainer_lease *lease = NULL;
    struct proto_error error = {0};
    uint64_t id = 0;
    CHECK_OK(trainer_lease_new(7, 2, 1000, &lease, &error), error);
    hear(lease, 1, 4, 0);
    trainer_lease_want(lease, false, 0, 1);
    CHECK_INT(grant(lease, 0, &id), 1);
    CHECK(id == ((uint64_t)7 << 40 | 1));
    CHECK(!trainer_lease_open(lease, (uint64_t)6 << 40 | 1));
    CHECK(!trainer_lease_open(lease, (uint64_t)7 << 40 | 2));
    CHECK(!trainer_lease_open(lease, 0));
    CHECK(trainer_lease_open(lease, id) != NULL);
    free(lease);
}

TEST(lease_runs_out_and_goes_to_another_first) {
    struct trainer_lease *lease = NULL;
    struct proto_error error = {0};
    uint64_t id = 0, again = 0;
    CHECK_OK(trainer_lease_new(1, 4, 500, &lease, &error), error);
    hear(lease, 1, 4, 0);
    trainer_lease_want(lease, false, 0, 1);
    CHECK_INT(grant(lease, 0, &id), 1);
    hear(lease, 2, 1, 400);
    hear(lease, 1, 4, 400);
    trainer_lease_expire(lease, 500);
    CHECK_INT(grant(lease, 500, NULL), 0);  // not late yet
    trainer_lease_expire(lease, 501);
    CHECK_INT(grant(lease, 501, &again), 2);
    CHECK(again == id);
    CHECK(answer(lease, 1, id, 600));   // the slow one was faster after all: it counts
    CHECK(!answer(lease, 2, id, 700));  // the second is a duplicate
    CHECK_INT(lease->counters.released, 1);
    CHECK_INT(trainer_lease_loader(lease, &(struct proto_identity){{2}, 1})->outstanding, 0);
    free(lease);
}

TEST(lease_ends_with_silence_but_a_slow_builder_may_be_silent_longer) {
    struct trainer_lease *lease = NULL;
    struct proto_error error = {0};
    uint64_t id = 0;
    CHECK_OK(trainer_lease_new(1, 4, 100000, &lease, &error), error);
    hear(lease, 1, 4, 0);
    trainer_lease_want(lease, false, 0, 1);
    CHECK_INT(grant(lease, 0, &id), 1);
    trainer_lease_expire(lease, 1000);
    CHECK_INT(lease->counters.released, 0);
    trainer_lease_expire(lease, 1001);
    CHECK_INT(lease->counters.released, 1);
    CHECK_INT(grant(lease, 1001, NULL), 0);  // it gets nothing while it is silent
    struct trainer_loader *loader = hear(lease, 1, 4, 1100);
    CHECK_INT(grant(lease, 1100, NULL), 1);
    const struct proto_identity from = who(1);
    trainer_lease_answer(lease, &from, trainer_lease_open(lease, id), TRAINER_TICKET_READY, 3000000,
                         4000);  // 3 s in one ticket
    trainer_lease_want(lease, false, 1, 1);
    CHECK_INT(grant(lease, 4000, NULL), 1);
    trainer_lease_expire(lease, 4000 + 1000 + 4 * 3000);
    CHECK_INT(loader->outstanding, 1);
    trainer_lease_expire(lease, 4000 + 1001 + 4 * 3000);
    CHECK_INT(loader->outstanding, 0);
    free(lease);
}

TEST(lease_damaged_answers_are_tried_again_but_not_for_ever) {
    struct trainer_lease *lease = NULL;
    struct proto_error error = {0}, damage = {.text = "tensor images: hash is"};
    const struct proto_identity from = who(1), other = who(2);
    uint64_t id = 0;
    CHECK_OK(trainer_lease_new(1, 4, 100000, &lease, &error), error);
    hear(lease, 1, 4, 0);
    trainer_lease_want(lease, false, 0, 1);
    for (int i = 0; i < TRAINER_DAMAGED_MAX; i++) {
        CHECK_INT(grant(lease, 0, &id), 1);
        trainer_lease_damage(lease, &other, id, &damage);  // not its ticket: no effect
        trainer_lease_damage(lease, &from, id, &damage);
    }
    CHECK_INT(trainer_lease_at(lease, 1)->state, TRAINER_TICKET_FAILED);
    CHECK_TEXT(trainer_lease_at(lease, 1)->failure.text,
               "16 answers to one ticket were damaged, the last: tensor images: hash is");
    free(lease);
}

// Loaders come and go, answer late, twice, damaged or never; every ticket is consumed once, in
// order.
TEST(lease_property_every_ticket_once_in_order_whatever_happens) {
    enum { TICKETS = 3000, LOADERS = 6, HELD = 64 };
    for (uint64_t seed = 0; seed < 20; seed++) {
        struct trainer_lease *lease = NULL;
        struct proto_error error = {0}, damage = {.text = "damaged"};
        struct proto_random random = proto_random_at(seed, PROTO_PURPOSE_SHUFFLE, 0);
        uint64_t held[HELD][2], consumed = 0, wanted = 0;  // {id, loader's name}
        uint32_t held_count = 0;
        int64_t now_ms = 0;
        char name[32];
        snprintf(name, sizeof name, "seed %d", (int)seed);
        TEST_CASE(name);
        CHECK_OK(trainer_lease_new(1, 16, 300, &lease, &error), error);
        for (uint32_t turn = 0; consumed < TICKETS; turn++) {
            CHECK(turn < 400000);  // no deadlock
            now_ms += proto_random_below(&random, 20);
            while (lease->tail - lease->head < 16) trainer_lease_want(lease, false, wanted++, 1);
            const uint8_t one = (uint8_t)(1 + proto_random_below(&random, LOADERS));
            const struct proto_identity from = who(one);
            const uint32_t event = proto_random_below(&random, 100);
            if (event < 30)
                hear(lease, one, 1 + one % 4, now_ms);
            else if (event < 32 && trainer_lease_loader(lease, &from))
                trainer_lease_lose(lease, trainer_lease_loader(lease, &from));
            trainer_lease_expire(lease, now_ms);
            uint64_t id = 0;
            for (uint8_t to; (to = grant(lease, now_ms, &id)) != 0;)
                if (held_count < HELD) {
                    held[held_count][0] = id;
                    held[held_count++][1] = to;
                }
            for (uint32_t i = 0; i < held_count; i++) {
                const uint32_t fate = proto_random_below(&random, 10);
                const struct proto_identity builder = who((uint8_t)held[i][1]);
                if (fate < 4) answer(lease, (uint8_t)held[i][1], held[i][0], now_ms);
                if (fate == 4) trainer_lease_damage(lease, &builder, held[i][0], &damage);
                if (fate == 5) continue;  // answers, and answers again later: the entry stays
                if (fate > 6) continue;   // slow
                memcpy(held[i], held[--held_count], sizeof held[i]);
            }
            struct trainer_ticket *next = trainer_lease_at(lease, lease->head);
            while (lease->head < lease->tail && next->state == TRAINER_TICKET_READY) {
                CHECK(next->ticket.first == consumed);
                consumed++;
                lease->head++;
                next = trainer_lease_at(lease, lease->head);
            }
            for (size_t i = 0; i < LOADERS; i++) {
                uint32_t holds = 0;
                for (uint64_t n = lease->head; n < lease->tail; n++)
                    holds += lease->loaders[i].serial > 0 &&
                             trainer_lease_at(lease, n)->state == TRAINER_TICKET_LEASED &&
                             trainer_lease_at(lease, n)->holder == lease->loaders[i].serial;
                CHECK_INT(lease->loaders[i].outstanding, holds);
            }
        }
        CHECK(lease->counters.answered >= TICKETS);
        free(lease);
    }
}

TEST_MAIN(UNIT(lease_spreads_tickets_by_free_credits),
          UNIT(lease_ids_carry_the_attempt_and_old_ones_open_nothing),
          UNIT(lease_runs_out_and_goes_to_another_first),
          UNIT(lease_ends_with_silence_but_a_slow_builder_may_be_silent_longer),
          UNIT(lease_damaged_answers_are_tried_again_but_not_for_ever),
          UNIT(lease_property_every_ticket_once_in_order_whatever_happens))
