// trainer/lease.h - who builds what: the window of wanted tickets and the loaders they are leased
// to, as plain state. No socket, no thread, no clock: trainer/feed moves it, and its tests move it
// through any order of events.
//
// A ticket is wanted, then leased, then ready or failed, and becomes wanted again when its lease
// ends without an answer. The first whole answer counts, from whoever it comes, even when the lease
// is another's by now; each later one finds the ticket ready or gone and is a duplicate.
#ifndef TRAINER_LEASE_H
#define TRAINER_LEASE_H

#include "proto/sample.h"
#include "proto/wire.h"

#define TRAINER_LOADERS_MAX 1024
#define TRAINER_WINDOW_MAX 4096
#define TRAINER_DAMAGED_MAX 16  // answers to one ticket, then it is a failure and no accident

enum trainer_ticket_state {
    TRAINER_TICKET_WANTED,
    TRAINER_TICKET_LEASED,
    TRAINER_TICKET_READY,
    TRAINER_TICKET_FAILED,
};

struct trainer_loader {
    struct proto_identity identity;
    uint64_t serial;  // never used twice; 0: free place
    uint32_t number, credits;
    uint32_t outstanding;  // leases it holds
    uint32_t late;         // leases in a row that it let run out
    int64_t heard_ms;
    int64_t slowest_ms;  // the longest it was busy with one ticket and could not speak
    bool silent;         // not heard for too long: holds nothing, gets nothing
    bool full;           // its queue had no room in this turn
};

struct trainer_ticket {
    struct proto_ticket ticket;
    enum trainer_ticket_state state;
    uint64_t holder, last_holder;  // serials of loaders; 0: none
    int64_t leased_ms;
    uint32_t damaged;            // answers that were lost on the way
    struct proto_batch *batch;   // memory of this place of the window, the answer when ready
    struct proto_error failure;  // when failed
};

struct trainer_lease_counters {
    uint64_t leased, answered, released, duplicates;
};

struct trainer_lease {
    uint32_t attempt, window;
    int64_t timeout_ms;
    uint64_t head, tail;  // running numbers of the tickets in the window: head .. tail - 1
    uint64_t last_serial;
    struct trainer_lease_counters counters;
    struct trainer_loader loaders[TRAINER_LOADERS_MAX];
    struct trainer_ticket tickets[];  // [window], ticket n at n mod window
};

// Batches are left NULL. The caller frees with free().
PROTO_MUST_CHECK bool trainer_lease_new(uint32_t attempt, uint32_t window, int64_t timeout_ms,
                                        struct trainer_lease **lease, struct proto_error *error);

struct trainer_ticket *trainer_lease_at(struct trainer_lease *lease, uint64_t number);
void trainer_lease_want(struct trainer_lease *lease, bool validation, uint64_t first,
                        uint32_t count);

// A sign of life with what the loader can take; makes it known. NULL: no place left.
struct trainer_loader *trainer_lease_hear(struct trainer_lease *lease,
                                          const struct proto_identity *from,
                                          const struct proto_ready *ready, int64_t now_ms);
// NULL when unknown.
struct trainer_loader *trainer_lease_loader(struct trainer_lease *lease,
                                            const struct proto_identity *from);
// It left or vanished: forgotten, and what it held is wanted again.
void trainer_lease_lose(struct trainer_lease *lease, struct trainer_loader *loader);

// A ticket of the window that still has no answer; NULL: answered already, or never ours.
struct trainer_ticket *trainer_lease_open(struct trainer_lease *lease, uint64_t id);
// The answer to an open ticket: READY or FAILED.
void trainer_lease_answer(struct trainer_lease *lease, const struct proto_identity *from,
                          struct trainer_ticket *ticket, enum trainer_ticket_state state,
                          uint32_t build_us, int64_t now_ms);
// Its answer was lost on the way: wanted again at once, if `from` holds it, but not for ever.
void trainer_lease_damage(struct trainer_lease *lease, const struct proto_identity *from,
                          uint64_t id, const struct proto_error *damage);
// Ends late leases, silences and forgets loaders that are not heard.
void trainer_lease_expire(struct trainer_lease *lease, int64_t now_ms);

// The first wanted ticket and the loader to lease it to: one that is in time and did not hold it
// last, if there is one with credits; of those the one with the most credits free. False: nothing
// is wanted or nobody has credits.
PROTO_MUST_CHECK bool trainer_lease_next(struct trainer_lease *lease,
                                         struct trainer_ticket **ticket,
                                         struct trainer_loader **loader);
void trainer_lease_grant(struct trainer_lease *lease, struct trainer_ticket *ticket,
                         struct trainer_loader *loader, int64_t now_ms);

#endif
