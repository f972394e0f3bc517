// tests/proto/config_test.c - a configuration is read as written, and a mistake is named with its
// place, what was found and what was expected. Oracle: the table of options.
#include "proto/config.h"

#include "proto/preset.h"
#include "tests/check.h"

#include <unistd.h>

// What every configuration here begins with: the smallest one that runs on a CPU.
#define CPU                                                                                        \
    "[trainer]\ndevices = [\"cpu\", \"cpu\"]\nmixed_precision = \"no\"\n"                          \
    "[collective]\nbackend = \"host\"\n"

// Reads `text` as file t.toml of a new folder, with up to two sets.
static bool read_text(const char *text, const char *set_a, const char *set_b,
                      struct proto_config **config, struct proto_error *error) {
    char folder[256], path[300];
    check_folder(folder);
    snprintf(path, sizeof path, "%s/t.toml", folder);
    FILE *file = fopen(path, "w");
    CHECK(file && fputs(text, file) >= 0 && fclose(file) == 0);
    const char *sets[] = {set_a, set_b};
    const size_t count = set_a ? (set_b ? 2 : 1) : 0;
    const bool done = proto_config_read(path, sets, count, config, error);
    unlink(path);
    rmdir(folder);
    return done;
}

TEST(config_takes_the_file_over_the_default_and_set_over_the_file) {
    struct proto_config *config = NULL;
    struct proto_error error = {0};
    CHECK_OK(read_text(CPU "[run]\nseed = 7\noutput_dir = \"a b\"\n[data]\npath = \"one\"\n"
                           "[loader]\nlease_timeout_s = 3\n",
                       "run.seed=8", "data.path=[\"x\", \"y\"]", &config, &error),
             error);
    CHECK_INT(config->run.seed, 8);
    CHECK_TEXT(config->run.output_dir, "a b");
    CHECK_INT(config->run.max_train_steps, 20000);
    CHECK_NEAR(config->loader.lease_timeout_s, 3, 0);  // an integer where a real is wanted
    CHECK_INT(config->data.path.count, 2);
    CHECK_TEXT(config->data.path.items[1], "y");
    CHECK_INT(config->trainer.devices.count, 2);
    CHECK(!config->data.image_aug);
    proto_config_free(&config);
    CHECK(config == NULL);
}

TEST(config_set_is_toml_or_else_a_text) {
    static const struct {
        const char *set, *becomes;
    } sets[] = {
        {"run.output_dir=/a/b#c", "/a/b#c"}, {"run.output_dir=\"quoted\"", "quoted"},
        {"run.output_dir=42", "42"},         {"run.output_dir=2024-01-01", "2024-01-01"},
        {"run.output_dir=true", "true"},     {"run.output_dir=a=b", "a=b"},
        {"run.output_dir=[x]", "[x]"},       {"run.output_dir=\"x\"\n[data]\npath=1", NULL},
    };
    for (size_t i = 0; i < PROTO_COUNT(sets); i++) {
        struct proto_config *config = NULL;
        struct proto_error error = {0};
        TEST_CASE(sets[i].set);
        CHECK_OK(read_text(CPU, sets[i].set, NULL, &config, &error), error);
        CHECK_TEXT(config->run.output_dir,
                   sets[i].becomes ? sets[i].becomes : "\"x\"\n[data]\npath=1");
        CHECK_INT(config->data.path.count, 0);  // nothing leaked out of the value
        proto_config_free(&config);
    }
}

TEST(config_keeps_the_environment_of_trainers_in_order) {
    struct proto_config *config = NULL;
    struct proto_error error = {0};
    CHECK_OK(read_text(CPU "[collective.env]\nZ = \"last=1\"\nA = 2\n", "collective.env.A=3",
                       "collective.env.NEW=x y", &config, &error),
             error);
    CHECK_INT(config->collective.env.count, 3);
    CHECK_TEXT(config->collective.env.items[0], "Z=last=1");
    CHECK_TEXT(config->collective.env.items[1], "A=3");
    CHECK_TEXT(config->collective.env.items[2], "NEW=x y");
    proto_config_free(&config);
}

TEST(config_fills_sizes_from_the_preset_where_none_is_given) {
    size_t count;
    const struct proto_preset *presets = proto_presets(&count);
    CHECK_INT(count, 3);
    for (size_t i = 0; i < count; i++) {
        struct proto_config *config = NULL;
        struct proto_error error = {0};
        char set[64];
        snprintf(set, sizeof set, "model.preset=%s", presets[i].name);
        TEST_CASE(presets[i].name);
        CHECK_OK(read_text(CPU, set, "model.depth=3", &config, &error), error);
        CHECK_INT(config->model.depth, 3);
        CHECK_INT(config->model.hidden_size, presets[i].hidden_size);
        CHECK_INT(config->model.num_heads, presets[i].num_heads);
        CHECK_INT(config->model.chunk_size, presets[i].chunk_size);
        CHECK_INT(config->model.img_history_size, presets[i].img_history_size);
        CHECK_INT(config->model.num_cameras, presets[i].num_cameras);
        CHECK_INT(config->model.max_lang_cond_len, presets[i].max_lang_cond_len);
        CHECK_TEXT(config->model.layout, presets[i].layout);
        proto_config_free(&config);
    }
    CHECK(proto_preset_find("rdt-1B") == NULL);
    CHECK_INT(proto_preset_find("rdt-1b")->hidden_size, 2048);
}

// Wrong files: the place, and the words.
static const struct {
    const char *name, *text, *where, *says;
} wrong_files[] = {
    {"key", "[trainer]\nlearning_rat = 1e-4\n", "t.toml:2:1: trainer.learning_rat",
     "unknown key; nearest known: trainer.learning_rate"},
    {"key of another section", "[data]\nlearning_rate = 1\n", "t.toml:2:1: data.learning_rate",
     "it belongs to [trainer]"},
    {"misspelt key of another section", "[data]\nlerning_rate = 1\n",
     "t.toml:2:1: data.lerning_rate", "nearest known: trainer.learning_rate"},
    {"key of several sections", "[model]\nencoder = \"x\"\n", "t.toml:2:1: model.encoder",
     "it belongs to [vision] or [language]"},
    {"key like nothing", "[run]\nxyzzy = 1\n", "t.toml:2:1: run.xyzzy",
     "[run] has output_dir, seed"},
    {"section", "\n[trainr]\n", "t.toml:2:2: trainr", "unknown section; nearest known: [trainer]"},
    {"section like nothing", "[qqqqqqqqq]\n", "t.toml:1:2: qqqqqqqqq", "known are run, data"},
    {"key without section", "seed = 1\n", "t.toml:1:1: seed", "as a key it belongs to [run]"},
    {"section that is a value", "run = 1\n", "t.toml:1:1: run", "expected the section [run]"},
    {"section as list", "[[run]]\nseed = 1\n", "t.toml:1:3: run", "found a list, expected"},
    {"type", "[run]\nseed = \"x\"\n", "t.toml:2:1: run.seed",
     "found the text \"x\", expected an integer, 0..9007199254740991"},
    {"real for integer", "[run]\n  seed = 1.5\n", "t.toml:2:3: run.seed",
     "found the real number 1.5"},
    {"boolean", "[data]\nimage_aug = 1\n", "t.toml:2:1: data.image_aug",
     "found the integer 1, expected a boolean, true or false"},
    {"below the range", "[run]\nmax_train_steps = 0\n", "run.max_train_steps",
     "found the integer 0, expected an integer, 1..1000000000 steps"},
    {"above the range", "[data]\ncond_mask_prob = 1.0\n", "data.cond_mask_prob",
     "found the real number 1, expected a real number, 0..0.999"},
    {"not a number", "[data]\ncond_mask_prob = nan\n", "data.cond_mask_prob", "nan"},
    {"infinite", "[trainer]\nmax_grad_norm = inf\n", "trainer.max_grad_norm", "inf"},
    {"choice", "[vision]\nencoder = \"clip\"\n", "vision.encoder",
     "found the text \"clip\", expected one of siglip, pixels"},
    {"list of numbers", "[trainer]\ndevices = [1]\n", "trainer.devices", "holds the integer 1"},
    {"list of lists", "[trainer]\ndevices = [[\"cpu\"]]\n", "trainer.devices", "holds a list"},
    {"empty item", "[data]\npath = [\"\"]\n", "data.path", "an empty text"},
    {"table of lists", "[collective.env]\nA = []\n", "t.toml:1:13: collective.env",
     "A holds a list"},
    {"time", "[run]\nseed = 1979-05-27\n", "run.seed", "found a time"},
    {"table for a value", "[run.seed]\nx = 1\n", "run.seed", "found a table"},
    {"no TOML", "[run]\nseed = \n", "t.toml:2:", ""},
};
TEST(config_names_the_place_of_a_mistake_in_a_file) {
    for (size_t i = 0; i < PROTO_COUNT(wrong_files); i++) {
        struct proto_config *config = NULL;
        struct proto_error error = {0};
        TEST_CASE(wrong_files[i].name);
        CHECK(!read_text(wrong_files[i].text, NULL, NULL, &config, &error));
        CHECK(config == NULL);
        CHECK_INT(error.status, PROTO_USAGE);
        CHECK_HAS(error.where, wrong_files[i].where);
        CHECK_HAS(error.text, wrong_files[i].says);
    }
}

static const struct {
    const char *set, *where, *says;
} wrong_sets[] = {
    {"trainer.learning_rat=1", "--set trainer.learning_rat", "trainer.learning_rate"},
    {"seed=1", "--set seed=1", "belongs to [run] or [evaluator]"},
    {"nonsense", "--set nonsense", "no \"=\" in it, expected section.key=value"},
    {"=1", "--set =1", "expected section.key=value"},
    {"run.=1", "--set run.", "unknown key"},
    {"runs.seed=1", "--set runs.seed", "nearest known: [run]"},
    {"run.seed.x=1", "--set run.seed", "run.seed is no table"},
    {"run.seed=abc", "--set run.seed", "found the text \"abc\", expected an integer"},
    {"run.seed=-1", "--set run.seed", "found the integer -1"},
    {"run.max_train_steps=1\nseed=2", "--set run.max_train_steps", "expected an integer"},
    {"trainer.devices=[cpu,cpu]", "--set trainer.devices", "quotes inside it must reach"},
    {"collective.env.=1", "--set collective.env", "a table of names"},
    {"run.output_dir=\xff", "--set run.output_dir", "utf-8"},
};
TEST(config_names_the_set_that_is_wrong) {
    for (size_t i = 0; i < PROTO_COUNT(wrong_sets); i++) {
        struct proto_config *config = NULL;
        struct proto_error error = {0};
        TEST_CASE(wrong_sets[i].set);
        CHECK(!proto_config_read(NULL, &wrong_sets[i].set, 1, &config, &error));
        CHECK_INT(error.status, PROTO_USAGE);
        CHECK_TEXT(error.where, wrong_sets[i].where);
        for (char *c = error.text; *c; c++)
            if (*c == 'U' || *c == 'T' || *c == 'F') *c = (char)(*c + 32);  // toml++'s "UTF-8"
        CHECK_HAS(error.text, wrong_sets[i].says);
    }
}

TEST(config_names_a_file_that_is_not_there) {
    struct proto_config *config = NULL;
    struct proto_error error = {0};
    CHECK(!proto_config_read("/nonexistent/a.toml", NULL, 0, &config, &error));
    CHECK_INT(error.status, PROTO_USAGE);
    CHECK_HAS(error.where, "/nonexistent/a.toml");
}

// The files of the repository: what they promise, read whole.
TEST(config_reads_every_file_in_pipelines) {
    static const struct {
        const char *file;
        size_t ranks;
        int64_t batch;
    } files[] = {
        {"1task.toml", 2, 32}, {"demo.toml", 2, 32}, {"1gpu.toml", 1, 8}, {"2gpu.toml", 2, 16}};
    for (size_t i = 0; i < PROTO_COUNT(files); i++) {
        struct proto_config *config = NULL;
        struct proto_error error = {0};
        char path[512];
        snprintf(path, sizeof path, "%s/pipelines/%s", TESTS_ROOT, files[i].file);
        TEST_CASE(files[i].file);
        CHECK_OK(proto_config_read(path, NULL, 0, &config, &error), error);
        CHECK_INT(config->trainer.devices.count, files[i].ranks);
        CHECK_INT(config->trainer.train_batch_size, files[i].batch);
        proto_config_free(&config);
    }
}

TEST_MAIN(UNIT(config_takes_the_file_over_the_default_and_set_over_the_file),
          UNIT(config_set_is_toml_or_else_a_text),
          UNIT(config_keeps_the_environment_of_trainers_in_order),
          UNIT(config_fills_sizes_from_the_preset_where_none_is_given),
          UNIT(config_names_the_place_of_a_mistake_in_a_file),
          UNIT(config_names_the_set_that_is_wrong), UNIT(config_names_a_file_that_is_not_there),
          UNIT(config_reads_every_file_in_pipelines))
