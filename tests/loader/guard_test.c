// tests/loader/guard_test.c - a crash in the library is a result, not the end: once it is tried
// again, twice in one place it is named. And no damaged file gets past a guarded reader without an
// outcome: bytes of a small file are flipped, and each run ends by itself, well or with a status.
#include "loader/guard.h"
#include "loader/survey.h"
#include "proto/files.h"
#include "proto/place.h"

#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/loader/demo_file.h"

// Under the address sanitizer: damaged lengths ask for gigabytes, which the reader refuses itself;
// and what the sanitizer finds inside the library on a damaged file is a fault as any other.
const char *__asan_default_options(void);
const char *__asan_default_options(void) { return "allocator_may_return_null=1:abort_on_error=1"; }

static bool say_hello(void *context, FILE *out, struct proto_error *error) {
    (void)error;
    fprintf(out, "hello %s\n", (const char *)context);
    return true;
}

static bool say_no(void *context, FILE *out, struct proto_error *error) {
    (void)context;
    fprintf(out, "half\n");
    proto_fail(error, PROTO_REFUSED, "it does not do");
    return proto_error_where(error, "a file");
}

// Dies of a signal at the first `times` runs, each in the dataset of that number modulo `places`.
struct dying {
    int signal, times, places;
    int *runs;  // shared with the children
};

static bool die(void *context, FILE *out, struct proto_error *error) {
    const struct dying *dying = context;
    char dataset[24];
    (void)error;
    const int run = (*dying->runs)++;
    fprintf(out, "run %d\n", run);
    snprintf(dataset, sizeof dataset, "data/%d", run % dying->places);
    proto_place_note("f.hdf5", dataset);
    if (run < dying->times) raise(dying->signal);
    return true;
}

// Runs it with stdout in a file; its content into text.
static bool guarded(const struct loader_guard_work *work, char *text, size_t size,
                    struct proto_error *error) {
    fflush(stdout);
    FILE *file = tmpfile();
    const int saved = dup(1);
    dup2(fileno(file), 1);
    const bool done = loader_guard_run(work, error);
    fflush(stdout);
    dup2(saved, 1);
    close(saved);
    rewind(file);
    text[fread(text, 1, size - 1, file)] = '\0';
    fclose(file);
    return done;
}

TEST(guard_hands_back_output_result_and_error_of_the_child) {
    char text[256];
    struct proto_error error = {0};
    char world[] = "world";
    CHECK_OK(guarded(&(struct loader_guard_work){say_hello, world}, text, sizeof text, &error),
             error);
    CHECK_TEXT(text, "hello world\n");
    CHECK(!guarded(&(struct loader_guard_work){say_no, NULL}, text, sizeof text, &error));
    CHECK_TEXT(text, "half\n");
    CHECK_INT(error.status, PROTO_REFUSED);
    CHECK_TEXT(error.text, "it does not do");
    CHECK_TEXT(error.where, "a file");
}

TEST(guard_names_the_dataset_of_a_second_fault_and_only_of_a_fault) {
    static const struct {
        const char *name;
        struct dying dying;
        bool done;
        int runs;
        enum proto_status status;
        const char *text, *where;
    } cases[] = {
        {"one fault is tried again", {SIGSEGV, 1, 1, NULL}, true, 2, PROTO_DONE, "run 1\n", ""},
        {"two faults", {SIGSEGV, 9, 1, NULL}, false, 2, PROTO_DAMAGED, "", "f.hdf5: data/0"},
        {"bus", {SIGBUS, 9, 1, NULL}, false, 2, PROTO_DAMAGED, "", "f.hdf5: data/0"},
        {"abort", {SIGABRT, 9, 1, NULL}, false, 2, PROTO_DAMAGED, "", "f.hdf5: data/0"},
        {"floating point", {SIGFPE, 9, 1, NULL}, false, 2, PROTO_DAMAGED, "", "f.hdf5: data/0"},
        {"other places", {SIGSEGV, 2, 9, NULL}, true, 3, PROTO_DONE, "run 2\n", ""},
        {"places without end",
         {SIGSEGV, 99, 99, NULL},
         false,
         6,
         PROTO_DAMAGED,
         "",
         "f.hdf5: data/5"},
        {"killed", {SIGKILL, 9, 1, NULL}, false, 1, PROTO_FAILED, "", "f.hdf5: data/0"},
    };
    int *runs = mmap(NULL, sizeof *runs, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    for (size_t i = 0; i < PROTO_COUNT(cases); i++) {
        struct dying dying = cases[i].dying;
        struct proto_error error = {0};
        char text[256];
        *runs = 0;
        dying.runs = runs;
        TEST_CASE(cases[i].name);
        CHECK(guarded(&(struct loader_guard_work){die, &dying}, text, sizeof text, &error) ==
              cases[i].done);
        CHECK_INT(*runs, cases[i].runs);
        CHECK_TEXT(text, cases[i].text);
        if (cases[i].done) continue;
        CHECK_INT(error.status, cases[i].status);
        CHECK_HAS(error.where, cases[i].where);
    }
    munmap(runs, sizeof *runs);
}

// Surveys a whole file, as check does; ends by SIGALRM if the library hangs.
static bool survey(void *context, FILE *out, struct proto_error *error) {
    struct loader_survey *survey = NULL;
    const struct loader_survey_settings settings = {.config = context};
    (void)out;
    alarm(20);
    if (!loader_survey_new(&settings, &survey, error)) return false;
    loader_survey_free(&survey);
    return true;
}

TEST(no_flipped_byte_hangs_a_reader_or_ends_without_a_status) {
    char folder[256], path[300], text[256];
    struct proto_error error = {0};
    char *bytes = NULL;
    size_t size_bytes = 0;
    int read = 0, refused = 0;
    check_folder(folder);
    snprintf(path, sizeof path, "%s/a_demo.hdf5", folder);
    demo_file_write(path, &(struct demo_file){.demos = 3, .steps = 6, .layout = DEMO_GZIP});
    CHECK_OK(proto_file_read(path, 1 << 24, PROTO_FAILED, &bytes, &size_bytes, &error), error);
    struct proto_config *config = demo_config(path, (const char *[]){"data.alignment=after", NULL});
    struct proto_random random = proto_random_at(7, PROTO_PURPOSE_WORD, 0);
    for (int run = 0; run < 150; run++) {
        char *copy = malloc(size_bytes);
        memcpy(copy, bytes, size_bytes);
        const uint32_t flips = 1 + proto_random_below(&random, 6);
        // half of them in the first kilobytes, where the structure is
        const uint32_t span = (uint32_t)(run % 2 ? size_bytes : size_bytes / 8);
        for (uint32_t i = 0; i < flips; i++)
            copy[proto_random_below(&random, span)] ^= (char)(1 + proto_random_below(&random, 255));
        CHECK_OK(proto_file_write(path, copy, size_bytes, &error), error);
        free(copy);
        error = (struct proto_error){0};
        const bool done =
            guarded(&(struct loader_guard_work){survey, config}, text, sizeof text, &error);
        done ? read++ : refused++;
        if (done) continue;
        if (error.status != PROTO_DAMAGED && error.status != PROTO_USAGE)
            fail_msg("run %d: status %d: %s: %s", run, error.status, error.where, error.text);
        CHECK(error.text[0] != '\0' && error.where[0] != '\0');
    }
    CHECK(read > 0 && refused > 0);  // the damage does reach both
    free(bytes);
    proto_config_free(&config);
    CHECK_OK(proto_folder_remove(folder, &error), error);
}

TEST_MAIN(UNIT(guard_hands_back_output_result_and_error_of_the_child),
          UNIT(guard_names_the_dataset_of_a_second_fault_and_only_of_a_fault),
          UNIT(no_flipped_byte_hangs_a_reader_or_ends_without_a_status))
