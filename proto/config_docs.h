// proto/config_docs.h - pages of documentation that are made from tables, so that they cannot
// differ from what the programs do. scripts/docs.c writes them; a test compares.
#ifndef PROTO_CONFIG_DOCS_H
#define PROTO_CONFIG_DOCS_H

#include <stdbool.h>
#include <stdio.h>

// Each prints one page of Markdown; false: the stream failed.
bool proto_docs_configuration(FILE *out);  // every option, by section
bool proto_docs_resume(FILE *out);         // what may change when a run goes on
bool proto_docs_exit_codes(FILE *out);
bool proto_docs_fields(FILE *out);  // names for data.state and data.action

// The options as plain text for a terminal; section NULL: all. False: there is no such section.
bool proto_config_help(FILE *out, const char *section);

#endif
