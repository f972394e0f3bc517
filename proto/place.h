// proto/place.h - where a process is in somebody's data, so that a crash inside a library that
// reads it can be named: the process notes file and dataset before each read, whoever started it
// reads the note after its death.
//
// The note is a shared page of 4 KiB. The parent makes it, lets the child inherit the descriptor
// and puts its number into PIPELINE_PLACE; a child that is forked without exec calls
// proto_place_attach. Without either the note goes to private memory. A death in the middle of
// noting leaves the note before it.
#ifndef PROTO_PLACE_H
#define PROTO_PLACE_H

#include "proto/error.h"

// What this process reads next: "file", or "file: dataset" when dataset is not "". Cheap, never
// fails, thread-safe; texts over 2000 bytes are cut.
void proto_place_note(const char *file, const char *dataset);
// The reading is over: a death from here on is not the data's fault.
void proto_place_clear(void);

// Makes a page; the caller closes *descriptor. It is close-on-exec: the child that is to have it
// calls proto_place_pass between fork and exec.
PROTO_MUST_CHECK bool proto_place_new(int *descriptor, struct proto_error *error);
// In the child: keeps the descriptor over exec and sets PIPELINE_PLACE to its number.
PROTO_MUST_CHECK bool proto_place_pass(int descriptor, struct proto_error *error);
// In a child that is forked without exec: notes go to this page from now on.
PROTO_MUST_CHECK bool proto_place_attach(int descriptor, struct proto_error *error);
// The newest note, always terminated; false and "" when nothing was noted.
bool proto_place_read(int descriptor, char *text, size_t size_bytes);

#endif
