// stages/console.h - what a person sees of a run: lines (also in training.log, with their time),
// and the progress of training as one redrawn line on a terminal, or as a plain line now and then.
//
// No colours are used, so NO_COLOR has nothing to switch off.
#ifndef STAGES_CONSOLE_H
#define STAGES_CONSOLE_H

#include "proto/error.h"

#include "stages/scores.h"

#include <jansson.h>
#include <stdint.h>

// Plain progress lines come when 5 % more are done or when the wait is over, which grows from 5 s
// to 80 s so that a run of days does not write a book.
#define STAGE_PROGRESS_WAIT_MS_MIN 5000
#define STAGE_PROGRESS_WAIT_MS_MAX 80000
#define STAGE_REDRAW_MS 200

// Counters of trainer rank 0.
struct stage_progress {
    uint64_t step, max_steps;
    double loss, step_s, samples_per_s, eta_s;
    char success[STAGE_SCORES_TEXT_BYTES];  // how often the robot succeeds; "": not known
};

struct stage_console {
    int output, log;  // descriptors; -1: none
    bool terminal;
    bool drawn;                 // a progress line stands on the terminal
    int64_t shown_ms, wait_ms;  // of the last plain line, to the next
    uint64_t shown_step;
    struct stage_progress newest;
    char success[STAGE_SCORES_TEXT_BYTES];  // as it is to be shown from now on
};

// Lines go to `output` (1) and are appended to the file `log`.
PROTO_MUST_CHECK bool stage_console_open(struct stage_console *console, int output, const char *log,
                                         struct proto_error *error);
// One line; control characters in it are replaced. `source` ("trainer-0") stands in the log only.
void stage_console_say(struct stage_console *console, const char *source, const char *format, ...)
    PROTO_PRINTF(3, 4);
// The newest counters of the trainer; draws when it is time.
void stage_console_progress(struct stage_console *console, const json_t *counters, int64_t now_ms);
// What an evaluator does, when training is over: its counters.
void stage_console_evaluation(struct stage_console *console, const json_t *counters,
                              int64_t now_ms);
// Shows the newest progress if it was not shown yet, and leaves a whole line behind.
void stage_console_flush(struct stage_console *console);
void stage_console_close(struct stage_console *console);

// "Steps: 12/300 [=>      ] loss 0.123  1.23 s/step  13.0 samples/s  ETA 0:05:54  success 18/20 at
// step 10 (best 18/20 at 10)"; numbers that are not known are left out. `columns` is the width that
// must not be passed, 0: any.
void stage_progress_text(const struct stage_progress *progress, unsigned columns,
                         char text[static 256]);
// "Evaluating checkpoint-1750: 12/30 episodes, 3 more wait  ETA 0:01:20  success ..."; false: it
// evaluates none.
bool stage_evaluation_text(const json_t *counters, const char *success, unsigned columns,
                           char text[static 256]);
// False: there is no step in the counters.
bool stage_progress_read(const json_t *counters, struct stage_progress *progress);

#endif
