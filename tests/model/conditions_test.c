// tests/model/conditions_test.c - what rows of a batch are said to have in common. Oracle: the
// masks and tasks written here by hand. A wrong "shared" would train on the first sample's
// conditions; that sharing what is equal changes no result is rdt_shared_test's.
#include "tests/model/network.h"

#include "model/conditions.h"

#define ROWS 3

struct world {
    struct fixture network;
    struct proto_codec codec;
    struct model_conditions *conditions;
    uint8_t image_mask[ROWS * 2 * 2], language_kept[ROWS];  // two moments, two of three cameras
    uint32_t task[ROWS];
    struct proto_batch batch;
};

static void world_open(struct world *w) {
    struct proto_error error = {0};
    struct model_rdt_sizes sizes = odd;
    sizes.img_history = 2;
    sizes.img_cameras = 3;
    *w = (struct world){.codec = {.camera_count = 2, .image_height = 2, .image_width = 2},
                        .language_kept = {1, 1, 1},
                        .task = {1, 1, 1}};
    memset(w->image_mask, 1, sizeof w->image_mask);
    fixture_open(&w->network, &sizes, 1, false);
    w->batch = (struct proto_batch){.batch = ROWS,
                                    .history = 2,
                                    .cameras = 2,
                                    .image_mask = w->image_mask,
                                    .language_kept = w->language_kept,
                                    .task = w->task};
    const struct model_conditions_settings settings = {
        .rdt = w->network.rdt,
        .codec = &w->codec,
        .texts = {.count = 2, .length = 5, .width = odd.lang_dim},
        .batch_max = ROWS};
    CHECK_OK(model_conditions_open(&settings, &w->conditions, &error), error);
}
static void world_close(struct world *w) {
    model_conditions_close(&w->conditions);
    fixture_close(&w->network);
}
static struct model_rdt_call share(struct world *w, uint32_t count) {
    struct model_rdt_call call = {.batch = count};
    model_conditions_share(w->conditions, &w->batch, count, &call);
    return call;
}

TEST(images_are_shared_where_no_row_sees_one) {
    struct world w;
    world_open(&w);
    const uint8_t absent[6] = {0, 0, 1, 0, 0, 1};
    CHECK(memcmp(share(&w, ROWS).img_shared, absent, 6) == 0);
    CHECK(memcmp(model_conditions_absent(w.conditions), absent, 6) == 0);
    // the first moment of the second camera: one row sees it still, then none
    const uint8_t once[6] = {0, 1, 1, 0, 0, 1};
    w.image_mask[1] = w.image_mask[4 + 1] = 0;
    CHECK(memcmp(share(&w, ROWS).img_shared, absent, 6) == 0);
    CHECK(memcmp(share(&w, 2).img_shared, once, 6) == 0);  // the third row is not asked about
    w.image_mask[8 + 1] = 0;
    CHECK(memcmp(share(&w, ROWS).img_shared, once, 6) == 0);
    CHECK(memcmp(model_conditions_absent(w.conditions), absent, 6) == 0);
    memset(w.image_mask, 0, sizeof w.image_mask);
    const uint8_t blind[6] = {1, 1, 1, 1, 1, 1};
    CHECK(memcmp(share(&w, ROWS).img_shared, blind, 6) == 0);
    world_close(&w);
}

TEST(language_is_shared_by_rows_of_one_task_that_all_keep_or_all_drop_it) {
    struct world w;
    world_open(&w);
    CHECK(share(&w, ROWS).lang_shared);
    w.language_kept[2] = 0;
    CHECK(!share(&w, ROWS).lang_shared);
    CHECK(share(&w, 2).lang_shared);
    w.language_kept[2] = 1;
    w.task[1] = 0;
    CHECK(!share(&w, ROWS).lang_shared);
    // the empty instruction is one for all tasks
    memset(w.language_kept, 0, sizeof w.language_kept);
    CHECK(share(&w, ROWS).lang_shared);
    world_close(&w);
}

TEST_MAIN(UNIT(images_are_shared_where_no_row_sees_one),
          UNIT(language_is_shared_by_rows_of_one_task_that_all_keep_or_all_drop_it))
