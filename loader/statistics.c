// loader/statistics.c - compensated sums and order statistics over kept values.
#include "loader/statistics.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

// One array of rows, [rows, channels]; grows by doubling.
struct loader_statistics {
    double *values;
    size_t rows, room;  // in rows
    uint32_t channels;
};

bool loader_statistics_new(uint32_t channels, struct loader_statistics **out,
                           struct proto_error *error) {
    struct loader_statistics *new = proto_alloc(sizeof *new, error);
    if (!new) return false;
    new->channels = channels;
    *out = new;
    return true;
}

void loader_statistics_free(struct loader_statistics **statistics) {
    if (!statistics || !*statistics) return;
    free((*statistics)->values);
    free(*statistics);
    *statistics = NULL;
}

static bool make_room(struct loader_statistics *statistics, size_t count,
                      struct proto_error *error) {
    size_t rows = 0, room = statistics->room > 0 ? statistics->room : 256, items = 0,
           size_bytes = 0;
    bool fits = proto_add(statistics->rows, count, &rows);
    if (fits && rows <= statistics->room) return true;
    while (fits && room < rows) fits = proto_mul(room, 2, &room);
    fits = fits && proto_mul(room, statistics->channels, &items) &&
           proto_mul(items, sizeof *statistics->values, &size_bytes);
    double *values = fits ? realloc(statistics->values, size_bytes > 0 ? size_bytes : 1) : NULL;
    if (!values)
        return proto_fail(error, PROTO_EXHAUSTED, "no memory for %zu more rows of %u channels",
                          count, statistics->channels);
    statistics->values = values;
    statistics->room = room;
    return true;
}

bool loader_statistics_append(struct loader_statistics *statistics, const double *rows,
                              size_t count, struct proto_error *error) {
    const uint32_t channels = statistics->channels;
    for (size_t i = 0; i < count; i++)
        for (uint32_t k = 0; k < channels; k++)
            if (!isfinite(rows[i * channels + k]))
                return proto_fail(error, PROTO_DAMAGED,
                                  "row %zu, channel %u is %g, not a finite number", i, k,
                                  rows[i * channels + k]);
    if (count == 0 || channels == 0) {
        statistics->rows += count;
        return true;
    }
    if (!make_room(statistics, count, error)) return false;
    memcpy(statistics->values + statistics->rows * channels, rows, count * channels * sizeof *rows);
    statistics->rows += count;
    return true;
}

uint64_t loader_statistics_rows(const struct loader_statistics *statistics) {
    return statistics->rows;
}

// Neumaier's sum: the rounding errors of each addition are added up apart.
struct sum {
    double value, lost;
};

static void add(struct sum *sum, double x) {
    const double total = sum->value + x;
    sum->lost += fabs(sum->value) >= fabs(x) ? (sum->value - total) + x : (x - total) + sum->value;
    sum->value = total;
}

static int compare(const void *left, const void *right) {
    const double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

// Of sorted values: position q * (n - 1), linear between neighbours, from the nearer end, as numpy
// does, so that bits agree.
static double quantile(const double *sorted, size_t count, double q) {
    const double position = q * (double)(count - 1);
    const size_t low = (size_t)position, high = low + 1 < count ? low + 1 : low;
    const double t = position - (double)low, step = sorted[high] - sorted[low];
    return t < 0.5 ? sorted[low] + step * t : sorted[high] - step * (1 - t);
}

// Sorts `values`.
static void fit(double *values, size_t count, struct proto_statistics *out) {
    const double n = (double)count;
    struct sum sum = {0}, off = {0}, squares = {0};
    for (size_t i = 0; i < count; i++) add(&sum, values[i]);
    const double mean = (sum.value + sum.lost) / n;
    for (size_t i = 0; i < count; i++) {
        add(&off, values[i] - mean);
        add(&squares, (values[i] - mean) * (values[i] - mean));
    }
    // the mean's own rounding is taken out: sum (x - m)^2 - (sum (x - m))^2 / n
    const double drift = off.value + off.lost;
    const double variance = (squares.value + squares.lost - drift * drift / n) / n;
    qsort(values, count, sizeof *values, compare);
    *out = (struct proto_statistics){.mean = mean,
                                     .std = sqrt(fmax(variance, 0)),
                                     .min = values[0],
                                     .max = values[count - 1],
                                     .q01 = quantile(values, count, 0.01),
                                     .q99 = quantile(values, count, 0.99),
                                     .count = count};
}

bool loader_statistics_fit(const struct loader_statistics *const *parts, size_t part_count,
                           struct proto_statistics *out, struct proto_error *error) {
    size_t rows = 0;
    for (size_t p = 0; p < part_count; p++) rows += parts[p]->rows;
    if (rows == 0)
        return proto_fail(error, PROTO_DAMAGED,
                          "no training episode, so there is nothing to take statistics from");
    double *column = proto_alloc_array(rows, sizeof *column, error);
    if (!column) return false;
    for (uint32_t k = 0; k < parts[0]->channels; k++) {
        size_t count = 0;
        for (size_t p = 0; p < part_count; p++)
            for (size_t i = 0; i < parts[p]->rows; i++)
                column[count++] = parts[p]->values[i * parts[p]->channels + k];
        fit(column, count, &out[k]);
    }
    free(column);
    return true;
}
