// proto/words.h - reads the words behind a verb: options as rows, the rest in order.
#ifndef PROTO_WORDS_H
#define PROTO_WORDS_H

#include "proto/error.h"

#include <stdint.h>

enum proto_word_kind {
    PROTO_WORD_FLAG,   // target: bool
    PROTO_WORD_TEXT,   // target: const char *
    PROTO_WORD_TEXTS,  // target: struct proto_texts, as often as wanted
};
struct proto_texts {
    const char **items;  // room for every word of the command line, given by the caller
    size_t count;
};
struct proto_word {
    const char *name;  // "--run"; "-f"
    enum proto_word_kind kind;
    void *target;
};

// "--name value" and "--name=value"; "--" ends the options. Unknown options are refused with the
// nearest known one, more than rest_max other words by name. Texts are borrowed from `words`.
PROTO_MUST_CHECK bool proto_words_read(int count, char **words, const struct proto_word *options,
                                       size_t option_count, const char **rest, size_t rest_max,
                                       size_t *rest_count, struct proto_error *error);

// A text of decimal digits, at most max; PROTO_USAGE naming the option and the range otherwise.
PROTO_MUST_CHECK bool proto_words_number(const char *option, const char *text, uint64_t max,
                                         uint64_t *number, struct proto_error *error);

#endif
