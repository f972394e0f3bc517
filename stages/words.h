// stages/words.h - reads the words behind a verb: options as rows, the rest in order.
#ifndef STAGES_WORDS_H
#define STAGES_WORDS_H

#include "proto/error.h"

enum stage_word_kind {
    STAGE_WORD_FLAG,   // target: bool
    STAGE_WORD_TEXT,   // target: const char *
    STAGE_WORD_TEXTS,  // target: struct stage_texts, as often as wanted
};
struct stage_texts {
    const char **items;  // room for every word of the command line, given by the caller
    size_t count;
};
struct stage_word {
    const char *name;  // "--run"; "-f"
    enum stage_word_kind kind;
    void *target;
};

// "--name value" and "--name=value"; "--" ends the options. Unknown options are refused with the
// nearest known one, more than rest_max other words by name. Texts are borrowed from `words`.
PROTO_MUST_CHECK bool stage_words_read(int count, char **words, const struct stage_word *options,
                                       size_t option_count, const char **rest, size_t rest_max,
                                       size_t *rest_count, struct proto_error *error);

#endif
