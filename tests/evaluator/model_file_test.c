// tests/evaluator/model_file_test.c - the text of a model keeps where its fixtures stood, to the
// last bit, and a text that does not say so is refused by the body's name.
#include "evaluator/model_file.h"

#include "tests/evaluator/world_fixture.h"

#include <mujoco/mujoco.h>

static struct world_fixture fixture;
#define NEED_WORLD()                                                                               \
    do {                                                                                           \
        if (!world_fixture_open(&fixture, "libero_goal", "turn_on_the_stove")) skip();             \
    } while (0)

static const double *pos_of(const char *body) {
    const mjModel *model = evaluator_env_model(fixture.env);
    return model->body_pos + 3 * mj_name2id(model, mjOBJ_BODY, body);
}
static const double *quat_of(const char *body) {
    const mjModel *model = evaluator_env_model(fixture.env);
    return model->body_quat + 4 * mj_name2id(model, mjOBJ_BODY, body);
}

static void reset(uint32_t seed) {
    struct proto_error error = {0};
    evaluator_env_seed(fixture.env, seed);
    CHECK_OK(evaluator_env_reset(fixture.env, &error), error);
}

TEST(model_file_puts_fixtures_back_to_the_last_bit) {
    static const char *const bodies[] = {"flat_stove_1_main", "wooden_cabinet_1_main",
                                         "wine_rack_1_main"};
    double pos[3][3];
    char *text = NULL;
    struct proto_error error = {0};
    NEED_WORLD();
    reset(3);
    for (int i = 0; i < 3; i++) memcpy(pos[i], pos_of(bodies[i]), sizeof pos[i]);
    CHECK_OK(evaluator_model_file_make(fixture.world, fixture.env, &text, &error), error);
    reset(4);
    CHECK(memcmp(pos[0], pos_of(bodies[0]), sizeof pos[0]) != 0);  // another seed, another place
    CHECK_OK(evaluator_model_file_place(text, fixture.world, fixture.env, &error), error);
    for (int i = 0; i < 3; i++) {
        TEST_CASE(bodies[i]);
        CHECK(memcmp(pos[i], pos_of(bodies[i]), sizeof pos[i]) == 0);
    }
    free(text);
}

// The text compiles, and its model has the fixtures there: what other programs do with it.
TEST(model_file_is_a_model_that_libmujoco_loads) {
    char *text = NULL, why[500] = "";
    struct proto_error error = {0};
    NEED_WORLD();
    reset(5);
    CHECK_OK(evaluator_model_file_make(fixture.world, fixture.env, &text, &error), error);
    mjSpec *spec = mj_parseXMLString(text, NULL, why, sizeof why);
    if (!spec) fail_msg("%s", why);
    mjModel *model = mj_compile(spec, NULL);
    CHECK(model != NULL);
    CHECK_INT(model->nbody, evaluator_env_model(fixture.env)->nbody);
    const int body = mj_name2id(model, mjOBJ_BODY, "flat_stove_1_main");
    for (int k = 0; k < 3; k++)
        CHECK_NEAR(model->body_pos[3 * body + k], pos_of("flat_stove_1_main")[k], 0);
    mj_deleteModel(model);
    mj_deleteSpec(spec);
    free(text);
}

// A short model with the three fixtures, `stove` in place of the stove's attributes.
static bool place(const char *stove, struct proto_error *error) {
    char text[1024];
    snprintf(text, sizeof text,
             "<mujoco><worldbody><body name='robot0_base'/>"
             "<body name='wine_rack_1_main'/><body name='outer'><body name='flat_stove_1_main' "
             "%s/></body><body name='wooden_cabinet_1_main'/></worldbody></mujoco>",
             stove);
    return evaluator_model_file_place(text, fixture.world, fixture.env, error);
}

TEST(model_file_takes_what_is_absent_as_mujoco_does) {
    struct proto_error error = {0};
    NEED_WORLD();
    reset(0);
    CHECK_OK(place("pos=' 1 2.5\t-3e-1 '", &error), error);
    CHECK_NEAR(pos_of("flat_stove_1_main")[1], 2.5, 0);
    CHECK_NEAR(pos_of("flat_stove_1_main")[2], -0.3, 0);
    CHECK_NEAR(quat_of("flat_stove_1_main")[0], 1, 0);
    CHECK_OK(place("quat='0 0 0 2'", &error), error);  // made to length 1
    CHECK_NEAR(pos_of("flat_stove_1_main")[0], 0, 0);
    CHECK_NEAR(quat_of("flat_stove_1_main")[3], 1, 0);
}

TEST(model_file_refuses_poses_that_are_none) {
    static const struct {
        const char *stove, *says;
    } refused[] = {
        {"pos='1 2'", "pos of body flat_stove_1_main is \"1 2\"; expected 3 numbers"},
        {"pos='1 2 3 4'", "expected 3 numbers"},
        {"pos='1 2 x'", "expected 3 numbers"},
        {"pos='1 2 nan'", "expected 3 numbers"},
        {"pos='1 2 1e999'", "expected 3 numbers"},
        {"pos='' quat='1 0 0 0'", "pos of body flat_stove_1_main is \"\""},
        {"quat='1 0 0'", "quat of body flat_stove_1_main is \"1 0 0\"; expected 4 numbers"},
        {"quat='0 0 0 0'", "quat of body flat_stove_1_main has no length"},
    };
    struct proto_error error = {0};
    NEED_WORLD();
    for (size_t i = 0; i < PROTO_COUNT(refused); i++) {
        TEST_CASE(refused[i].stove);
        CHECK(!place(refused[i].stove, &error));
        CHECK_INT(error.status, PROTO_DAMAGED);
        CHECK_HAS(error.text, refused[i].says);
    }
}

TEST(model_file_refuses_other_texts) {
    static const struct {
        const char *text, *says;
    } refused[] = {
        {"", "is not an XML text"},
        {"not XML", "is not an XML text"},
        {"<mujoco><worldbody>", "is not an XML text"},
        {"<mujoco/>", "has no body"},
        {"<mujoco><body name='robot0_base'/></mujoco>", "was it recorded in another task's scene?"},
        // an entity that reads a file is not followed
        {"<!DOCTYPE m [<!ENTITY e SYSTEM 'file:///etc/passwd'>]><mujoco>&e;</mujoco>", "no body"},
    };
    struct proto_error error = {0};
    NEED_WORLD();
    for (size_t i = 0; i < PROTO_COUNT(refused); i++) {
        TEST_CASE(refused[i].text);
        CHECK(!evaluator_model_file_place(refused[i].text, fixture.world, fixture.env, &error));
        CHECK_INT(error.status, PROTO_DAMAGED);
        CHECK_HAS(error.text, refused[i].says);
    }
}

static int tear_down(void **state) {
    (void)state;
    world_fixture_close(&fixture);
    return 0;
}

int main(void) {
    const struct CMUnitTest units[] = {
        UNIT(model_file_puts_fixtures_back_to_the_last_bit),
        UNIT(model_file_is_a_model_that_libmujoco_loads),
        UNIT(model_file_takes_what_is_absent_as_mujoco_does),
        UNIT(model_file_refuses_poses_that_are_none),
        UNIT(model_file_refuses_other_texts),
    };
    return cmocka_run_group_tests(units, NULL, tear_down);
}
