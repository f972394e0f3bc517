// proto/findings.c - see findings.h.
#include "proto/findings.h"

#include "proto/json.h"

#include <stdarg.h>

void proto_finding(json_t *findings, const char *name, const char *advice, const char *format,
                   ...) {
    char found[4096];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(found, sizeof found, format, arguments);
    va_end(arguments);
    json_t *finding = json_pack("{s:s, s:o}", "name", name, "found", proto_json_string(found));
    if (finding && advice) json_object_set_new(finding, "advice", proto_json_string(advice));
    json_array_append_new(findings, finding);
}

void proto_findings_write(const json_t *findings, FILE *to) {
    size_t i;
    const json_t *finding;
    json_array_foreach(findings, i, finding) {
        const json_t *advice = json_object_get(finding, "advice");
        fprintf(to, "%s %-17s %s\n", advice ? "!" : " ",
                json_string_value(json_object_get(finding, "name")),
                json_string_value(json_object_get(finding, "found")));
        if (advice) fprintf(to, "  %-17s -> %s\n", "", json_string_value(advice));
    }
}

bool proto_findings_complain(const json_t *findings) {
    size_t i;
    const json_t *finding;
    json_array_foreach(findings, i, finding) if (json_object_get(finding, "advice")) return true;
    return false;
}
