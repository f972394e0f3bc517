// stages/plot_svg.c - draws a struct stage_plot as SVG that is readable on white and on dark pages:
// success above (share of episodes, bars are 95 % intervals), error below (logarithmic).
#include "stages/plot.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <string.h>

// Pixels.
enum {
    WIDTH = 840,
    LEFT = 62,
    RIGHT = 196,  // for the words beside the curves
    TOP = 30,
    BOTTOM = 46,
    SUCCESS_HEIGHT = 190,
    ERROR_HEIGHT = 210,
    GAP = 44,     // between the two, with the title of the second
    LETTER = 15,  // from one line of words to the next
    STRIP = 14,   // right of the curves, where a report's marks begin
    STRIP_STEP = 12,
    PIECES = 600,  // of the thin line; more steps than that are averaged in pieces
    LABELS_MAX = 8,
};
#define RUNNING_WEIGHT 0.98  // of the past in the running mean of the loss

static const char policy_colour[] = "#2f855a", validation_colour[] = "#c53030";
static const char open_loop_colour[] = "#b07000", blind_colour[] = "#7a3fa0";
static const char loss_colour[] = "#2b6cb0", loss_pale[] = "#c3d7ef", mean_colour[] = "#777777";

struct panel {
    double top, height, low, high;  // pixels; values at the bottom and the top
    bool logarithmic;               // low and high are log10 of the values
};

// Words right of a panel, beside the height they belong to.
struct label {
    double y;
    const char *colour;
    char words[64];
};
struct sheet {
    FILE *to;
    double step_max;
    struct label labels[LABELS_MAX];
    size_t label_count;
};

static double x_of(const struct sheet *sheet, double step) {
    return LEFT + (WIDTH - LEFT - RIGHT) * step / sheet->step_max;
}

static double y_of(const struct panel *panel, double value) {
    const double at = panel->logarithmic ? log10(value) : value;
    return panel->top + panel->height * (panel->high - at) / (panel->high - panel->low);
}

// ---- marks --------------------------------------------------------------------------------------

static void text_draw(const struct sheet *sheet, double x, double y, const char *colour,
                      const char *anchor, const char *words) {
    fprintf(
        sheet->to,
        "<text x=\"%.1f\" y=\"%.1f\" fill=\"%s\" font-size=\"12\" text-anchor=\"%s\">%s</text>\n",
        x, y, colour, anchor, words);
}

static void line_draw(const struct sheet *sheet, double x0, double y0, double x1, double y1,
                      const char *colour, const char *more) {
    fprintf(sheet->to, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"%s\" %s/>\n",
            x0, y0, x1, y1, colour, more);
}

static void curve_begin(const struct sheet *sheet, const char *colour, double width) {
    fprintf(sheet->to,
            "<polyline fill=\"none\" stroke=\"%s\" stroke-width=\"%.1f\" "
            "stroke-linejoin=\"round\" points=\"",
            colour, width);
}

static void curve_point(const struct sheet *sheet, double x, double y) {
    fprintf(sheet->to, "%.1f,%.1f ", x, y);
}

static void curve_end(const struct sheet *sheet) { fputs("\"/>\n", sheet->to); }

// An interval as a bar with feet.
static void bar_draw(const struct sheet *sheet, const struct panel *panel, double x,
                     const struct stage_plot_rate *rate, const char *colour) {
    const double low = y_of(panel, rate->low), high = y_of(panel, rate->high);
    line_draw(sheet, x, low, x, high, colour, "stroke-width=\"1.2\"");
    line_draw(sheet, x - 3, low, x + 3, low, colour, "stroke-width=\"1.2\"");
    line_draw(sheet, x - 3, high, x + 3, high, colour, "stroke-width=\"1.2\"");
}

// ---- words beside the curves --------------------------------------------------------------------

static void label_add(struct sheet *sheet, double y, const char *colour, const char *format, ...)
    PROTO_PRINTF(4, 5);
static void label_add(struct sheet *sheet, double y, const char *colour, const char *format, ...) {
    if (sheet->label_count == LABELS_MAX) return;
    struct label *label = &sheet->labels[sheet->label_count++];
    *label = (struct label){.y = y, .colour = colour};
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(label->words, sizeof label->words, format, arguments);
    va_end(arguments);
}

// Writes them from top to bottom, none upon another, none below the panel; forgets them.
static void labels_draw(struct sheet *sheet, const struct panel *panel, double x) {
    struct label *const labels = sheet->labels;
    const size_t count = sheet->label_count;
    for (size_t i = 1; i < count; i++)
        for (size_t k = i; k > 0 && labels[k].y < labels[k - 1].y; k--) {
            const struct label other = labels[k];
            labels[k] = labels[k - 1];
            labels[k - 1] = other;
        }
    for (size_t i = 1; i < count; i++) labels[i].y = fmax(labels[i].y, labels[i - 1].y + LETTER);
    double lowest = panel->top + panel->height;
    for (size_t i = count; i-- > 0; lowest -= LETTER) {
        labels[i].y = fmin(labels[i].y, lowest);
        lowest = fmin(lowest, labels[i].y);
    }
    for (size_t i = 0; i < count; i++)
        text_draw(sheet, x, labels[i].y + 4, labels[i].colour, "start", labels[i].words);
    sheet->label_count = 0;
}

// ---- axes ---------------------------------------------------------------------------------------

// 1, 2 or 5 times a power of ten, so that there are four to ten parts.
static double part_of(double whole) {
    const double power = pow(10, floor(log10(whole / 4)));
    const double factor = whole / 4 / power;
    return power * (factor >= 5 ? 5 : factor >= 2 ? 2 : 1);
}

static void grid_steps(const struct sheet *sheet, const struct panel *panel, bool named) {
    const double bottom = panel->top + panel->height, part = fmax(1, part_of(sheet->step_max));
    char words[32];
    for (double step = 0; step <= sheet->step_max; step += part) {
        line_draw(sheet, x_of(sheet, step), bottom, x_of(sheet, step), bottom + 4, "#999999", "");
        snprintf(words, sizeof words, "%.0f", step);
        if (named) text_draw(sheet, x_of(sheet, step), bottom + 18, "#333333", "middle", words);
    }
    line_draw(sheet, LEFT, bottom, WIDTH - RIGHT, bottom, "#999999", "");
    if (named)
        text_draw(sheet, (LEFT + WIDTH - RIGHT) / 2.0, bottom + 36, "#333333", "middle",
                  "optimiser step");
}

static void grid_value(const struct sheet *sheet, const struct panel *panel, double value,
                       const char *words) {
    const double y = y_of(panel, value);
    line_draw(sheet, LEFT, y, WIDTH - RIGHT, y, "#e4e4e4", "");
    text_draw(sheet, LEFT - 8, y + 4, "#333333", "end", words);
}

static void grid_logarithmic(const struct sheet *sheet, const struct panel *panel) {
    static const double factors[] = {1, 2, 5};
    char words[32];
    for (double power = floor(panel->low); power <= panel->high; power++)
        for (size_t i = 0; i < PROTO_COUNT(factors); i++) {
            const double value = factors[i] * pow(10, power);
            if (log10(value) < panel->low || log10(value) > panel->high) continue;
            snprintf(words, sizeof words, "%g", value);
            grid_value(sheet, panel, value, words);
        }
}

// ---- success ------------------------------------------------------------------------------------

static void rates_draw(const struct sheet *sheet, const struct panel *panel,
                       const struct stage_plot *plot) {
    for (size_t i = 0; i < plot->rate_count; i++)
        bar_draw(sheet, panel, x_of(sheet, (double)plot->rates[i].step), &plot->rates[i],
                 "#8fc4a8");
    curve_begin(sheet, policy_colour, 2);
    for (size_t i = 0; i < plot->rate_count; i++)
        curve_point(sheet, x_of(sheet, (double)plot->rates[i].step),
                    y_of(panel, plot->rates[i].rate));
    curve_end(sheet);
    for (size_t i = 0; i < plot->rate_count; i++)
        fprintf(sheet->to, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3.5\" fill=\"%s\"/>\n",
                x_of(sheet, (double)plot->rates[i].step), y_of(panel, plot->rates[i].rate),
                policy_colour);
}

// The report's rows stand right of the curves, where they hide nothing.
static void reports_draw(struct sheet *sheet, const struct panel *panel,
                         const struct stage_plot *plot) {
    static const char *const names[STAGE_PLOT_REPORTS] = {"policy", "open loop", "blind"};
    static const char *const colours[STAGE_PLOT_REPORTS] = {policy_colour, open_loop_colour,
                                                            blind_colour};
    double x = WIDTH - RIGHT + STRIP;
    for (int k = 0; k < STAGE_PLOT_REPORTS; k++, x += STRIP_STEP) {
        const struct stage_plot_rate *report = &plot->reports[k];
        if (report->episodes == 0) continue;
        const double y = y_of(panel, report->rate);
        bar_draw(sheet, panel, x, report, colours[k]);
        fprintf(sheet->to, "<path d=\"M%.1f %.1fl5 -5l5 5l-5 5z\" fill=\"%s\"/>\n", x - 5, y,
                colours[k]);
        label_add(sheet, y, colours[k], "%s %" PRIu32 "/%" PRIu32, names[k], report->successes,
                  report->episodes);
    }
    if (plot->reports[STAGE_PLOT_POLICY].episodes > 0) {
        char words[64];
        snprintf(words, sizeof words, "report of step %" PRIu64,
                 plot->reports[STAGE_PLOT_POLICY].step);
        text_draw(sheet, WIDTH - RIGHT + STRIP - 5, panel->top - 12, "#333333", "start", words);
    }
    labels_draw(sheet, panel, x + 2);
}

static bool success_any(const struct stage_plot *plot) {
    bool any = plot->rate_count > 0;
    for (int k = 0; k < STAGE_PLOT_REPORTS; k++) any = any || plot->reports[k].episodes > 0;
    return any;
}

static void success_draw(struct sheet *sheet, const struct panel *panel,
                         const struct stage_plot *plot) {
    char words[96];
    for (int percent = 0; percent <= 100; percent += 25) {
        snprintf(words, sizeof words, "%d %%", percent);
        grid_value(sheet, panel, percent / 100.0, words);
    }
    grid_steps(sheet, panel, false);
    uint32_t least = UINT32_MAX, most = 0;
    for (size_t i = 0; i < plot->rate_count; i++) {
        if (plot->rates[i].episodes < least) least = plot->rates[i].episodes;
        if (plot->rates[i].episodes > most) most = plot->rates[i].episodes;
    }
    if (most == 0)
        snprintf(words, sizeof words, "success of the robot, 95 %% interval");
    else if (least == most)
        snprintf(words, sizeof words, "success of the robot, %" PRIu32 " starts, 95 %% interval",
                 most);
    else
        snprintf(words, sizeof words,
                 "success of the robot, %" PRIu32 " to %" PRIu32 " starts, 95 %% interval", least,
                 most);
    text_draw(sheet, LEFT, panel->top - 12, "#333333", "start", words);
    if (plot->rate_count > 0) rates_draw(sheet, panel, plot);
    reports_draw(sheet, panel, plot);
}

// ---- error --------------------------------------------------------------------------------------

static void range_add(struct panel *panel, double value) {
    if (!(value > 0) || !isfinite(value)) return;
    panel->low = fmin(panel->low, log10(value));
    panel->high = fmax(panel->high, log10(value));
}

// The mean of each piece of the loss, so that a long run stays a small picture.
static void losses_draw(struct sheet *sheet, const struct panel *panel,
                        const struct stage_plot *plot, bool running) {
    const size_t piece = (plot->loss_count + PIECES - 1) / PIECES;
    double sum = 0, mean = 0, weight = 0, shown = 0;
    size_t count = 0;
    curve_begin(sheet, running ? loss_colour : loss_pale, running ? 2 : 1);
    for (size_t i = 0; i < plot->loss_count; i++) {
        const double loss = plot->losses[i].loss;
        if (!(loss > 0) || !isfinite(loss)) continue;
        mean = RUNNING_WEIGHT * mean + (1 - RUNNING_WEIGHT) * loss;
        weight = RUNNING_WEIGHT * weight + (1 - RUNNING_WEIGHT);
        sum += loss;
        if (++count < piece && i + 1 < plot->loss_count) continue;
        shown = running ? mean / weight : sum / (double)count;
        curve_point(sheet, x_of(sheet, (double)plot->losses[i].step), y_of(panel, shown));
        sum = 0;
        count = 0;
    }
    curve_end(sheet);
    if (running && weight > 0)
        label_add(sheet, y_of(panel, shown), loss_colour, "training loss (denoising)");
}

static void baseline_draw(struct sheet *sheet, const struct panel *panel, double value,
                          const char *colour, const char *name) {
    if (!(value > 0) || !isfinite(value)) return;
    const double y = y_of(panel, value);
    line_draw(sheet, LEFT, y, WIDTH - RIGHT, y, colour,
              "stroke-width=\"1.5\" stroke-dasharray=\"5 4\"");
    label_add(sheet, y, colour, "%s", name);
}

static void validations_draw(struct sheet *sheet, const struct panel *panel,
                             const struct stage_plot *plot) {
    double last = NAN;
    curve_begin(sheet, validation_colour, 2);
    for (size_t i = 0; i < plot->validation_count; i++) {
        const struct stage_plot_validation *row = &plot->validations[i];
        if (!(row->policy > 0)) continue;
        last = row->policy;
        curve_point(sheet, x_of(sheet, (double)row->step), y_of(panel, last));
    }
    curve_end(sheet);
    if (last > 0)
        label_add(sheet, y_of(panel, last), validation_colour, "policy, held-out episodes");
    if (plot->validation_count == 0) return;
    const struct stage_plot_validation *newest = &plot->validations[plot->validation_count - 1];
    baseline_draw(sheet, panel, newest->mean_action, mean_colour, "mean action");
    baseline_draw(sheet, panel, newest->time_mean, open_loop_colour, "time-indexed mean");
    baseline_draw(sheet, panel, newest->nearest_neighbour, blind_colour, "nearest neighbour");
}

static void error_draw(struct sheet *sheet, struct panel *panel, const struct stage_plot *plot) {
    panel->low = INFINITY;
    panel->high = -INFINITY;
    for (size_t i = 0; i < plot->loss_count; i++) range_add(panel, plot->losses[i].loss);
    for (size_t i = 0; i < plot->validation_count; i++) {
        range_add(panel, plot->validations[i].policy);
        range_add(panel, plot->validations[i].mean_action);
        range_add(panel, plot->validations[i].time_mean);
        range_add(panel, plot->validations[i].nearest_neighbour);
    }
    if (!(panel->low <= panel->high)) panel->low = panel->high = 0;  // no number that can be drawn
    panel->low -= 0.05;
    panel->high += 0.05;
    grid_logarithmic(sheet, panel);
    grid_steps(sheet, panel, true);
    text_draw(sheet, LEFT, panel->top - 12, "#333333", "start",
              "mean squared error, normalised units");
    losses_draw(sheet, panel, plot, false);
    losses_draw(sheet, panel, plot, true);
    validations_draw(sheet, panel, plot);
    labels_draw(sheet, panel, WIDTH - RIGHT + 8);
}

// ---- the picture --------------------------------------------------------------------------------

static uint64_t step_last(const struct stage_plot *plot) {
    uint64_t last = plot->loss_count > 0 ? plot->losses[plot->loss_count - 1].step : 1;
    if (plot->validation_count > 0 && plot->validations[plot->validation_count - 1].step > last)
        last = plot->validations[plot->validation_count - 1].step;
    if (plot->rate_count > 0 && plot->rates[plot->rate_count - 1].step > last)
        last = plot->rates[plot->rate_count - 1].step;
    return last > 0 ? last : 1;
}

void stage_plot_draw(const struct stage_plot *plot, FILE *to) {
    const bool success = success_any(plot);
    const struct panel above = {.top = TOP, .height = SUCCESS_HEIGHT, .low = 0, .high = 1};
    struct panel below = {.top = success ? TOP + SUCCESS_HEIGHT + GAP : TOP,
                          .height = ERROR_HEIGHT,
                          .logarithmic = true};
    struct sheet sheet = {.to = to, .step_max = (double)step_last(plot)};
    const int height = (int)(below.top + below.height) + BOTTOM;
    fprintf(to,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" "
            "viewBox=\"0 0 %d %d\" font-family=\"sans-serif\">\n"
            "<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n",
            WIDTH, height, WIDTH, height);
    if (success) success_draw(&sheet, &above, plot);
    error_draw(&sheet, &below, plot);
    fputs("</svg>\n", to);
}
