// tests/proto/config_docs_test.c - pages and help leave out no row of their tables. That the pages
// in docs/ are these is the test tidy/docs. Oracle: the tables.
#include "proto/config_docs.h"

#include "proto/codec.h"
#include "proto/config.h"
#include "tests/check.h"

static bool help_all(FILE *out) { return proto_config_help(out, NULL); }
static bool help_loader(FILE *out) { return proto_config_help(out, "loader"); }

// What a page prints; the caller frees.
static char *printed(bool (*print)(FILE *out)) {
    char *text = NULL;
    size_t size_bytes = 0;
    FILE *out = open_memstream(&text, &size_bytes);
    CHECK(out);
    CHECK(print(out));
    CHECK(fclose(out) == 0);
    return text;
}

TEST(docs_and_help_have_every_option) {
    size_t count;
    const struct proto_option *options = proto_options(&count);
    char *page = printed(proto_docs_configuration), *resume = printed(proto_docs_resume);
    char *help = printed(help_all);
    for (size_t i = 0; i < count; i++) {
        char cell[96], full[128], line[96];
        snprintf(cell, sizeof cell, "| `%s` |", options[i].key);
        snprintf(full, sizeof full, "| `%s.%s` |", options[i].section, options[i].key);
        snprintf(line, sizeof line, "\n  %s = ", options[i].key);
        TEST_CASE(full);
        CHECK_HAS(page, cell);
        CHECK_HAS(page, options[i].default_value);
        CHECK_HAS(resume, full);
        CHECK_HAS(help, line);
        CHECK_HAS(help, options[i].help);
        // in exactly one of the three lists
        CHECK(strstr(strstr(resume, full) + 1, full) == NULL);
    }
    TEST_CASE("");
    CHECK(strchr(help, '`') == NULL || strstr(help, "](") == NULL);  // no Markdown links
    free(page);
    free(resume);
    free(help);
}

TEST(help_of_a_section_is_that_section) {
    char *help = printed(help_loader);
    CHECK_HAS(help, "[loader]");
    CHECK_HAS(help, "workers = 8");
    CHECK(strstr(help, "[run]") == NULL);
    free(help);
    char *none = NULL;
    size_t size_bytes;
    FILE *out = open_memstream(&none, &size_bytes);
    CHECK(out && !proto_config_help(out, "loaders"));
    CHECK(fclose(out) == 0 && size_bytes == 0);
    free(none);
}

TEST(docs_have_every_exit_code_and_field) {
    static const int codes[] = {0, 1, 2, 3, 4, 5, 6, 75, 130, 143};
    char *page = printed(proto_docs_exit_codes);
    for (size_t i = 0; i < PROTO_COUNT(codes); i++) {
        char row[160];
        snprintf(row, sizeof row, "| %d | %s |", codes[i], proto_status_meaning(codes[i]));
        CHECK_HAS(page, row);
    }
    free(page);
    page = printed(proto_docs_fields);
    size_t count;
    const struct proto_field *fields = proto_fields(&count);
    for (size_t i = 0; i < count; i++) CHECK_HAS(page, fields[i].name);
    free(page);
}

TEST_MAIN(UNIT(docs_and_help_have_every_option), UNIT(help_of_a_section_is_that_section),
          UNIT(docs_have_every_exit_code_and_field))
