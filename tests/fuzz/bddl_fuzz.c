// tests/fuzz/bddl_fuzz.c - any bytes as a BDDL file.
#include "evaluator/bddl.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    struct evaluator_bddl *bddl = NULL;
    struct proto_error error = {0};
    if (evaluator_bddl_parse("fuzz", (const char *)bytes, size, &bddl, &error)) {
        if (bddl->goal_count == 0 || !bddl->goal[0].arguments[0]) abort();
    } else if (error.text[0] == '\0') {
        abort();
    }
    evaluator_bddl_free(&bddl);
    return 0;
}
