// proto/safetensors.c - reading: the header is parsed by jansson, every number in it is checked
// here before a byte of data is touched. The tensors' bytes are mapped, not read, and may lie at
// any address: a foreign file need not align its header.
#include "proto/safetensors.h"
#include "proto/json.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct {
    const char *name;
    size_t size_bytes;
} dtypes[] = {
    [PROTO_F32] = {"F32", 4},   [PROTO_F64] = {"F64", 8}, [PROTO_F16] = {"F16", 2},
    [PROTO_BF16] = {"BF16", 2}, [PROTO_U8] = {"U8", 1},   [PROTO_I8] = {"I8", 1},
    [PROTO_U32] = {"U32", 4},   [PROTO_I32] = {"I32", 4}, [PROTO_U64] = {"U64", 8},
    [PROTO_I64] = {"I64", 8},   [PROTO_U16] = {"U16", 2}, [PROTO_I16] = {"I16", 2},
    [PROTO_BOOL] = {"BOOL", 1},
};

struct proto_safetensors {
    char *path;
    const uint8_t *map;
    size_t map_bytes, data_begin;
    json_t *header;                     // owns names and metadata
    struct proto_tensor_info *tensors;  // by name
    size_t count;
};

size_t proto_dtype_size(enum proto_dtype dtype) { return dtypes[dtype].size_bytes; }
const char *proto_dtype_name(enum proto_dtype dtype) { return dtypes[dtype].name; }

bool proto_dtype_parse(const char *name, enum proto_dtype *dtype) {
    for (size_t i = 0; i < PROTO_COUNT(dtypes); i++)
        if (strcmp(dtypes[i].name, name) == 0) {
            *dtype = (enum proto_dtype)i;
            return true;
        }
    return false;
}

// A whole number >= 0 out of the header.
static bool size_parse(const json_t *json, size_t *size) {
    if (!json_is_integer(json) || json_integer_value(json) < 0) return false;
    *size = (size_t)json_integer_value(json);
    return true;
}

// Fills info->shape and elements.
static bool shape_parse(const json_t *shape, struct proto_tensor_info *info,
                        struct proto_error *error) {
    info->dimensions = (uint32_t)json_array_size(shape);
    info->elements = 1;
    for (uint32_t i = 0; i < info->dimensions; i++) {
        if (!size_parse(json_array_get(shape, i), &info->shape[i]))
            return proto_fail(error, PROTO_DAMAGED, "shape[%u] must be a whole number >= 0", i);
        if (!proto_mul(info->elements, info->shape[i], &info->elements))
            return proto_fail(error, PROTO_DAMAGED, "the product of the shape overflows 64 bits");
    }
    return true;
}

// One tensor of the header; its offsets must agree with its shape and lie in the data part.
static bool entry_parse(const json_t *entry, size_t data_bytes, struct proto_tensor_info *info,
                        struct proto_error *error) {
    const char *dtype = NULL, *key = NULL;
    const json_t *shape = NULL, *offsets = NULL, *value = NULL;
    size_t end = 0, needed = 0;
    if (!proto_json_text(entry, "dtype", &dtype, error)) return false;
    if (!proto_dtype_parse(dtype, &info->dtype))
        return proto_fail(error, PROTO_DAMAGED, "dtype \"%.20s\" is not known here", dtype);
    if (!proto_json_array(entry, "shape", PROTO_DIMENSIONS_MAX, &shape, error) ||
        !shape_parse(shape, info, error) ||
        !proto_json_array(entry, "data_offsets", 2, &offsets, error))
        return false;
    json_object_foreach((json_t *)entry, key, value) {
        if (strcmp(key, "dtype") && strcmp(key, "shape") && strcmp(key, "data_offsets"))
            return proto_fail(error, PROTO_DAMAGED, "the key \"%.40s\" is not known here", key);
    }
    if (json_array_size(offsets) != 2 || !size_parse(json_array_get(offsets, 0), &info->begin) ||
        !size_parse(json_array_get(offsets, 1), &end))
        return proto_fail(error, PROTO_DAMAGED, "data_offsets must be two whole numbers >= 0");
    if (info->begin > end || end > data_bytes)
        return proto_fail(error, PROTO_DAMAGED,
                          "data_offsets are %zu..%zu, outside the %zu bytes of data", info->begin,
                          end, data_bytes);
    info->size_bytes = end - info->begin;
    if (!proto_mul(info->elements, proto_dtype_size(info->dtype), &needed) ||
        needed != info->size_bytes)
        return proto_fail(error, PROTO_DAMAGED,
                          "the shape needs %zu elements of %s, data_offsets hold %zu bytes",
                          info->elements, dtype, info->size_bytes);
    return true;
}

static int name_order(const void *a, const void *b) {
    return strcmp(((const struct proto_tensor_info *)a)->name,
                  ((const struct proto_tensor_info *)b)->name);
}

// In the order of the bytes; empty tensors before what begins at the same place.
static int place_order(const void *a, const void *b) {
    const struct proto_tensor_info *x = a, *y = b;
    if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
    return (x->size_bytes > y->size_bytes) - (x->size_bytes < y->size_bytes);
}

// The data part must be covered exactly: each tensor begins where the one before ends.
static bool covered(struct proto_tensor_info *tensors, size_t count, size_t data_bytes,
                    struct proto_error *error) {
    size_t end = 0;
    if (count > 0) qsort(tensors, count, sizeof *tensors, place_order);
    for (size_t i = 0; i < count; i++) {
        if (tensors[i].begin != end) {
            proto_fail(error, PROTO_DAMAGED,
                       "data_offsets begin at %zu, %s the tensor before ends "
                       "at %zu",
                       tensors[i].begin,
                       tensors[i].begin < end ? "overlapping:" : "leaving a gap:", end);
            return proto_error_where(error, "%.200s", tensors[i].name);
        }
        end += tensors[i].size_bytes;
    }
    if (end != data_bytes)
        return proto_fail(error, PROTO_DAMAGED,
                          "the tensors end at %zu, the file has %zu bytes of data", end,
                          data_bytes);
    return true;
}

static bool metadata_check(const json_t *metadata, struct proto_error *error) {
    const char *key = NULL;
    const json_t *value = NULL;
    if (!json_is_object(metadata))
        return proto_fail(error, PROTO_DAMAGED, "__metadata__ must be an object of texts");
    json_object_foreach((json_t *)metadata, key, value) {
        if (!json_is_string(value))
            return proto_fail(error, PROTO_DAMAGED, "__metadata__: %.100s must be a text", key);
    }
    return true;
}

// Turns the header into the table of tensors.
static bool header_walk(struct proto_safetensors *file, struct proto_error *error) {
    const size_t data_bytes = file->map_bytes - file->data_begin;
    const char *name = NULL;
    const json_t *entry = NULL;
    if (!json_is_object(file->header))
        return proto_fail(error, PROTO_DAMAGED, "the header must be an object");
    if (json_object_size(file->header) > PROTO_TENSORS_MAX)
        return proto_fail(error, PROTO_DAMAGED, "the header has %zu tensors, at most %d are read",
                          json_object_size(file->header), PROTO_TENSORS_MAX);
    file->tensors = proto_alloc_array(json_object_size(file->header), sizeof *file->tensors, error);
    if (!file->tensors) return false;
    json_object_foreach(file->header, name, entry) {
        if (strcmp(name, "__metadata__") == 0) {
            if (!metadata_check(entry, error)) return false;
            continue;
        }
        struct proto_tensor_info *info = &file->tensors[file->count];
        info->name = name;
        if (!entry_parse(entry, data_bytes, info, error))
            return proto_error_where(error, "%.200s", name);
        file->count++;
    }
    if (!covered(file->tensors, file->count, data_bytes, error)) return false;
    if (file->count > 0) qsort(file->tensors, file->count, sizeof *file->tensors, name_order);
    return true;
}

// Finds the header inside the mapped file and parses it.
static bool header_read(struct proto_safetensors *file, struct proto_error *error) {
    uint64_t header_bytes = 0;
    for (int i = 0; i < 8; i++) header_bytes |= (uint64_t)file->map[i] << 8 * i;
    if (header_bytes > PROTO_SAFETENSORS_HEADER_MAX)
        return proto_fail(error, PROTO_DAMAGED,
                          "the header is said to have %llu bytes, at most %zu are read",
                          (unsigned long long)header_bytes, PROTO_SAFETENSORS_HEADER_MAX);
    if (header_bytes > file->map_bytes - 8)
        return proto_fail(error, PROTO_DAMAGED,
                          "the header is said to have %llu bytes, the file has only %zu: it is cut "
                          "short or no safetensors file",
                          (unsigned long long)header_bytes, file->map_bytes);
    file->data_begin = 8 + (size_t)header_bytes;
    if (header_bytes == 0 || file->map[8] != '{')
        return proto_fail(error, PROTO_DAMAGED, "the header does not begin with '{'");
    file->header = proto_json_parse((const char *)file->map + 8, (size_t)header_bytes, error);
    if (!file->header) return proto_error_where(error, "header");
    return header_walk(file, error);
}

// Maps the file; closes its descriptor.
static bool file_map(struct proto_safetensors *file, struct proto_error *error) {
    const int descriptor = open(file->path, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0) return proto_fail_errno(error, PROTO_DAMAGED, "cannot be opened");
    struct stat status;
    bool done = false;
    if (fstat(descriptor, &status) != 0)
        proto_fail_errno(error, PROTO_DAMAGED, "cannot be read");
    else if (!S_ISREG(status.st_mode))
        proto_fail(error, PROTO_DAMAGED, "is not a file");
    else if (status.st_size < 8)
        proto_fail(error, PROTO_DAMAGED, "has %lld bytes, a safetensors file has 8 and more",
                   (long long)status.st_size);
    else
        done = true;
    if (done) {
        void *map = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, descriptor, 0);
        done = map != MAP_FAILED;
        if (!done) proto_fail_errno(error, PROTO_DAMAGED, "cannot be mapped");
        if (done) {
            file->map = map;
            file->map_bytes = (size_t)status.st_size;
        }
    }
    close(descriptor);
    return done;
}

bool proto_safetensors_open(const char *path, struct proto_safetensors **file,
                            struct proto_error *error) {
    struct proto_safetensors *opened = proto_alloc(sizeof *opened, error);
    if (!opened) return false;
    opened->path = proto_format(error, "%s", path);
    if (opened->path && file_map(opened, error) && header_read(opened, error)) {
        *file = opened;
        return true;
    }
    proto_safetensors_close(&opened);
    return proto_error_where(error, "%s", path);
}

void proto_safetensors_close(struct proto_safetensors **file) {
    if (!*file) return;
    if ((*file)->map) munmap((void *)(uintptr_t)(*file)->map, (*file)->map_bytes);
    json_decref((*file)->header);
    free((*file)->tensors);
    free((*file)->path);
    free(*file);
    *file = NULL;
}

size_t proto_safetensors_count(const struct proto_safetensors *file) { return file->count; }

const struct proto_tensor_info *proto_safetensors_at(const struct proto_safetensors *file,
                                                     size_t i) {
    return &file->tensors[i];
}

const struct proto_tensor_info *proto_safetensors_find(const struct proto_safetensors *file,
                                                       const char *name) {
    const struct proto_tensor_info wanted = {.name = name};
    if (file->count == 0) return NULL;
    return bsearch(&wanted, file->tensors, file->count, sizeof *file->tensors, name_order);
}

const void *proto_safetensors_data(const struct proto_safetensors *file,
                                   const struct proto_tensor_info *info) {
    return file->map + file->data_begin + info->begin;
}

const char *proto_safetensors_metadata(const struct proto_safetensors *file, const char *key) {
    return json_string_value(json_object_get(json_object_get(file->header, "__metadata__"), key));
}

// IEEE 754 binary16 to binary32, exact.
static float half_float(uint16_t half) {
    const uint32_t sign = (uint32_t)(half & 0x8000) << 16;
    const uint32_t exponent = half >> 10 & 31, fraction = half & 0x3ff;
    uint32_t bits = sign | (exponent + 112) << 23 | fraction << 13;
    if (exponent == 31) bits = sign | 0x7f800000 | fraction << 13;
    float value;
    memcpy(&value, &bits, 4);
    if (exponent > 0) return value;
    value = (float)fraction * 0x1p-24f;  // subnormal: fraction * 2^-24
    return sign ? -value : value;
}

static float bfloat_float(uint16_t half) {
    const uint32_t bits = (uint32_t)half << 16;
    float value;
    memcpy(&value, &bits, 4);
    return value;
}

// out[i] = convert of the i-th `type`, whatever its address.
#define COPY_AS_F32(type, convert)                                                                 \
    for (size_t i = 0; i < elements; i++) {                                                        \
        type x;                                                                                    \
        memcpy(&x, data + i * sizeof x, sizeof x);                                                 \
        out[i] = convert(x);                                                                       \
    }                                                                                              \
    return true

bool proto_safetensors_read_f32(const struct proto_safetensors *file,
                                const struct proto_tensor_info *info, float *out, size_t elements,
                                struct proto_error *error) {
    const uint8_t *data = proto_safetensors_data(file, info);
    if (elements != info->elements) {
        proto_fail(error, PROTO_DAMAGED, "has %zu elements, expected %zu", info->elements,
                   elements);
        proto_error_where(error, "%.200s", info->name);
        return proto_error_where(error, "%s", file->path);
    }
    if (elements == 0) return true;
    switch (info->dtype) {
    case PROTO_F32:
        memcpy(out, data, elements * sizeof *out);
        return true;
    case PROTO_F64:
        COPY_AS_F32(double, (float));
    case PROTO_F16:
        COPY_AS_F32(uint16_t, half_float);
    case PROTO_BF16:
        COPY_AS_F32(uint16_t, bfloat_float);
    case PROTO_U8:
    case PROTO_BOOL:
        COPY_AS_F32(uint8_t, (float));
    case PROTO_I8:
        COPY_AS_F32(int8_t, (float));
    case PROTO_U16:
        COPY_AS_F32(uint16_t, (float));
    case PROTO_I16:
        COPY_AS_F32(int16_t, (float));
    case PROTO_U32:
        COPY_AS_F32(uint32_t, (float));
    case PROTO_I32:
        COPY_AS_F32(int32_t, (float));
    case PROTO_U64:
        COPY_AS_F32(uint64_t, (float));
    case PROTO_I64:
        COPY_AS_F32(int64_t, (float));
    }
    return proto_fail(error, PROTO_FAILED, "%s: dtype %d", info->name, (int)info->dtype);
}
