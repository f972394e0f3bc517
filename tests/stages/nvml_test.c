// tests/stages/nvml_test.c - what the driver's library says is handed on, device by UUID; without a
// driver the reason is told. The library is a fake beside this test (fake_nvml.c).
#include "tests/check.h"

#include "stages/nvml.h"

#define FIRST "GPU-00000000-0000-0000-0000-0000000000a1"  // of CUDA, second on the bus
#define SECOND "GPU-00000000-0000-0000-0000-0000000000b0"

static struct stage_nvml *opened(const char *mode) {
    struct proto_error error = {0};
    struct stage_nvml *nvml = NULL;
    setenv("PIPELINE_NVML", TESTS_BIN "/../tests/libfake_nvml.so", 1);
    setenv("FAKE_NVML", mode, 1);
    CHECK_OK(stage_nvml_open(&nvml, &error), error);
    return nvml;
}

TEST(nvml_reads_a_device_by_its_uuid) {
    struct proto_error error = {0};
    struct stage_nvml_reading reading;
    struct stage_nvml *nvml = opened("");
    CHECK_TEXT(stage_nvml_driver(nvml), "580.00");
    CHECK_INT(stage_nvml_count(nvml), 2);
    CHECK_OK(stage_nvml_read(nvml, FIRST, &reading, &error), error);
    CHECK_INT(reading.utilisation, 91);
    CHECK_INT(reading.used_bytes, 41ll << 30);
    CHECK_INT(reading.total_bytes, 80ll << 30);
    CHECK(reading.power_w == 301.5);
    CHECK_INT(reading.temperature_c, -1);  // this driver does not tell
    CHECK_OK(stage_nvml_read(nvml, SECOND, &reading, &error), error);
    CHECK_INT(reading.utilisation, 90);
    CHECK(!stage_nvml_read(nvml, "GPU-none", &reading, &error));
    CHECK_HAS(error.text, "GPU-none: Not Found");
    stage_nvml_close(&nvml);
    stage_nvml_close(&nvml);
}

TEST(nvml_says_how_two_devices_are_connected) {
    struct proto_error error = {0};
    struct stage_nvml_peers peers;
    struct stage_nvml *nvml = opened("");
    CHECK_OK(stage_nvml_peers(nvml, FIRST, SECOND, &peers, &error), error);
    CHECK(peers.direct && peers.nvlink);
    CHECK_TEXT(peers.path, "one PCIe switch");
    stage_nvml_close(&nvml);
    nvml = opened("no-peers");
    CHECK_OK(stage_nvml_peers(nvml, FIRST, SECOND, &peers, &error), error);
    CHECK(!peers.direct && !peers.nvlink);
    CHECK_TEXT(peers.why, "the chipset does not support it");
    CHECK_TEXT(peers.path, "the link between processors");
    stage_nvml_close(&nvml);
}

TEST(nvml_without_a_driver_says_so) {
    struct proto_error error = {0};
    struct stage_nvml *nvml = NULL;
    setenv("PIPELINE_NVML", "/nowhere/libnvidia-ml.so.1", 1);
    CHECK(!stage_nvml_open(&nvml, &error));
    CHECK_INT(error.status, PROTO_MISSING);
    CHECK_HAS(error.text, "no NVIDIA driver");
    setenv("PIPELINE_NVML", TESTS_BIN "/../tests/libfake_nvml.so", 1);
    setenv("FAKE_NVML", "no-driver", 1);
    CHECK(!stage_nvml_open(&nvml, &error));
    CHECK_INT(error.status, PROTO_MISSING);
    CHECK_HAS(error.text, "Driver Not Loaded");
    // a library that is none of the driver's
    setenv("PIPELINE_NVML", "libm.so.6", 1);
    CHECK(!stage_nvml_open(&nvml, &error));
    CHECK_HAS(error.text, "nvmlInit_v2");
    CHECK(nvml == NULL);
}

TEST_MAIN(UNIT(nvml_reads_a_device_by_its_uuid), UNIT(nvml_says_how_two_devices_are_connected),
          UNIT(nvml_without_a_driver_says_so))
