// tests/gpusim/fakes/nccl_collective.cpp - chunk by chunk: every rank puts its part, waits for the
// others', and takes its result. Sums are made in rank order, halves in f32.
#include "gpusim/fakes/nccl_collective.hpp"

#include "gpusim/fakes/half.hpp"

#include <algorithm>
#include <cstring>

namespace gpusim {

size_t type_bytes(ncclDataType_t type) {
    switch (type) {
    case ncclInt8:
    case ncclUint8:
        return 1;
    case ncclFloat16:
    case ncclBfloat16:
        return 2;
    case ncclInt32:
    case ncclUint32:
    case ncclFloat32:
        return 4;
    case ncclInt64:
    case ncclUint64:
    case ncclFloat64:
        return 8;
    default:
        return 0;
    }
}

static kind kind_of(const collective &c) { return kind(c.wish.kind); }
static size_t unit_of(const collective &c) { return type_bytes(ncclDataType_t(c.wish.type)); }
size_t put_bytes(const collective &c) {
    const size_t one = c.wish.count * unit_of(c);
    return kind_of(c) == kind::reduce_scatter ? one * size_t(c.ranks) : one;
}
size_t got_bytes(const collective &c) {
    const size_t one = c.wish.count * unit_of(c);
    return kind_of(c) == kind::all_gather ? one * size_t(c.ranks) : one;
}

// ---- reductions ----

template <typename T> static T combine(T a, T b, int op) {
    switch (op) {
    case ncclProd:
        return T(a * b);
    case ncclMax:
        return std::max(a, b);
    case ncclMin:
        return std::min(a, b);
    default:
        return T(a + b);
    }
}

// Element i of the chunk, over all ranks; `read` and `write` know its format.
template <typename Stored, typename Summed, typename Read, typename Write>
static void reduce(const collective &c, size_t first, size_t count, unsigned char *to, Read read,
                   Write write) {
    for (size_t i = 0; i < count; i++) {
        Summed sum = {};
        for (int r = 0; r < c.ranks; r++) {
            Stored x = {};
            memcpy(&x, c.meeting->data[r] + (first + i) * sizeof x, sizeof x);
            sum = r == 0 ? read(x) : combine(sum, read(x), c.wish.op);
        }
        if (c.wish.op == ncclAvg) sum = Summed(sum / Summed(c.ranks));
        const Stored result = write(sum);
        memcpy(to + i * sizeof result, &result, sizeof result);
    }
}
template <typename T>
static void reduce_plain(const collective &c, size_t first, size_t count, unsigned char *to) {
    const auto same = [](T x) { return x; };
    reduce<T, T>(c, first, count, to, same, same);
}
static void reduce_any(const collective &c, size_t first, size_t count, unsigned char *to) {
    switch (c.wish.type) {
    case ncclInt8:
        return reduce_plain<int8_t>(c, first, count, to);
    case ncclUint8:
        return reduce_plain<uint8_t>(c, first, count, to);
    case ncclInt32:
        return reduce_plain<int32_t>(c, first, count, to);
    case ncclUint32:
        return reduce_plain<uint32_t>(c, first, count, to);
    case ncclInt64:
        return reduce_plain<int64_t>(c, first, count, to);
    case ncclUint64:
        return reduce_plain<uint64_t>(c, first, count, to);
    case ncclFloat32:
        return reduce_plain<float>(c, first, count, to);
    case ncclFloat64:
        return reduce_plain<double>(c, first, count, to);
    case ncclFloat16:
        return reduce<uint16_t, float>(c, first, count, to, from_f16, to_f16);
    default:
        return reduce<uint16_t, float>(c, first, count, to, from_bf16, to_bf16);
    }
}

// ---- a chunk ----

static void put(collective *c, size_t size_bytes) {
    seat &own = c->meeting->seats[c->rank];
    const bool gives = kind_of(*c) != kind::broadcast || c->wish.root == c->rank;
    if (gives) memcpy(c->meeting->data[c->rank], c->send + c->done_bytes, size_bytes);
    own.wish = c->wish;
    own.put.fetch_add(1, std::memory_order_release);
    c->is_put = true;
}

static void take(const collective &c, size_t size_bytes) {
    const size_t unit = unit_of(c), begin = c.done_bytes, end = begin + size_bytes;
    const size_t one = c.wish.count * unit;
    switch (kind_of(c)) {
    case kind::reduce:
        if (c.wish.root != c.rank) return;
        [[fallthrough]];
    case kind::all_reduce:
        return reduce_any(c, 0, size_bytes / unit, c.receive + begin);
    case kind::broadcast:
        memcpy(c.receive + begin, c.meeting->data[c.wish.root], size_bytes);
        return;
    case kind::all_gather:
        for (int r = 0; r < c.ranks; r++)
            memcpy(c.receive + size_t(r) * one + begin, c.meeting->data[r], size_bytes);
        return;
    case kind::reduce_scatter: {
        const size_t from = std::max(begin, size_t(c.rank) * one);
        const size_t to = std::min(end, size_t(c.rank + 1) * one);
        if (from < to)
            reduce_any(c, (from - begin) / unit, (to - from) / unit,
                       c.receive + from - size_t(c.rank) * one);
        return;
    }
    }
}

static bool same(const wish &a, const wish &b) {
    return a.number == b.number && a.count == b.count && a.kind == b.kind && a.type == b.type &&
           a.op == b.op && a.root == b.root;
}

bool go_on(collective *c) {
    seat *seats = c->meeting->seats;
    while (c->done_bytes < put_bytes(*c)) {
        const size_t size_bytes = std::min(chunk_bytes, put_bytes(*c) - c->done_bytes);
        seat &own = seats[c->rank];
        const uint64_t before = own.taken.load(std::memory_order_relaxed);
        for (int r = 0; r < c->ranks && !c->is_put; r++)  // have all read the chunk before?
            if (seats[r].taken.load(std::memory_order_acquire) < before) return false;
        if (!c->is_put) put(c, size_bytes);
        for (int r = 0; r < c->ranks; r++) {
            if (seats[r].put.load(std::memory_order_acquire) <= before) return false;
            if (!same(seats[r].wish, c->wish)) return false;  // and never will be
        }
        take(*c, size_bytes);
        own.taken.fetch_add(1, std::memory_order_release);
        c->is_put = false;
        c->done_bytes += size_bytes;
    }
    return true;
}

}  // namespace gpusim
