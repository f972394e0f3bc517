// tests/loader/verb_test.c - the command line of pipeline-loader: what it refuses and how, what
// check, stats and sample print, with the exit code that docs/exit-codes.md promises.
#include "loader/verb.h"
#include "loader/verb_data.h"
#include "proto/files.h"
#include "proto/json.h"

#include <sys/wait.h>
#include <unistd.h>

#include "tests/loader/demo_file.h"

static char folder[256], path[400], toml[400];
static char out[1 << 18], err[8192];

static void begin(const struct demo_file *file) {
    check_folder(folder);
    snprintf(path, sizeof path, "%s/a_demo.hdf5", folder);
    snprintf(toml, sizeof toml, "%s/run.toml", folder);
    if (file) demo_file_write(path, file);
}

static void end(void) {
    struct proto_error error = {0};
    CHECK_OK(proto_folder_remove(folder, &error), error);
}

static void words_read(FILE *file, char *text, size_t size) {
    rewind(file);
    text[fread(text, 1, size - 1, file)] = '\0';
    fclose(file);
}

// Runs `pipeline-loader words...` in a child; out and err get what it printed.
static int run(const char *const *words) {
    char *argument[32] = {(char *)(uintptr_t) "pipeline-loader"};
    int count = 1, status = 0;
    FILE *files[2] = {tmpfile(), tmpfile()};
    while (*words && count < 31) argument[count++] = (char *)(uintptr_t)*words++;
    fflush(NULL);
    const pid_t pid = fork();
    if (pid == 0) {
        dup2(fileno(files[0]), 1);
        dup2(fileno(files[1]), 2);
        const int code = loader_command_line(count, argument);
        fflush(NULL);
        _exit(code);
    }
    CHECK(pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status));
    words_read(files[0], out, sizeof out);
    words_read(files[1], err, sizeof err);
    return WEXITSTATUS(status);
}
#define RUN(...) run((const char *const[]){__VA_ARGS__, NULL})

TEST(command_lines_that_are_wrong_are_refused_with_what_would_be_right) {
    static const struct {
        const char *words[6], *says;
    } cases[] = {
        {{"chekc"}, "there is no verb chekc; see pipeline-loader --help"},
        {{"index"}, "index needs --run: --run DIR"},
        {{"index", "--run"}, "--run needs a value"},
        {{"index", "--run", "x", "y"}, "y is one word too many"},
        {{"index", "--json"}, "index knows no option --json"},
        {{"check"}, "check needs FILE"},
        {{"sample", "x", "--episode", "demo_0"}, "sample needs --step"},
        {{"sample", "x", "--episode", "demo_0", "--step=1"}, "knows no option --step=1"},
        {{"serve", "--run", "x", "--number", "-3"}, "--number is \"-3\", must be a number of 0.."},
    };
    for (size_t i = 0; i < PROTO_COUNT(cases); i++) {
        TEST_CASE(cases[i].says);
        CHECK_INT(run(cases[i].words), PROTO_USAGE);
        CHECK_HAS(err, cases[i].says);
        CHECK_TEXT(out, "");
    }
    CHECK_INT(RUN("--help"), PROTO_DONE);
    CHECK_HAS(out, "pipeline-loader sample DATA --episode demo_3 --step 17");
    CHECK_INT(RUN("version", "--json"), PROTO_DONE);
    CHECK_HAS(out, "\"hdf5\": \"1.");
}

// A configuration that this machine can run, with data.path = path.
static void toml_write(const char *more) {
    char text[2048];
    struct proto_error error = {0};
    const int size = snprintf(
        text, sizeof text,
        "[data]\npath = \"%s\"\nvalidation_episodes = 1\n%s\n[model]\npreset = \"rdt-tiny\"\n"
        "[vision]\nencoder = \"pixels\"\n[language]\nencoder = \"hash\"\n[trainer]\n"
        "devices = [\"cpu\"]\nmixed_precision = \"no\"\n[collective]\nbackend = \"host\"\n"
        "[evaluator]\nwhen = \"never\"\n",
        path, more);
    CHECK_OK(proto_file_write(toml, text, (size_t)size, &error), error);
}

static json_t *printed_json(void) {
    struct proto_error error = {0};
    json_t *json = proto_json_parse(out, strlen(out), &error);
    if (!json) fail_msg("not JSON: %s: %s\n%s", error.where, error.text, out);
    return json;
}

TEST(check_prints_every_channel_and_says_that_training_may_start) {
    static const char *const says[] = {"alignment: after (measured",
                                       "joint_pos.3",
                                       "obs/joint_states",
                                       "rad",
                                       "eef_rot6d.5",
                                       "eef_delta_pos.0",
                                       "gripper command",
                                       "command",
                                       "single-task",
                                       "round trip",
                                       "an epoch: ",
                                       "validation episodes: data/demo_",
                                       "16 x 16 pixels, opengl",
                                       "training may start"};
    begin(&(struct demo_file){.demos = 4, .steps = 30});
    toml_write("");
    CHECK_INT(RUN("check", toml), PROTO_DONE);
    for (size_t i = 0; i < PROTO_COUNT(says); i++) CHECK_HAS(out, says[i]);
    CHECK_INT(RUN("check", toml, "--json", "--set", "model.layout=unified"), PROTO_DONE);
    json_t *json = printed_json();
    CHECK(json_is_true(json_object_get(json, "may_train")));
    const json_t *task = json_array_get(json_object_get(json, "tasks"), 0);
    CHECK_INT(json_array_size(json_object_get(task, "state")), 18);
    CHECK_INT(json_array_size(json_object_get(task, "action")), 7);
    const json_t *row = json_array_get(json_object_get(task, "action"), 0);
    CHECK_TEXT(json_string_value(json_object_get(row, "channel")), "eef_delta_pos.0");
    CHECK_INT(json_integer_value(json_object_get(row, "slot")), 39);
    CHECK_INT(json_integer_value(json_object_get(row, "column")), 39);
    CHECK(json_number_value(json_object_get(row, "round_trip_error")) <=
          json_number_value(json_object_get(row, "round_trip_bound")));
    json_decref(json);
    end();
}

TEST(check_says_no_with_the_code_of_the_reason) {
    struct proto_error error = {0};
    begin(&(struct demo_file){.demos = 4, .steps = 4});
    toml_write("");
    CHECK_INT(RUN("check", toml, "--json"), PROTO_REFUSED);  // too short to tell the order
    CHECK_HAS(err, "set data.alignment");
    json_t *json = printed_json();
    CHECK(json_is_false(json_object_get(json, "may_train")));
    CHECK_INT(json_integer_value(json_object_get(json_object_get(json, "refusal"), "status")),
              PROTO_REFUSED);
    json_decref(json);
    CHECK_INT(RUN("check", toml, "--set", "data.alignment=after"), PROTO_DONE);
    CHECK_INT(RUN("check", toml, "--set", "data.alignment=after", "--set", "vision.encoder=siglip"),
              PROTO_MISSING);
    CHECK_HAS(out, "joint_pos.3");  // the data is shown all the same
    CHECK_HAS(err, "siglip");
    CHECK_INT(RUN("check", toml, "--set", "data.aligment=after"), PROTO_USAGE);
    CHECK_HAS(err, "data.alignment");
    CHECK_OK(proto_file_write(path, "none", 4, &error), error);
    CHECK_INT(RUN("check", toml), PROTO_DAMAGED);
    CHECK_HAS(err, "a_demo.hdf5: is not an HDF5 file");
    end();
}

TEST(check_tells_how_channels_depart_from_what_pretrained_weights_saw) {
    char set[400];
    begin(&(struct demo_file){.demos = 4, .steps = 30});
    toml_write("");
    snprintf(set, sizeof set, "model.pretrained=%s", folder);  // no weights in it: not the matter
    CHECK_INT(RUN("check", toml), PROTO_DONE);
    CHECK(!strstr(out, "arrives as"));
    CHECK(RUN("check", toml, "--set", set) != PROTO_DONE);
    CHECK_HAS(out, "state  joint_pos.0      arrives as (x - ");
    CHECK(!strstr(out, "action gripper"));  // a gripper command is not scaled
    RUN("check", toml, "--set", set, "--set", "data.transform=identity");
    CHECK(!strstr(out, "arrives as"));
    end();
}

TEST(stats_shows_a_file_without_images_and_without_validation) {
    begin(&(struct demo_file){.demos = 3, .steps = 30, .robomimic = true});
    const hid_t file = demo_file_edit(path);
    for (int d = 0; d < 3; d++) {
        char name[64];
        snprintf(name, sizeof name, "data/demo_%d/obs/agentview_image", d);
        CHECK(H5Ldelete(file, name, H5P_DEFAULT) >= 0);
    }
    H5Fclose(file);
    CHECK_INT(RUN("stats", path), PROTO_DONE);
    CHECK_HAS(out, "1 file, 1 task, 3 episodes, 93 steps");
    CHECK_HAS(out, "alignment measured: after");
    CHECK_HAS(out, "obs/robot0_joint_pos");
    CHECK_INT(RUN("stats", path, "--json"), PROTO_DONE);
    json_t *json = printed_json();
    const json_t *task = json_array_get(json_object_get(json, "tasks"), 0);
    const json_t *row = json_array_get(json_object_get(task, "action"), 6);
    CHECK_INT(json_integer_value(json_object_get(row, "count")), 93);
    CHECK_NEAR(json_number_value(json_object_get(row, "min")), -1, 0);
    CHECK_NEAR(json_number_value(json_object_get(row, "max")), 1, 0);
    json_decref(json);
    end();
}

TEST(sample_shows_the_numbers_of_the_file_beside_the_encoded_ones) {
    const struct demo_file written = {.demos = 3, .steps = 30};
    static struct demo_numbers n;
    begin(&written);
    demo_numbers_make(&written, 2, 32, &n);
    CHECK_INT(RUN("sample", path, "--episode", "demo_2", "--step", "28", "--json", "--set",
                  "model.preset=rdt-tiny"),
              PROTO_DONE);
    json_t *json = printed_json();
    CHECK_TEXT(json_string_value(json_object_get(json, "instruction")), "close the drawer");
    CHECK_INT(json_integer_value(json_object_get(json, "steps_valid")), 3);
    const json_t *recorded = json_object_get(json, "action_recorded");
    CHECK_INT(json_array_size(recorded), 3);
    for (size_t i = 0; i < 3; i++)
        for (size_t k = 0; k < 7; k++)
            CHECK_NEAR(json_number_value(json_array_get(json_array_get(recorded, i), k)),
                       n.action[29 + i][k], 0);
    CHECK_NEAR(json_number_value(json_array_get(json_object_get(json, "state_recorded"), 2)),
               n.joint[28][2], 0);
    CHECK_INT(json_array_size(json_object_get(json, "action")), 8);
    json_decref(json);
    CHECK_INT(RUN("sample", path, "--episode", "data/demo_0", "--step", "3"), PROTO_DONE);
    CHECK_HAS(out, "instruction \"close the drawer\"");
    CHECK_HAS(out, "eye_in_hand");
    CHECK_INT(RUN("sample", path, "--episode", "demo_0", "--step", "29"), PROTO_USAGE);
    CHECK_HAS(err, "step 29 is no sample");
    CHECK_INT(RUN("sample", path, "--episode", "demo_7", "--step", "0"), PROTO_USAGE);
    CHECK_HAS(err, "there is no episode demo_7");
    end();
}

// A path of any characters reaches the configuration as it is.
TEST(data_paths_are_quoted) {
    struct proto_config *config = NULL;
    struct proto_error error = {0};
    const struct loader_arguments arguments = {.file = "a \"b\"\\c.hdf5"};
    CHECK_OK(loader_data_config(&arguments, &config, &error), error);
    CHECK_INT(config->data.path.count, 1);
    CHECK_TEXT(config->data.path.items[0], "a \"b\"\\c.hdf5");
    proto_config_free(&config);
}

TEST_MAIN(UNIT(command_lines_that_are_wrong_are_refused_with_what_would_be_right),
          UNIT(check_prints_every_channel_and_says_that_training_may_start),
          UNIT(check_says_no_with_the_code_of_the_reason),
          UNIT(check_tells_how_channels_depart_from_what_pretrained_weights_saw),
          UNIT(stats_shows_a_file_without_images_and_without_validation),
          UNIT(sample_shows_the_numbers_of_the_file_beside_the_encoded_ones),
          UNIT(data_paths_are_quoted))
