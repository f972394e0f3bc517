// tests/loader/statistics_test.c - statistics against long double arithmetic (64-bit mantissa, sums
// 2048 times finer than double) and against numpy's quantiles.
#include "tests/check.h"

#include "loader/statistics.h"
#include "proto/random.h"

#include <math.h>

#define ROWS 20011
#define CHANNELS 4
#define LIMIT 1e-12  // relative, as promised

// Columns: plain normal; a tiny spread far from zero; values that nearly cancel; few levels.
static double *new_rows(void) {
    struct proto_error error = {0};
    double *rows = proto_alloc_array((size_t)ROWS * CHANNELS, sizeof *rows, &error);
    float *draws = proto_alloc_array((size_t)ROWS * CHANNELS, sizeof *draws, &error);
    CHECK(rows && draws);
    struct proto_random random = proto_random_at(5, PROTO_PURPOSE_WORD, 0);
    proto_random_normal(&random, draws, (uint64_t)ROWS * CHANNELS);
    for (size_t i = 0; i < ROWS; i++) {
        double *row = rows + i * CHANNELS;
        row[0] = (double)draws[i * CHANNELS];
        row[1] = 1000 + 1e-4 * (double)draws[i * CHANNELS + 1];
        // whole numbers: long double adds them without any error, double does not
        row[2] = round(1000 * (double)draws[i * CHANNELS + 2]) +
                 (i == 0 ? 0 : (i <= ROWS / 2 ? 0x1p45 : -0x1p45));
        row[3] = draws[i * CHANNELS + 3] > 0 ? 1 : -1;
    }
    free(draws);
    return rows;
}

static void reference(const double *rows, uint32_t channel, long double *mean, long double *std) {
    long double sum = 0, squares = 0;
    for (size_t i = 0; i < ROWS; i++) sum += rows[i * CHANNELS + channel];
    *mean = sum / ROWS;
    for (size_t i = 0; i < ROWS; i++) {
        const long double off = rows[i * CHANNELS + channel] - *mean;
        squares += off * off;
    }
    *std = sqrtl(squares / ROWS);
}

TEST(statistics_agree_with_long_double) {
    double *rows = new_rows();
    struct loader_statistics *all = NULL;
    struct proto_statistics found[CHANNELS];
    struct proto_error error = {0};
    CHECK_OK(loader_statistics_new(CHANNELS, &all, &error), error);
    // appended in uneven pieces
    for (size_t at = 0, size = 1; at < ROWS; at += size, size = size * 3 + 1) {
        const size_t count = at + size > ROWS ? ROWS - at : size;
        CHECK_OK(loader_statistics_append(all, rows + at * CHANNELS, count, &error), error);
    }
    CHECK_INT(loader_statistics_rows(all), ROWS);
    CHECK_OK(loader_statistics_fit((const struct loader_statistics *const *)&all, 1, found, &error),
             error);
    for (uint32_t k = 0; k < CHANNELS; k++) {
        long double mean = 0, std = 0;
        double min = INFINITY, max = -INFINITY;
        reference(rows, k, &mean, &std);
        for (size_t i = 0; i < ROWS; i++) {
            min = fmin(min, rows[i * CHANNELS + k]);
            max = fmax(max, rows[i * CHANNELS + k]);
        }
        CHECK_NEAR(found[k].mean, mean, LIMIT * fabsl(mean));
        CHECK_NEAR(found[k].std, std, LIMIT * std);
        CHECK_NEAR(found[k].min, min, 0);
        CHECK_NEAR(found[k].max, max, 0);
        CHECK_INT(found[k].count, ROWS);
    }
    loader_statistics_free(&all);
    loader_statistics_free(&all);  // NULL is fine
    free(rows);
}

static void fit_column(const double *values, size_t count, struct proto_statistics *out) {
    struct loader_statistics *all = NULL;
    struct proto_error error = {0};
    CHECK_OK(loader_statistics_new(1, &all, &error), error);
    CHECK_OK(loader_statistics_append(all, values, count, &error), error);
    CHECK_OK(loader_statistics_fit((const struct loader_statistics *const *)&all, 1, out, &error),
             error);
    loader_statistics_free(&all);
}

// Oracle: numpy 2.4 numpy.quantile(x, [0.01, 0.99]), bits as printed by float.hex.
TEST(statistics_quantiles_are_numpys) {
    static const struct {
        const char *name;
        size_t count;
        double x[11], q01, q99;
    } rows[] = {
        {"one", 1, {0x1.427a31c1ffc58p-10}, 0x1.427a31c1ffc58p-10, 0x1.427a31c1ffc58p-10},
        {"two",
         2,
         {0x1.31ea59a5b303ep-2, -0x1.18b7980d81558p-2},
         -0x1.12d9d084087d9p-2,
         0x1.2c0c921c3a2bfp-2},
        {"three",
         3,
         {-0x1.c7fba74b18102p-1, -0x1.d19537e309692p-2, -0x1.fbb918e5cd3f0p-1},
         -0x1.fab03039bf61ep-1,
         -0x1.da82b3388a2f6p-2},
        {"seven",
         7,
         {0x1.ecb246c7071e5p-5, 0x1.571858a941e07p+0, -0x1.f804fc5039525p-2, -0x1.3daee2d56e58bp-1,
          0x1.f5992787010aap-2, 0x1.6d73c9b1a8b33p-2, 0x1.afc6d9ffa76cap-4},
         -0x1.39be24791ca53p-1,
         0x1.4a088af9726b5p+0},
        {"eleven",
         11,
         {-0x1.dc664ebbfd571p-1, -0x1.df43093500899p-6, 0x1.63fec7c2015e9p-1, -0x1.581e71cf65997p+0,
          -0x1.d49939df35222p-2, -0x1.e6b68891db2c3p+0, -0x1.4a1f253355902p+0,
          -0x1.d77bf28b367b0p+0, -0x1.e177757c5cfd8p-3, -0x1.44775f633b214p+0,
          0x1.15c652f6d6a5ep-2},
         -0x1.e530acc4644dbp+0,
         0x1.4e48d187bf2a5p-1},
        {"eleven far",
         11,
         {0x1.2c00001a4c687p+8, 0x1.2bffffe0a3608p+8, 0x1.2bfffe59c1fe5p+8, 0x1.2bffffa59f510p+8,
          0x1.2bfffff7dce67p+8, 0x1.2c00001302958p+8, 0x1.2bfffeff492b5p+8, 0x1.2bffffafd8a73p+8,
          0x1.2bffff5bd4ecfp+8, 0x1.2bffff784cb48p+8, 0x1.2c0000b1fd3fcp+8},
         0x1.2bfffe6a4f82dp+8,
         0x1.2c0000a2d1f70p+8},
    };
    for (size_t i = 0; i < PROTO_COUNT(rows); i++) {
        TEST_CASE(rows[i].name);
        struct proto_statistics found;
        fit_column(rows[i].x, rows[i].count, &found);
        CHECK_NEAR(found.q01, rows[i].q01, 0);
        CHECK_NEAR(found.q99, rows[i].q99, 0);
    }
    TEST_CASE("");
}

TEST(statistics_of_one_value_and_of_equal_values_have_no_spread) {
    static const double equal[] = {0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1};
    for (size_t count = 1; count <= PROTO_COUNT(equal); count++) {
        struct proto_statistics found;
        fit_column(equal, count, &found);
        CHECK_NEAR(found.mean, 0.1, 2e-17);
        CHECK_NEAR(found.std, 0, 2e-17);
        CHECK_NEAR(found.max - found.min, 0, 0);
    }
}

// Pooling must give what one pass over everything gives.
TEST(statistics_of_parts_are_those_of_the_whole) {
    double *rows = new_rows();
    struct loader_statistics *parts[4] = {NULL};  // the last stays empty
    struct proto_statistics pooled[CHANNELS], whole[CHANNELS];
    struct proto_error error = {0};
    for (int p = 0; p < 4; p++) CHECK_OK(loader_statistics_new(CHANNELS, &parts[p], &error), error);
    CHECK_OK(loader_statistics_append(parts[0], rows, 100, &error), error);
    CHECK_OK(loader_statistics_append(parts[1], rows + 100 * CHANNELS, ROWS - 100, &error), error);
    CHECK_OK(loader_statistics_append(parts[2], rows, ROWS, &error), error);
    CHECK_OK(
        loader_statistics_fit((const struct loader_statistics *const *)parts, 2, pooled, &error),
        error);
    CHECK_OK(
        loader_statistics_fit((const struct loader_statistics *const *)parts + 2, 2, whole, &error),
        error);
    CHECK(memcmp(pooled, whole, sizeof pooled) == 0);
    for (int p = 0; p < 4; p++) loader_statistics_free(&parts[p]);
    free(rows);
}

TEST(statistics_of_nothing_or_of_no_number_are_refused) {
    const double rows[] = {1, 2, 3, NAN};
    struct loader_statistics *all = NULL;
    struct proto_statistics found[2];
    struct proto_error error = {0};
    CHECK_OK(loader_statistics_new(2, &all, &error), error);
    CHECK(!loader_statistics_append(all, rows, 2, &error));
    CHECK_TEXT(error.text, "row 1, channel 1 is nan, not a finite number");
    CHECK_INT(error.status, PROTO_DAMAGED);
    CHECK_INT(loader_statistics_rows(all), 0);
    CHECK(!loader_statistics_fit((const struct loader_statistics *const *)&all, 1, found, &error));
    CHECK_HAS(error.text, "no training episode");
    loader_statistics_free(&all);
}

TEST_MAIN(UNIT(statistics_agree_with_long_double), UNIT(statistics_quantiles_are_numpys),
          UNIT(statistics_of_one_value_and_of_equal_values_have_no_spread),
          UNIT(statistics_of_parts_are_those_of_the_whole),
          UNIT(statistics_of_nothing_or_of_no_number_are_refused))
