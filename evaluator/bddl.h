// evaluator/bddl.h - a LIBERO task as its BDDL file states it.
//
// Errors are "file:line: found, expected". Text is lower-cased as the official reader does;
// comments
// (;) are stripped; depth, token length and counts are bounded. Unknown sections, predicates, and
// objects that a predicate names but nobody declares, are refused.
#ifndef EVALUATOR_BDDL_H
#define EVALUATOR_BDDL_H

#include "proto/error.h"

#include <stdint.h>

struct evaluator_region {
    char *name;        // full name: target_region
    char *target;      // object, fixture or workspace
    double ranges[4];  // x0 y0 x1 y1
    bool has_ranges;
    double yaw[2];  // rad; 0, 0 when absent
    bool has_yaw;
    float rgba[4];
    bool has_rgba;
    uint32_t line;
};
struct evaluator_item {
    char *name, *type;  // instance, category
    uint32_t line;
};
enum evaluator_predicate {
    EVALUATOR_ON,
    EVALUATOR_IN,
    EVALUATOR_OPEN,
    EVALUATOR_CLOSE,
    EVALUATOR_TURNON,
    EVALUATOR_TURNOFF,
    EVALUATOR_UP,
};
struct evaluator_clause {
    enum evaluator_predicate predicate;
    char *arguments[2];  // object, fixture or region full name; [1] NULL for one argument
    uint32_t line;
};
struct evaluator_bddl {
    char *problem;   // "libero_kitchen_tabletop_manipulation", lower case
    char *language;  // words of :language
    struct evaluator_region *regions;
    struct evaluator_item *fixtures,
        *objects;  // in the order of the official dictionaries: grouped by type
    char **of_interest;
    struct evaluator_clause *init, *goal;  // goal: the conjuncts
    uint32_t region_count, fixture_count, object_count, interest_count, init_count, goal_count;
};
PROTO_MUST_CHECK bool evaluator_bddl_read(const char *path, struct evaluator_bddl **bddl,
                                          struct proto_error *error);
PROTO_MUST_CHECK bool evaluator_bddl_parse(const char *name, const char *text, size_t size,
                                           struct evaluator_bddl **bddl, struct proto_error *error);
void evaluator_bddl_free(struct evaluator_bddl **bddl);
const char *evaluator_predicate_name(enum evaluator_predicate predicate);  // "On"

#endif
