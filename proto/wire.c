// proto/wire.c - messages over ZeroMQ sockets: the header of wire_messages and a batch's tensors.
//
// Sending makes all frames first and then hands them over, so that a message goes whole or not at
// all. Receiving takes a tensor frame at a time and copies it in pieces that are hashed while they
// are still in the cache; what follows an error is drained, so that the next message is whole.
#include "proto/wire.h"

#include "proto/wire_messages.h"

#define XXH_STATIC_LINKING_ONLY
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>
#include <zmq.h>

#define WIRE_PIECE_BYTES 65536     // copied and hashed at once
#define WIRE_LEND_BYTES_MIN 16384  // smaller tensors are copied even when lent
#define WIRE_HANDSHAKE_MS 5000
#define WIRE_HEARTBEAT_MS 2000
#define WIRE_HEARTBEAT_TIMEOUT_MS 10000

// --- sockets ---

static bool wire_set(void *socket, int option, int value, struct proto_error *error) {
    if (zmq_setsockopt(socket, option, &value, sizeof value) == 0) return true;
    return proto_fail(error, PROTO_FAILED, "ZeroMQ refuses option %d = %d: %s", option, value,
                      zmq_strerror(zmq_errno()));
}

// The largest frame that a batch like this can come as.
static int64_t wire_frame_bytes_max(const struct proto_batch *batch) {
    size_t count = 0, bytes_max = PROTO_HEADER_BYTES_MAX;
    const struct proto_wire_part *parts = proto_wire_parts(&count);
    for (size_t i = 0; batch && i < count; i++) {
        struct proto_wire_tensor tensor;
        if (!proto_wire_part_describe(&parts[i], batch, batch->batch, &tensor)) continue;
        const size_t bound = proto_pack_bound(tensor.bytes);
        if (bound > bytes_max) bytes_max = bound;
    }
    return (int64_t)bytes_max;
}

bool proto_wire_open(void *context, const struct proto_wire_settings *settings, void **socket,
                     struct proto_error *error) {
    void *made = zmq_socket(context, settings->router ? ZMQ_ROUTER : ZMQ_DEALER);
    if (!made)
        return proto_fail(error, PROTO_EXHAUSTED, "no ZeroMQ socket: %s",
                          zmq_strerror(zmq_errno()));
    const int64_t frame_bytes_max = wire_frame_bytes_max(settings->batch);
    bool done = wire_set(made, ZMQ_LINGER, 0, error) &&
                wire_set(made, ZMQ_SNDHWM, (int)settings->send_max, error) &&
                wire_set(made, ZMQ_RCVHWM, (int)settings->receive_max, error) &&
                wire_set(made, ZMQ_HANDSHAKE_IVL, WIRE_HANDSHAKE_MS, error);
    if (done && settings->router) done = wire_set(made, ZMQ_ROUTER_MANDATORY, 1, error);
    if (done && !settings->router)
        done = wire_set(made, ZMQ_IMMEDIATE, 1, error) &&
               wire_set(made, ZMQ_RECONNECT_IVL, 50, error) &&
               wire_set(made, ZMQ_RECONNECT_IVL_MAX, 500, error) &&
               wire_set(made, ZMQ_HEARTBEAT_IVL, WIRE_HEARTBEAT_MS, error) &&
               wire_set(made, ZMQ_HEARTBEAT_TIMEOUT, WIRE_HEARTBEAT_TIMEOUT_MS, error);
    if (done && zmq_setsockopt(made, ZMQ_MAXMSGSIZE, &frame_bytes_max, sizeof frame_bytes_max) != 0)
        done = proto_fail(error, PROTO_FAILED, "ZeroMQ refuses ZMQ_MAXMSGSIZE %" PRId64 ": %s",
                          frame_bytes_max, zmq_strerror(zmq_errno()));
    if (done)
        *socket = made;
    else
        zmq_close(made);
    return done;
}

// --- sending ---

struct wire_frames {
    zmq_msg_t frames[1 + PROTO_WIRE_TENSORS_MAX];
    size_t count;
};

static void wire_frames_close(struct wire_frames *out, size_t first) {
    for (size_t i = first; i < out->count; i++) zmq_msg_close(&out->frames[i]);
    out->count = 0;
}

static void wire_loan_returned(void *data, void *loan) {
    (void)data;
    proto_loan_drop(loan);
}
static void wire_memory_returned(void *data, void *hint) {
    (void)hint;
    free(data);
}

static bool wire_frame_fail(size_t size_bytes, struct proto_error *error) {
    return proto_fail(error, PROTO_EXHAUSTED, "no memory for a message of %zu bytes", size_bytes);
}

static bool wire_frame_copy(struct wire_frames *out, const void *data, size_t size_bytes,
                            struct proto_error *error) {
    zmq_msg_t *frame = &out->frames[out->count];
    if (zmq_msg_init_size(frame, size_bytes) != 0) return wire_frame_fail(size_bytes, error);
    memcpy(zmq_msg_data(frame), data, size_bytes);
    out->count++;
    return true;
}

static bool wire_frame_lend(struct wire_frames *out, void *data, size_t size_bytes,
                            struct proto_loan *loan, struct proto_error *error) {
    proto_loan_hold(loan);
    if (zmq_msg_init_data(&out->frames[out->count], data, size_bytes, wire_loan_returned, loan) !=
        0) {
        proto_loan_drop(loan);
        return wire_frame_fail(size_bytes, error);
    }
    out->count++;
    return true;
}

// Appends the lz4 frame of the tensor, or nothing when lz4 does not shrink it (*packed_bytes 0).
static bool wire_frame_pack(struct wire_frames *out, const void *data, size_t size_bytes,
                            size_t *packed_bytes, struct proto_error *error) {
    *packed_bytes = 0;
    const size_t bound = proto_pack_bound(size_bytes);
    void *memory = malloc(bound);
    if (!memory) return wire_frame_fail(bound, error);
    size_t packed = 0;
    if (!proto_pack(data, size_bytes, memory, bound, &packed, error)) goto fail;
    if (packed >= size_bytes) {
        free(memory);
        return true;
    }
    if (zmq_msg_init_data(&out->frames[out->count], memory, packed, wire_memory_returned, NULL) !=
        0) {
        wire_frame_fail(packed, error);
        goto fail;
    }
    out->count++;
    *packed_bytes = packed;
    return true;
fail:
    free(memory);
    return false;
}

static bool wire_frame_tensor(struct wire_frames *out, const struct proto_message *message,
                              const struct proto_wire_part *part, enum proto_packing packing,
                              struct proto_wire_tensor *tensor, struct proto_wire_sent *sent,
                              struct proto_error *error) {
    const struct proto_batch *batch = message->batch.batch;
    if (!proto_wire_part_describe(part, batch, message->batch.count, tensor))
        return proto_fail(error, PROTO_FAILED, "%s of %u samples does not fit a frame", part->name,
                          message->batch.count);
    void *data = proto_wire_part_data(part, batch);
    tensor->hash = XXH64(data, tensor->bytes, 0);
    sent->unpacked_bytes += tensor->bytes;
    if (packing == PROTO_LZ4 && tensor->bytes >= PROTO_PACK_BYTES_MIN) {
        size_t packed_bytes = 0;
        if (!wire_frame_pack(out, data, tensor->bytes, &packed_bytes, error)) return false;
        sent->packed_bytes += packed_bytes;
        tensor->packing = packed_bytes > 0 ? PROTO_LZ4 : PROTO_RAW;
        if (packed_bytes > 0) return true;
    }
    sent->packed_bytes += tensor->bytes;
    if (message->batch.loan && tensor->bytes >= WIRE_LEND_BYTES_MIN)
        return wire_frame_lend(out, data, tensor->bytes, message->batch.loan, error);
    return wire_frame_copy(out, data, tensor->bytes, error);
}

// Makes header and tensor frames. Frame 0 is made last, because it tells what the others became.
static bool wire_frames_make(struct wire_frames *out, const struct proto_message *message,
                             enum proto_packing packing, struct proto_wire_sent *sent,
                             struct proto_error *error) {
    struct proto_wire_header header = {.message = *message};
    out->count = 1;
    if (zmq_msg_init(&out->frames[0]) != 0) return wire_frame_fail(0, error);
    if (message->kind == PROTO_KIND_BATCH) {
        size_t count = 0;
        const struct proto_wire_part *parts = proto_wire_parts(&count);
        for (size_t i = 0; i < count; i++)
            if (!wire_frame_tensor(out, message, &parts[i], packing, &header.tensors[i], sent,
                                   error))
                return false;
        header.tensor_count = (uint32_t)count;
    }
    uint8_t bytes[PROTO_HEADER_BYTES_MAX];
    size_t size_bytes = 0;
    if (!proto_wire_encode(&header, bytes, sizeof bytes, &size_bytes, error)) return false;
    zmq_msg_close(&out->frames[0]);
    if (zmq_msg_init_size(&out->frames[0], size_bytes) != 0) {
        zmq_msg_init(&out->frames[0]);
        return wire_frame_fail(size_bytes, error);
    }
    memcpy(zmq_msg_data(&out->frames[0]), bytes, size_bytes);
    return true;
}

static bool wire_hand_over(void *socket, const struct proto_identity *to, struct wire_frames *out,
                           struct proto_wire_sent *sent, struct proto_error *error) {
    int result = 0;
    size_t next = 0;
    if (to) {
        do result = zmq_send(socket, to->bytes, to->size, ZMQ_DONTWAIT | ZMQ_SNDMORE);
        while (result < 0 && zmq_errno() == EINTR);
    }
    while (result >= 0 && next < out->count) {
        const int more = next + 1 < out->count ? ZMQ_SNDMORE : 0;
        do result = zmq_msg_send(&out->frames[next], socket, ZMQ_DONTWAIT | more);
        while (result < 0 && zmq_errno() == EINTR);
        if (result >= 0) next++;
    }
    const int failure = result < 0 ? zmq_errno() : 0;
    // The peer vanished behind the first frame: a DEALER then waits for the rest of the message,
    // to drop it. It must have it, or it would drop the beginning of the next one.
    if (result < 0 && next > 0)
        for (size_t i = next + 1; i < out->count; i++)
            zmq_msg_send(&out->frames[i], socket,
                         ZMQ_DONTWAIT | (i + 1 < out->count ? ZMQ_SNDMORE : 0));
    wire_frames_close(out, next);
    sent->delivery = failure == 0 ? PROTO_SENT : failure == EAGAIN ? PROTO_NO_ROOM : PROTO_GONE;
    if (failure == 0 || failure == EAGAIN || failure == EHOSTUNREACH) return true;
    return proto_fail(error, PROTO_FAILED, "ZeroMQ does not send: %s", zmq_strerror(failure));
}

bool proto_wire_send(void *socket, const struct proto_identity *to,
                     const struct proto_message *message, enum proto_packing packing,
                     struct proto_wire_sent *sent, struct proto_error *error) {
    struct wire_frames out = {.count = 0};
    *sent = (struct proto_wire_sent){.delivery = PROTO_NO_ROOM};
    if (!wire_frames_make(&out, message, packing, sent, error)) {
        wire_frames_close(&out, 0);
        return false;
    }
    return wire_hand_over(socket, to, &out, sent, error);
}

uint64_t proto_wire_batch_bytes(const struct proto_batch *batch, uint32_t count) {
    uint64_t bytes = 0;
    size_t parts_count = 0;
    const struct proto_wire_part *parts = proto_wire_parts(&parts_count);
    for (size_t i = 0; i < parts_count; i++) {
        struct proto_wire_tensor tensor;
        if (proto_wire_part_describe(&parts[i], batch, count, &tensor)) bytes += tensor.bytes;
    }
    return bytes;
}

// --- receiving ---

// Copies and returns the hash of what was copied.
static uint64_t wire_copy_hashed(void *to, const void *from, size_t size_bytes) {
    XXH64_state_t state;
    XXH64_reset(&state, 0);
    for (size_t at = 0; at < size_bytes; at += WIRE_PIECE_BYTES) {
        const size_t left = size_bytes - at;
        const size_t piece = left < WIRE_PIECE_BYTES ? left : WIRE_PIECE_BYTES;
        memcpy((uint8_t *)to + at, (const uint8_t *)from + at, piece);
        XXH64_update(&state, (const uint8_t *)to + at, piece);
    }
    return XXH64_digest(&state);
}

// A described tensor against what the target's sizes say it must be.
static bool wire_tensor_check(const struct proto_wire_tensor *found,
                              const struct proto_wire_part *part, const struct proto_batch *target,
                              uint32_t count, struct proto_error *error) {
    struct proto_wire_tensor expected;
    if (strcmp(found->name, part->name) != 0)
        return proto_fail(error, PROTO_DAMAGED, "tensor \"%s\" stands where %s must be",
                          found->name, part->name);
    if (!proto_wire_part_describe(part, target, count, &expected))
        return proto_fail(error, PROTO_DAMAGED, "%u samples do not fit a frame", count);
    if (found->dtype != expected.dtype)
        return proto_fail(error, PROTO_DAMAGED, "tensor %s has another dtype", part->name);
    bool same = found->dimensions == expected.dimensions;
    for (uint32_t i = 0; same && i < expected.dimensions; i++)
        if (found->shape[i] != expected.shape[i])
            return proto_fail(error, PROTO_DAMAGED, "tensor %s: shape[%u] is %u, must be %u",
                              part->name, i, found->shape[i], expected.shape[i]);
    if (!same)
        return proto_fail(error, PROTO_DAMAGED, "tensor %s has %u dimensions, must have %u",
                          part->name, found->dimensions, expected.dimensions);
    if (found->bytes == expected.bytes) return true;
    return proto_fail(error, PROTO_DAMAGED,
                      "tensor %s: bytes is %" PRIu64 ", its shape needs %" PRIu64, part->name,
                      found->bytes, expected.bytes);
}

// All tensors are there and fit the target; gives the number of samples.
static bool wire_batch_check(struct proto_wire_header *header, const struct proto_batch *target,
                             struct proto_error *error) {
    size_t count = 0;
    const struct proto_wire_part *parts = proto_wire_parts(&count);
    if (!target) return proto_fail(error, PROTO_DAMAGED, "a batch is not for this end");
    if (header->tensor_count != count)
        return proto_fail(error, PROTO_DAMAGED, "batch has %u tensors, must have %zu",
                          header->tensor_count, count);
    const uint32_t samples = header->tensors[0].shape[0];
    if (samples < 1 || samples > target->batch)
        return proto_fail(error, PROTO_DAMAGED, "batch has %u samples, must have 1..%u", samples,
                          target->batch);
    for (size_t i = 0; i < count; i++)
        if (!wire_tensor_check(&header->tensors[i], &parts[i], target, samples, error))
            return false;
    header->message.batch.count = samples;
    return true;
}

static bool wire_tensor_unpack(zmq_msg_t *frame, const struct proto_wire_part *part,
                               const struct proto_wire_tensor *tensor, struct proto_batch *target,
                               struct proto_error *error) {
    void *out = proto_wire_part_data(part, target);
    const void *bytes = zmq_msg_data(frame);
    const size_t frame_bytes = zmq_msg_size(frame);
    uint64_t hash = 0;
    if (tensor->packing == PROTO_LZ4) {
        if (!proto_unpack(bytes, frame_bytes, out, tensor->bytes, error))
            return proto_error_where(error, "tensor %s", part->name);
        hash = XXH64(out, tensor->bytes, 0);
    } else {
        if (frame_bytes != tensor->bytes)
            return proto_fail(error, PROTO_DAMAGED, "tensor %s: frame has %zu bytes, must have %zu",
                              part->name, frame_bytes, (size_t)tensor->bytes);
        hash = wire_copy_hashed(out, bytes, frame_bytes);
    }
    if (hash == tensor->hash) return true;
    return proto_fail(error, PROTO_DAMAGED,
                      "tensor %s: hash is %016" PRIx64 ", header says %016" PRIx64, part->name,
                      hash, tensor->hash);
}

// One frame; *more: another follows. False only when none waits or the socket fails.
static bool wire_frame_receive(void *socket, zmq_msg_t *frame, bool *more) {
    int result = 0;
    do result = zmq_msg_recv(frame, socket, ZMQ_DONTWAIT);
    while (result < 0 && zmq_errno() == EINTR);
    if (result >= 0) *more = zmq_msg_more(frame) != 0;
    return result >= 0;
}

static bool wire_identity_read(zmq_msg_t *frame, bool more, struct proto_identity *from,
                               struct proto_error *error) {
    const size_t size_bytes = zmq_msg_size(frame);
    *from = (struct proto_identity){.size = 0};
    if (!more) return proto_fail(error, PROTO_DAMAGED, "message has no header");
    if (size_bytes < 1 || size_bytes > sizeof from->bytes)
        return proto_fail(error, PROTO_DAMAGED, "peer's identity has %zu bytes, must have 1..%zu",
                          size_bytes, sizeof from->bytes);
    memcpy(from->bytes, zmq_msg_data(frame), size_bytes);
    from->size = (uint8_t)size_bytes;
    return true;
}

// Frame number `next` behind the header.
static bool wire_part_receive(zmq_msg_t *frame, size_t next, const struct proto_wire_header *header,
                              struct proto_batch *target, struct proto_error *error) {
    size_t count = 0;
    const struct proto_wire_part *parts = proto_wire_parts(&count);
    if (next >= header->tensor_count)
        return proto_fail(error, PROTO_DAMAGED, "message has more frames than the %u it names",
                          header->tensor_count);
    return wire_tensor_unpack(frame, &parts[next], &header->tensors[next], target, error);
}

bool proto_wire_receive(void *socket, struct proto_identity *from, struct proto_batch *target,
                        struct proto_message *message, bool *received, struct proto_error *error) {
    zmq_msg_t frame;
    struct proto_wire_header header = {0};
    bool more = false, done = true;
    size_t next = 0;
    *received = false;
    message->kind = 0;
    message->version = 0;
    zmq_msg_init(&frame);
    if (!wire_frame_receive(socket, &frame, &more)) {
        const int failure = zmq_errno();
        zmq_msg_close(&frame);
        if (failure == EAGAIN) return true;
        return proto_fail(error, PROTO_FAILED, "ZeroMQ does not receive: %s",
                          zmq_strerror(failure));
    }
    *received = true;
    if (from) {
        done = wire_identity_read(&frame, more, from, error);
        if (more && !wire_frame_receive(socket, &frame, &more)) more = false;
    }
    if (done) done = proto_wire_decode(zmq_msg_data(&frame), zmq_msg_size(&frame), &header, error);
    if (done && header.message.kind == PROTO_KIND_BATCH)
        done = wire_batch_check(&header, target, error);
    // Each further frame, to the last one even when the message is lost already.
    for (; more && wire_frame_receive(socket, &frame, &more); next++)
        if (done) done = wire_part_receive(&frame, next, &header, target, error);
    if (done && next < header.tensor_count)
        done = proto_fail(error, PROTO_DAMAGED, "message has %zu tensor frames, names %u", next,
                          header.tensor_count);
    zmq_msg_close(&frame);
    *message = header.message;
    message->batch.batch = target;
    return done;
}
