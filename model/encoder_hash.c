// model/encoder_hash.c - instructions as one random vector per word: the same word is the same
// vector in every process and run, different words are nearly orthogonal. No weights.
//
// A word is a run of letters, digits and bytes of multi-byte characters, in lower case; everything
// else separates. A text ends with one end token, so that an empty text has a token too.
#include "model/encoder_parts.h"
#include "proto/files.h"
#include "proto/random.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORDS_MAX 4096
#define WORD_BYTES_MAX 256  // longer words are told apart by their first bytes

struct hash {
    struct model_language base;
};

static bool in_word(unsigned char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c >= 0x80;
}

// Reads the next word, lower case; false at the end of the text.
static bool next_word(const char **text, char word[static WORD_BYTES_MAX], size_t *length) {
    const unsigned char *at = (const unsigned char *)*text;
    while (*at && !in_word(*at)) at++;
    *length = 0;
    for (; in_word(*at); at++)
        if (*length < WORD_BYTES_MAX)
            word[(*length)++] = (char)(*at >= 'A' && *at <= 'Z' ? *at + ('a' - 'A') : *at);
    *text = (const char *)at;
    return *length > 0;
}

static void vector_of(const char *word, size_t length, float *out, uint32_t width) {
    struct proto_random random = proto_random_at(0, PROTO_PURPOSE_WORD, proto_hash(word, length));
    proto_random_normal(&random, out, width);
}

static bool hash_length(struct model_language *language, const char *text, uint32_t *rows,
                        struct proto_error *error) {
    (void)language;
    char word[WORD_BYTES_MAX];
    size_t length = 0;
    *rows = 1;
    while (next_word(&text, word, &length))
        if (++*rows > WORDS_MAX)
            return proto_fail(error, PROTO_DAMAGED, "an instruction of more than %d words",
                              WORDS_MAX);
    return true;
}

static bool hash_encode(struct model_language *language, const char *text, uint32_t rows,
                        float *tokens, struct proto_error *error) {
    const uint32_t width = language->token_width;
    uint32_t expected = 0;
    if (!hash_length(language, text, &expected, error)) return false;
    if (rows != expected)
        return proto_fail(error, PROTO_FAILED, "hash: %u rows for a text of %u tokens", rows,
                          expected);
    char word[WORD_BYTES_MAX];
    size_t length = 0;
    for (; next_word(&text, word, &length); tokens += width) vector_of(word, length, tokens, width);
    vector_of("</s>", 4, tokens, width);  // no word holds these characters
    return true;
}

static void hash_close(struct model_language *language) { free(language); }

static const struct model_language_ops hash_ops = {
    .close = hash_close, .length = hash_length, .encode = hash_encode};

bool model_hash_open(uint32_t token_width, struct model_language **language,
                     struct proto_error *error) {
    if (token_width < 1 || token_width > 65536)
        return proto_fail(error, PROTO_USAGE, "language.token_dim is %u, must be 1..65536",
                          token_width);
    struct hash *hash = proto_alloc(sizeof *hash, error);
    if (!hash) return false;
    hash->base.ops = &hash_ops;
    hash->base.token_width = token_width;
    snprintf(hash->base.name, sizeof hash->base.name, "hash");
    *language = &hash->base;
    return true;
}
