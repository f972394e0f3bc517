// tests/evaluator/world_fixture.h - one task of LIBERO, opened once for all tests of a file.
#ifndef TESTS_EVALUATOR_WORLD_FIXTURE_H
#define TESTS_EVALUATOR_WORLD_FIXTURE_H

#include "evaluator/env.h"
#include "evaluator/libero.h"
#include "tests/check.h"

struct world_fixture {
    struct evaluator_libero libero;
    struct evaluator_world *world;
    struct evaluator_env *env;
    struct evaluator_rows rows;
};

// NULL without LIBERO's files; the test then is to be skipped, or has failed.
static inline bool world_fixture_open(struct world_fixture *fixture, const char *suite,
                                      const char *task) {
    const char *root = getenv("LIBERO_ROOT");
    char path[EVALUATOR_PATH_MAX];
    struct proto_error error = {0};
    if (fixture->world) return true;
    if (!root || *root == '\0') {
        if (getenv("PIPELINE_REQUIRE_SHARED")) fail_msg("LIBERO_ROOT is not set");
        print_message("needs LIBERO's files in LIBERO_ROOT\n");
        return false;
    }
    CHECK_OK(evaluator_libero_find(root, &fixture->libero, &error), error);
    CHECK(snprintf(path, sizeof path, "%s/%s/%s.pruned_init", fixture->libero.init_files, suite,
                   task) < (int)sizeof path);
    CHECK_OK(evaluator_rows_read(path, &fixture->rows, &error), error);
    CHECK(snprintf(path, sizeof path, "%s/%s/%s.bddl", fixture->libero.bddl_files, suite, task) <
          (int)sizeof path);
    CHECK_OK(evaluator_world_open(&fixture->libero, path, 0, &fixture->world, &error), error);
    CHECK_OK(evaluator_env_new(fixture->world, &fixture->env, &error), error);
    return true;
}

static inline void world_fixture_close(struct world_fixture *fixture) {
    evaluator_env_free(&fixture->env);
    evaluator_world_close(&fixture->world);
    evaluator_rows_free(&fixture->rows);
}

static inline const double *world_fixture_row(const struct world_fixture *fixture, uint32_t row) {
    return fixture->rows.values + (size_t)row * fixture->rows.width;
}

#endif
