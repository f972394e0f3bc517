// proto/wire.h - messages between loaders and ranks over ZeroMQ.
//
// A message is a ZeroMQ multipart: frame 0 is a msgpack map (the header, at most 64 KiB, walked and
// checked before msgpack-c sees it), frames 1.. are tensors, each raw or one lz4 frame. Kinds:
//
//   ready    loader -> rank   who I am, what I can take; every PROTO_READY_MS: the heartbeat
//   tickets  rank -> loader   leases {id, kind, first, count}; none at all is a ping
//   batch    loader -> rank   the answer to one ticket
//   failed   loader -> rank   a ticket that cannot be built, with status, text and place
//   refused  rank -> loader   a message was not accepted, and why; `final` tells it to leave
//   bye      loader -> rank   I leave; lease what I hold to others
//
// A field of a message is one row of a table in wire_messages: encode, decode, validation and
// docs/wire.md walk it. The receiver trusts nothing: unknown versions and kinds are refused by
// name, each length is checked before a byte is used, a hash that disagrees is a lost batch. The
// header's last field, `check`, is the hash of all its bytes before it, so that no flipped bit can
// turn one ticket's answer into another's.
#ifndef PROTO_WIRE_H
#define PROTO_WIRE_H

#include "proto/error.h"
#include "proto/packing.h"
#include "proto/pool.h"
#include "proto/sample.h"

#include <stdint.h>

#define PROTO_VERSION 1
#define PROTO_READY_MS 250
#define PROTO_HEADER_BYTES_MAX 65536
#define PROTO_TICKETS_MAX 64  // in one message
#define PROTO_TICKET_SAMPLES_MAX 4096

enum proto_kind {
    PROTO_KIND_READY = 1,
    PROTO_KIND_TICKETS,
    PROTO_KIND_BATCH,
    PROTO_KIND_FAILED,
    PROTO_KIND_REFUSED,
    PROTO_KIND_BYE,
};

struct proto_ticket {
    uint64_t id;      // never used twice in a run: attempt << 40 | running number
    bool validation;  // positions of the validation stream, else of the training stream
    uint64_t first;   // position in the stream
    uint32_t count;   // samples
};

struct proto_ready {
    char build[32];  // version of the program
    uint64_t index_hash, codec_hash;
    uint32_t number;   // of the loader in its run
    uint32_t credits;  // tickets it takes from this rank at once
};

// A decoded message. Strings and arrays live in the struct.
struct proto_message {
    enum proto_kind kind;  // 0: could not be read
    uint32_t version;      // of the sender; 0: could not be read
    struct proto_ready ready;
    struct proto_ticket tickets[PROTO_TICKETS_MAX];
    uint32_t ticket_count;
    struct {
        uint64_t ticket;
        uint32_t build_us;
        uint32_t count;             // samples: rows 0 .. count - 1 of the batch
        struct proto_batch *batch;  // filled in place: see proto_wire_receive
        struct proto_loan *loan;    // sending: the batch is lent, not copied. NULL: copied
    } batch;
    struct {
        uint64_t ticket;
        int32_t status;
        char text[768], where[512];
    } failed;
    struct {
        bool final;
        char text[768];
    } refused;
};

struct proto_identity {
    uint8_t bytes[32];
    uint8_t size;
};

enum proto_delivery {
    PROTO_SENT,
    PROTO_NO_ROOM,  // the peer's queue is full, or (DEALER) nobody is connected
    PROTO_GONE,     // (ROUTER) there is no such peer any more
};

struct proto_wire_sent {
    enum proto_delivery delivery;
    uint64_t unpacked_bytes, packed_bytes;  // of a batch's tensors
};

// Sends on a ZeroMQ socket. `to` is the peer's routing id (ROUTER) or NULL (DEALER). Never blocks:
// a message is handed over whole or not at all. A batch's tensors are copied, so that the caller
// may use it again at once; with message->batch.loan the large ones are not, and ZeroMQ holds the
// loan until it is done with them.
PROTO_MUST_CHECK bool proto_wire_send(void *socket, const struct proto_identity *to,
                                      const struct proto_message *message,
                                      enum proto_packing packing, struct proto_wire_sent *sent,
                                      struct proto_error *error);

// Receives one message if one waits (*received). `from` is filled on a ROUTER, NULL on a DEALER.
// An unusable message gives PROTO_DAMAGED with what was wrong and, as far as it could be read,
// message->version, kind and the ticket id: it was consumed whole and the socket is fine. Tensors
// of a batch are unpacked into the first rows of `target`, whose sizes must be the message's and
// which has room for target->batch samples; message->batch.batch is then `target`. NULL: batches
// are refused.
PROTO_MUST_CHECK bool proto_wire_receive(void *socket, struct proto_identity *from,
                                         struct proto_batch *target, struct proto_message *message,
                                         bool *received, struct proto_error *error);

// A socket with the options that both ends rely on: no lingering, bounded queues, a cap on what a
// peer can make us allocate, ROUTER_MANDATORY, no queueing for a peer that is not there.
struct proto_wire_settings {
    bool router;                      // else dealer
    uint32_t send_max, receive_max;   // messages queued for, and from, one peer
    const struct proto_batch *batch;  // the largest that may come in; NULL: headers only
};
PROTO_MUST_CHECK bool proto_wire_open(void *context, const struct proto_wire_settings *settings,
                                      void **socket, struct proto_error *error);

// Bytes of a batch's tensors for `count` samples, as they travel unpacked.
uint64_t proto_wire_batch_bytes(const struct proto_batch *batch, uint32_t count);

#endif
