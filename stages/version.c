// stages/version.c - `pipeline version`: what a result depends on besides configuration and data:
// this program, how it was compiled, and the libraries it runs with.
#include "proto/module.h"
#include "proto/probe.h"
#include "proto/toml_shim.h"
#include "proto/wire.h"
#include "proto/words.h"
#include "stages/verb.h"

#include <jansson.h>
#include <lz4.h>
#include <msgpack.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <xxhash.h>
#include <zmq.h>

#ifdef __clang__
#define COMPILER "clang " __clang_version__
#else
#define COMPILER "gcc " __VERSION__
#endif

#ifdef __OPTIMIZE__
#define OPTIMISED true
#else
#define OPTIMISED false
#endif

#ifdef __SANITIZE_ADDRESS__
#define SANITIZED true
#else
#define SANITIZED false
#endif

// Libraries that this program itself is linked to, as they say of themselves at run time.
static json_t *libraries(void) {
    int major, minor, patch;
    char zmq[32], xxh[32];
    zmq_version(&major, &minor, &patch);
    snprintf(zmq, sizeof zmq, "%d.%d.%d", major, minor, patch);
    const unsigned number = XXH_versionNumber();
    snprintf(xxh, sizeof xxh, "%u.%u.%u", number / 10000, number / 100 % 100, number % 100);
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "zeromq", zmq, "msgpack", msgpack_version(),
                     "lz4", LZ4_versionString(), "xxhash", xxh, "jansson", jansson_version_str(),
                     "toml++", proto_toml_version());
}

// Takes over what a stage program says of its own libraries; it may have nothing to say.
static void merge_program(json_t *versions, const char *program) {
    struct proto_error error;
    json_t *answer = proto_probe(program, "version", &error);
    const char *key;
    json_t *value;
    // {"pipeline-loader": its version, "hdf5": ...}
    json_object_foreach(answer, key, value) {
        json_t *ours = json_object_get(versions, "libraries");
        if (json_is_string(value) && strcmp(key, program) != 0 && !json_object_get(ours, key))
            json_object_set(ours, key, value);
    }
    const json_t *version = json_object_get(answer, program);
    json_object_set_new(json_object_get(versions, "programs"), program,
                        json_is_string(version) ? json_string(json_string_value(version))
                                                : json_null());
    json_decref(answer);
}

static json_t *versions_new(void) {
    struct utsname machine;
    if (uname(&machine) != 0) memset(&machine, 0, sizeof machine);
    json_t *versions = json_pack("{s:s, s:i, s:{s:s, s:b, s:b, s:b, s:b}, s:s, s:o, s:{}}",
                                 "version", PIPELINE_VERSION, "protocol", PROTO_VERSION, "build",
                                 "compiler", COMPILER, "optimised", OPTIMISED, "assertions",
#ifdef NDEBUG
                                 false,
#else
                                 true,
#endif
                                 "sanitized", SANITIZED, "cuda", proto_module_is_there("cuda"),
                                 "system", machine.sysname[0] ? machine.release : "unknown",
                                 "libraries", libraries(), "programs");
    if (!versions) return NULL;
    merge_program(versions, "pipeline-loader");
    merge_program(versions, "pipeline-evaluator");
    return versions;
}

static void print_lines(const json_t *versions) {
    const json_t *build = json_object_get(versions, "build");
    const char *key;
    json_t *value;
    printf("pipeline %s, protocol %d\n", PIPELINE_VERSION, PROTO_VERSION);
    printf("  %-10s %s%s%s, %s\n", "compiler",
           json_string_value(json_object_get(build, "compiler")),
           OPTIMISED ? ", optimised" : ", not optimised", SANITIZED ? ", sanitized" : "",
           proto_module_is_there("cuda") ? "with CUDA" : "no CUDA");
    printf("  %-10s Linux %s\n", "system", json_string_value(json_object_get(versions, "system")));
    json_object_foreach(json_object_get(versions, "libraries"), key, value)
        printf("  %-10s %s\n", key, json_string_value(value));
    json_object_foreach(json_object_get(versions, "programs"), key, value) {
        const char *version = json_string_value(value);
        if (!version)
            printf("%s does not answer: build or install all programs together\n", key);
        else if (strcmp(version, PIPELINE_VERSION) != 0)
            printf("%s is of version %s: do not mix installations\n", key, version);
    }
    printf("OpenBLAS and its kernels are named by each trainer at its start, in training.log.\n");
}

int stage_version(int count, char **words) {
    bool json = false;
    const struct proto_word options[] = {{"--json", PROTO_WORD_FLAG, &json}};
    const char *rest[1];
    size_t rest_count;
    struct proto_error error = {0};
    if (!proto_words_read(count, words, options, PROTO_COUNT(options), rest, 0, &rest_count,
                          &error))
        return proto_error_print("pipeline version", &error);
    json_t *versions = versions_new();
    if (!versions) {
        proto_fail(&error, PROTO_EXHAUSTED, "no memory for versions");
        return proto_error_print("pipeline version", &error);
    }
    if (json) {
        json_dumpf(versions, stdout, JSON_INDENT(2));
        putchar('\n');
    } else {
        print_lines(versions);
    }
    json_decref(versions);
    return PROTO_DONE;
}
