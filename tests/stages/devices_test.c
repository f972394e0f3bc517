// tests/stages/devices_test.c - load, memory and power stand at the rank whose device they are of,
// also when CUDA counts devices in another order than the driver. NVML is a fake (fake_nvml.c).
#include "tests/check.h"

#include "stages/devices.h"

static char *const names[] = {"cuda:0", "cuda:1", "cpu"};
static const struct proto_list list = {.items = (char **)(uintptr_t)names, .count = 3};
static const char known[] =
    "{\"devices\": ["
    "{\"name\": \"A\", \"uuid\": \"GPU-00000000-0000-0000-0000-0000000000a1\","
    " \"memory_bytes\": 5},"
    "{\"name\": \"B\", \"uuid\": \"GPU-00000000-0000-0000-0000-0000000000b0\","
    " \"memory_bytes\": 5}]}";

static json_t *row_of(struct stage_devices *devices, size_t i) {
    json_t *row = json_pack("{s:s}", "device", names[i]);
    stage_devices_describe(devices, i, row);
    return row;
}
static long long whole(const json_t *row, const char *key) {
    return (long long)json_integer_value(json_object_get(row, key));
}

TEST(devices_are_matched_by_uuid) {
    setenv("PIPELINE_NVML", TESTS_BIN "/../tests/libfake_nvml.so", 1);
    setenv("FAKE_NVML", "", 1);
    struct stage_devices *devices = stage_devices_new(&list, json_loads(known, 0, NULL));
    json_t *first = row_of(devices, 0), *second = row_of(devices, 1), *third = row_of(devices, 2);
    CHECK_TEXT(json_string_value(json_object_get(first, "name")), "A");
    CHECK_INT(whole(first, "utilisation"), 91);  // the driver's second
    CHECK_INT(whole(first, "memory_used_bytes"), 41ll << 30);
    CHECK_INT(whole(first, "memory_bytes"), 80ll << 30);
    CHECK(json_number_value(json_object_get(first, "power_w")) == 301.5);
    CHECK(!json_object_get(first, "temperature_c"));
    CHECK_INT(whole(second, "utilisation"), 90);
    CHECK_INT(json_object_size(third), 1);
    json_decref(first);
    json_decref(second);
    json_decref(third);
    stage_devices_close(&devices);
    stage_devices_close(&devices);
}

TEST(devices_without_a_drivers_library_have_a_name_only) {
    setenv("PIPELINE_NVML", "/nowhere/libnvidia-ml.so.1", 1);
    struct stage_devices *devices = stage_devices_new(&list, json_loads(known, 0, NULL));
    json_t *row = row_of(devices, 1);
    CHECK_TEXT(json_string_value(json_object_get(row, "name")), "B");
    CHECK_INT(whole(row, "memory_bytes"), 5);
    CHECK(!json_object_get(row, "utilisation"));
    json_decref(row);
    stage_devices_close(&devices);
}

TEST(devices_of_cpu_ranks_are_nothing) {
    char *cpus[] = {names[2], names[2]};
    const struct proto_list none = {.items = cpus, .count = 2};
    CHECK(stage_devices_open(&none) == NULL);
    json_t *row = json_pack("{s:s}", "device", "cpu");
    stage_devices_describe(NULL, 0, row);
    CHECK_INT(json_object_size(row), 1);
    json_decref(row);
}

TEST_MAIN(UNIT(devices_are_matched_by_uuid),
          UNIT(devices_without_a_drivers_library_have_a_name_only),
          UNIT(devices_of_cpu_ranks_are_nothing))
