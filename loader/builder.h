// loader/builder.h - builds the samples of one ticket: stream position to sample id, sample id to
// episode and step, file to tensors. What it fills for a position is a pure function of the run's
// seed and that position, whoever asks and how often.
#ifndef LOADER_BUILDER_H
#define LOADER_BUILDER_H

#include "proto/codec.h"
#include "proto/config.h"
#include "proto/index.h"
#include "proto/sample.h"
#include "proto/wire.h"

struct loader_builder;  // owns its open files; one per process, used by one thread

// Borrows config, index and codec until close. Opens no file yet: a file is compared with the index
// when its first sample is built.
PROTO_MUST_CHECK bool loader_builder_open(const struct proto_config *config,
                                          const struct proto_index *index,
                                          const struct proto_codec *codec,
                                          struct loader_builder **builder,
                                          struct proto_error *error);
// Fills rows 0 .. ticket->count - 1 of a batch that has at least so many, sample and frame ids too.
// PROTO_DAMAGED, naming file and dataset: the data is not what the index says. After a failure the
// builder is fit for the next ticket.
PROTO_MUST_CHECK bool loader_builder_build(struct loader_builder *builder,
                                           const struct proto_ticket *ticket,
                                           struct proto_batch *batch, struct proto_error *error);
// Fills row 0 with the sample at observation j of the index's episode `row`, without noise and with
// all conditions: what somebody looks at. PROTO_USAGE: the episode has no such sample.
PROTO_MUST_CHECK bool loader_builder_look(struct loader_builder *builder, uint32_t row, uint32_t j,
                                          struct proto_batch *batch, struct proto_error *error);
void loader_builder_close(struct loader_builder **builder);  // accepts NULL; leaves NULL behind

#endif
