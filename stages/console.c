// stages/console.c - see console.h.
#include "stages/console.h"

#include "stages/clock.h"

#include <fcntl.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define LINE_BYTES 2048
#define BAR_CELLS 24
#define PLAIN_PARTS 20  // a plain line at least every 1/20 of the steps

bool stage_console_open(struct stage_console *console, int output, const char *log,
                        struct proto_error *error) {
    *console =
        (struct stage_console){.output = output, .log = -1, .wait_ms = STAGE_PROGRESS_WAIT_MS_MIN};
    console->terminal = output >= 0 && isatty(output);
    console->log = open(log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    if (console->log >= 0) return true;
    return proto_fail_errno(error, PROTO_FAILED, "%s cannot be written", log);
}

// What is lost when a terminal or a disk does not take a line is a line: nothing hangs on it.
static void console_write(int descriptor, const char *text, size_t length) {
    while (descriptor >= 0 && length > 0) {
        const ssize_t written = write(descriptor, text, length);
        if (written <= 0) return;
        text += written;
        length -= (size_t)written;
    }
}

static void console_clear(struct stage_console *console) {
    static const char clear[] = "\r\033[K";
    if (console->drawn) console_write(console->output, clear, sizeof clear - 1);
    console->drawn = false;
}

void stage_console_say(struct stage_console *console, const char *source, const char *format, ...) {
    char line[LINE_BYTES], logged[LINE_BYTES + 128], time_text[32];
    va_list arguments;
    va_start(arguments, format);
    const int wanted = vsnprintf(line, sizeof line - 1, format, arguments);
    va_end(arguments);
    if (wanted < 0) return;
    // a text from a stage must not steer the terminal
    for (char *letter = line; *letter; letter++)
        if ((unsigned char)*letter < 0x20 || *letter == 0x7f)
            *letter = *letter == '\t' ? '\t' : ' ';
    stage_time_text(time_text);
    const int length = snprintf(logged, sizeof logged, "%s %-10s %s\n", time_text, source, line);
    const bool was_drawn = console->drawn;
    console_clear(console);
    const size_t used = strlen(line);
    line[used] = '\n';
    console_write(console->output, line, used + 1);
    console_write(console->log, logged, (size_t)length);
    if (was_drawn) console->shown_step = UINT64_MAX;  // drawn again with the next counters
}

bool stage_progress_read(const json_t *counters, struct stage_progress *progress) {
    const json_t *step = json_object_get(counters, "step");
    const json_t *max_steps = json_object_get(counters, "max_steps");
    if (!json_is_integer(step) || json_integer_value(step) < 0) return false;
    *progress = (struct stage_progress){.step = (uint64_t)json_integer_value(step)};
    if (json_is_integer(max_steps) && json_integer_value(max_steps) > 0)
        progress->max_steps = (uint64_t)json_integer_value(max_steps);
    const struct {
        const char *key;
        double *value;
    } reals[] = {{"loss", &progress->loss},
                 {"step_s", &progress->step_s},
                 {"samples_per_s", &progress->samples_per_s},
                 {"eta_s", &progress->eta_s}};
    for (size_t i = 0; i < PROTO_COUNT(reals); i++) {
        const json_t *value = json_object_get(counters, reals[i].key);
        *reals[i].value = json_is_number(value) ? json_number_value(value) : NAN;
    }
    return true;
}

// Appends and says how much of the text is used.
static size_t text_add(char text[static 256], size_t used, const char *format, ...)
    PROTO_PRINTF(3, 4);
static size_t text_add(char text[static 256], size_t used, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    const int length = vsnprintf(text + used, 256 - used, format, arguments);
    va_end(arguments);
    return length > 0 && (size_t)length < 256 - used ? used + (size_t)length : 255;
}

static void text_cut(char text[static 256], size_t used, unsigned columns) {
    if (columns > 1 && used > columns - 1 && columns - 1 < 255) text[columns - 1] = '\0';
}

void stage_progress_text(const struct stage_progress *progress, unsigned columns,
                         char text[static 256]) {
    char eta[32];
    const double part =
        progress->max_steps > 0 ? (double)progress->step / (double)progress->max_steps : 0;
    const int cells = (int)((part < 1 ? part : 1) * BAR_CELLS);
    char bar[BAR_CELLS + 1];
    for (int i = 0; i < BAR_CELLS; i++) bar[i] = i < cells ? '=' : ' ';
    if (cells > 0 && cells < BAR_CELLS) bar[cells - 1] = '>';
    bar[BAR_CELLS] = '\0';
    size_t used = text_add(text, 0, "Steps: %llu/%llu [%s]", (unsigned long long)progress->step,
                           (unsigned long long)progress->max_steps, bar);
    if (isfinite(progress->loss)) used = text_add(text, used, " loss %.4g", progress->loss);
    if (isfinite(progress->step_s)) used = text_add(text, used, "  %.3g s/step", progress->step_s);
    if (isfinite(progress->samples_per_s))
        used = text_add(text, used, "  %.1f samples/s", progress->samples_per_s);
    if (isfinite(progress->eta_s)) {
        stage_duration_text(progress->eta_s, eta);
        used = text_add(text, used, "  ETA %s", eta);
    }
    if (progress->success[0] != '\0') used = text_add(text, used, "  %s", progress->success);
    text_cut(text, used, columns);
}

bool stage_evaluation_text(const json_t *counters, const char *success, unsigned columns,
                           char text[static 256]) {
    char eta[32];
    const json_t *step = json_object_get(counters, "evaluating");
    const json_t *eta_s = json_object_get(counters, "eta_s");
    const json_int_t waiting = json_integer_value(json_object_get(counters, "waiting"));
    if (!json_is_integer(step)) return false;
    size_t used = text_add(text, 0, "Evaluating checkpoint-%lld: %lld/%lld episodes",
                           (long long)json_integer_value(step),
                           (long long)json_integer_value(json_object_get(counters, "episode")),
                           (long long)json_integer_value(json_object_get(counters, "episodes")));
    if (waiting > 0) used = text_add(text, used, ", %lld more wait", (long long)waiting);
    if (json_is_number(eta_s) && json_number_value(eta_s) >= 0) {
        stage_duration_text(json_number_value(eta_s), eta);
        used = text_add(text, used, "  ETA %s", eta);
    }
    if (success[0] != '\0') used = text_add(text, used, "  %s", success);
    text_cut(text, used, columns);
    return true;
}

static unsigned console_columns(const struct stage_console *console) {
    struct winsize size = {0};
    if (!console->terminal) return 0;
    return ioctl(console->output, TIOCGWINSZ, &size) == 0 ? size.ws_col : 80;
}

// One line of progress: redrawn on a terminal, else appended.
static void console_put(struct stage_console *console, const char *text, int64_t now_ms) {
    char line[288];
    const int length = console->terminal ? snprintf(line, sizeof line, "\r%s\033[K", text)
                                         : snprintf(line, sizeof line, "%s\n", text);
    console_write(console->output, line, (size_t)length);
    console->drawn = console->terminal;
    console->shown_ms = now_ms;
}

static void console_draw(struct stage_console *console, int64_t now_ms) {
    char text[256];
    stage_progress_text(&console->newest, console_columns(console), text);
    console_put(console, text, now_ms);
    console->shown_step = console->newest.step;
}

void stage_console_progress(struct stage_console *console, const json_t *counters, int64_t now_ms) {
    if (!stage_progress_read(counters, &console->newest)) return;
    snprintf(console->newest.success, sizeof console->newest.success, "%s", console->success);
    const struct stage_progress *newest = &console->newest;
    const bool first = console->shown_ms == 0;
    if (!first && newest->step == console->shown_step) return;
    if (console->terminal) {
        if (first || now_ms - console->shown_ms >= STAGE_REDRAW_MS) console_draw(console, now_ms);
        return;
    }
    // a restart from a checkpoint takes the step back: that is news too
    const uint64_t apart = newest->max_steps / PLAIN_PARTS;
    const bool far = newest->step < console->shown_step ||
                     newest->step - console->shown_step >= (apart > 0 ? apart : 1);
    const bool late = now_ms - console->shown_ms >= console->wait_ms;
    if (!first && !far && !late) return;
    if (late && !first && console->wait_ms < STAGE_PROGRESS_WAIT_MS_MAX) console->wait_ms *= 2;
    console_draw(console, now_ms);
}

void stage_console_evaluation(struct stage_console *console, const json_t *counters,
                              int64_t now_ms) {
    char text[256];
    const int64_t since_ms = now_ms - console->shown_ms;
    if (console->shown_step != console->newest.step)
        console_draw(console, now_ms);  // training's last
    if (since_ms < (console->terminal ? STAGE_REDRAW_MS : console->wait_ms)) return;
    if (!stage_evaluation_text(counters, console->success, console_columns(console), text)) return;
    if (!console->terminal && console->wait_ms < STAGE_PROGRESS_WAIT_MS_MAX) console->wait_ms *= 2;
    console_put(console, text, now_ms);
}

void stage_console_flush(struct stage_console *console) {
    if (console->shown_ms != 0 && console->shown_step != console->newest.step)
        console_draw(console, stage_now_ms());
    if (console->drawn) console_write(console->output, "\n", 1);
    console->drawn = false;
}

void stage_console_close(struct stage_console *console) {
    stage_console_flush(console);
    if (console->log >= 0) close(console->log);
    console->log = -1;
}
