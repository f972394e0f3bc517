// tests/trainer/run_world.h - a whole run without a data set: a run folder, real ranks
// (pipeline-trainer), real loader processes whose builder is arithmetic.
//
// A test program includes this once, defines nothing else named loader_builder_build, and calls
// world_loader_main first: a loader is the very test program, started again as `--loader RUN N`.
// What a sample holds follows from its id alone; the action is a linear function of the state, so
// that there is something to learn.
#ifndef TESTS_TRAINER_RUN_WORLD_H
#define TESTS_TRAINER_RUN_WORLD_H

#include "tests/check.h"
#include "tests/codec_fixture.h"

#include "loader/serve.h"
#include "proto/files.h"
#include "proto/index.h"
#include "proto/json.h"
#include "proto/random.h"
#include "proto/run.h"
#include "proto/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define WORLD_CHUNK 4
#define WORLD_STATE 18
#define WORLD_TRAIN_SAMPLES 90
#define WORLD_VALIDATION_SAMPLES 14
#define WORLD_VALIDATION_SET 7
#define WORLD_SEED 5
#define WORLD_PROCESSES_MAX 8

// A small network: what is tested is who computes what, not how well.
#define WORLD_CONFIG                                                                               \
    "[run]\nseed = 5\nmax_train_steps = %u\n"                                                      \
    "[data]\nvalidation_episodes = 1\n"                                                            \
    "[loader]\nworkers = 2\nbatches_in_flight = 2\nlease_timeout_s = 2.0\n"                        \
    "[model]\npreset = \"rdt-tiny\"\nhidden_size = 32\ndepth = 2\nnum_heads = 2\nchunk_size = 4\n" \
    "[vision]\nencoder = \"pixels\"\npatch_grid = 2\npatch_size = 4\n"                             \
    "[language]\nencoder = \"hash\"\ntoken_dim = 16\n"                                             \
    "[trainer]\nthreads = 1\nmixed_precision = \"no\"\ncheckpointing_period = 4\n"                 \
    "lr_scheduler = \"cosine\"\nlr_warmup_steps = 2\nsample_period = 5\nsample_batch_size = 4\n"   \
    "num_sample_batches = 2\n%s\n"                                                                 \
    "[collective]\nbackend = \"host\"\ndeadline_s = 20.0\n"                                        \
    "[evaluator]\nwhen = \"never\"\n"

struct world {
    char run[256], log[300];
    pid_t loaders[WORLD_PROCESSES_MAX], ranks[WORLD_PROCESSES_MAX];
};

// ---- what a sample holds ----

static inline double world_number(uint64_t id, uint32_t i) {
    struct proto_random random = proto_random_at(77, PROTO_PURPOSE_WORD, id * 1000 + i);
    return proto_random_uniform(&random) - 0.5;
}

// Real actions of a sample's chunk; the last ones of the "episode" are padding.
static inline uint32_t world_valid(uint64_t id) { return 1 + (uint32_t)(id % WORLD_CHUNK); }

static inline void world_numbers(const struct proto_codec *codec, uint64_t id,
                                 double state[static PROTO_CHANNELS_MAX],
                                 double actions[static WORLD_CHUNK * PROTO_CHANNELS_MAX]) {
    const struct proto_codec_task *task = &codec->tasks[0];
    for (uint32_t i = 0; i < codec->state_count; i++)
        state[i] = task->state[i].mean + task->state[i].scale * 3 * world_number(id, i);
    for (uint32_t t = 0; t < WORLD_CHUNK; t++)
        for (uint32_t i = 0; i < codec->action_count; i++)
            actions[t * codec->action_count + i] =
                task->action[i].mean +
                task->action[i].scale * (2 * world_number(id, i) - world_number(id, i + t));
}

// One row of a batch, through the same function as every loader's.
static inline bool world_sample(const struct proto_codec *codec, bool validation, uint64_t id,
                                struct proto_batch *batch, uint32_t row,
                                struct proto_error *error) {
    static uint8_t images[2][16 * 16 * 3];
    double state[PROTO_CHANNELS_MAX], actions[WORLD_CHUNK * PROTO_CHANNELS_MAX];
    world_numbers(codec, id + (validation ? 100000 : 0), state, actions);
    for (uint32_t camera = 0; camera < 2; camera++)
        memset(images[camera], (int)(id * 7 + camera * 31) & 255, sizeof images[camera]);
    const struct proto_observation now = {
        .state = state, .images = {images[0], images[1]}, .frame_ids = {id * 2 + 1, id * 2 + 2}};
    const struct proto_observation *history[] = {&now};
    batch->samples[row] = id;
    return proto_sample_build(codec, 0, history, actions, world_valid(id), batch, row, error);
}

// ---- the loader's side ----

struct loader_builder {
    const struct proto_codec *codec;
    const char *run;
};

// Loaders hold back tickets from the position in RUN/gate on, each for at most 0.4 s, so that a
// test can act while the ranks are about there. Not for longer: a loader that waits may hold a
// ticket before the gate, too.
static inline void world_gate_pass(const char *run, uint64_t first) {
    const struct timespec time = {.tv_nsec = 2000000};
    char path[800], text[32];
    snprintf(path, sizeof path, "%s/gate", run);
    for (uint32_t turn = 0; turn < 200; turn++) {
        const int gate = open(path, O_RDONLY | O_CLOEXEC);
        if (gate < 0) return;
        const ssize_t length = read(gate, text, sizeof text - 1);
        close(gate);
        text[length > 0 ? length : 0] = '\0';
        if (length > 0 && first < strtoull(text, NULL, 10)) return;
        nanosleep(&time, NULL);
    }
}

bool loader_builder_build(struct loader_builder *builder, const struct proto_ticket *ticket,
                          struct proto_batch *batch, struct proto_error *error) {
    const struct proto_stream stream = {
        .seed = WORLD_SEED,
        .n = ticket->validation ? WORLD_VALIDATION_SAMPLES : WORLD_TRAIN_SAMPLES,
        .purpose = ticket->validation ? PROTO_PURPOSE_VALIDATION : PROTO_PURPOSE_SHUFFLE};
    if (!ticket->validation) world_gate_pass(builder->run, ticket->first);
    for (uint32_t i = 0; i < ticket->count; i++) {
        const uint64_t g = ticket->first + i;
        if (!world_sample(builder->codec, ticket->validation, proto_stream_sample(&stream, g),
                          batch, i, error))
            return false;
        // some language is dropped, by position as a loader does it
        if (!ticket->validation && g % 5 == 0) batch->language_kept[i] = 0;
    }
    return true;
}

static inline int world_loader(const char *run, const char *number) {
    char path[PROTO_PATH_MAX], endpoints[4][PROTO_PATH_MAX];
    const char *texts[4];
    struct proto_error error = {0};
    struct proto_config *config = NULL;
    struct proto_index *index = NULL;
    struct proto_codec *codec = NULL;
    struct proto_link *link = NULL;
    bool done =
        proto_run_path(run, "pipeline.toml", path, &error) &&
        proto_config_read(path, NULL, 0, &config, &error) &&
        proto_run_path(run, "index.json", path, &error) && proto_index_read(path, &index, &error) &&
        proto_run_path(run, "codec.json", path, &error) && proto_codec_read(path, &codec, &error);
    for (uint32_t rank = 0; done && rank < config->trainer.devices.count; rank++) {
        done = proto_run_rank_endpoint(run, rank, endpoints[rank], &error);
        texts[rank] = endpoints[rank];
    }
    struct loader_builder builder = {codec, run};
    done = done && proto_link_open("loader", (uint32_t)strtoul(number, NULL, 10), &link, &error);
    if (done) {
        const struct loader_serve_settings settings = {
            .config = config,
            .index = index,
            .codec = codec,
            .endpoints = texts,
            .count = (uint32_t)config->trainer.devices.count,
            .number = (uint32_t)strtoul(number, NULL, 10),
            .link = link,
            .builder = &builder};
        done = loader_serve(&settings, &error);
    }
    proto_link_close(&link);
    proto_config_free(&config);
    proto_index_free(&index);
    proto_codec_free(&codec);
    return done ? 0 : proto_error_print("loader", &error);
}

// ---- the run folder ----

static inline struct proto_codec *world_codec_new(void) {
    struct proto_codec *codec = fixture_codec(PROTO_ZSCORE, true, 1);
    codec->chunk = WORLD_CHUNK;
    codec->history = 1;
    codec->image_height = codec->image_width = 16;
    return codec;
}

static inline void world_index_write(const char *path) {
    struct proto_error error = {0};
    struct proto_index *index = proto_alloc(sizeof *index, &error);
    CHECK(index);
    *index = (struct proto_index){.file_count = 1,
                                  .task_count = 1,
                                  .episode_count = 2,
                                  .after = true,
                                  .train_samples = WORLD_TRAIN_SAMPLES,
                                  .validation_samples = WORLD_VALIDATION_SAMPLES,
                                  .validation_set = WORLD_VALIDATION_SET,
                                  .baselines = {1.5, 1.25, 0.5}};
    index->files = proto_alloc_array(1, sizeof *index->files, &error);
    index->tasks = proto_alloc_array(1, sizeof *index->tasks, &error);
    index->episodes = proto_alloc_array(2, sizeof *index->episodes, &error);
    CHECK(index->files && index->tasks && index->episodes);
    index->files[0] = (struct proto_index_file){
        .path = proto_format(&error, "/nowhere/a_demo.hdf5"), .size_bytes = 1, .hash = 1};
    index->tasks[0] = (struct proto_index_task){.name = proto_format(&error, "task_0"),
                                                .instruction = proto_format(&error, "do thing 0.")};
    for (uint32_t i = 0; i < 2; i++)
        index->episodes[i] = (struct proto_index_episode){
            .group = proto_format(&error, "data/demo_%u", i),
            .steps = 1 + (i ? WORLD_VALIDATION_SAMPLES : WORLD_TRAIN_SAMPLES),
            .validation = i == 1,
            .sample_count = i ? WORLD_VALIDATION_SAMPLES : WORLD_TRAIN_SAMPLES};
    CHECK_OK(proto_index_write(path, index, &error), error);
    proto_index_free(&index);
}

// `trainer` are further lines of the [trainer] table.
static inline void world_config(const struct world *world, uint32_t steps, const char *trainer) {
    char path[300], text[4096];
    struct proto_error error = {0};
    const int length = snprintf(text, sizeof text, WORLD_CONFIG, steps, trainer);
    snprintf(path, sizeof path, "%s/pipeline.toml", world->run);
    CHECK_OK(proto_file_write(path, text, (size_t)length, &error), error);
}

static inline void world_open(struct world *world, uint32_t steps, const char *trainer) {
    char path[300];
    struct proto_error error = {0};
    memset(world, 0, sizeof *world);
    check_folder(world->run);
    snprintf(world->log, sizeof world->log, "%s/log", world->run);
    world_config(world, steps, trainer);
    snprintf(path, sizeof path, "%s/index.json", world->run);
    world_index_write(path);
    struct proto_codec *codec = world_codec_new();
    snprintf(path, sizeof path, "%s/codec.json", world->run);
    CHECK_OK(proto_codec_write(path, codec, &error), error);
    proto_codec_free(&codec);
    snprintf(path, sizeof path, "%s/dataset_statistics.json", world->run);
    CHECK_OK(proto_file_write(path, "{}\n", 3, &error), error);
    snprintf(path, sizeof path, "%s/open_loop.json", world->run);
    CHECK_OK(proto_file_write(path, "{}\n", 3, &error), error);
}

// ---- processes ----

static inline pid_t world_start(const struct world *world, char *const *arguments) {
    fflush(NULL);
    const pid_t child = fork();
    CHECK(child >= 0);
    if (child != 0) return child;
    const int log = open(world->log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    dup2(log, STDOUT_FILENO);
    dup2(log, STDERR_FILENO);
    unsetenv("PIPELINE_LINK");
    execv(arguments[0], arguments);
    _exit(99);
}

static inline void world_loader_start(struct world *world, uint32_t number) {
    char self[4096], text[16];
    const ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    CHECK(length > 0);
    self[length] = '\0';
    snprintf(text, sizeof text, "%u", number);
    char *arguments[] = {self, (char *)"--loader", world->run, text, NULL};
    world->loaders[number] = world_start(world, arguments);
}

static inline void world_ranks_start(struct world *world, uint32_t ranks, uint32_t attempt) {
    char rank_text[16], attempt_text[16], program[] = TESTS_BIN "/pipeline-trainer";
    snprintf(attempt_text, sizeof attempt_text, "%u", attempt);
    for (uint32_t rank = 0; rank < ranks; rank++) {
        snprintf(rank_text, sizeof rank_text, "%u", rank);
        char *arguments[] = {program,   (char *)"--run",     world->run,   (char *)"--rank",
                             rank_text, (char *)"--attempt", attempt_text, NULL};
        world->ranks[rank] = world_start(world, arguments);
    }
}

static inline double world_now_s(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}
static inline void world_pause(void) {
    const struct timespec time = {.tv_nsec = 2000000};  // between two looks, each with a deadline
    nanosleep(&time, NULL);
}

// The whole log; the caller frees.
static inline char *world_text(const struct world *world, const char *name) {
    char path[800], *text = NULL;
    size_t size = 0;
    struct proto_error error = {0};
    snprintf(path, sizeof path, "%s/%s", world->run, name);
    if (!proto_file_read(path, (size_t)1 << 26, PROTO_FAILED, &text, &size, &error)) return NULL;
    return text;
}

// Exit code, or 128 + signal; fails with the log after a minute.
static inline int world_end(const struct world *world, pid_t child) {
    const double end_s = world_now_s() + 60;
    for (int status = 0; world_now_s() < end_s; world_pause())
        if (waitpid(child, &status, WNOHANG) == child)
            return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    fail_msg("a process did not end within 60 s:\n%s", world_text(world, "log"));
    return -1;
}

static inline void world_loaders_stop(struct world *world) {
    for (uint32_t i = 0; i < WORLD_PROCESSES_MAX; i++) {
        if (world->loaders[i] <= 0) continue;
        kill(world->loaders[i], SIGKILL);
        waitpid(world->loaders[i], NULL, 0);
        world->loaders[i] = 0;
    }
}

// One attempt from start to end with that many loaders; all ranks must leave with `code`.
static inline void world_run(struct world *world, uint32_t ranks, uint32_t loaders,
                             uint32_t attempt, int code) {
    for (uint32_t i = 0; i < loaders; i++) world_loader_start(world, i);
    world_ranks_start(world, ranks, attempt);
    for (uint32_t rank = 0; rank < ranks; rank++) {
        const int found = world_end(world, world->ranks[rank]);
        if (found != code)
            fail_msg("rank %u left with %d, expected %d:\n%s", rank, found, code,
                     world_text(world, "log"));
    }
    world_loaders_stop(world);
}

// Holds training back from a position on; UINT64_MAX: not any more.
static inline void world_gate(const struct world *world, uint64_t position) {
    char path[800], text[32];
    struct proto_error error = {0};
    const int length = snprintf(text, sizeof text, "%llu", (unsigned long long)position);
    snprintf(path, sizeof path, "%s/gate", world->run);
    CHECK_OK(proto_file_write(path, text, (size_t)length, &error), error);
}

// ---- what it left behind ----

static inline json_t *world_metrics(const struct world *world) {
    char *text = world_text(world, "metrics.jsonl");
    json_t *lines = json_array();
    struct proto_error error = {0};
    for (char *line = text; line && *line;) {
        char *end = strchr(line, '\n');
        if (!end) break;
        json_t *object = proto_json_parse(line, (size_t)(end - line), &error);
        CHECK_OK(object, error);
        json_array_append_new(lines, object);
        line = end + 1;
    }
    free(text);
    return lines;
}

static inline void world_wait_step(const struct world *world, uint32_t step) {
    const double end_s = world_now_s() + 60;
    for (size_t lines = 0; lines < step; world_pause()) {
        json_t *metrics = world_metrics(world);
        lines = json_array_size(metrics);
        json_decref(metrics);
        if (world_now_s() > end_s)
            fail_msg("step %u never came:\n%s", step, world_text(world, "log"));
    }
}

static inline double world_value(const json_t *line, const char *key) {
    return json_number_value(json_object_get(line, key));
}

#endif
