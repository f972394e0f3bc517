// loader/serve.h - a loader at work: takes tickets from every rank, builds their samples, sends
// them back, until it is told to leave.
//
// One thread, one poll, one DEALER for each rank. A rank that is not there yet, or vanished, is
// waited for; one that came back with a new attempt gets the loader's `ready` and makes it forget
// the tickets of the old one. Memory: for each rank as many batches as it may have on the way.
#ifndef LOADER_SERVE_H
#define LOADER_SERVE_H

#include "loader/builder.h"
#include "proto/link.h"

#define LOADER_ENDPOINTS_MAX 64

// All borrowed during the call.
struct loader_serve_settings {
    const struct proto_config *config;  // loader.batches_in_flight, loader.packing
    const struct proto_index *index;
    const struct proto_codec *codec;
    const char *const *endpoints;  // of the ranks
    uint32_t count;
    uint32_t number;  // of this loader
    struct proto_link *link;
    struct loader_builder *builder;
};

// Says ready on the link when all sockets are up. Returns true after a stop: what was begun is
// sent, the rest handed back. PROTO_USAGE: a rank refused this loader for good, in its words. A
// ticket whose data is damaged is answered with that and does not end the loader; any other failure
// to build does.
PROTO_MUST_CHECK bool loader_serve(const struct loader_serve_settings *settings,
                                   struct proto_error *error);

#endif
