// tests/evaluator/camera_test.c - pictures against those recorded from the official environment,
// without display, GPU or environment variable. A recorded picture may be off by 2 levels of 255:
// the recorder was Mesa's OSMesa, and the last bit of a blend is a renderer's own.
#include "evaluator/camera.h"

#include "tests/evaluator/golden_model.h"

#include <pthread.h>

static const char kitchen[] = "KITCHEN_SCENE10_close_the_top_drawer_of_the_cabinet";
static const char *const tasks[] = {
    kitchen, "pick_up_the_alphabet_soup_and_place_it_in_the_basket",
    "pick_up_the_black_bowl_between_the_plate_and_the_ramekin_and_place_it_on_the_plate",
    "turn_on_the_stove"};
enum { SIDE = 128, BYTES = SIDE * SIDE * 3, LEVELS_MAX = 2 };

// The state that the picture of control step 0 shows: positions of bodies are computed at the start
// of substep 23, that is from the joints after substep 22.
static mjData *data_at_picture(const char *task, const mjModel *model) {
    mjData *data = mj_makeData(model);
    CHECK(data);
    golden_read(task, "substep_qpos", 22 * (size_t)model->nq, (size_t)model->nq, data->qpos);
    mj_forward(model, data);
    return data;
}

static int levels_off(const uint8_t *a, const uint8_t *b, size_t count) {
    int most = 0;
    for (size_t i = 0; i < count; i++) {
        const int off = abs(a[i] - b[i]);
        if (off > most) most = off;
    }
    return most;
}

static void flip(uint8_t *rgb) {
    static uint8_t row[SIDE * 3];
    for (size_t i = 0; i < SIDE / 2; i++) {
        uint8_t *top = rgb + i * sizeof row, *bottom = rgb + (SIDE - 1 - i) * sizeof row;
        memcpy(row, top, sizeof row);
        memcpy(top, bottom, sizeof row);
        memcpy(bottom, row, sizeof row);
    }
}

static void check_picture(const char *task, const char *name, const uint8_t *drawn) {
    char path[1024];
    struct proto_error error = {0};
    uint8_t *recorded;
    uint32_t height, width;
    snprintf(path, sizeof path, "%s/data/libero/goldens/%s/%s_00.png", check_shared(), task, name);
    CHECK_OK(evaluator_png_read(path, &recorded, &height, &width, &error), error);
    CHECK_INT(height, SIDE);
    CHECK_INT(width, SIDE);
    flip(recorded);  // files are upright, the drawn rows are bottom first
    const int off = levels_off(drawn, recorded, BYTES);
    if (off > LEVELS_MAX) fail_msg("%s: %s is off by %d levels", task, name, off);
    free(recorded);
}

// Both cameras of every recorded task; models are opened one after the other, so that freeing an
// old renderer while a new one lives would show as black.
TEST(camera_draws_what_the_official_environment_drew) {
    static uint8_t rgb[BYTES];
    struct proto_error error = {0};
    struct evaluator_camera *before = NULL;
    NEED_SHARED();
    for (size_t i = 0; i < PROTO_COUNT(tasks); i++) {
        TEST_CASE(tasks[i]);
        mjModel *model = golden_model(tasks[i]);
        mjData *data = data_at_picture(tasks[i], model);
        struct evaluator_camera *camera = NULL;
        CHECK_OK(evaluator_camera_open_model(model, "cpu", SIDE, SIDE, &camera, &error), error);
        evaluator_camera_close(&before);
        CHECK_OK(evaluator_camera_draw_data(camera, model, data, "agentview", rgb, &error), error);
        check_picture(tasks[i], "agentview", rgb);
        CHECK_OK(evaluator_camera_draw_data(camera, model, data, "eye_in_hand", rgb, &error),
                 error);
        check_picture(tasks[i], "eye_in_hand", rgb);
        before = camera;
        mj_deleteData(data);
        mj_deleteModel(model);
    }
    evaluator_camera_close(&before);
}

static mjModel *model_of(const char *text) {
    char words[512] = "";
    mjSpec *spec = mj_parseXMLString(text, NULL, words, sizeof words);
    if (!spec) fail_msg("%s", words);
    mjModel *model = mj_compile(spec, NULL);
    CHECK(model);
    mj_deleteSpec(spec);
    return model;
}

// A box of our own: no recorded data needed.
static mjModel *box_model(void) {
    return model_of(
        "<mujoco><worldbody><light pos='0 0 3'/><camera name='agentview' pos='0 0 2'/>"
        "<geom name='shown' group='1' type='box' size='.3 .3 .3' rgba='1 0 0 1'/>"
        "<geom name='hidden' group='0' type='box' size='.3 .3 .3' pos='.6 0 0' rgba='0 1 0 1'/>"
        "</worldbody></mujoco>");
}

TEST(camera_hides_collision_shapes_and_names_what_draws) {
    static uint8_t rgb[BYTES];
    struct proto_error error = {0};
    struct evaluator_camera *camera = NULL;
    mjModel *model = box_model();
    mjData *data = mj_makeData(model);
    mj_forward(model, data);
    CHECK_OK(evaluator_camera_open_model(model, "cpu", SIDE, SIDE, &camera, &error), error);
    CHECK(evaluator_camera_software(camera));
    CHECK_HAS(evaluator_camera_renderer(camera), "llvmpipe");
    CHECK_OK(evaluator_camera_draw_data(camera, model, data, "agentview", rgb, &error), error);
    size_t red = 0, green = 0;
    for (size_t i = 0; i < BYTES; i += 3) {
        red += rgb[i] > rgb[i + 1] + 30;
        green += rgb[i + 1] > rgb[i] + 30;
    }
    CHECK(red > 500);
    CHECK_INT(green, 0);
    CHECK(!evaluator_camera_draw_data(camera, model, data, "agentvew", rgb, &error));
    CHECK_INT(error.status, PROTO_USAGE);
    CHECK_TEXT(error.text, "the scene has no camera agentvew; it has agentview");
    evaluator_camera_close(&camera);
    mj_deleteData(data);
    mj_deleteModel(model);
}

// Things all around a tilted camera, many across an edge of its view. `more` goes into the world.
static mjModel *crowd_model(const char *more) {
    static const char *const shapes[] = {"sphere' size='.2", "box' size='.2 .1 .3",
                                         "capsule' size='.1 .2", "ellipsoid' size='.3 .1 .2"};
    static char text[65536];
    size_t used =
        (size_t)snprintf(text, sizeof text,
                         "<mujoco><statistic extent='5'/><asset><material name='mirror' "
                         "reflectance='.5'/></asset><worldbody>"
                         "<light pos='0 0 3' castshadow='false'/>"
                         "<camera name='agentview' pos='.1 .2 0' euler='65 20 10' fovy='50'/>%s",
                         more);
    for (int i = 0; i < 343; i++) {
        const int x = i % 7 - 3, y = i / 7 % 7 - 3, z = i / 49 - 3;
        if (x == 0 && y == 0 && z == 0) continue;  // the camera is there
        used += (size_t)snprintf(text + used, sizeof text - used,
                                 "<geom type='%s' pos='%d %d %d' euler='%d %d 0' group='1'"
                                 " contype='0' conaffinity='0' rgba='.%d .%d .8 1'/>",
                                 shapes[i % 4], x, y, z, 7 * i, 11 * i, 1 + i % 7, 1 + i % 9);
    }
    snprintf(text + used, sizeof text - used, "</worldbody></mujoco>");
    return model_of(text);
}

static void crowd_draw(const char *more, uint8_t *rgb) {
    struct proto_error error = {0};
    struct evaluator_camera *camera = NULL;
    mjModel *model = crowd_model(more);
    mjData *data = mj_makeData(model);
    mj_forward(model, data);
    CHECK_OK(evaluator_camera_open_model(model, "cpu", SIDE, SIDE / 2, &camera, &error), error);
    CHECK_OK(evaluator_camera_draw_data(camera, model, data, "agentview", rgb, &error), error);
    evaluator_camera_close(&camera);
    mj_deleteData(data);
    mj_deleteModel(model);
}

// A mirror that nobody sees makes the camera draw everything: the picture is the same to the bit.
TEST(camera_leaves_out_only_what_is_outside_the_view) {
    static uint8_t trimmed[BYTES / 2], whole[BYTES / 2];
    crowd_draw("", trimmed);
    crowd_draw("<geom type='box' size='.001 .001 .001' pos='0 0 -50' material='mirror' group='1'/>"
               "<geom type='box' size='.001 .001 .001' pos='0 0 50' material='mirror' group='1'/>",
               whole);
    CHECK_INT(levels_off(trimmed, whole, sizeof whole), 0);
    size_t drawn = 0;
    for (size_t i = 0; i < sizeof whole; i++) drawn += whole[i] != whole[0];
    CHECK(drawn > sizeof whole / 2);
}

// Larger than libmujoco's buffer of 640x480: the corner over its edge is drawn too.
TEST(camera_grows_its_buffer_to_the_picture) {
    enum { HEIGHT = 600, WIDTH = 1000 };
    uint8_t *rgb = calloc(HEIGHT, WIDTH * 3);
    struct proto_error error = {0};
    struct evaluator_camera *camera = NULL;
    mjModel *model = box_model();
    mjData *data = mj_makeData(model);
    mj_forward(model, data);
    CHECK_OK(evaluator_camera_open_model(model, "cpu", HEIGHT, WIDTH, &camera, &error), error);
    memset(rgb, 77, (size_t)HEIGHT * WIDTH * 3);
    CHECK_OK(evaluator_camera_draw_data(camera, model, data, "agentview", rgb, &error), error);
    const uint8_t *corner = rgb + (size_t)HEIGHT * WIDTH * 3 - 3;
    CHECK(corner[0] != 77);
    const uint8_t *middle = rgb + ((size_t)HEIGHT / 2 * WIDTH + WIDTH / 2) * 3;
    CHECK(middle[0] > middle[1] + 30);
    evaluator_camera_close(&camera);
    CHECK(!evaluator_camera_open_model(model, "cpu", 0, 8, &camera, &error));
    CHECK_TEXT(error.text, "a picture of 8x0 pixels; sides must be 1..4096");
    CHECK(!evaluator_camera_open_model(model, "vulkan", 8, 8, &camera, &error));
    CHECK_TEXT(error.text, "render is \"vulkan\", must be auto, gpu or cpu");
    free(rgb);
    mj_deleteData(data);
    mj_deleteModel(model);
}

// What no machine can be relied on to have must fail by name, or work and say so.
TEST(camera_without_a_gpu_says_what_was_tried) {
    struct proto_error error = {0};
    struct evaluator_camera *camera = NULL;
    mjModel *model = box_model();
    if (evaluator_camera_open_model(model, "gpu", 8, 8, &camera, &error)) {
        CHECK(!evaluator_camera_software(camera));
        CHECK_HAS(evaluator_camera_renderer(camera), "EGL on a GPU");
        evaluator_camera_close(&camera);
    } else {
        CHECK_INT(error.status, PROTO_MISSING);
        CHECK_HAS(error.text, "nothing here can draw pictures (render = gpu): EGL on a GPU: ");
    }
    mj_deleteModel(model);
}

struct painter {
    const mjModel *model;
    uint8_t rgb[BYTES];
    struct proto_error error;
    bool done;
};
static void *paint(void *context) {
    struct painter *painter = context;
    struct evaluator_camera *camera = NULL;
    mjData *data = mj_makeData(painter->model);
    mj_forward(painter->model, data);
    painter->done =
        evaluator_camera_open_model(painter->model, "cpu", SIDE, SIDE, &camera, &painter->error);
    for (int i = 0; i < 5 && painter->done; i++)
        painter->done = evaluator_camera_draw_data(camera, painter->model, data, "agentview",
                                                   painter->rgb, &painter->error);
    evaluator_camera_close(&camera);
    mj_deleteData(data);
    return NULL;
}

TEST(camera_in_two_threads_draws_the_same) {
    static struct painter painters[2];
    pthread_t threads[2];
    mjModel *model = box_model();
    for (size_t i = 0; i < 2; i++) {
        painters[i].model = model;
        CHECK_INT(pthread_create(&threads[i], NULL, paint, &painters[i]), 0);
    }
    for (size_t i = 0; i < 2; i++) CHECK_INT(pthread_join(threads[i], NULL), 0);
    for (size_t i = 0; i < 2; i++) CHECK_OK(painters[i].done, painters[i].error);
    CHECK_INT(levels_off(painters[0].rgb, painters[1].rgb, BYTES), 0);
    mj_deleteModel(model);
}

TEST_MAIN(UNIT(camera_hides_collision_shapes_and_names_what_draws),
          UNIT(camera_leaves_out_only_what_is_outside_the_view),
          UNIT(camera_grows_its_buffer_to_the_picture),
          UNIT(camera_without_a_gpu_says_what_was_tried),
          UNIT(camera_in_two_threads_draws_the_same),
          UNIT(camera_draws_what_the_official_environment_drew))
