// proto/module.h - parts of the programs that are loaded when they are asked for, because what they
// need (CUDA, NCCL) is not on every machine: a program itself links none of it.
//
// Module "cuda" is the file that PIPELINE_CUDA_MODULE names, or else libpipeline_cuda.so in the
// folder lib beside the program's own (also lib64 and Debian's lib/<machine>): found from where the
// program lies, so that an installed tree can be moved. Module "nccl" likewise.
#ifndef PROTO_MODULE_H
#define PROTO_MODULE_H

#include "proto/run.h"

// Where the module's file is. PROTO_MISSING: nowhere, with the places looked at.
PROTO_MUST_CHECK bool proto_module_find(const char *name, char path[static PROTO_PATH_MAX],
                                        struct proto_error *error);
bool proto_module_is_there(const char *name);

// Loads the module, until the process ends, and finds its entry: *entry is the address of a
// function whose type the two sides share. PROTO_MISSING, in the loader's words: a library that the
// module needs is not here, or the file is no such module.
PROTO_MUST_CHECK bool proto_module_open(const char *name, const char *symbol, void **entry,
                                        struct proto_error *error);

#endif
