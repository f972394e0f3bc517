// tests/model/sampler_test.c - the diffusion schedule and the solver's constants against published
// and recorded numbers, given to 7-9 digits; whole sampling runs are rdt_golden's.
#include "tests/check.h"

#include "model/sampler.h"

TEST(schedule_has_the_published_values) {
    static const struct {
        int t;
        double acp, relative;
    } rows[] = {{0, 0.99995869, 1e-8},
                {100, 0.97157562, 1e-8},
                {500, 0.49228504, 2e-8},
                {900, 0.02361611, 3e-7},
                {999, 2.428735e-9, 3e-7}};
    struct model_schedule s;
    model_schedule_fill(&s);
    for (size_t i = 0; i < PROTO_COUNT(rows); i++)
        CHECK_NEAR(s.alphas_cumprod[rows[i].t], rows[i].acp, rows[i].acp * rows[i].relative + 3e-8);
    CHECK_NEAR(s.betas[0], 4.12842e-5, 1e-10);
    CHECK_NEAR(s.betas[998], 0.7499994, 1e-7);
    CHECK(s.betas[999] == 0.999f);  // the only one at the cap
    CHECK(s.betas[998] < 0.999f);
}

TEST(solver_of_five_steps_is_the_published_one) {
    static const uint32_t timesteps[] = {999, 799, 599, 400, 200};
    static const double x[] = {0.95181637, 0.85300637, 0.73283047, 0.53739678, 0};
    static const double m0[] = {0.30662166, 0.33691920, 0.52355654, 0.83674141, 1};
    static const double m1[] = {0, -0.01472045, -0.14764108, -0.32116180, 0};
    struct proto_error error = {0};
    struct model_schedule s;
    static struct model_solver solver;
    model_schedule_fill(&s);
    CHECK_OK(model_solver_plan(&s, 5, &solver, &error), error);
    for (int i = 0; i < 5; i++) {
        CHECK_INT(solver.timesteps[i], timesteps[i]);
        CHECK_NEAR(solver.coef_x[i], x[i], 1e-7);
        CHECK_NEAR(solver.coef_m0[i], m0[i], 3e-7);
        CHECK_NEAR(solver.coef_m1[i], m1[i], 3e-7);
    }
    CHECK(solver.sigmas[5] == 0);
}

TEST(solver_takes_any_number_of_steps_and_ends_at_the_prediction) {
    struct proto_error error = {0};
    struct model_schedule s;
    static struct model_solver solver;
    model_schedule_fill(&s);
    for (uint32_t n = 1; n <= 1000; n = n * 3 + 1) {
        CHECK_OK(model_solver_plan(&s, n, &solver, &error), error);
        CHECK_INT(solver.timesteps[0], 999);
        CHECK(solver.coef_x[n - 1] == 0 && solver.coef_m0[n - 1] == 1 &&
              solver.coef_m1[n - 1] == 0);
        for (uint32_t i = 1; i + 1 < n; i++) CHECK(solver.timesteps[i] < solver.timesteps[i - 1]);
    }
    CHECK_OK(model_solver_plan(&s, 10, &solver, &error), error);
    CHECK_INT(solver.timesteps[5], 500);  // 499.5, half to even
    CHECK(!model_solver_plan(&s, 0, &solver, &error));
    CHECK(!model_solver_plan(&s, 1001, &solver, &error));
    CHECK_INT(error.status, PROTO_USAGE);
}

TEST_MAIN(UNIT(schedule_has_the_published_values), UNIT(solver_of_five_steps_is_the_published_one),
          UNIT(solver_takes_any_number_of_steps_and_ends_at_the_prediction))
