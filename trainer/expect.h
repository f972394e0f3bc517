// trainer/expect.h - the forecast (trainer/forecast.h) where a run needs it: what is expected of
// its devices, said at the start, and what would fit when a device is full.
#ifndef TRAINER_EXPECT_H
#define TRAINER_EXPECT_H

#include "trainer/session.h"

// Rank 0 says which devices there are and what a step is expected to take on them. Nothing for cpu
// ranks, whose speed only a measurement tells (`pipeline plan`), and for cards of no known kind.
void trainer_expect_say(const struct trainer_session *session);

// A device was full (PROTO_EXHAUSTED): adds to the text which batch and accumulation would fit.
// Leaves every other error as it is.
void trainer_expect_advise(const struct trainer_session *session, struct proto_error *error);

#endif
