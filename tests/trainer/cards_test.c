// tests/trainer/cards_test.c - the table of cards and the measurement of a processor.
#include "tests/check.h"
#include "tests/trainer/tiny_sizes.h"

#include "trainer/cards.h"

TEST(cards_are_found_by_the_name_that_a_driver_gives) {
    static const struct {
        const char *device, *card;
    } rows[] = {
        {"NVIDIA GeForce RTX 4090", "RTX 4090"},
        {"NVIDIA RTX 6000 Ada Generation", "RTX 6000 Ada, L40S"},
        {"NVIDIA A100-SXM4-80GB", "A100 80GB"},
        {"NVIDIA H100 80GB HBM3", "H100 80GB"},
    };
    for (size_t i = 0; i < PROTO_COUNT(rows); i++) {
        const struct trainer_card *card = trainer_card_find(rows[i].device);
        TEST_CASE(rows[i].device);
        CHECK(card != NULL);
        CHECK_TEXT(card->name, rows[i].card);
    }
    CHECK(trainer_card_find("NVIDIA GeForce GTX 1080") == NULL);
}

TEST(cards_assume_no_more_than_the_maker_says) {
    size_t count = 0;
    const struct trainer_card *cards = trainer_cards(&count);
    CHECK(count >= 3);
    for (size_t i = 0; i < count; i++) {
        TEST_CASE(cards[i].name);
        CHECK(cards[i].large_flops < cards[i].peak_flops);
        CHECK(cards[i].small_flops <= cards[i].large_flops);
        CHECK(cards[i].bandwidth > cards[i].link_bandwidth);
        CHECK(cards[i].link_bandwidth > 0 && cards[i].host_bandwidth > 0 && cards[i].launch_s > 0);
        CHECK(i == 0 || cards[i].memory_bytes >= cards[i - 1].memory_bytes);
    }
}

// Bounds are those of any processor that this builds for: a slow one that is shared by many, and
// ten times the fastest core of today.
TEST(cards_measure_a_processor_in_whole_passes_or_in_one_product) {
    struct proto_error error = {0};
    struct trainer_card card;
    struct model_rdt_sizes sizes = tiny_sizes(4);
    CHECK_OK(trainer_card_measure(&sizes, 0.14e9, 16, 8, 1, &card, &error), error);
    CHECK(card.whole_passes);
    CHECK(card.f32_flops > 1e7 && card.f32_flops < 2e12);
    CHECK(card.bandwidth > 1e7 && card.bandwidth < 2e12);
    CHECK(card.memory_bytes > 1e8);
    // a network whose passes would take long is measured by a product of its sizes
    CHECK_OK(trainer_card_measure(&sizes, 1e12, 16, 8, 1, &card, &error), error);
    CHECK(!card.whole_passes);
    CHECK(card.f32_flops > 1e7 && card.f32_flops < 2e12);
}

TEST_MAIN(UNIT(cards_are_found_by_the_name_that_a_driver_gives),
          UNIT(cards_assume_no_more_than_the_maker_says),
          UNIT(cards_measure_a_processor_in_whole_passes_or_in_one_product))
