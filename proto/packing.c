// proto/packing.c - lz4 frames, read with distrust, and the choice between them and raw bytes.
#include "proto/packing.h"

#include <lz4frame.h>
#include <string.h>

static const LZ4F_preferences_t *pack_preferences(size_t size_bytes, LZ4F_preferences_t *memory) {
    *memory = (LZ4F_preferences_t){
        .frameInfo = {.blockSizeID = LZ4F_max256KB,
                      .contentChecksumFlag = LZ4F_contentChecksumEnabled,
                      .contentSize = size_bytes},
    };
    return memory;
}

size_t proto_pack_bound(size_t size_bytes) {
    LZ4F_preferences_t memory;
    if (size_bytes > SIZE_MAX / 4) return 0;
    return LZ4F_compressFrameBound(size_bytes, pack_preferences(size_bytes, &memory));
}

bool proto_pack(const void *data, size_t size_bytes, void *out, size_t out_bytes,
                size_t *packed_bytes, struct proto_error *error) {
    LZ4F_preferences_t memory;
    const size_t packed =
        LZ4F_compressFrame(out, out_bytes, data, size_bytes, pack_preferences(size_bytes, &memory));
    if (LZ4F_isError(packed))
        return proto_fail(error, PROTO_FAILED, "lz4 cannot pack %zu bytes: %s", size_bytes,
                          LZ4F_getErrorName(packed));
    *packed_bytes = packed;
    return true;
}

static bool unpack_frame(LZ4F_dctx *context, const uint8_t *frame, size_t frame_bytes, uint8_t *out,
                         size_t size_bytes, struct proto_error *error) {
    size_t eaten = 0, made = 0, hint = 1;
    // One call does nearly all; more only while both ends move, so the loop ends.
    while (hint != 0) {
        size_t in_bytes = frame_bytes - eaten, out_bytes = size_bytes - made;
        hint = LZ4F_decompress(context, out + made, &out_bytes, frame + eaten, &in_bytes, NULL);
        if (LZ4F_isError(hint))
            return proto_fail(error, PROTO_DAMAGED, "lz4 frame of %zu bytes is damaged: %s",
                              frame_bytes, LZ4F_getErrorName(hint));
        eaten += in_bytes;
        made += out_bytes;
        if (in_bytes == 0 && out_bytes == 0) break;
    }
    // A damaged frame may decode without an error and ask for more: only a finished one is good.
    if (hint != 0)
        return proto_fail(error, PROTO_DAMAGED,
                          "lz4 frame of %zu bytes does not end where its %zu bytes do", frame_bytes,
                          size_bytes);
    if (eaten != frame_bytes)
        return proto_fail(error, PROTO_DAMAGED, "lz4 frame ends after %zu of %zu bytes", eaten,
                          frame_bytes);
    if (made != size_bytes)
        return proto_fail(error, PROTO_DAMAGED, "lz4 frame holds %zu bytes, must be %zu", made,
                          size_bytes);
    return true;
}

bool proto_unpack(const void *frame, size_t frame_bytes, void *out, size_t size_bytes,
                  struct proto_error *error) {
    LZ4F_dctx *context = NULL;
    const LZ4F_errorCode_t made = LZ4F_createDecompressionContext(&context, LZ4F_VERSION);
    if (LZ4F_isError(made))
        return proto_fail(error, PROTO_EXHAUSTED, "no memory to unpack an lz4 frame");
    const bool done = unpack_frame(context, frame, frame_bytes, out, size_bytes, error);
    LZ4F_freeDecompressionContext(context);
    return done;
}

// Whether both ends of an endpoint are on this host.
static bool endpoint_is_local(const char *endpoint) {
    static const char *const local[] = {"ipc://", "inproc://", "tcp://127.",
                                        "tcp://localhost:", "tcp://[::1]:"};
    for (size_t i = 0; i < PROTO_COUNT(local); i++)
        if (strncmp(endpoint, local[i], strlen(local[i])) == 0) return true;
    return false;
}

struct proto_packing_choice proto_packing_choose(const char *option, const char *endpoint) {
    if (strcmp(option, "raw") == 0) return (struct proto_packing_choice){.packing = PROTO_RAW};
    if (strcmp(option, "lz4") == 0) return (struct proto_packing_choice){.packing = PROTO_LZ4};
    if (endpoint_is_local(endpoint)) return (struct proto_packing_choice){.packing = PROTO_RAW};
    return (struct proto_packing_choice){.packing = PROTO_LZ4, .measuring = true};
}

void proto_packing_learn(struct proto_packing_choice *choice, uint64_t unpacked_bytes,
                         uint64_t packed_bytes) {
    if (!choice->measuring) return;
    choice->unpacked_bytes += unpacked_bytes;
    choice->packed_bytes += packed_bytes;
    if (++choice->batches < PROTO_PACK_MEASURE_BATCHES) return;
    choice->measuring = false;
    const double ratio = (double)choice->unpacked_bytes / (double)(choice->packed_bytes + 1);
    choice->packing = ratio >= PROTO_PACK_RATIO_MIN ? PROTO_LZ4 : PROTO_RAW;
}
