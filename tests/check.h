// tests/check.h - a thin layer over cmocka: tests named for the promise they keep, cases named in
// failures, texts compared with both sides shown.
//
//     TEST(stream_visits_every_sample_once_per_epoch) { CHECK(...); CHECK_TEXT(error.text, "...");
//     } TEST_MAIN(UNIT(stream_visits_every_sample_once_per_epoch), ...)
//
// Files of ../shared are found through PIPELINE_SHARED (CMake passes it when the folder is there);
// a test that needs one begins with NEED_SHARED(), which skips by name on a machine without it and
// fails when PIPELINE_REQUIRE_SHARED is set, as in CI.
#ifndef TESTS_CHECK_H
#define TESTS_CHECK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define TEST(name) static void name(void **state __attribute__((unused)))
#define UNIT(name) cmocka_unit_test(name)
#define TEST_MAIN(...)                                                                             \
    int main(void) {                                                                               \
        const struct CMUnitTest units[] = {__VA_ARGS__};                                           \
        return cmocka_run_group_tests(units, NULL, NULL);                                          \
    }

// Names the row of a table under test; printed in front of a failure.
static const char *check_case = "";
#define TEST_CASE(name) (check_case = (name))

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition))                                                                          \
            fail_msg("%s%s%s is false", check_case, *check_case ? ": " : "", #condition);          \
    } while (0)
#define CHECK_OK(call, error)                                                                      \
    do {                                                                                           \
        if (!(call))                                                                               \
            fail_msg("%s%s%s failed: %s: %s", check_case, *check_case ? ": " : "", #call,          \
                     (error).where, (error).text);                                                 \
    } while (0)
#define CHECK_INT(found, expected)                                                                 \
    do {                                                                                           \
        const long long check_found = (long long)(found), check_expected = (long long)(expected);  \
        if (check_found != check_expected)                                                         \
            fail_msg("%s%s%s is %lld, expected %lld", check_case, *check_case ? ": " : "", #found, \
                     check_found, check_expected);                                                 \
    } while (0)
#define CHECK_TEXT(found, expected)                                                                \
    do {                                                                                           \
        if (strcmp((found), (expected)) != 0)                                                      \
            fail_msg("%s%sfound    \"%s\"\nexpected \"%s\"", check_case, *check_case ? ": " : "",  \
                     (found), (expected));                                                         \
    } while (0)
#define CHECK_HAS(text, part)                                                                      \
    do {                                                                                           \
        if (!strstr((text), (part)))                                                               \
            fail_msg("%s%s\"%s\"\ndoes not contain \"%s\"", check_case, *check_case ? ": " : "",   \
                     (text), (part));                                                              \
    } while (0)
// |found - expected| <= limit; NaN fails.
#define CHECK_NEAR(found, expected, limit)                                                         \
    do {                                                                                           \
        const double check_found = (double)(found), check_expected = (double)(expected);           \
        const double check_off = check_found - check_expected;                                     \
        if (!((check_off < 0 ? -check_off : check_off) <= (limit)))                                \
            fail_msg("%s%s%s is %.17g, expected %.17g within %g", check_case,                      \
                     *check_case ? ": " : "", #found, check_found, check_expected,                 \
                     (double)(limit));                                                             \
    } while (0)

// The folder of recorded truth, or NULL.
static inline const char *check_shared(void) {
    const char *folder = getenv("PIPELINE_SHARED");
    return folder && *folder ? folder : NULL;
}
#define NEED_SHARED()                                                                              \
    do {                                                                                           \
        if (!check_shared()) {                                                                     \
            if (getenv("PIPELINE_REQUIRE_SHARED")) fail_msg("PIPELINE_SHARED is not set");         \
            print_message("needs the recorded data of ../shared\n");                               \
            skip();                                                                                \
        }                                                                                          \
    } while (0)

// A new empty folder below $TMPDIR or /tmp, left in `path`; ends the test when it cannot be made.
static inline void check_folder(char path[static 256]) {
    const char *root = getenv("TMPDIR");
    snprintf(path, 256, "%s/pipeline-test-XXXXXX", root && *root ? root : "/tmp");
    if (!mkdtemp(path)) fail_msg("cannot make %s", path);
}

#endif
