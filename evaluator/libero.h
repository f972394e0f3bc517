// evaluator/libero.h - LIBERO's files: where they are, which tasks there are, and the rows of start
// states. Nothing of it is configured twice: the root is found by one rule that `pipeline doctor`
// prints.
//
// The rule for assets, tasks and start states is that of proto/libero_root.h, first hit wins.
// Robot files are looked for in the place of the assets, in a robosuite package beside it, in an
// installed robosuite, and in what set-up fetched.
#ifndef EVALUATOR_LIBERO_H
#define EVALUATOR_LIBERO_H

#include "proto/error.h"

#include <stdint.h>

#define EVALUATOR_PATH_MAX 1024

struct evaluator_libero {
    char assets[EVALUATOR_PATH_MAX];      // scenes/, textures/, articulated_objects/ ...; "" lacks
    char bddl_files[EVALUATOR_PATH_MAX];  // <suite>/<task>.bddl
    char init_files[EVALUATOR_PATH_MAX];  // <suite>/<task>.pruned_init
    char robosuite[EVALUATOR_PATH_MAX];   // base.xml, robots/, grippers/, mounts/
    char how[4096];                       // where was looked and what was found, a line each
};
// root "" or NULL: by the rule. PROTO_MISSING unless all four are there, saying which lack and
// where was looked; *libero has what was found then too. Paths are absolute.
PROTO_MUST_CHECK bool evaluator_libero_find(const char *root, struct evaluator_libero *libero,
                                            struct proto_error *error);

// The 130 tasks in the order of the official benchmark.
struct evaluator_task {
    const char
        *suite;        // "libero_spatial", "libero_object", "libero_goal", "libero_10", "libero_90"
    const char *name;  // stem of the BDDL file
};
const struct evaluator_task *evaluator_tasks(size_t *count);
// By name, suite "" or NULL: any. NULL when there is none; nearest is a known name that it may
// mean.
const struct evaluator_task *evaluator_task_find(const char *suite, const char *name,
                                                 const char **nearest);
// The instruction as the official benchmark gives it: the name without its scene prefix, in words.
PROTO_MUST_CHECK bool evaluator_task_sentence(const char *name, char *sentence, size_t size,
                                              struct proto_error *error);

// Start states of a task: rows of [time, qpos, qvel]. Reads .pruned_init (a stored zip with one
// pickle of a float64 array) with a parser that can execute nothing: any opcode but the few that
// such a file needs is refused by name and offset.
struct evaluator_rows {
    double *values;  // [count, width]
    uint32_t count, width;
};
PROTO_MUST_CHECK bool evaluator_rows_read(const char *path, struct evaluator_rows *rows,
                                          struct proto_error *error);
PROTO_MUST_CHECK bool evaluator_rows_parse(const uint8_t *bytes, size_t size,
                                           struct evaluator_rows *rows, struct proto_error *error);
// Are the rows of a model with nq and nv? PROTO_DAMAGED with both widths otherwise.
PROTO_MUST_CHECK bool evaluator_rows_fit(const struct evaluator_rows *rows, uint32_t nq,
                                         uint32_t nv, struct proto_error *error);
void evaluator_rows_free(struct evaluator_rows *rows);

#endif
