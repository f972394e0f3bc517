// tests/evaluator/statistics_test.c - intervals and p values against published numbers.
#include "tests/check.h"

#include "evaluator/statistics.h"
#include "proto/error.h"

TEST(wilson_is_what_newcombe_published) {
    // Newcombe 1998, Statistics in Medicine 17:857, table I, method 3: four digits
    static const struct {
        const char *name;
        uint32_t successes, n;
        double low, high;
    } rows[] = {
        {"81/263", 81, 263, 0.2553, 0.3662},
        {"15/148", 15, 148, 0.0624, 0.1605},
        {"0/20", 0, 20, 0.0000, 0.1611},
        {"1/29", 1, 29, 0.0061, 0.1718},
    };
    for (size_t i = 0; i < PROTO_COUNT(rows); i++) {
        double interval[2], mirrored[2];
        TEST_CASE(rows[i].name);
        evaluator_wilson95(rows[i].successes, rows[i].n, interval);
        CHECK_NEAR(interval[0], rows[i].low, 0.00005);
        CHECK_NEAR(interval[1], rows[i].high, 0.00005);
        evaluator_wilson95(rows[i].n - rows[i].successes, rows[i].n, mirrored);
        CHECK_NEAR(mirrored[0], 1 - interval[1], 1e-15);
        CHECK_NEAR(mirrored[1], 1 - interval[0], 1e-15);
    }
    TEST_CASE("");
    double interval[2];
    evaluator_wilson95(0, 7, interval);
    CHECK(interval[0] == 0 && interval[1] < 1);
    evaluator_wilson95(7, 7, interval);
    CHECK(interval[1] == 1 && interval[0] > 0);
    evaluator_wilson95(0, 0, interval);
    CHECK(interval[0] == 0 && interval[1] == 1);
}

TEST(mcnemar_is_the_binomial_tail_twice) {
    // sums of binomial coefficients over a power of two, by hand; logarithms cost some 1e-13
    static const struct {
        const char *name;
        uint32_t first, second;
        double p;
    } rows[] = {
        {"0 and 0", 0, 0, 1},
        {"5 and 5", 5, 5, 1},
        {"0 and 5", 0, 5, 2.0 / 32},
        {"1 and 9", 1, 9, 2.0 * (1 + 10) / 1024},
        {"2 and 8", 2, 8, 2.0 * (1 + 10 + 45) / 1024},
        {"10 and 0", 10, 0, 2.0 / 1024},
        {"3 and 12", 3, 12, 2.0 * (1 + 15 + 105 + 455) / 32768},
    };
    for (size_t i = 0; i < PROTO_COUNT(rows); i++) {
        TEST_CASE(rows[i].name);
        CHECK_NEAR(evaluator_mcnemar(rows[i].first, rows[i].second), rows[i].p, 1e-12);
        CHECK_NEAR(evaluator_mcnemar(rows[i].second, rows[i].first), rows[i].p, 1e-12);
    }
    TEST_CASE("");
    // large counts neither overflow nor vanish; the sum in whole numbers of any length, by Python
    CHECK_NEAR(evaluator_mcnemar(59, 121), 4.434449263755176e-06, 1e-15);
    CHECK(evaluator_mcnemar(100000, 100000) == 1);
}

TEST_MAIN(UNIT(wilson_is_what_newcombe_published), UNIT(mcnemar_is_the_binomial_tail_twice))
