// trainer/announce.h - what a user reads before the first step: devices, ranks, batch, statistics,
// memory, where the weights come from.
#ifndef TRAINER_ANNOUNCE_H
#define TRAINER_ANNOUNCE_H

#include "trainer/session.h"

// Says what the rank will take. PROTO_EXHAUSTED: more than the machine has.
PROTO_MUST_CHECK bool trainer_announce_memory(const struct trainer_session *session,
                                              const struct model_rdt_sizes *sizes,
                                              const struct model_rdt_plan *network,
                                              struct proto_error *error);
void trainer_announce_run(const struct trainer_session *session);
void trainer_announce_start(const struct trainer_session *session);
// Also names what differs from the run that wrote the checkpoint and changes bits.
void trainer_announce_resume(const struct trainer_session *session, const char *checkpoint,
                             const struct proto_trainer_state *header);

#endif
