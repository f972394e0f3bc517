// trainer/verb_collective.c - `collective`: two processes on two devices add a vector together, as
// the ranks of a run do. Proves that they find each other and that what they get is the sum, and
// says how fast. Each rank is a fork that opens its device itself: a process that has used CUDA may
// not fork.
#include "trainer/verb_devices.h"

#include "model/backend.h"
#include "proto/json.h"
#include "proto/words.h"
#include "trainer/collective.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PROGRAM "pipeline-trainer collective"
#define RANKS 2
#define ELEMENTS ((size_t)8 << 20)  // 32 MiB, about a piece of a gradient
#define ROUNDS 8
#define DEADLINE_S 30.0

// What a rank leaves behind, in memory shared with the parent.
struct finding {
    bool done;
    double seconds;  // of the fastest round
    struct proto_error error;
};
struct attempt {
    const char *backend, *devices[RANKS];
    char name[64];
    struct finding *findings;  // [RANKS]
};

static double now_s(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

// Small whole numbers: any order of the sum gives the same bits.
static float number_of(uint32_t rank, size_t i) { return (float)(rank + 1) * (float)(i % 251); }

static bool rank_rounds(struct trainer_collective *collective, struct model_backend *backend,
                        float *data, float *host, uint32_t rank, double *best_s,
                        struct proto_error *error) {
    const size_t bytes = ELEMENTS * sizeof(float);
    *best_s = 0;
    for (int round = 0; round < ROUNDS; round++) {
        for (size_t i = 0; i < ELEMENTS; i++) host[i] = number_of(rank, i);
        if (!model_backend_upload(backend, data, host, bytes, error) ||
            !model_backend_wait(backend, error) || !trainer_collective_barrier(collective, error))
            return false;
        const double start_s = now_s();
        if (!trainer_collective_all_reduce(collective, data, ELEMENTS, 1, error)) return false;
        const double seconds = now_s() - start_s;
        if (round == 0 || seconds < *best_s) *best_s = seconds;
        if (!model_backend_download(backend, host, data, bytes, error)) return false;
        for (size_t i = 0; i < ELEMENTS; i++) {
            const float expected = number_of(0, i) + number_of(1, i);
            if (host[i] != expected)
                return proto_fail(error, PROTO_FAILED,
                                  "rank %u got %g for element %zu, the sum is %g: data is lost "
                                  "between these devices; try NCCL_P2P_DISABLE=1",
                                  rank, (double)host[i], i, (double)expected);
        }
    }
    return true;
}

static bool rank_run(const struct attempt *attempt, uint32_t rank, double *best_s,
                     struct proto_error *error) {
    struct model_backend *backend = NULL;
    struct trainer_collective *collective = NULL;
    float *data = NULL, *host = NULL;
    bool done = false;
    if (!model_backend_open(attempt->devices[rank], 1, &backend, error)) goto end;
    const struct trainer_collective_settings settings = {.backend = attempt->backend,
                                                         .name = attempt->name,
                                                         .rank = rank,
                                                         .size = RANKS,
                                                         .epoch = 1,
                                                         .elements_max = ELEMENTS,
                                                         .deadline_s = DEADLINE_S,
                                                         .device = backend};
    data = model_backend_alloc(backend, ELEMENTS * sizeof(float), error);
    if (!data) goto end;
    host = proto_alloc_array(ELEMENTS, sizeof *host, error);
    if (!host) goto end;
    done = trainer_collective_open(&settings, &collective, error) &&
           rank_rounds(collective, backend, data, host, rank, best_s, error);
    if (!done && collective) trainer_collective_fail(collective, error);
end:
    trainer_collective_close(&collective);
    free(host);
    model_backend_free(backend, data);
    model_backend_close(&backend);
    return done;
}

// The first rank that failed by itself, not because another did; NULL: both are done.
static const struct finding *attempt_failure(const struct attempt *attempt) {
    const struct finding *first = NULL;
    for (uint32_t rank = 0; rank < RANKS; rank++) {
        const struct finding *finding = &attempt->findings[rank];
        if (finding->done) continue;
        const bool by_other = strstr(finding->error.text, "abort") != NULL;
        if (!first || (!by_other && strstr(first->error.text, "abort"))) first = finding;
    }
    return first;
}

static bool attempt_run(struct attempt *attempt, struct proto_error *error) {
    pid_t children[RANKS];
    attempt->findings = mmap(NULL, RANKS * sizeof *attempt->findings, PROT_READ | PROT_WRITE,
                             MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (attempt->findings == MAP_FAILED) {
        attempt->findings = NULL;
        return proto_fail_errno(error, PROTO_EXHAUSTED, "no memory shared with the ranks");
    }
    for (uint32_t rank = 0; rank < RANKS; rank++) {
        struct finding *finding = &attempt->findings[rank];
        proto_fail(&finding->error, PROTO_FAILED, "rank %u died", rank);
        children[rank] = fork();
        if (children[rank] == 0) {
            (void)prctl(PR_SET_PDEATHSIG, SIGKILL);  // whoever is tired of waiting kills the parent
            struct proto_error failure = {0};
            finding->done = rank_run(attempt, rank, &finding->seconds, &failure);
            finding->error = failure;
            _exit(finding->done ? PROTO_DONE : PROTO_FAILED);
        }
        if (children[rank] < 0) proto_fail_errno(&finding->error, PROTO_EXHAUSTED, "no process");
    }
    for (uint32_t rank = 0; rank < RANKS; rank++) {
        int status = 0;
        while (children[rank] > 0 && waitpid(children[rank], &status, 0) < 0 && errno == EINTR)
            continue;
    }
    const struct finding *failed = attempt_failure(attempt);
    if (failed) *error = failed->error;
    return !failed;
}

int trainer_verb_collective(int count, char **words) {
    struct proto_error error = {0};
    struct attempt attempt = {.backend = "nccl"};
    const char *devices = "cuda:0,cuda:1";
    char text[128];
    bool json = false;
    size_t rest = 0;
    const struct proto_word options[] = {{"--json", PROTO_WORD_FLAG, &json},
                                         {"--backend", PROTO_WORD_TEXT, &attempt.backend},
                                         {"--devices", PROTO_WORD_TEXT, &devices}};
    if (!proto_words_read(count, words, options, PROTO_COUNT(options), NULL, 0, &rest, &error))
        return proto_error_print(PROGRAM, &error);
    snprintf(text, sizeof text, "%s", devices);
    char *comma = strchr(text, ',');
    if (!comma || strchr(comma + 1, ',')) {
        proto_fail(&error, PROTO_USAGE, "--devices is \"%.60s\", must be two: cuda:0,cuda:1",
                   devices);
        return proto_error_print(PROGRAM, &error);
    }
    *comma = '\0';
    attempt.devices[0] = text;
    attempt.devices[1] = comma + 1;
    snprintf(attempt.name, sizeof attempt.name, "collective-%ld", (long)getpid());
    const bool done = attempt_run(&attempt, &error);
    int code = PROTO_DONE;
    if (json) {
        json_t *answer =
            json_pack("{s:b, s:s, s:s, s:s, s:I}", "ok", done, "backend", attempt.backend, "first",
                      attempt.devices[0], "second", attempt.devices[1], "bytes",
                      (json_int_t)(ELEMENTS * sizeof(float)));
        if (answer && done)
            json_object_set_new(answer, "seconds", json_real(attempt.findings[0].seconds));
        if (answer && !done) {
            json_object_set_new(answer, "status", json_integer(error.status));
            json_object_set_new(answer, "why", proto_json_string(error.text));
        }
        if (answer) json_dumpf(answer, stdout, JSON_INDENT(1));
        putchar('\n');
        json_decref(answer);
    } else if (done) {
        printf("%s and %s added %zu MiB together over %s in %.2f ms (%.2f GB/s)\n",
               attempt.devices[0], attempt.devices[1], ELEMENTS * sizeof(float) >> 20,
               attempt.backend, 1e3 * attempt.findings[0].seconds,
               ELEMENTS * sizeof(float) / attempt.findings[0].seconds / 1e9);
    } else {
        code = proto_error_print(PROGRAM, &error);
    }
    if (attempt.findings) munmap(attempt.findings, RANKS * sizeof *attempt.findings);
    return fflush(stdout) == 0 ? code : PROTO_FAILED;
}
