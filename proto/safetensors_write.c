// proto/safetensors_write.c - writing a safetensors file: the header is made from the tensors'
// sizes, padded with spaces so that the data begins at a multiple of 8, then the bytes follow in
// the order given.
#include "proto/files.h"
#include "proto/json.h"
#include "proto/safetensors.h"

#include <stdlib.h>
#include <string.h>

// Bytes of a tensor's data.
static bool tensor_bytes(const struct proto_tensor_out *tensor, size_t *size_bytes,
                         struct proto_error *error) {
    size_t product = proto_dtype_size(tensor->dtype);
    if (tensor->dimensions > PROTO_DIMENSIONS_MAX)
        return proto_fail(error, PROTO_FAILED, "%s has %u dimensions, at most %d are written",
                          tensor->name, tensor->dimensions, PROTO_DIMENSIONS_MAX);
    for (uint32_t i = 0; i < tensor->dimensions; i++)
        if (!proto_mul(product, tensor->shape[i], &product))
            return proto_fail(error, PROTO_FAILED, "%s is larger than memory", tensor->name);
    *size_bytes = product;
    return true;
}

static bool no_memory(struct proto_error *error) {
    return proto_fail(error, PROTO_EXHAUSTED, "no memory for the header");
}

// Puts {"dtype", "shape", "data_offsets"} under the tensor's name.
static bool header_add(json_t *header, const struct proto_tensor_out *tensor, size_t begin,
                       size_t end, struct proto_error *error) {
    if (json_object_get(header, tensor->name))
        return proto_fail(error, PROTO_FAILED, "two tensors have the name %s", tensor->name);
    json_t *shape = json_array();
    bool done = shape != NULL;
    for (uint32_t i = 0; done && i < tensor->dimensions; i++)
        done = json_array_append_new(shape, json_integer((json_int_t)tensor->shape[i])) == 0;
    if (!done) {
        json_decref(shape);
        return no_memory(error);
    }
    json_t *entry = json_pack("{s:s, s:o, s:[I, I]}", "dtype", proto_dtype_name(tensor->dtype),
                              "shape", shape, "data_offsets", (json_int_t)begin, (json_int_t)end);
    if (!entry) return no_memory(error);
    if (json_object_set_new(header, tensor->name, entry) != 0)
        return proto_fail(error, PROTO_FAILED, "the name of a tensor is not UTF-8");
    return true;
}

static bool metadata_add(json_t *header, const char *const (*metadata)[2], size_t count,
                         struct proto_error *error) {
    if (count == 0) return true;
    json_t *texts = json_object();
    if (!texts || json_object_set_new(header, "__metadata__", texts) != 0) return no_memory(error);
    for (size_t i = 0; i < count; i++)
        if (json_object_set_new(texts, metadata[i][0], proto_json_string(metadata[i][1])) != 0)
            return no_memory(error);
    return true;
}

// The header's text with its size in front; the caller frees it.
static bool header_make(const struct proto_tensor_out *tensors, size_t count,
                        const char *const (*metadata)[2], size_t metadata_count, char **bytes,
                        size_t *size_bytes, struct proto_error *error) {
    bool done = false;
    char *text = NULL, *header_bytes = NULL;
    size_t end = 0;
    json_t *header = json_object();
    if (!header) return no_memory(error);
    if (count + 1 > PROTO_TENSORS_MAX) {
        proto_fail(error, PROTO_FAILED, "%zu tensors, at most %d are written", count,
                   PROTO_TENSORS_MAX - 1);
        goto end;
    }
    if (!metadata_add(header, metadata, metadata_count, error)) goto end;
    for (size_t i = 0; i < count; i++) {
        size_t tensor_size = 0;
        const size_t begin = end;
        if (strcmp(tensors[i].name, "__metadata__") == 0) {
            proto_fail(error, PROTO_FAILED, "a tensor must not have the name __metadata__");
            goto end;
        }
        if (!tensor_bytes(&tensors[i], &tensor_size, error)) goto end;
        if (!proto_add(end, tensor_size, &end) || end > INT64_MAX) {
            proto_fail(error, PROTO_FAILED, "the tensors are larger than any file");
            goto end;
        }
        if (!header_add(header, &tensors[i], begin, end, error)) goto end;
    }
    text = json_dumps(header, JSON_COMPACT);
    if (!text) {
        no_memory(error);
        goto end;
    }
    const size_t length = strlen(text), padded = (length + 7) / 8 * 8;
    if (padded > PROTO_SAFETENSORS_HEADER_MAX) {
        proto_fail(error, PROTO_FAILED, "the header needs %zu bytes, at most %zu are written",
                   padded, PROTO_SAFETENSORS_HEADER_MAX);
        goto end;
    }
    header_bytes = proto_alloc(8 + padded, error);
    if (!header_bytes) goto end;
    for (int i = 0; i < 8; i++) header_bytes[i] = (char)(uint8_t)((uint64_t)padded >> 8 * i);
    memcpy(header_bytes + 8, text, length);
    memset(header_bytes + 8 + length, ' ', padded - length);
    *bytes = header_bytes;
    *size_bytes = 8 + padded;
    done = true;
end:
    free(text);
    json_decref(header);
    return done;
}

bool proto_safetensors_write_hashed(const char *path, const struct proto_tensor_out *tensors,
                                    size_t count, const char *const (*metadata)[2],
                                    size_t metadata_count, uint64_t *size_bytes, uint64_t *hash,
                                    struct proto_error *error) {
    char *header = NULL;
    size_t header_bytes = 0;
    struct proto_writer writer;
    if (!header_make(tensors, count, metadata, metadata_count, &header, &header_bytes, error))
        return proto_error_where(error, "%s", path);
    bool done = proto_writer_open(&writer, path, error);
    if (!done) goto end;
    done = proto_writer_add(&writer, header, header_bytes, error);
    for (size_t i = 0; done && i < count; i++) {
        size_t tensor_size = 0;
        done = tensor_bytes(&tensors[i], &tensor_size, error) &&
               proto_writer_add(&writer, tensors[i].data, tensor_size, error);
    }
    if (!done) {
        proto_writer_abandon(&writer);
        goto end;
    }
    done = proto_writer_finish(&writer, error);
    *size_bytes = writer.size_bytes;
    *hash = writer.hash;
end:
    free(header);
    return done;
}

bool proto_safetensors_write(const char *path, const struct proto_tensor_out *tensors, size_t count,
                             const char *const (*metadata)[2], size_t metadata_count,
                             struct proto_error *error) {
    uint64_t size_bytes = 0, hash = 0;
    return proto_safetensors_write_hashed(path, tensors, count, metadata, metadata_count,
                                          &size_bytes, &hash, error);
}
