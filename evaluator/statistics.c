// evaluator/statistics.c - Wilson's interval and McNemar's test.
#include "evaluator/statistics.h"

#include <math.h>

#define Z95 1.959963984540054  // normal quantile of 0.975

void evaluator_wilson95(uint32_t successes, uint32_t n, double interval[2]) {
    interval[0] = 0;
    interval[1] = 1;
    if (n == 0) return;
    const double p = (double)successes / n, z2 = Z95 * Z95;
    const double scale = 1 / (1 + z2 / n), middle = p + z2 / (2.0 * n);
    const double half = Z95 * sqrt(p * (1 - p) / n + z2 / (4.0 * n * n));
    // the ends are exact where rounding would leave a speck
    if (successes > 0) interval[0] = (middle - half) * scale;
    if (successes < n) interval[1] = (middle + half) * scale;
}

double evaluator_mcnemar(uint32_t first_only, uint32_t second_only) {
    const uint32_t n = first_only + second_only;
    const uint32_t fewer = first_only < second_only ? first_only : second_only;
    double tail = 0;
    if (n == 0) return 1;
    // C(n, k) / 2^n through logarithms: n may be thousands
    for (uint32_t k = 0; k <= fewer; k++)
        tail += exp(lgamma(n + 1.0) - lgamma(k + 1.0) - lgamma((double)(n - k) + 1.0) -
                    n * 0.6931471805599453);
    return 2 * tail < 1 ? 2 * tail : 1;
}
