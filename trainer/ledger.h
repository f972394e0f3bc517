// trainer/ledger.h - the exactly-once checker: reads what a run says it consumed and compares it
// with what the stream says it had to.
//
// metrics.jsonl has, per optimiser step, the cursor behind it and the sum of proto_ledger_entry
// over what the ranks really took. The stream follows from run.seed and index.json alone. So
// the check needs neither the data nor the processes.
#ifndef TRAINER_LEDGER_H
#define TRAINER_LEDGER_H

#include "proto/error.h"

#include <stdint.h>

struct trainer_ledger_report {
    uint64_t steps, samples;  // verified
    uint64_t first_step;      // 1, or behind the checkpoint of another run that was resumed
    bool agrees;
    bool with_ids;   // every line had its sample ids, and they agree too
    uint64_t line;   // first line that disagrees, from 1
    char text[512];  // why
};

// PROTO_DAMAGED: a file of the run does not read. A ledger that disagrees is no failure but a
// report.
PROTO_MUST_CHECK bool trainer_ledger_verify(const char *run, struct trainer_ledger_report *report,
                                            struct proto_error *error);

#endif
