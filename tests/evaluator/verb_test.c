// tests/evaluator/verb_test.c - the command line of pipeline-evaluator: help of one screen for each
// verb, wrong verbs refused, versions as other programs read them.
#include "tests/evaluator/verb_output.h"

#include "proto/error.h"

#include <jansson.h>

enum { SCREEN_LINES = 24, SCREEN_COLUMNS = 100 };

static const char *run(FILE *stream, const char *first, const char *second, int expected) {
    static char *output;
    const char *const words[] = {first, second, NULL};
    free(output);
    CHECK_INT(verb_run(stream, words, &output), expected);
    return output;
}

TEST(verb_help_fits_a_screen_and_names_every_verb) {
    char all[8192];
    snprintf(all, sizeof all, "%s", run(stdout, "--help", NULL, PROTO_DONE));
    for (const struct evaluator_verb *verb = evaluator_verbs(); verb->name; verb++) {
        TEST_CASE(verb->name);
        CHECK_HAS(all, verb->name);
        const char *help = run(stdout, verb->name, "--help", PROTO_DONE);
        CHECK_HAS(help, verb->about);
        int lines = 0;
        for (const char *line = help; *line != '\0'; lines++) {
            const size_t length = strcspn(line, "\n");
            CHECK(length <= SCREEN_COLUMNS);
            line += length + (line[length] == '\n');
        }
        CHECK(lines <= SCREEN_LINES);
    }
}

TEST(verb_that_is_wrong_is_refused_with_the_nearest) {
    CHECK_HAS(run(stderr, "envv", NULL, PROTO_USAGE), "there is no verb envv; nearest known: env");
    CHECK_HAS(run(stderr, "env", NULL, PROTO_USAGE), "list, or by render TASK");
    CHECK_HAS(run(stderr, "env", "--roww", PROTO_USAGE), "nearest known: --row");
}

TEST(verb_version_is_json_that_pipeline_version_merges) {
    json_t *versions = json_loads(run(stdout, "version", "--json", PROTO_DONE), 0, NULL);
    CHECK_TEXT(json_string_value(json_object_get(versions, "mujoco")), "3.3.2");
    CHECK(json_is_string(json_object_get(versions, "pipeline-evaluator")));
    json_decref(versions);
    CHECK_HAS(run(stdout, "--version", NULL, PROTO_DONE), "mujoco 3.3.2");
}

TEST_MAIN(UNIT(verb_help_fits_a_screen_and_names_every_verb),
          UNIT(verb_that_is_wrong_is_refused_with_the_nearest),
          UNIT(verb_version_is_json_that_pipeline_version_merges))
