// proto/safetensors.h - the safetensors file format, strict.
//
// Layout: u64 little-endian header size; JSON header {"name": {"dtype", "shape", "data_offsets":
// [begin, end]}, ..., "__metadata__": {text: text}}; then the tensors' bytes. Refused by name: a
// header over 16 MiB or outside the file, duplicate keys, unknown dtypes, shapes whose product is
// not the offsets' distance or overflows, offsets that overlap, leave gaps, or end elsewhere than
// the file. The header's JSON is proto/json's, so overlong numbers and bad UTF-8 are refused there.
#ifndef PROTO_SAFETENSORS_H
#define PROTO_SAFETENSORS_H

#include "proto/error.h"

#include <stdint.h>

#define PROTO_DIMENSIONS_MAX 8
#define PROTO_TENSORS_MAX 65536
#define PROTO_SAFETENSORS_HEADER_MAX ((size_t)16 << 20)  // bytes

enum proto_dtype {
    PROTO_F32,
    PROTO_F64,
    PROTO_F16,
    PROTO_BF16,
    PROTO_U8,
    PROTO_I8,
    PROTO_U32,
    PROTO_I32,
    PROTO_U64,
    PROTO_I64,
    PROTO_U16,
    PROTO_I16,
    PROTO_BOOL,
};
size_t proto_dtype_size(enum proto_dtype dtype);       // bytes of one element
const char *proto_dtype_name(enum proto_dtype dtype);  // "F32"
bool proto_dtype_parse(const char *name, enum proto_dtype *dtype);

struct proto_tensor_info {
    const char *name;  // owned by the file
    enum proto_dtype dtype;
    uint32_t dimensions;
    size_t shape[PROTO_DIMENSIONS_MAX];
    size_t elements;
    size_t begin, size_bytes;  // in the data part
};

// A file open for reading (memory-mapped; the file must not shrink meanwhile). One per thread.
struct proto_safetensors;
PROTO_MUST_CHECK bool proto_safetensors_open(const char *path, struct proto_safetensors **file,
                                             struct proto_error *error);
void proto_safetensors_close(struct proto_safetensors **file);
size_t proto_safetensors_count(const struct proto_safetensors *file);
// In name order.
const struct proto_tensor_info *proto_safetensors_at(const struct proto_safetensors *file,
                                                     size_t i);
// NULL when there is none of that name.
const struct proto_tensor_info *proto_safetensors_find(const struct proto_safetensors *file,
                                                       const char *name);
// The bytes as in the file, at any alignment; borrowed until close.
const void *proto_safetensors_data(const struct proto_safetensors *file,
                                   const struct proto_tensor_info *info);
// Copies as f32 from F32, F64, BF16, F16 or an integer type; `elements` must be the tensor's.
PROTO_MUST_CHECK bool proto_safetensors_read_f32(const struct proto_safetensors *file,
                                                 const struct proto_tensor_info *info, float *out,
                                                 size_t elements, struct proto_error *error);
const char *proto_safetensors_metadata(const struct proto_safetensors *file, const char *key);

// Writes a whole file. Tensors in the order given; data borrowed during the call; metadata pairs
// may be NULL. Writes `path` itself and fsyncs it (callers build a .partial folder around it).
struct proto_tensor_out {
    const char *name;
    enum proto_dtype dtype;
    uint32_t dimensions;
    size_t shape[PROTO_DIMENSIONS_MAX];
    const void *data;
};
PROTO_MUST_CHECK bool proto_safetensors_write(const char *path,
                                              const struct proto_tensor_out *tensors, size_t count,
                                              const char *const (*metadata)[2],
                                              size_t metadata_count, struct proto_error *error);
// The same, and tells the file's size and xxh64 (seed 0), computed on the way.
PROTO_MUST_CHECK bool proto_safetensors_write_hashed(const char *path,
                                                     const struct proto_tensor_out *tensors,
                                                     size_t count, const char *const (*metadata)[2],
                                                     size_t metadata_count, uint64_t *size_bytes,
                                                     uint64_t *hash, struct proto_error *error);

#endif
