// proto/run.h - where things of a run are: files in the run folder, sockets in a short private
// folder. Names are made here and nowhere else.
#ifndef PROTO_RUN_H
#define PROTO_RUN_H

#include "proto/error.h"

#include <stdint.h>

#define PROTO_PATH_MAX 1024

// run + "/" + name into path. Names: pipeline.toml, index.json, codec.json,
// dataset_statistics.json, open_loop.json, metrics.jsonl, events.jsonl, training.log, address,
// lock, logs/...
PROTO_MUST_CHECK bool proto_run_path(const char *run, const char *name,
                                     char path[static PROTO_PATH_MAX], struct proto_error *error);

// The private folder that holds the socket folders of all runs of this user. Created if absent.
PROTO_MUST_CHECK bool proto_run_sockets_root(char base[static PROTO_PATH_MAX],
                                             struct proto_error *error);
// The private socket folder of a run, for whoever starts it: $XDG_RUNTIME_DIR/pipeline or
// /tmp/pipeline-<uid>, mode 0700, owned by us (checked), then a name made from the run folder's
// real path. Created if absent.
PROTO_MUST_CHECK bool proto_run_sockets_choose(const char *run, char folder[static PROTO_PATH_MAX],
                                               struct proto_error *error);
// The same for everybody else: what RUN/address names, because the environments of two terminals
// differ. Where there is none, or it is not this run's or not ours alone: chosen as above.
PROTO_MUST_CHECK bool proto_run_sockets(const char *run, char folder[static PROTO_PATH_MAX],
                                        struct proto_error *error);
// "ipc://<sockets>/rank-<rank>": what the rank's ROUTER binds and loaders connect to.
PROTO_MUST_CHECK bool proto_run_rank_endpoint(const char *run, uint32_t rank,
                                              char endpoint[static PROTO_PATH_MAX],
                                              struct proto_error *error);
// "<sockets>/control": the supervisor's control socket.
PROTO_MUST_CHECK bool proto_run_control(const char *run, char path[static PROTO_PATH_MAX],
                                        struct proto_error *error);
#endif
