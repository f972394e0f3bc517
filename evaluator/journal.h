// evaluator/journal.h - what makes an evaluation restartable, and lets several processes share one
// list of episodes: episodes.jsonl in the output folder, a line per finished episode, appended by
// whoever finished it.
//
// An episode is claimed by a lock on one byte of episodes.lock that its key chooses; the kernel
// drops it when its holder dies, so that what a killed process had begun is free again. Whoever
// has the lock looks at the file once more before it begins, and appends before it lets go: no
// episode counts twice. A line that a kill cut short is passed over.
#ifndef EVALUATOR_JOURNAL_H
#define EVALUATOR_JOURNAL_H

#include "evaluator/results.h"

struct evaluator_journal;
// `results` has protocol, hashes and tasks; finished episodes of these tasks are added to it.
// PROTO_USAGE: the folder holds the episodes of another evaluation. Borrows results until close.
PROTO_MUST_CHECK bool evaluator_journal_open(const char *folder, struct evaluator_results *results,
                                             struct evaluator_journal **journal,
                                             struct proto_error *error);
void evaluator_journal_close(struct evaluator_journal **journal);  // accepts NULL; drops all claims

// Adds what others have finished meanwhile.
PROTO_MUST_CHECK bool evaluator_journal_refresh(struct evaluator_journal *journal,
                                                struct proto_error *error);
enum evaluator_claim { EVALUATOR_MINE, EVALUATOR_DONE, EVALUATOR_BUSY };
PROTO_MUST_CHECK bool evaluator_journal_claim(struct evaluator_journal *journal,
                                              const struct evaluator_episode *episode,
                                              enum evaluator_claim *claim,
                                              struct proto_error *error);
// Appends the outcome of a claimed episode, adds it to the results and drops the claim.
// PROTO_EXHAUSTED: disk full; what was there before is kept.
PROTO_MUST_CHECK bool evaluator_journal_record(struct evaluator_journal *journal,
                                               const struct evaluator_episode *episode,
                                               struct proto_error *error);

#endif
