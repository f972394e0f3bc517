// tests/proto/config_print_test.c - the resolved copy reads back identically, whatever the values;
// a resumed run may change what the table says. Oracle: the table of options, walked row by row.
#include "proto/config.h"
#include "proto/config_value.h"

#include "tests/check.h"

#include <inttypes.h>
#include <math.h>
#include <unistd.h>

static const char *const cpu_sets[] = {"trainer.devices=cpu", "trainer.mixed_precision=no",
                                       "collective.backend=host"};

static struct proto_config *cpu_config(void) {
    struct proto_config *config = NULL;
    struct proto_error error = {0};
    CHECK_OK(proto_config_read(NULL, cpu_sets, PROTO_COUNT(cpu_sets), &config, &error), error);
    return config;
}

static char *print(const struct proto_config *config) {
    char *text = NULL;
    struct proto_error error = {0};
    CHECK_OK(proto_config_print(config, &text, &error), error);
    return text;
}

static struct proto_config *read_back(const char *text) {
    char folder[256], path[300];
    struct proto_config *config = NULL;
    struct proto_error error = {0};
    check_folder(folder);
    snprintf(path, sizeof path, "%s/t.toml", folder);
    FILE *file = fopen(path, "w");
    CHECK(file && fputs(text, file) >= 0 && fclose(file) == 0);
    CHECK_OK(proto_config_read(path, NULL, 0, &config, &error), error);
    unlink(path);
    rmdir(folder);
    return config;
}

static bool lists_equal(const struct proto_list *a, const struct proto_list *b) {
    if (a->count != b->count) return false;
    for (size_t i = 0; i < a->count; i++)
        if (strcmp(a->items[i], b->items[i]) != 0) return false;
    return true;
}

// Member by member, not through printing: that is what is under test.
static bool equal(struct proto_config *a, struct proto_config *b,
                  const struct proto_option *option) {
    switch (option->type) {
    case PROTO_OPTION_INTEGER:
        return *proto_value_integer(a, option) == *proto_value_integer(b, option);
    case PROTO_OPTION_REAL:
        // the very same bits
        return memcmp(proto_value_real(a, option), proto_value_real(b, option), sizeof(double)) ==
               0;
    case PROTO_OPTION_BOOLEAN:
        return *proto_value_boolean(a, option) == *proto_value_boolean(b, option);
    case PROTO_OPTION_TEXT:
    case PROTO_OPTION_CHOICE:
        return strcmp(*proto_value_text(a, option), *proto_value_text(b, option)) == 0;
    case PROTO_OPTION_LIST:
    case PROTO_OPTION_TABLE:
        return lists_equal(proto_value_list(a, option), proto_value_list(b, option));
    }
    return false;
}

static void check_round_trip(struct proto_config *config) {
    size_t count;
    const struct proto_option *options = proto_options(&count);
    char *text = print(config);
    struct proto_config *again = read_back(text);
    for (size_t i = 0; i < count; i++) {
        char name[96];
        snprintf(name, sizeof name, "%s.%s", options[i].section, options[i].key);
        TEST_CASE(name);
        CHECK(equal(config, again, &options[i]));
    }
    TEST_CASE("");
    char *text_again = print(again);
    CHECK_TEXT(text_again, text);
    CHECK(proto_config_hash(config) == proto_config_hash(again));
    free(text_again);
    free(text);
    proto_config_free(&again);
}

// Replaces the value of an option by `toml` (a TOML value).
static void put(struct proto_config *config, const struct proto_option *option, const char *value) {
    struct proto_toml *toml = NULL;
    struct proto_toml_place at;
    struct proto_error error = {0};
    char text[512];
    snprintf(text, sizeof text, "value = %s", value);
    CHECK_OK(proto_toml_parse(text, strlen(text), &toml, &at, &error), error);
    CHECK_OK(proto_value_take(config, option, toml, 1, &error), error);
    proto_toml_free(&toml);
}

// A value that is not the default, for every row; rows whose values must fit each other keep them.
static bool other_value(const struct proto_option *option, char value[static 128]) {
    static const char *const kept[] = {
        "devices",     "mixed_precision", "backend",      "state",     "action",
        "cameras",     "hidden_size",     "num_heads",    "image_aug", "device",
        "num_cameras", "preset",          "ema_min_decay"};
    for (size_t i = 0; i < PROTO_COUNT(kept); i++)
        if (strcmp(option->key, kept[i]) == 0) return false;
    switch (option->type) {
    case PROTO_OPTION_INTEGER:
        snprintf(value, 128, "%" PRId64, (int64_t)option->max);
        break;
    case PROTO_OPTION_REAL:
        // no short decimal: a third of the range
        snprintf(value, 128, "%.17e", option->min + (option->max - option->min) / 3);
        break;
    case PROTO_OPTION_BOOLEAN:
        snprintf(value, 128, "%s", strcmp(option->default_value, "true") == 0 ? "false" : "true");
        break;
    case PROTO_OPTION_TEXT:
        snprintf(value, 128, "\"a \\\"b\\\" \\\\ \\t \\u0001 # \xc3\xa4 \\n = [x]\"");
        break;
    case PROTO_OPTION_CHOICE: {
        const char *last = strrchr(option->choices, '|');
        snprintf(value, 128, "\"%s\"", last ? last + 1 : option->choices);
        break;
    }
    case PROTO_OPTION_LIST:
        snprintf(value, 128, "[\"x\", \"y,z\", \"\\\"\"]");
        break;
    case PROTO_OPTION_TABLE:
        snprintf(value, 128, "{ZZ = \"1=2\", \"with space\" = \"\", AA = \"\\\"\"}");
        break;
    }
    return true;
}

TEST(config_printed_reads_back_identically) {
    struct proto_config *config = cpu_config();
    check_round_trip(config);
    size_t count, changed = 0;
    const struct proto_option *options = proto_options(&count);
    for (size_t i = 0; i < count; i++) {
        char value[128];
        if (!other_value(&options[i], value)) continue;
        put(config, &options[i], value);
        changed++;
    }
    CHECK(changed > count / 2);
    check_round_trip(config);
    proto_config_free(&config);
}

TEST(config_prints_reals_so_that_no_bit_is_lost) {
    static const double values[] = {0.1, 1.0 / 3,       1e-4,         20.0,
                                    0.0, 123456789.125, 1e-8 + 1e-20, 0.30000000000000004};
    const struct proto_option *option = proto_option_find("trainer", "max_grad_norm");
    struct proto_config *config = cpu_config();
    for (size_t i = 0; i < PROTO_COUNT(values); i++) {
        struct proto_error error = {0};
        config->trainer.max_grad_norm = values[i];
        char *text = proto_value_print(config, option, &error);
        CHECK(text);
        TEST_CASE(text);
        CHECK(strpbrk(text, ".e"));  // a TOML float, not an integer
        put(config, option, text);
        CHECK(config->trainer.max_grad_norm == values[i]);
        free(text);
    }
    proto_config_free(&config);
}

// ---- resuming ----------------------------------------------------------------------------------

struct notices {
    uint32_t count;
    char last[256];
};
static void notice(void *context, const char *line) {
    struct notices *notices = context;
    notices->count++;
    snprintf(notices->last, sizeof notices->last, "%s", line);
}

TEST(config_may_resume_follows_the_table) {
    size_t count;
    const struct proto_option *options = proto_options(&count);
    for (size_t i = 0; i < count; i++) {
        struct proto_config *before = cpu_config(), *now = cpu_config();
        struct proto_error error = {0};
        struct notices notices = {0};
        char value[128], name[96];
        snprintf(name, sizeof name, "%s.%s", options[i].section, options[i].key);
        TEST_CASE(name);
        CHECK_OK(proto_config_may_resume(before, now, notice, &notices, &error), error);
        CHECK_INT(notices.count, 0);
        if (other_value(&options[i], value)) {
            put(now, &options[i], value);
            const bool fixed = options[i].resume == PROTO_RESUME_FIXED;
            CHECK(proto_config_may_resume(before, now, notice, &notices, &error) == !fixed);
            CHECK_INT(notices.count, options[i].resume == PROTO_RESUME_NOTICE);
            CHECK(fixed == (proto_config_hash(before) != proto_config_hash(now)));
            if (fixed) CHECK_HAS(error.where, name);
            if (notices.count > 0) CHECK_HAS(notices.last, name);
        }
        proto_config_free(&before);
        proto_config_free(&now);
    }
}

TEST(config_refusal_to_resume_names_both_values) {
    struct proto_config *before = cpu_config(), *now = NULL;
    struct proto_error error = {0};
    struct notices notices = {0};
    const char *sets[] = {cpu_sets[0], cpu_sets[1], cpu_sets[2], "run.seed=43",
                          "trainer.learning_rate=0.5"};
    CHECK_OK(proto_config_read(NULL, sets, PROTO_COUNT(sets), &now, &error), error);
    CHECK(!proto_config_may_resume(before, now, notice, &notices, &error));
    CHECK_INT(error.status, PROTO_USAGE);
    CHECK_TEXT(error.where, "--set run.seed");
    CHECK_HAS(error.text, "is 43, but the run was started with 42");
    CHECK_INT(notices.count, 0);  // refused: no notice of what would have changed too
    now->run.seed = 42;
    CHECK_OK(proto_config_may_resume(before, now, notice, &notices, &error), error);
    CHECK_TEXT(notices.last, "trainer.learning_rate is 0.5 now; the run was started with 0.0001");
    proto_config_free(&before);
    proto_config_free(&now);
}

TEST_MAIN(UNIT(config_printed_reads_back_identically),
          UNIT(config_prints_reals_so_that_no_bit_is_lost),
          UNIT(config_may_resume_follows_the_table),
          UNIT(config_refusal_to_resume_names_both_values))
