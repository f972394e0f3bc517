// tests/evaluator/numpy_random_test.c - seeds give numpy's numbers. Oracle: numbers printed by
// numpy.random (legacy functions) for these seeds, equal to the last bit.
#include "tests/check.h"

#include "evaluator/numpy_random.h"

TEST(numpy_random_uniform_is_numpys) {
    // np.random.seed(7); np.random.uniform(-0.16, -0.14), three times
    static const double expected[] = {-0.15847383421252087, -0.14440162415519772,
                                      -0.15123181537118213};
    struct evaluator_numpy_random random;
    evaluator_numpy_seed(&random, 7);
    for (size_t i = 0; i < 3; i++)
        CHECK(evaluator_numpy_uniform(&random, -0.16, -0.14) == expected[i]);
}

TEST(numpy_random_normal_comes_in_pairs) {
    // np.random.seed(42); np.random.randn(7), then one uniform(): 4 pairs were drawn
    static const double expected[] = {
        0.4967141530112327,   -0.13826430117118466, 0.6476885381006925, 1.5230298564080254,
        -0.23415337472333597, -0.23413695694918055, 1.5792128155073915};
    struct evaluator_numpy_random random;
    evaluator_numpy_seed(&random, 42);
    for (size_t i = 0; i < 7; i++) CHECK(evaluator_numpy_normal(&random) == expected[i]);
    CHECK(evaluator_numpy_double(&random) == 0.020584494295802447);
}

TEST(numpy_random_goes_on_past_its_624_words) {
    struct evaluator_numpy_random random;
    evaluator_numpy_seed(&random, 0);
    for (size_t i = 0; i < 999; i++) (void)evaluator_numpy_double(&random);
    CHECK(evaluator_numpy_double(&random) == 0.6771411441114241);  // the 1000th of seed 0
}

TEST(numpy_random_draws_for_an_empty_range_too) {
    struct evaluator_numpy_random a, b;
    evaluator_numpy_seed(&a, 3);
    evaluator_numpy_seed(&b, 3);
    CHECK(evaluator_numpy_uniform(&a, 0.5, 0.5) == 0.5);
    (void)evaluator_numpy_double(&b);
    CHECK(evaluator_numpy_double(&a) == evaluator_numpy_double(&b));
}

TEST(numpy_random_seed_forgets_a_kept_gaussian) {
    struct evaluator_numpy_random random;
    evaluator_numpy_seed(&random, 42);
    (void)evaluator_numpy_normal(&random);
    evaluator_numpy_seed(&random, 42);
    CHECK(evaluator_numpy_normal(&random) == 0.4967141530112327);
}

TEST_MAIN(UNIT(numpy_random_uniform_is_numpys), UNIT(numpy_random_normal_comes_in_pairs),
          UNIT(numpy_random_goes_on_past_its_624_words),
          UNIT(numpy_random_draws_for_an_empty_range_too),
          UNIT(numpy_random_seed_forgets_a_kept_gaussian))
