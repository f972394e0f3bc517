// proto/words.c - see words.h.
#include "proto/words.h"

#include "proto/nearest.h"

#include <string.h>

static bool words_unknown(const char *word, const struct proto_word *options, size_t option_count,
                          struct proto_error *error) {
    struct proto_nearest nearest = {.wrong = word};
    for (size_t i = 0; i < option_count; i++) proto_nearest_offer(&nearest, options[i].name);
    return proto_fail(error, PROTO_USAGE, "%s is not an option%s%s", word,
                      nearest.best ? "; nearest known: " : "", nearest.best ? nearest.best : "");
}

// Stores the option whose name is `word` up to `length`. *next is moved over a value of its own.
static bool words_option(const struct proto_word *option, const char *value, int count,
                         char **words, int *next, struct proto_error *error) {
    if (option->kind == PROTO_WORD_FLAG) {
        if (value) return proto_fail(error, PROTO_USAGE, "%s takes no value", option->name);
        *(bool *)option->target = true;
        return true;
    }
    if (!value && *next < count) value = words[(*next)++];
    if (!value) return proto_fail(error, PROTO_USAGE, "%s needs a value", option->name);
    if (option->kind == PROTO_WORD_TEXT) {
        *(const char **)option->target = value;
    } else {
        struct proto_texts *texts = option->target;
        texts->items[texts->count++] = value;
    }
    return true;
}

bool proto_words_read(int count, char **words, const struct proto_word *options,
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
        const struct proto_word *found = NULL;
        for (size_t i = 0; i < option_count && !found; i++)
            if (strlen(options[i].name) == length && strncmp(options[i].name, word, length) == 0)
                found = &options[i];
        if (!found) return words_unknown(word, options, option_count, error);
        if (!words_option(found, value, count, words, &next, error)) return false;
    }
    return true;
}

bool proto_words_number(const char *option, const char *text, uint64_t max, uint64_t *number,
                        struct proto_error *error) {
    uint64_t value = 0;
    bool ok = *text != '\0';
    for (const char *c = text; ok && *c != '\0'; c++) {
        const uint64_t digit = (uint64_t)(*c - '0');  // huge when it is none
        ok = digit <= 9 && digit <= max && value <= (max - digit) / 10;
        if (ok) value = 10 * value + digit;
    }
    if (ok) *number = value;
    return ok || proto_fail(error, PROTO_USAGE, "%s is \"%.40s\", must be a number of 0..%llu",
                            option, text, (unsigned long long)max);
}
