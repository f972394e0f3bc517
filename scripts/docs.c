// scripts/docs.c - writes the pages of docs/ that are made from tables, or tells which of them
// differ from the tables.
//
//     pipeline_docs write docs     pipeline_docs check docs     pipeline_docs options
#include "proto/config_docs.h"
#include "proto/error.h"
#include "proto/files.h"
#include "proto/wire_messages.h"

#include <stdlib.h>
#include <string.h>

#define PAGE_BYTES_MAX (1u << 20)

static const struct page {
    const char *name;
    bool (*print)(FILE *out);
} pages[] = {
    {"configuration.md", proto_docs_configuration},
    {"resume.md", proto_docs_resume},
    {"exit-codes.md", proto_docs_exit_codes},
    {"fields.md", proto_docs_fields},
    {"wire.md", proto_wire_docs},
};

// The page as it should be; the caller frees.
static bool page_print(const struct page *page, char **text, size_t *size_bytes,
                       struct proto_error *error) {
    *text = NULL;
    FILE *out = open_memstream(text, size_bytes);
    if (!out) return proto_fail_errno(error, PROTO_EXHAUSTED, "no memory for a page");
    const bool printed = page->print(out);
    if (fclose(out) == 0 && printed) return true;
    free(*text);
    return proto_fail(error, PROTO_EXHAUSTED, "no memory for a page");
}

static bool page_write(const struct page *page, const char *path, struct proto_error *error) {
    char *text;
    size_t size_bytes;
    if (!page_print(page, &text, &size_bytes, error)) return false;
    const bool done = proto_file_write(path, text, size_bytes, error);
    free(text);
    return done;
}

static bool page_check(const struct page *page, const char *path, struct proto_error *error) {
    char *text, *found = NULL;
    size_t size_bytes, found_bytes;
    if (!page_print(page, &text, &size_bytes, error)) return false;
    bool done = proto_file_read(path, PAGE_BYTES_MAX, PROTO_FAILED, &found, &found_bytes, error);
    if (done && (found_bytes != size_bytes || memcmp(found, text, size_bytes) != 0)) {
        proto_fail(error, PROTO_FAILED,
                   "differs from the tables in the source; run build/tests/pipeline_docs write "
                   "docs and commit it");
        done = proto_error_where(error, "%s", path);
    }
    free(found);
    free(text);
    return done;
}

int main(int count, char **words) {
    struct proto_error error = {0};
    if (count == 2 && strcmp(words[1], "options") == 0)
        return proto_config_help(stdout, NULL) ? PROTO_DONE : PROTO_FAILED;
    const bool write = count == 3 && strcmp(words[1], "write") == 0;
    if (!write && !(count == 3 && strcmp(words[1], "check") == 0)) {
        fputs("usage: pipeline_docs write|check FOLDER, or pipeline_docs options\n", stderr);
        return PROTO_USAGE;
    }
    int code = PROTO_DONE;
    for (size_t i = 0; i < PROTO_COUNT(pages); i++) {
        char *path = proto_format(&error, "%s/%s", words[2], pages[i].name);
        if (!path || !(write ? page_write : page_check)(&pages[i], path, &error))
            code = proto_error_print("pipeline_docs", &error);
        free(path);
    }
    return code;
}
