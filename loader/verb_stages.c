// loader/verb_stages.c - `index` and `serve`, the two stages of a run, and `version`.
#include "loader/indexer.h"
#include "loader/serve.h"
#include "loader/verb.h"
#include "proto/json.h"
#include "proto/run.h"
#include "proto/words.h"

#include <hdf5.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

// The end of a stage: its error goes to the supervisor, or to stderr by hand, and is not printed
// again.
static bool stage_end(struct proto_link **link, bool done, struct proto_error *error) {
    const int signal = proto_link_signal(*link);
    if (!done) {
        if (error->status == PROTO_RESUMABLE && signal != 0)
            error->status = signal == SIGINT ? PROTO_INTERRUPTED : PROTO_TERMINATED;
        proto_link_failed(*link, error);
        error->text[0] = '\0';
    }
    proto_link_close(link);
    return done;
}

bool loader_verb_index(const struct loader_arguments *arguments, struct proto_error *error) {
    struct proto_link *link = NULL;
    if (!proto_link_open("index", 0, &link, error)) return false;
    return stage_end(&link, loader_index_run(arguments->run, link, error), error);
}

// What a loader needs of its run folder, and the endpoints of the ranks.
struct serving {
    struct proto_config *config;
    struct proto_index *index;
    struct proto_codec *codec;
    struct loader_builder *builder;
    char (*endpoints)[PROTO_PATH_MAX];  // [count]
    uint32_t count;
};

static void serving_free(struct serving *serving) {
    loader_builder_close(&serving->builder);
    proto_codec_free(&serving->codec);
    proto_index_free(&serving->index);
    proto_config_free(&serving->config);
    free(serving->endpoints);
}

// As the command line says, else one of each rank.
static bool endpoints_find(const struct loader_arguments *arguments, struct serving *serving,
                           struct proto_error *error) {
    const size_t ranks = serving->config->trainer.devices.count;
    const size_t count = arguments->connect_count > 0 ? arguments->connect_count : ranks;
    if (count < 1 || count > LOADER_ENDPOINTS_MAX)
        return proto_fail(error, PROTO_USAGE, "%zu trainers; a loader serves 1 to %d", count,
                          LOADER_ENDPOINTS_MAX);
    serving->endpoints = proto_alloc_array(count, sizeof *serving->endpoints, error);
    if (!serving->endpoints) return false;
    serving->count = (uint32_t)count;
    for (uint32_t i = 0; i < serving->count; i++) {
        char *endpoint = serving->endpoints[i];
        if (arguments->connect_count == 0) {
            if (!proto_run_rank_endpoint(arguments->run, i, endpoint, error)) return false;
        } else if (snprintf(endpoint, PROTO_PATH_MAX, "%s", arguments->connect[i]) >=
                   PROTO_PATH_MAX) {
            return proto_fail(error, PROTO_USAGE, "--connect %.60s... is over %d bytes long",
                              endpoint, PROTO_PATH_MAX - 1);
        }
    }
    return true;
}

static bool serving_open(const struct loader_arguments *arguments, struct serving *serving,
                         struct proto_error *error) {
    char config[PROTO_PATH_MAX], index[PROTO_PATH_MAX], codec[PROTO_PATH_MAX];
    if (!proto_run_path(arguments->run, "pipeline.toml", config, error) ||
        !proto_run_path(arguments->run, "index.json", index, error) ||
        !proto_run_path(arguments->run, "codec.json", codec, error) ||
        !proto_config_read(config, NULL, 0, &serving->config, error) ||
        !proto_index_read(index, &serving->index, error) ||
        !proto_codec_read(codec, &serving->codec, error))
        return false;
    if (serving->codec->task_count != serving->index->task_count) {
        proto_fail(error, PROTO_DAMAGED, "has %u tasks, index.json has %u: they are of two runs",
                   serving->codec->task_count, serving->index->task_count);
        return proto_error_where(error, "%s", codec);
    }
    return endpoints_find(arguments, serving, error) &&
           loader_builder_open(serving->config, serving->index, serving->codec, &serving->builder,
                               error);
}

static bool serve(const struct loader_arguments *arguments, uint32_t number,
                  struct proto_link *link, struct proto_error *error) {
    struct serving serving = {0};
    const char *endpoints[LOADER_ENDPOINTS_MAX];
    bool done = serving_open(arguments, &serving, error);
    for (uint32_t i = 0; done && i < serving.count; i++) endpoints[i] = serving.endpoints[i];
    if (done) {
        const struct loader_serve_settings settings = {.config = serving.config,
                                                       .index = serving.index,
                                                       .codec = serving.codec,
                                                       .endpoints = endpoints,
                                                       .count = serving.count,
                                                       .number = number,
                                                       .link = link,
                                                       .builder = serving.builder};
        done = loader_serve(&settings, error);
    }
    serving_free(&serving);
    return done;
}

bool loader_verb_serve(const struct loader_arguments *arguments, struct proto_error *error) {
    struct proto_link *link = NULL;
    uint64_t number = 0;
    if (arguments->number &&
        !proto_words_number("--number", arguments->number, 65535, &number, error))
        return false;
    if (!proto_link_open("loader", (uint32_t)number, &link, error)) return false;
    return stage_end(&link, serve(arguments, (uint32_t)number, link, error), error);
}

bool loader_verb_version(const struct loader_arguments *arguments, struct proto_error *error) {
    unsigned major = 0, minor = 0, release = 0;
    H5get_libversion(&major, &minor, &release);
    if (arguments->json)
        printf("{\"pipeline-loader\": \"%s\", \"hdf5\": \"%u.%u.%u\"}\n", PIPELINE_VERSION, major,
               minor, release);
    else
        printf("pipeline-loader %s\nhdf5 %u.%u.%u\n", PIPELINE_VERSION, major, minor, release);
    if (fflush(stdout) == 0) return true;
    return proto_fail_errno(error, PROTO_FAILED, "stdout cannot be written");
}
