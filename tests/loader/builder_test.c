// tests/loader/builder_test.c - a position of the stream gives the same sample whatever the layout
// of the file, the order of asking or the memory; a file that changed is refused by name. Oracle:
// the pixels and numbers the test wrote, the codec for the encoding, proto_stream for the order.
#include "loader/builder.h"
#include "loader/shelf.h"
#include "loader/survey.h"
#include "proto/files.h"
#include "proto/stream.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/loader/demo_file.h"

static char folder[256], path[400];
static const size_t frame_bytes = DEMO_SIDE * DEMO_SIDE * 3;

struct world {
    struct proto_config *config;
    struct loader_survey *survey;
    struct loader_builder *builder;
    struct proto_batch *batch;
};

static void world_open(struct world *world, const char *data, const char *const *more) {
    struct proto_error error = {0};
    world->config = demo_config(data, more);
    CHECK_OK(loader_survey_new(&(struct loader_survey_settings){.config = world->config},
                               &world->survey, &error),
             error);
    CHECK_OK(loader_builder_open(world->config, world->survey->index, world->survey->codec,
                                 &world->builder, &error),
             error);
    CHECK_OK(proto_batch_new(world->survey->codec, 16, &world->batch, &error), error);
}

static void world_close(struct world *world) {
    proto_batch_free(&world->batch);
    loader_builder_close(&world->builder);
    loader_survey_free(&world->survey);
    proto_config_free(&world->config);
}

static void begin(void) {
    check_folder(folder);
    snprintf(path, sizeof path, "%s/a_demo.hdf5", folder);
}

static void end(void) {
    struct proto_error error = {0};
    CHECK_OK(proto_folder_remove(folder, &error), error);
}

static void build(struct world *world, bool validation, uint64_t first, uint32_t count) {
    struct proto_error error = {0};
    const struct proto_ticket ticket = {
        .id = 1, .validation = validation, .first = first, .count = count};
    CHECK_OK(loader_builder_build(world->builder, &ticket, world->batch, &error), error);
}

// Row `row` against what was written; only of validation samples, which have no noise.
static void row_check(const struct world *world, const struct demo_file *file, uint64_t g,
                      uint32_t row) {
    static struct demo_numbers n;
    const struct proto_index *index = world->survey->index;
    const struct proto_codec *codec = world->survey->codec;
    const struct proto_batch *batch = world->batch;
    const struct proto_stream stream = {(uint64_t)world->config->run.seed,
                                        index->validation_samples, PROTO_PURPOSE_VALIDATION};
    const uint64_t sample = proto_stream_sample(&stream, g);
    const struct proto_place place = proto_index_place(index, true, sample);
    const uint32_t demo = place.episode, steps = index->episodes[demo].steps;
    demo_numbers_make(file, demo, steps, &n);
    CHECK_INT(batch->samples[row], sample);
    const uint32_t first = place.j + (index->after ? 1 : 0);
    const uint32_t valid = steps - first < codec->chunk ? steps - first : codec->chunk;
    CHECK_INT(batch->steps_valid[row], valid);
    float encoded[PROTO_UNIFIED_WIDTH], mask[PROTO_UNIFIED_WIDTH];
    for (uint32_t i = 0; i < valid; i++) {
        proto_codec_encode_action(codec, 0, n.action[first + i], encoded, mask);
        CHECK(memcmp(batch->action + ((size_t)row * codec->chunk + i) * codec->width, encoded,
                     codec->width * sizeof *encoded) == 0);
    }
    const uint32_t history = codec->history;
    for (uint32_t h = 0; h < history; h++)
        for (uint32_t c = 0; c < 2; c++) {
            const size_t at = ((size_t)row * history + h) * 2 + c;
            const bool seen = history - 1 - h <= place.j;
            const uint8_t *image = batch->images + at * frame_bytes;
            CHECK_INT(batch->image_mask[at], seen);
            CHECK(batch->frame_ids[at] == (seen ? proto_hash(image, frame_bytes) : 0));
            for (uint32_t i = 0; i < frame_bytes; i++)
                if (image[i] !=
                    (seen ? demo_pixel(demo, place.j + h + 1 - history, c, i) : PROTO_BACKGROUND))
                    fail_msg("row %u, moment %u, camera %u, byte %u is wrong", row, h, c, i);
        }
}

TEST(a_sample_is_the_frames_and_actions_that_were_written_masked_at_the_start) {
    static const char *const sets[] = {"data.alignment=after", "model.img_history_size=2",
                                       "data.validation_episodes=2", NULL};
    const struct demo_file file = {.demos = 4, .steps = 12};
    struct world world;
    begin();
    demo_file_write(path, &file);
    world_open(&world, path, sets);
    const uint64_t n = world.survey->index->validation_samples;
    for (uint64_t g = 0; g + 8 <= n; g += 8) {
        build(&world, true, g, 8);
        for (uint32_t row = 0; row < 8; row++) row_check(&world, &file, g + row, row);
    }
    world_close(&world);
    end();
}

static size_t images_bytes(const struct proto_batch *batch, uint32_t rows) {
    return (size_t)rows * batch->history * batch->cameras * frame_bytes;
}

// Equal in everything that travels.
static void batches_equal(const struct proto_batch *a, const struct proto_batch *b, uint32_t rows) {
    const size_t width = a->width * sizeof(float);
    CHECK(memcmp(a->state, b->state, rows * width) == 0);
    CHECK(memcmp(a->state_mask, b->state_mask, rows * width) == 0);
    CHECK(memcmp(a->action, b->action, rows * a->chunk * width) == 0);
    CHECK(memcmp(a->action_mask, b->action_mask, rows * width) == 0);
    CHECK(memcmp(a->images, b->images, images_bytes(a, rows)) == 0);
    CHECK(memcmp(a->image_mask, b->image_mask, rows * a->history * a->cameras) == 0);
    CHECK(memcmp(a->frame_ids, b->frame_ids, 8 * rows * a->history * a->cameras) == 0);
    CHECK(memcmp(a->ctrl_freq, b->ctrl_freq, 4 * rows) == 0);
    CHECK(memcmp(a->language_kept, b->language_kept, rows) == 0);
    CHECK(memcmp(a->steps_valid, b->steps_valid, 4 * rows) == 0);
    CHECK(memcmp(a->samples, b->samples, 8 * rows) == 0);
}

TEST(layouts_of_a_file_and_order_of_asking_do_not_change_a_sample) {
    static const char *const sets[] = {"data.alignment=after", "loader.cache_mib=1", NULL};
    static const enum demo_layout layouts[] = {DEMO_CONTIGUOUS, DEMO_CHUNKED, DEMO_GZIP};
    struct world worlds[3];
    begin();
    for (size_t l = 0; l < 3; l++) {
        snprintf(path, sizeof path, "%s/%zu_demo.hdf5", folder, l);
        demo_file_write(path, &(struct demo_file){.demos = 4, .steps = 15, .layout = layouts[l]});
        world_open(&worlds[l], path, sets);
    }
    for (uint64_t g = 0; g < 160; g += 16) {
        for (size_t l = 0; l < 3; l++) build(&worlds[l], false, g, 16);
        for (size_t l = 1; l < 3; l++) batches_equal(worlds[0].batch, worlds[l].batch, 16);
    }
    // again, alone, in other portions, after other things were read
    build(&worlds[0], false, 48, 16);
    build(&worlds[1], true, 3, 16);
    build(&worlds[1], false, 48, 16);
    batches_equal(worlds[0].batch, worlds[1].batch, 16);
    build(&worlds[2], false, 48, 5);
    batches_equal(worlds[0].batch, worlds[2].batch, 5);
    for (size_t l = 0; l < 3; l++) world_close(&worlds[l]);
    end();
}

TEST(training_samples_have_noise_and_dropped_conditions_validation_samples_none) {
    static const char *const sets[] = {"data.alignment=after", "data.cond_mask_prob=0.5", NULL};
    struct world world;
    uint32_t kept = 0, frequency = 0;
    begin();
    demo_file_write(path, &(struct demo_file){.demos = 4, .steps = 15});
    world_open(&world, path, sets);
    build(&world, false, 0, 16);
    for (uint32_t i = 0; i < 16; i++) {
        kept += world.batch->language_kept[i];
        frequency += world.batch->ctrl_freq[i] > 0;
    }
    CHECK(kept > 0 && kept < 16);
    CHECK(frequency > 0 && frequency < 16);
    build(&world, true, 0, 14);
    for (uint32_t i = 0; i < 14; i++)
        CHECK(world.batch->language_kept[i] && world.batch->ctrl_freq[i] == 20.0f);
    world_close(&world);
    end();
}

static void build_refused(struct world *world, const char *says) {
    struct proto_error error = {0};
    const struct proto_ticket ticket = {.id = 1, .first = 0, .count = 16};
    TEST_CASE(says);
    CHECK(!loader_builder_build(world->builder, &ticket, world->batch, &error));
    CHECK_INT(error.status, PROTO_DAMAGED);
    CHECK_HAS(error.text, says);
    CHECK_HAS(error.where, path);
}

TEST(a_file_that_changed_is_refused_by_name_a_touched_one_is_not) {
    static const char *const sets[] = {"data.alignment=after", NULL};
    struct world world;
    char away[500], byte = 0;
    begin();
    demo_file_write(path, &(struct demo_file){.demos = 3, .steps = 15});
    world_open(&world, path, sets);
    build(&world, false, 0, 16);
    // another time, the same content
    CHECK(utimensat(AT_FDCWD, path, (struct timespec[]){{1, 0}, {1, 0}}, 0) == 0);
    build(&world, false, 0, 16);
    // another byte in the middle of the file while it is open: size is the same, content is not
    const int file = open(path, O_RDWR);
    struct stat status;
    CHECK(file >= 0 && fstat(file, &status) == 0);
    CHECK(pread(file, &byte, 1, status.st_size / 2) == 1);
    byte ^= 1;
    CHECK(pwrite(file, &byte, 1, status.st_size / 2) == 1);
    close(file);
    CHECK(utimensat(AT_FDCWD, path, (struct timespec[]){{2, 0}, {2, 0}}, 0) == 0);
    build_refused(&world, "its content hash is");
    CHECK(truncate(path, status.st_size - 10) == 0);
    build_refused(&world, "has changed since the index was made: it has");
    snprintf(away, sizeof away, "%s.away", path);
    CHECK(rename(path, away) == 0);
    build_refused(&world, "cannot be opened");
    // the builder is fit again once the same bytes are back
    demo_file_write(path, &(struct demo_file){.demos = 3, .steps = 15});
    build(&world, false, 0, 16);
    world_close(&world);
    end();
}

TEST(shelf_stays_within_its_budget_and_its_number_of_files) {
    static const char *const sets[] = {"data.alignment=after", NULL};
    struct world world;
    struct proto_error error = {0};
    begin();
    for (uint32_t i = 0; i < 5; i++) {
        snprintf(path, sizeof path, "%s/%u_demo.hdf5", folder, i);
        demo_file_write(
            path, &(struct demo_file){.demos = 4, .steps = 40, .seed = i, .layout = DEMO_GZIP});
    }
    world_open(&world, folder, sets);
    const struct proto_index *index = world.survey->index;
    struct loader_shelf *shelf = NULL;
    // one episode: 18 + 7 numbers and 2 ids a step, 2 cameras of some 40 frames of 768 bytes
    const struct loader_shelf_settings settings = {
        .index = index, .codec = world.survey->codec, .budget_bytes = 400000, .files_max = 2};
    CHECK_OK(loader_shelf_open(&settings, &shelf, &error), error);
    uint64_t opened = 0;
    for (uint32_t k = 0; k < 200; k++) {
        struct loader_held *held = NULL;
        const uint32_t row = k * 7 % index->episode_count;
        CHECK_OK(loader_shelf_take(shelf, row, &held, &error), error);
        CHECK_INT(held->episode.steps, index->episodes[row].steps);
        const struct loader_shelf_counters counters = loader_shelf_counters(shelf);
        CHECK(counters.bytes <= settings.budget_bytes);
        CHECK(counters.files <= 2 && counters.episodes >= 1);
        opened = counters.opened;
    }
    CHECK(opened > 100);  // too little room for all: they come and go
    // the newest stays
    struct loader_held *first = NULL, *again = NULL;
    CHECK_OK(loader_shelf_take(shelf, 3, &first, &error), error);
    CHECK_OK(loader_shelf_take(shelf, 3, &again, &error), error);
    CHECK(first == again);
    loader_shelf_close(&shelf);
    world_close(&world);
    end();
}

TEST(closing_gives_back_every_descriptor) {
    static const char *const sets[] = {"data.alignment=after", NULL};
    struct world world;
    begin();
    demo_file_write(path, &(struct demo_file){.demos = 3, .steps = 15, .layout = DEMO_GZIP});
    const int before = dup(0);
    close(before);
    for (int i = 0; i < 3; i++) {
        world_open(&world, path, sets);
        build(&world, false, 0, 16);
        world_close(&world);
    }
    const int after = dup(0);
    close(after);
    CHECK_INT(after, before);
    end();
}

TEST_MAIN(UNIT(a_sample_is_the_frames_and_actions_that_were_written_masked_at_the_start),
          UNIT(layouts_of_a_file_and_order_of_asking_do_not_change_a_sample),
          UNIT(training_samples_have_noise_and_dropped_conditions_validation_samples_none),
          UNIT(a_file_that_changed_is_refused_by_name_a_touched_one_is_not),
          UNIT(shelf_stays_within_its_budget_and_its_number_of_files),
          UNIT(closing_gives_back_every_descriptor))
