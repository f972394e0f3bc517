// proto/findings.h - what a doctor finds: rows of {"name", "found", "advice"}, as JSON and as text.
// "advice" is there only where something is missing.
#ifndef PROTO_FINDINGS_H
#define PROTO_FINDINGS_H

#include "proto/error.h"

#include <jansson.h>
#include <stdio.h>

void proto_finding(json_t *findings, const char *name, const char *advice, const char *format, ...)
    PROTO_PRINTF(4, 5);
// A row each, "!" in front of those with advice, which stands below.
void proto_findings_write(const json_t *findings, FILE *to);
// Is there advice in any of them?
bool proto_findings_complain(const json_t *findings);

#endif
