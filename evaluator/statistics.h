// evaluator/statistics.h - how sure a success rate is, and whether two differ.
#ifndef EVALUATOR_STATISTICS_H
#define EVALUATOR_STATISTICS_H

#include <stdint.h>

// Wilson's score interval at 95 % (Wilson 1927; method 3 of Newcombe 1998). n 0: 0 .. 1.
void evaluator_wilson95(uint32_t successes, uint32_t n, double interval[2]);

// Exact two-sided McNemar test: p value of `first_only` and `second_only` discordant pairs under
// Binomial(n, 1/2), twice the smaller tail, at most 1. No pairs: 1.
double evaluator_mcnemar(uint32_t first_only, uint32_t second_only);

#endif
