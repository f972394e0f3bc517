// stages/verdict.c - see verdict.h.
#include "stages/verdict.h"

#include "proto/run.h"

#include <fcntl.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TAIL_BYTES ((off_t)256 * 1024)  // of metrics.jsonl: some hundreds of steps
#define LOADERS_SHARE 0.05              // of a step, waited for batches by the average rank
#define SLOWER_SHARE 0.05               // of a step, the others wait more than the slowest rank
#define EXCHANGE_SHARE 0.10             // of a step, every rank waits at least

// ---- reading ----

static bool waits_add(struct stage_waits *waits, const json_t *line) {
    const json_t *data = json_object_get(line, "data_wait_s");
    const json_t *collective = json_object_get(line, "collective_wait_s");
    const json_t *step_s = json_object_get(line, "step_s");
    const size_t ranks = json_array_size(data);
    if (ranks < 1 || ranks > STAGE_VERDICT_RANKS_MAX || json_array_size(collective) != ranks ||
        !json_is_number(step_s))
        return false;
    // other ranks than before: what was is history
    if (waits->ranks != ranks) *waits = (struct stage_waits){.ranks = (uint32_t)ranks};
    waits->steps++;
    waits->step_s += json_number_value(step_s);
    for (size_t i = 0; i < ranks; i++) {
        waits->data_s[i] += json_number_value(json_array_get(data, i));
        waits->collective_s[i] += json_number_value(json_array_get(collective, i));
    }
    return true;
}

static void waits_average(struct stage_waits *waits) {
    waits->step_s /= (double)waits->steps;
    for (uint32_t i = 0; i < waits->ranks; i++) {
        waits->data_s[i] /= (double)waits->steps;
        waits->collective_s[i] /= (double)waits->steps;
    }
}

bool stage_waits_read(const char *run, struct stage_waits *waits) {
    char path[PROTO_PATH_MAX];
    struct proto_error ignored = {0};
    struct stat info;
    *waits = (struct stage_waits){0};
    if (!proto_run_path(run, "metrics.jsonl", path, &ignored)) return false;
    const int file = open(path, O_RDONLY | O_CLOEXEC);
    char *tail = file >= 0 ? malloc((size_t)TAIL_BYTES) : NULL;
    ssize_t count = -1;
    off_t begin = 0;
    if (tail && fstat(file, &info) == 0) {
        begin = info.st_size > TAIL_BYTES ? info.st_size - TAIL_BYTES : 0;
        count = pread(file, tail, (size_t)TAIL_BYTES, begin);
    }
    if (file >= 0) close(file);
    const char *at = tail, *end = count > 0 ? tail + count : tail;
    // the first line may be cut, and the first steps of a run are no measure
    bool skip = true;
    for (const char *stop; at < end && (stop = memchr(at, '\n', (size_t)(end - at)));
         at = stop + 1) {
        json_t *line = skip ? NULL : json_loadb(at, (size_t)(stop - at), 0, NULL);
        if (line) (void)waits_add(waits, line);
        json_decref(line);
        skip = false;
    }
    free(tail);
    if (waits->steps < STAGE_VERDICT_STEPS_MIN || !(waits->step_s > 0)) return false;
    waits_average(waits);
    return true;
}

// ---- words ----

static void say(char text[static STAGE_VERDICT_TEXT_BYTES], const char *format, ...)
    PROTO_PRINTF(2, 3);
static void say(char text[static STAGE_VERDICT_TEXT_BYTES], const char *format, ...) {
    const size_t used = strlen(text);
    const char *join = used > 0 ? "; " : "";
    va_list arguments;
    snprintf(text + used, STAGE_VERDICT_TEXT_BYTES - used, "%s", join);
    const size_t begin = strlen(text);
    va_start(arguments, format);
    vsnprintf(text + begin, STAGE_VERDICT_TEXT_BYTES - begin, format, arguments);
    va_end(arguments);
}

bool stage_verdict(const struct stage_waits *waits, char text[static STAGE_VERDICT_TEXT_BYTES]) {
    const uint32_t ranks = waits->ranks;
    uint32_t slowest = 0, hungriest = 0;
    double data_s = 0, most_s = 0;
    text[0] = '\0';
    if (ranks < 1 || !(waits->step_s > 0)) return false;
    // whom the others wait for waits least itself
    for (uint32_t i = 0; i < ranks; i++) {
        data_s += waits->data_s[i] / ranks;
        if (waits->collective_s[i] < waits->collective_s[slowest]) slowest = i;
        if (waits->data_s[i] > waits->data_s[hungriest]) hungriest = i;
        if (waits->collective_s[i] > most_s) most_s = waits->collective_s[i];
    }
    const double least_s = waits->collective_s[slowest];
    const double step_s = waits->step_s;
    if (data_s > LOADERS_SHARE * step_s)
        say(text,
            "loader-bound: ranks wait %.0f %% of a step for batches; `pipeline scale loader=N` "
            "with "
            "a larger N",
            100 * data_s / step_s);
    if (ranks > 1 && most_s - least_s > SLOWER_SHARE * step_s) {
        // a rank that was fed late is late for the others
        const double apart_s = waits->data_s[hungriest] - data_s;
        if (hungriest == slowest && apart_s > 0.5 * (most_s - least_s))
            say(text, "rank %u gets its batches later: the others wait %.0f %% of a step for it",
                slowest, 100 * (most_s - least_s) / step_s);
        else
            say(text,
                "rank %u is slower: the others wait %.0f %% of a step for it; is something else "
                "running on its device or cores?",
                slowest, 100 * (most_s - least_s) / step_s);
    }
    if (ranks > 1 && least_s > EXCHANGE_SHARE * step_s)
        say(text,
            "communication: every rank waits %.0f %% of a step or more for gradients; more "
            "gradient_accumulation_steps make it rarer, `pipeline doctor nccl` looks at the way",
            100 * least_s / step_s);
    if (text[0] != '\0') return true;
    say(text, "nothing holds the ranks up: %.1f %% of a step waiting for batches",
        100 * data_s / step_s);
    if (ranks > 1) {
        const size_t used = strlen(text);
        snprintf(text + used, STAGE_VERDICT_TEXT_BYTES - used, ", at most %.1f %% for each other",
                 100 * most_s / step_s);
    }
    return false;
}
