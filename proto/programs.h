// proto/programs.h - where the stage programs are: beside this one, wherever that was unpacked.
#ifndef PROTO_PROGRAMS_H
#define PROTO_PROGRAMS_H

#include "proto/error.h"
#include "proto/run.h"

// The folder of the running program.
PROTO_MUST_CHECK bool proto_programs_folder(char folder[static PROTO_PATH_MAX],
                                            struct proto_error *error);
PROTO_MUST_CHECK bool proto_programs_path(const char *program, char path[static PROTO_PATH_MAX],
                                          struct proto_error *error);

#endif
