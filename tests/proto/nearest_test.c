// tests/proto/nearest_test.c - a wrong name leads to the one that was meant. Oracle: distances
// counted by hand.
#include "proto/nearest.h"

#include "tests/check.h"

TEST(edit_distance_counts_single_changes) {
    static const struct {
        const char *a, *b;
        size_t distance;
    } pairs[] = {
        {"", "", 0},      {"abc", "abc", 0}, {"", "abc", 3},
        {"abc", "", 3},   {"abc", "abd", 1}, {"abc", "abcd", 1},
        {"abc", "bc", 1}, {"abc", "acb", 1}, {"kitten", "sitting", 3},
        {"ca", "abc", 3},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        TEST_CASE(pairs[i].b);
        CHECK_INT(proto_edit_distance(pairs[i].a, pairs[i].b), pairs[i].distance);
        CHECK_INT(proto_edit_distance(pairs[i].b, pairs[i].a), pairs[i].distance);
    }
}

TEST(nearest_is_the_first_of_the_least_distant) {
    struct proto_nearest nearest = {.wrong = "learning_rat"};
    proto_nearest_offer(&nearest, "loader");
    CHECK(nearest.best == NULL);
    proto_nearest_offer(&nearest, "learning_date");
    proto_nearest_offer(&nearest, "learning_rate");
    proto_nearest_offer(&nearest, "learning_rats");
    CHECK_TEXT(nearest.best, "learning_rate");
    CHECK_INT(nearest.distance, 1);
}

TEST(nearest_offers_nothing_to_a_name_without_likeness) {
    struct proto_nearest nearest = {.wrong = "xyzzy"};
    proto_nearest_offer(&nearest, "path");
    proto_nearest_offer(&nearest, "workers");
    CHECK(nearest.best == NULL);
}

// Names of any length may come from a file.
TEST(nearest_compares_the_beginnings_of_very_long_names) {
    char name[5000];
    memset(name, 'a', sizeof name);
    name[sizeof name - 1] = '\0';
    CHECK_INT(proto_edit_distance(name, "a"), PROTO_NEAREST_BYTES_MAX - 1);
    CHECK_INT(proto_edit_distance(name, name), 0);
}

TEST_MAIN(UNIT(edit_distance_counts_single_changes),
          UNIT(nearest_is_the_first_of_the_least_distant),
          UNIT(nearest_offers_nothing_to_a_name_without_likeness),
          UNIT(nearest_compares_the_beginnings_of_very_long_names))
