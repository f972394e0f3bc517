// trainer/lease.c - the window of tickets and the table of loaders. Invariant: a loader's
// `outstanding` is the number of leased tickets whose holder it is.
#include "trainer/lease.h"

#include <assert.h>
#include <string.h>

#define SILENCE_MS (4 * PROTO_READY_MS)
#define ATTEMPT_BITS 40

bool trainer_lease_new(uint32_t attempt, uint32_t window, int64_t timeout_ms,
                       struct trainer_lease **lease, struct proto_error *error) {
    assert(window > 0 && window <= TRAINER_WINDOW_MAX);
    struct trainer_lease *made =
        proto_alloc(sizeof *made + window * sizeof(struct trainer_ticket), error);
    if (!made) return false;
    made->attempt = attempt;
    made->window = window;
    made->timeout_ms = timeout_ms;
    made->head = made->tail = 1;
    *lease = made;
    return true;
}

struct trainer_ticket *trainer_lease_at(struct trainer_lease *lease, uint64_t number) {
    return &lease->tickets[number % lease->window];
}

void trainer_lease_want(struct trainer_lease *lease, bool validation, uint64_t first,
                        uint32_t count) {
    assert(lease->tail - lease->head < lease->window);
    struct trainer_ticket *ticket = trainer_lease_at(lease, lease->tail);
    ticket->ticket = (struct proto_ticket){
        .id = (uint64_t)lease->attempt << ATTEMPT_BITS | lease->tail,
        .validation = validation,
        .first = first,
        .count = count,
    };
    ticket->state = TRAINER_TICKET_WANTED;
    ticket->holder = ticket->last_holder = 0;
    ticket->damaged = 0;
    lease->tail++;
}

static struct trainer_loader *loader_of(struct trainer_lease *lease, uint64_t serial) {
    for (size_t i = 0; serial > 0 && i < TRAINER_LOADERS_MAX; i++)
        if (lease->loaders[i].serial == serial) return &lease->loaders[i];
    return NULL;
}

struct trainer_loader *trainer_lease_loader(struct trainer_lease *lease,
                                            const struct proto_identity *from) {
    for (size_t i = 0; i < TRAINER_LOADERS_MAX; i++) {
        struct trainer_loader *loader = &lease->loaders[i];
        if (loader->serial > 0 && loader->identity.size == from->size &&
            memcmp(loader->identity.bytes, from->bytes, from->size) == 0)
            return loader;
    }
    return NULL;
}

struct trainer_loader *trainer_lease_hear(struct trainer_lease *lease,
                                          const struct proto_identity *from,
                                          const struct proto_ready *ready, int64_t now_ms) {
    struct trainer_loader *loader = trainer_lease_loader(lease, from);
    for (size_t i = 0; !loader && i < TRAINER_LOADERS_MAX; i++)
        if (lease->loaders[i].serial == 0) {
            loader = &lease->loaders[i];
            *loader = (struct trainer_loader){.identity = *from, .serial = ++lease->last_serial};
        }
    if (!loader) return NULL;
    loader->number = ready->number;
    loader->credits = ready->credits;
    loader->heard_ms = now_ms;
    loader->silent = false;
    return loader;
}

// The lease ends without an answer.
static void ticket_release(struct trainer_lease *lease, struct trainer_ticket *ticket) {
    struct trainer_loader *loader = loader_of(lease, ticket->holder);
    if (loader) loader->outstanding--;
    ticket->last_holder = ticket->holder;
    ticket->holder = 0;
    ticket->state = TRAINER_TICKET_WANTED;
    lease->counters.released++;
}

static void loader_release(struct trainer_lease *lease, const struct trainer_loader *loader) {
    for (uint64_t n = lease->head; n < lease->tail && loader->outstanding > 0; n++) {
        struct trainer_ticket *ticket = trainer_lease_at(lease, n);
        if (ticket->state == TRAINER_TICKET_LEASED && ticket->holder == loader->serial)
            ticket_release(lease, ticket);
    }
}

void trainer_lease_lose(struct trainer_lease *lease, struct trainer_loader *loader) {
    loader_release(lease, loader);
    *loader = (struct trainer_loader){0};
}

struct trainer_ticket *trainer_lease_open(struct trainer_lease *lease, uint64_t id) {
    const uint64_t number = id & (((uint64_t)1 << ATTEMPT_BITS) - 1);
    if (id >> ATTEMPT_BITS != lease->attempt) return NULL;
    if (number < lease->head || number >= lease->tail) return NULL;
    struct trainer_ticket *ticket = trainer_lease_at(lease, number);
    const bool open =
        ticket->state == TRAINER_TICKET_WANTED || ticket->state == TRAINER_TICKET_LEASED;
    return open ? ticket : NULL;
}

void trainer_lease_answer(struct trainer_lease *lease, const struct proto_identity *from,
                          struct trainer_ticket *ticket, enum trainer_ticket_state state,
                          uint32_t build_us, int64_t now_ms) {
    struct trainer_loader *holder = loader_of(lease, ticket->holder);
    if (holder) holder->outstanding--;
    ticket->holder = 0;
    ticket->state = state;
    lease->counters.answered++;
    struct trainer_loader *loader = trainer_lease_loader(lease, from);
    if (!loader) return;
    loader->heard_ms = now_ms;
    loader->silent = false;
    if (loader == holder) loader->late = 0;
    if (build_us / 1000 > loader->slowest_ms) loader->slowest_ms = build_us / 1000;
}

void trainer_lease_damage(struct trainer_lease *lease, const struct proto_identity *from,
                          uint64_t id, const struct proto_error *damage) {
    struct trainer_ticket *ticket = trainer_lease_open(lease, id);
    const struct trainer_loader *loader = trainer_lease_loader(lease, from);
    if (!ticket || !loader || ticket->holder != loader->serial) return;
    ticket_release(lease, ticket);
    if (++ticket->damaged < TRAINER_DAMAGED_MAX) return;
    ticket->state = TRAINER_TICKET_FAILED;
    proto_fail(&ticket->failure, PROTO_DAMAGED,
               "%d answers to one ticket were damaged, the last: %.600s", TRAINER_DAMAGED_MAX,
               damage->text);
}

void trainer_lease_expire(struct trainer_lease *lease, int64_t now_ms) {
    for (size_t i = 0; i < TRAINER_LOADERS_MAX; i++) {
        struct trainer_loader *loader = &lease->loaders[i];
        if (loader->serial == 0) continue;
        // A loader speaks between two tickets, so one that builds slowly may be silent for longer.
        const int64_t quiet_ms = now_ms - loader->heard_ms;
        const int64_t allowed_ms = SILENCE_MS + 4 * loader->slowest_ms;
        loader->full = false;
        if (quiet_ms <= allowed_ms) continue;
        loader->silent = true;
        loader_release(lease, loader);
        if (quiet_ms > allowed_ms + lease->timeout_ms) trainer_lease_lose(lease, loader);
    }
    for (uint64_t n = lease->head; n < lease->tail; n++) {
        struct trainer_ticket *ticket = trainer_lease_at(lease, n);
        if (ticket->state != TRAINER_TICKET_LEASED) continue;
        if (now_ms - ticket->leased_ms <= lease->timeout_ms) continue;
        struct trainer_loader *loader = loader_of(lease, ticket->holder);
        if (loader) loader->late++;
        ticket_release(lease, ticket);
    }
}

static bool loader_is_better(const struct trainer_loader *a, const struct trainer_loader *b,
                             uint64_t last_holder) {
    if (!b) return true;
    const bool a_had_it = a->serial == last_holder, b_had_it = b->serial == last_holder;
    if (a_had_it != b_had_it) return b_had_it;
    if ((a->late > 0) != (b->late > 0)) return b->late > 0;
    const uint32_t a_free = a->credits - a->outstanding, b_free = b->credits - b->outstanding;
    if (a_free != b_free) return a_free > b_free;
    return a->outstanding < b->outstanding;
}

bool trainer_lease_next(struct trainer_lease *lease, struct trainer_ticket **ticket,
                        struct trainer_loader **loader) {
    struct trainer_ticket *wanted = NULL;
    for (uint64_t n = lease->head; !wanted && n < lease->tail; n++)
        if (trainer_lease_at(lease, n)->state == TRAINER_TICKET_WANTED)
            wanted = trainer_lease_at(lease, n);
    if (!wanted) return false;
    struct trainer_loader *best = NULL;
    for (size_t i = 0; i < TRAINER_LOADERS_MAX; i++) {
        struct trainer_loader *one = &lease->loaders[i];
        if (one->serial == 0 || one->silent || one->full) continue;
        if (one->outstanding >= one->credits) continue;
        if (loader_is_better(one, best, wanted->last_holder)) best = one;
    }
    *ticket = wanted;
    *loader = best;
    return best != NULL;
}

void trainer_lease_grant(struct trainer_lease *lease, struct trainer_ticket *ticket,
                         struct trainer_loader *loader, int64_t now_ms) {
    assert(ticket->state == TRAINER_TICKET_WANTED && loader->outstanding < loader->credits);
    ticket->state = TRAINER_TICKET_LEASED;
    ticket->holder = loader->serial;
    ticket->leased_ms = now_ms;
    loader->outstanding++;
    lease->counters.leased++;
}
