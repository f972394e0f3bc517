// stages/words.c - see words.h.
#include "stages/words.h"

#include "proto/nearest.h"

#include <string.h>

static bool words_unknown(const char *word, const struct stage_word *options, size_t option_count,
                          struct proto_error *error) {
    struct proto_nearest nearest = {.wrong = word};
    for (size_t i = 0; i < option_count; i++) proto_nearest_offer(&nearest, options[i].name);
    return proto_fail(error, PROTO_USAGE, "%s is not an option%s%s", word,
                      nearest.best ? "; nearest known: " : "", nearest.best ? nearest.best : "");
}

// Stores the option whose name is `word` up to `length`. *next is moved over a value of its own.
static bool words_option(const struct stage_word *option, const char *value, int count,
                         char **words, int *next, struct proto_error *error) {
    if (option->kind == STAGE_WORD_FLAG) {
        if (value) return proto_fail(error, PROTO_USAGE, "%s takes no value", option->name);
        *(bool *)option->target = true;
        return true;
    }
    if (!value && *next < count) value = words[(*next)++];
    if (!value) return proto_fail(error, PROTO_USAGE, "%s needs a value", option->name);
    if (option->kind == STAGE_WORD_TEXT) {
        *(const char **)option->target = value;
    } else {
        struct stage_texts *texts = option->target;
        texts->items[texts->count++] = value;
    }
    return true;
}

bool stage_words_read(int count, char **words, const struct stage_word *options,
                      size_t option_count, const char **rest, size_t rest_max, size_t *rest_count,
                      struct proto_error *error) {
    bool only_rest = false;
    *rest_count = 0;
    for (int next = 1; next < count;) {
        char *word = words[next++];
        if (!only_rest && strcmp(word, "--") == 0) {
            only_rest = true;
            continue;
        }
        if (only_rest || word[0] != '-' || word[1] == '\0') {
            if (*rest_count == rest_max)
                return proto_fail(error, PROTO_USAGE, "\"%s\" is one word too many", word);
            rest[(*rest_count)++] = word;
            continue;
        }
        const size_t length = word[1] == '-' ? strcspn(word, "=") : strlen(word);
        const char *value = word[length] == '=' ? word + length + 1 : NULL;
        const struct stage_word *found = NULL;
        for (size_t i = 0; i < option_count && !found; i++)
            if (strlen(options[i].name) == length && strncmp(options[i].name, word, length) == 0)
                found = &options[i];
        if (!found) return words_unknown(word, options, option_count, error);
        if (!words_option(found, value, count, words, &next, error)) return false;
    }
    return true;
}
