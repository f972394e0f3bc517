// tests/proto/findings_test.c - rows of a doctor, in both forms.
#include "tests/check.h"

#include "proto/findings.h"

TEST(findings_are_rows_with_advice_below) {
    char text[512] = "";
    json_t *findings = json_array();
    proto_finding(findings, "cores", NULL, "%d", 2);
    CHECK(!proto_findings_complain(findings));
    proto_finding(findings, "disk", "choose another", "%s", "full");
    CHECK(proto_findings_complain(findings));
    FILE *file = fmemopen(text, sizeof text, "w");
    CHECK(file != NULL);
    proto_findings_write(findings, file);
    CHECK(fclose(file) == 0);
    CHECK_TEXT(text, "  cores             2\n"
                     "! disk              full\n"
                     "                    -> choose another\n");
    CHECK(!json_object_get(json_array_get(findings, 0), "advice"));
    json_decref(findings);
}

TEST(findings_that_are_no_text_are_still_json) {
    json_t *findings = json_array();
    proto_finding(findings, "name", NULL, "%s", "\xff\xfe");
    CHECK_INT(json_array_size(findings), 1);
    CHECK(json_is_string(json_object_get(json_array_get(findings, 0), "found")));
    json_decref(findings);
}

TEST_MAIN(UNIT(findings_are_rows_with_advice_below), UNIT(findings_that_are_no_text_are_still_json))
