// evaluator/suite.h - the suite `demo`: tasks of our own on a plain table, for whom there is no
// LIBERO on the machine. Their files come with the program and are laid out as LIBERO's are, so
// that scenes, resets and goals are the same code; only the robot's files of robosuite are needed
// besides.
//
// Start states are not kept in files: row r of a task is a reset of its scene with the seed of that
// row, with noise on the arm's joints. Rows 0-9 are for choosing between checkpoints, 10-59 for
// what is reported, and those from EVALUATOR_SUITE_DEMOS_ROW on for demonstrations.
#ifndef EVALUATOR_SUITE_H
#define EVALUATOR_SUITE_H

#include "evaluator/env.h"

#define EVALUATOR_SUITE "demo"
#define EVALUATOR_SUITE_ROWS 600
#define EVALUATOR_SUITE_DEMOS_ROW 100

const struct evaluator_task *evaluator_suite_tasks(size_t *count);

// Where the files of a suite are: of `demo` those beside the program, of any other
// evaluator_libero_find.
PROTO_MUST_CHECK bool evaluator_suite_find(const char *suite, const char *root,
                                           struct evaluator_libero *libero,
                                           struct proto_error *error);

// The start states of a task: of `demo` made from its world, of any other read from its file.
PROTO_MUST_CHECK bool evaluator_suite_rows(const struct evaluator_libero *libero,
                                           const struct evaluator_task *task,
                                           struct evaluator_world *world,
                                           struct evaluator_rows *rows, struct proto_error *error);
// Those of a world of `demo`; evaluator_rows_free frees them.
PROTO_MUST_CHECK bool evaluator_suite_rows_make(struct evaluator_world *world,
                                                struct evaluator_rows *rows,
                                                struct proto_error *error);

#endif
