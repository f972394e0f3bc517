// tests/proto/config_check_test.c - options that contradict each other, or ask for what this build
// lacks, are refused at the option to change, with what would work. Oracle: the rule in each row.
#include "proto/config_check.h"

#include "tests/check.h"

#include <sys/stat.h>
#include <unistd.h>

#define SETS_MAX 8

// A CPU configuration with more sets, up to the first NULL. Reads and checks the machine.
static bool both(const char *const sets[static SETS_MAX], struct proto_error *error) {
    const char *all[SETS_MAX + 7] = {"trainer.devices=[\"cpu\", \"cpu\"]",
                                     "trainer.mixed_precision=no",
                                     "collective.backend=host",
                                     "vision.encoder=pixels",
                                     "language.encoder=hash",
                                     "evaluator.when=never",
                                     "data.path=demo.hdf5"};
    size_t count = 7;
    for (size_t i = 0; i < SETS_MAX && sets[i]; i++) all[count++] = sets[i];
    struct proto_config *config = NULL;
    // as on a machine whose build has no CUDA
    setenv("PIPELINE_CUDA_MODULE", "/nowhere/libpipeline_cuda.so", 1);
    if (!proto_config_read(NULL, all, count, &config, error)) return false;
    const bool done = proto_config_check_machine(config, error);
    proto_config_free(&config);
    return done;
}

static const struct {
    const char *name;
    const char *sets[SETS_MAX];
    enum proto_status status;
    const char *where, *says;
} refused[] = {
    {"train batch",
     {"trainer.train_batch_size=7"},
     PROTO_USAGE,
     "--set trainer.train_batch_size",
     "7 samples do not divide by the 2 ranks of trainer.devices; 6 would"},
    {"batch below the ranks",
     {"trainer.train_batch_size=1"},
     PROTO_USAGE,
     "--set trainer.train_batch_size",
     "2 would"},
    {"sample batch",
     {"trainer.sample_batch_size=5"},
     PROTO_USAGE,
     "--set trainer.sample_batch_size",
     "4 would"},
    {"default batch and three ranks",
     {"trainer.devices=[\"cpu\", \"cpu\", \"cpu\"]"},
     PROTO_USAGE,
     "trainer.train_batch_size (default)",
     "16 samples do not divide by the 3 ranks"},
    {"warm-up of a constant rate",
     {"trainer.lr_warmup_steps=5"},
     PROTO_USAGE,
     "--set trainer.lr_warmup_steps",
     "would do nothing"},
    {"ema bounds",
     {"trainer.ema_min_decay=0.9", "trainer.ema_max_decay=0.8"},
     PROTO_USAGE,
     "--set trainer.ema_min_decay",
     "above trainer.ema_max_decay"},
    {"precision",
     {"trainer.mixed_precision=bf16"},
     PROTO_USAGE,
     "--set trainer.mixed_precision",
     "trainer.mixed_precision = \"no\""},
    {"nccl on cpu",
     {"collective.backend=nccl"},
     PROTO_USAGE,
     "--set collective.backend",
     "collective.backend = \"host\""},
    {"staged on cpu",
     {"collective.backend=staged"},
     PROTO_USAGE,
     "--set collective.backend",
     "collective.backend = \"host\""},
    {"host on cuda",
     {"trainer.devices=cuda:0"},
     PROTO_USAGE,
     "--set collective.backend",
     "host is for cpu ranks"},
    {"one device twice",
     {"trainer.devices=[\"cuda:1\", \"cuda:1\"]"},
     PROTO_USAGE,
     "--set trainer.devices",
     "cuda:1 is named twice: each rank needs a device of its own, or collective.backend = "
     "\"staged\""},
    {"mixed devices",
     {"trainer.devices=[\"cuda:1\", \"cpu\"]"},
     PROTO_USAGE,
     "--set trainer.devices",
     "all cpu or all cuda"},
    {"no device", {"trainer.devices=[]"}, PROTO_USAGE, "--set trainer.devices", "found 0 devices"},
    {"device name", {"trainer.devices=gpu"}, PROTO_USAGE, "--set trainer.devices", "\"gpu\""},
    {"device number", {"trainer.devices=cuda:64"}, PROTO_USAGE, "--set trainer.devices", "0..63"},
    {"evaluator's device",
     {"evaluator.device=cuda"},
     PROTO_USAGE,
     "--set evaluator.device",
     "cuda"},
    {"heads",
     {"model.hidden_size=100", "model.num_heads=3"},
     PROTO_USAGE,
     "--set model.hidden_size",
     "does not divide by model.num_heads, 3"},
    {"cameras",
     {"model.num_cameras=1"},
     PROTO_USAGE,
     "data.cameras (default)",
     "2 cameras, but the network has places for 1"},
    {"no camera", {"data.cameras=[]"}, PROTO_USAGE, "--set data.cameras", "no camera"},
    {"camera twice", {"data.cameras=[\"a\", \"a\"]"}, PROTO_USAGE, "--set data.cameras", "twice"},
    {"field",
     {"data.state=[\"joint_poss\"]"},
     PROTO_USAGE,
     "--set data.state",
     "nearest known: joint_pos"},
    {"action field in state",
     {"data.state=[\"eef_delta_pos\"]"},
     PROTO_USAGE,
     "--set data.state",
     "is no state field"},
    {"field twice",
     {"data.action=[\"gripper\", \"gripper\"]"},
     PROTO_USAGE,
     "--set data.action",
     "twice"},
    {"no field", {"data.action=[]"}, PROTO_USAGE, "--set data.action", "names no field"},
    {"cached features that vary",
     {"data.image_aug=true", "vision.cache=true"},
     PROTO_USAGE,
     "--set data.image_aug",
     "vision.cache = false"},
    {"output folder", {"run.output_dir="}, PROTO_USAGE, "--set run.output_dir", "is empty"},
    {"no data", {"data.path=[]"}, PROTO_USAGE, "--set data.path", "names no data"},
    {"no CUDA",
     {"trainer.devices=cuda:0", "collective.backend=nccl", "vision.encoder=siglip"},
     PROTO_MISSING,
     "--set trainer.devices",
     "cuda:0: this build has no CUDA. What runs here on cpu: pipelines/1task.toml, or "
     "--set trainer.devices='[\"cpu\", \"cpu\"]' --set model.preset=rdt-tiny "
     "--set model.pretrained= --set collective.backend=host --set vision.encoder=pixels"},
    {"image augmentation",
     {"data.image_aug=true"},
     PROTO_MISSING,
     "--set data.image_aug",
     "no image augmentation"},
    {"SigLIP",
     {"vision.encoder=siglip"},
     PROTO_MISSING,
     "--set vision.encoder",
     "--set vision.encoder=pixels"},
    {"T5",
     {"language.encoder=t5"},
     PROTO_MISSING,
     "--set language.encoder",
     "--set language.encoder=hash"},
    {"features kept",
     {"vision.cache=true"},
     PROTO_MISSING,
     "--set vision.cache",
     "--set vision.cache=false"},
    {"evaluator on a GPU",
     {"evaluator.when=auto", "evaluator.device=cuda:1"},
     PROTO_MISSING,
     "--set evaluator.device",
     "cuda:1: this build has no CUDA. What runs instead: --set evaluator.device=cpu"},
    {"both on GPUs",
     {"trainer.devices=[\"cuda:0\"]", "collective.backend=nccl", "evaluator.when=during"},
     PROTO_MISSING,
     "--set trainer.devices",
     "--set evaluator.device=cpu"},
    {"controls", {"evaluator.controls=some"}, PROTO_USAGE, "--set evaluator.controls", "best"},
    {"pickled file",
     {"model.pretrained=/w/pytorch_model.bin"},
     PROTO_MISSING,
     "--set model.pretrained",
     "pickled weights"},
    {"pickled file, other name",
     {"model.pretrained=/w/a.pt"},
     PROTO_MISSING,
     "--set model.pretrained",
     "save_file"},
    {"no weights",
     {"model.pretrained=/nonexistent"},
     PROTO_MISSING,
     "--set model.pretrained",
     "/nonexistent is no folder"},
};
TEST(config_refuses_at_the_option_to_change) {
    for (size_t i = 0; i < PROTO_COUNT(refused); i++) {
        struct proto_error error = {0};
        TEST_CASE(refused[i].name);
        CHECK(!both(refused[i].sets, &error));
        CHECK_TEXT(error.where, refused[i].where);
        CHECK_HAS(error.text, refused[i].says);
        CHECK_INT(error.status, refused[i].status);
    }
}

static const struct {
    const char *name;
    const char *sets[SETS_MAX];
} accepted[] = {
    {"the base itself", {NULL}},
    {"warm-up", {"trainer.lr_scheduler=constant_with_warmup", "trainer.lr_warmup_steps=5"}},
    {"one rank",
     {"trainer.devices=cpu", "trainer.train_batch_size=7", "trainer.sample_batch_size=3"}},
    {"equal bounds", {"trainer.ema_min_decay=0.5", "trainer.ema_max_decay=0.5"}},
    {"cameras to the limit", {"data.cameras=[\"a\", \"b\", \"c\"]"}},
};
TEST(config_accepts_what_is_at_the_limit) {
    for (size_t i = 0; i < PROTO_COUNT(accepted); i++) {
        struct proto_error error = {0};
        TEST_CASE(accepted[i].name);
        CHECK_OK(both(accepted[i].sets, &error), error);
    }
}

static void touch(const char *folder, const char *name) {
    char path[300];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    CHECK(file && fclose(file) == 0);
}

static void remove_file(const char *folder, const char *name) {
    char path[300];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    CHECK(unlink(path) == 0);
}

// A folder is judged by what lies in it: safetensors first, as the official loader does.
TEST(config_judges_a_folder_of_weights_by_its_files) {
    struct proto_error error = {0};
    char folder[256], set[300];
    check_folder(folder);
    snprintf(set, sizeof set, "model.pretrained=%s", folder);
    const char *const sets[SETS_MAX] = {set};
    CHECK(!both(sets, &error));
    CHECK_HAS(error.text, "has no model.safetensors");
    touch(folder, "pytorch_model.bin");
    CHECK(!both(sets, &error));
    CHECK_INT(error.status, PROTO_MISSING);
    CHECK_HAS(error.text, "pickled weights");
    touch(folder, "model.safetensors");
    CHECK_OK(both(sets, &error), error);
    remove_file(folder, "pytorch_model.bin");
    CHECK_OK(both(sets, &error), error);
    remove_file(folder, "model.safetensors");
    rmdir(folder);
}

TEST(config_device_names_have_one_spelling) {
    static const struct {
        const char *name;
        bool good, cuda;
        uint32_t number;
    } devices[] = {
        {"cpu", true, false, 0},      {"cuda:0", true, true, 0},  {"cuda:63", true, true, 63},
        {"cuda:64", false, false, 0}, {"cuda:", false, false, 0}, {"cuda:01", false, false, 0},
        {"cuda:-1", false, false, 0}, {"CPU", false, false, 0},   {"cuda:1 ", false, false, 0},
        {"", false, false, 0},
    };
    for (size_t i = 0; i < PROTO_COUNT(devices); i++) {
        bool cuda;
        uint32_t number;
        TEST_CASE(devices[i].name);
        CHECK(proto_device_parse(devices[i].name, &cuda, &number) == devices[i].good);
        if (!devices[i].good) continue;
        CHECK_INT(cuda, devices[i].cuda);
        CHECK_INT(number, devices[i].number);
    }
}

// The alternative that a refusal names is not a guess: applied to 2gpu.toml it is accepted.
TEST(config_alternative_of_2gpu_runs) {
    struct proto_config *config = NULL;
    struct proto_error error = {0};
    char path[512];
    snprintf(path, sizeof path, "%s/pipelines/2gpu.toml", TESTS_ROOT);
    CHECK_OK(proto_config_read(path, NULL, 0, &config, &error), error);
    CHECK(!proto_config_check_machine(config, &error));
    CHECK_INT(error.status, PROTO_MISSING);
    proto_config_free(&config);
    char *sets[16];
    size_t count = 0;
    char *at = error.text;
    while ((at = strstr(at, "--set ")) != NULL && count < 16) {
        sets[count++] = at + 6;
        at += 6;
    }
    CHECK(count >= 8);
    for (size_t i = 0; i < count; i++) {
        char *end = i + 1 < count ? sets[i + 1] - 7 : sets[i] + strlen(sets[i]);
        *end = '\0';
        // quotes are the shell's
        char *quote = strchr(sets[i], '\'');
        if (!quote) continue;
        end[-1] = '\0';
        memmove(quote, quote + 1, strlen(quote));
    }
    CHECK_OK(proto_config_read(path, (const char *const *)sets, count, &config, &error), error);
    CHECK_OK(proto_config_check_machine(config, &error), error);
    proto_config_free(&config);
}

// Answers of `pipeline-trainer devices`, and what two ranks with an evaluator beside them get.
TEST(config_devices_are_those_that_the_trainer_sees) {
    static const struct {
        const char *name, *known, *set, *where, *says;
    } rows[] = {
        {"two", "{\"devices\": [{}, {}], \"nccl\": 22809}", "run.seed=1", NULL, NULL},
        {"no driver", "{\"devices\": [], \"why\": \"no usable NVIDIA driver: code 35\"}",
         "run.seed=1", "--set trainer.devices",
         "cuda:0: no usable NVIDIA driver: code 35. What runs here on cpu"},
        {"one", "{\"devices\": [{}], \"nccl\": 22809}", "run.seed=1", "--set trainer.devices",
         "cuda:1: there is 1 GPU here, cuda:0 (CUDA_VISIBLE_DEVICES is 3)"},
        {"evaluator", "{\"devices\": [{}, {}], \"nccl\": 22809}", "evaluator.device=cuda:2",
         "--set evaluator.device", "there are 2 GPUs here"},
        {"no NCCL", "{\"devices\": [{}, {}], \"nccl_why\": \"libnccl.so.2: not found\"}",
         "run.seed=1", "--set collective.backend",
         "nccl: libnccl.so.2: not found. What runs instead, through the host's memory: --set "
         "collective.backend=staged"},
        {"staged", "{\"devices\": [{}, {}], \"nccl_why\": \"not found\"}",
         "collective.backend=staged", NULL, NULL},
    };
    setenv("CUDA_VISIBLE_DEVICES", "3", 1);
    for (size_t i = 0; i < PROTO_COUNT(rows); i++) {
        const char *sets[] = {"trainer.devices=[\"cuda:0\", \"cuda:1\"]", "collective.backend=nccl",
                              "evaluator.device=cuda:1", rows[i].set};
        struct proto_config *config = NULL;
        struct proto_error error = {0};
        json_t *known = json_loads(rows[i].known, 0, NULL);
        TEST_CASE(rows[i].name);
        CHECK_OK(proto_config_read(NULL, sets, PROTO_COUNT(sets), &config, &error), error);
        const bool done = proto_config_check_devices(config, known, &error);
        CHECK(done == !rows[i].says);
        if (!done) {
            CHECK_INT(error.status, PROTO_MISSING);
            CHECK_TEXT(error.where, rows[i].where);
            CHECK_HAS(error.text, rows[i].says);
        }
        json_decref(known);
        proto_config_free(&config);
    }
}

TEST_MAIN(UNIT(config_refuses_at_the_option_to_change), UNIT(config_accepts_what_is_at_the_limit),
          UNIT(config_judges_a_folder_of_weights_by_its_files),
          UNIT(config_device_names_have_one_spelling), UNIT(config_alternative_of_2gpu_runs),
          UNIT(config_devices_are_those_that_the_trainer_sees))
