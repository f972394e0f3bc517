// bench/loader_bench.c - how fast one loader makes batches, up to the send buffer, against reading
// the same frames of the same samples and copying them once.
//
//     build/bench/loader_bench RUN [BATCH]     RUN: a run folder with an index (bench/loader.sh)
//
//   ours   loader/builder (position, sample, frames, encoding, noise, dropout), then the message
//          (hashes, header, batch on loan) into a ZeroMQ queue in this process, from which the
//          frames are dropped unread
//   read   H5Dread of each frame from the contiguous file, one memcpy into a batch: the peer
//   pread  the same past libhdf5, at offsets known beforehand
//
// One thread, interleaved, medians; files come from the page cache. Goal: ours at least 70 % of
// read.
#include "loader/builder.h"
#include "loader/shelf.h"
#include "proto/pool.h"
#include "proto/run.h"
#include "proto/stream.h"
#include "proto/wire.h"

#include <fcntl.h>
#include <hdf5.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <zmq.h>

enum { ROUNDS = 7, BATCHES = 60 };

struct bench {
    struct proto_config *config;
    struct proto_index *index;
    struct proto_codec *codec;
    struct loader_builder *builder;
    struct loader_shelf *shelf;
    struct proto_pool *pool;
    void *context, *out, *in;
    uint8_t *scratch;                // the images of one sample
    struct proto_batch *batches[4];  // as many as the loader has, so that caches see the same
    int *files;                      // [file_count] of the index
    hid_t *frames;                   // [episode_count, cameras]; 0: not open yet
    uint32_t batch;
    uint64_t position;
};

static double clock_s(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static void must(bool done, const struct proto_error *error) {
    if (done) return;
    exit(proto_error_print("loader_bench", error));
}

static void drop_all(void *socket) {
    zmq_msg_t frame;
    zmq_msg_init(&frame);
    while (zmq_msg_recv(&frame, socket, ZMQ_DONTWAIT) >= 0) continue;
    zmq_msg_close(&frame);
}

static double ours(struct bench *bench) {
    static struct proto_message message;
    struct proto_error error = {0};
    const double begin_s = clock_s();
    for (int n = 0; n < BATCHES; n++) {
        struct proto_loan *loan = NULL;
        struct proto_wire_sent sent;
        const struct proto_ticket ticket = {
            .id = 1, .first = bench->position + (uint64_t)n * bench->batch, .count = bench->batch};
        must(proto_pool_take(bench->pool, bench->batch, &loan, &error), &error);
        must(loader_builder_build(bench->builder, &ticket, proto_loan_batch(loan), &error), &error);
        message.kind = PROTO_KIND_BATCH;
        message.batch.ticket = 1;
        message.batch.count = bench->batch;
        message.batch.batch = proto_loan_batch(loan);
        message.batch.loan = loan;
        must(proto_wire_send(bench->out, NULL, &message, PROTO_RAW, &sent, &error), &error);
        proto_loan_drop(loan);
        drop_all(bench->in);
    }
    return BATCHES * bench->batch / (clock_s() - begin_s);
}

static void read_pread(struct bench *bench, const struct loader_frames *frames, uint32_t file,
                       uint32_t j, uint8_t *out) {
    const uint64_t at = frames->array.offset + (uint64_t)j * frames->frame_bytes;
    if (pread(bench->files[file], out, frames->frame_bytes, (off_t)at) !=
        (ssize_t)frames->frame_bytes)
        exit(1);
}

static void read_library(struct bench *bench, const struct loader_frames *frames, uint32_t episode,
                         uint32_t camera, uint32_t j, uint8_t *out) {
    hid_t *id = &bench->frames[episode * bench->codec->camera_count + camera];
    if (*id == 0) *id = H5Dopen2(frames->dataset->file, frames->path, H5P_DEFAULT);
    const hsize_t start[4] = {j}, count[4] = {1, frames->height, frames->width, 3};
    const hid_t all = H5Dget_space(*id), one = H5Screate_simple(4, count, NULL);
    H5Sselect_hyperslab(all, H5S_SELECT_SET, start, NULL, count, NULL);
    if (H5Dread(*id, H5T_NATIVE_UINT8, one, all, H5P_DEFAULT, out) < 0) exit(1);
    H5Sclose(one);
    H5Sclose(all);
}

// The frames of the sample at position g, read and copied into a row.
static void read_sample(struct bench *bench, uint64_t g, bool library, uint8_t *out) {
    const struct proto_codec *codec = bench->codec;
    const struct proto_stream stream = {.seed = (uint64_t)bench->config->run.seed,
                                        .n = bench->index->train_samples,
                                        .purpose = PROTO_PURPOSE_SHUFFLE};
    const struct proto_place place =
        proto_index_place(bench->index, false, proto_stream_sample(&stream, g));
    struct loader_held *held = NULL;
    struct proto_error error = {0};
    must(loader_shelf_take(bench->shelf, place.episode, &held, &error), &error);
    size_t used = 0;
    for (uint32_t h = 0; h < codec->history && h <= place.j; h++)
        for (uint32_t c = 0; c < codec->camera_count; c++) {
            const struct loader_frames *frames = &held->cameras[c];
            uint8_t *to = bench->scratch + used;
            if (frames->array.offset == 0) {
                fprintf(stderr, "loader_bench: %s is not contiguous\n", frames->path);
                exit(1);
            }
            if (library)
                read_library(bench, frames, place.episode, c, place.j - h, to);
            else
                read_pread(bench, frames, bench->index->episodes[place.episode].file, place.j - h,
                           to);
            used += frames->frame_bytes;
        }
    memcpy(out, bench->scratch, used);
}

static double read_only(struct bench *bench, bool library) {
    const struct proto_codec *codec = bench->codec;
    const size_t image_bytes =
        (size_t)codec->history * codec->camera_count * codec->image_height * codec->image_width * 3;
    const double begin_s = clock_s();
    const uint64_t samples = (uint64_t)BATCHES * bench->batch;
    for (uint64_t g = 0; g < samples; g++) {
        struct proto_batch *batch = bench->batches[g / bench->batch % 4];
        read_sample(bench, bench->position + g, library,
                    batch->images + g % bench->batch * image_bytes);
    }
    return (double)samples / (clock_s() - begin_s);
}

static void bench_open(struct bench *bench, const char *run) {
    char path[PROTO_PATH_MAX];
    struct proto_error error = {0};
    must(proto_run_path(run, "pipeline.toml", path, &error), &error);
    must(proto_config_read(path, NULL, 0, &bench->config, &error), &error);
    must(proto_run_path(run, "index.json", path, &error), &error);
    must(proto_index_read(path, &bench->index, &error), &error);
    must(proto_run_path(run, "codec.json", path, &error), &error);
    must(proto_codec_read(path, &bench->codec, &error), &error);
    must(loader_builder_open(bench->config, bench->index, bench->codec, &bench->builder, &error),
         &error);
    const struct loader_shelf_settings shelf = {.index = bench->index,
                                                .codec = bench->codec,
                                                .budget_bytes = (size_t)1 << 28,
                                                .files_max = 64};
    must(loader_shelf_open(&shelf, &bench->shelf, &error), &error);
    must(proto_pool_new(bench->codec, 4, &bench->pool, &error), &error);
    const size_t image_bytes = (size_t)bench->codec->history * bench->codec->camera_count *
                               bench->codec->image_height * bench->codec->image_width * 3;
    bench->scratch = proto_alloc(image_bytes, &error);
    for (int i = 0; i < 4; i++)
        must(proto_batch_new(bench->codec, bench->batch, &bench->batches[i], &error), &error);
    bench->frames = proto_alloc_array(
        (size_t)bench->index->episode_count * bench->codec->camera_count, sizeof(hid_t), &error);
    bench->files = proto_alloc_array(bench->index->file_count, sizeof(int), &error);
    must(bench->scratch && bench->frames && bench->files, &error);
    for (uint32_t i = 0; i < bench->index->file_count; i++)
        bench->files[i] = open(bench->index->files[i].path, O_RDONLY);
    bench->context = zmq_ctx_new();
    struct proto_wire_settings wire = {.send_max = 100, .receive_max = 100};
    must(proto_wire_open(bench->context, &wire, &bench->out, &error), &error);
    must(proto_wire_open(bench->context, &wire, &bench->in, &error), &error);
    zmq_bind(bench->in, "inproc://bench");
    zmq_connect(bench->out, "inproc://bench");
}

static void bench_close(struct bench *bench) {
    zmq_close(bench->out);
    zmq_close(bench->in);
    zmq_ctx_term(bench->context);
    proto_pool_free(&bench->pool);
    for (uint32_t i = 0; i < bench->index->file_count; i++) close(bench->files[i]);
    free(bench->files);
    free(bench->scratch);
    for (int i = 0; i < 4; i++) proto_batch_free(&bench->batches[i]);
    for (size_t i = 0; i < (size_t)bench->index->episode_count * bench->codec->camera_count; i++)
        if (bench->frames[i] > 0) H5Dclose(bench->frames[i]);
    free(bench->frames);
    loader_shelf_close(&bench->shelf);
    loader_builder_close(&bench->builder);
    proto_codec_free(&bench->codec);
    proto_index_free(&bench->index);
    proto_config_free(&bench->config);
}

static int by_value(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double rates[static ROUNDS]) {
    qsort(rates, ROUNDS, sizeof *rates, by_value);
    return rates[ROUNDS / 2];
}

int main(int count, char **arguments) {
    struct bench bench = {.batch = 16};
    double ours_rates[ROUNDS], read_rates[ROUNDS], pread_rates[ROUNDS];
    if (count < 2 || count > 3) {
        fprintf(stderr, "usage: loader_bench RUN [BATCH]\n");
        return 2;
    }
    if (count > 2) bench.batch = (uint32_t)strtoul(arguments[2], NULL, 10);
    if (bench.batch < 1 || bench.batch > PROTO_TICKET_SAMPLES_MAX) return 2;
    bench_open(&bench, arguments[1]);
    ours(&bench);  // opens every episode, fills the page cache
    read_only(&bench, true);
    read_only(&bench, false);
    for (int round = 0; round < ROUNDS; round++) {
        bench.position = (uint64_t)round * BATCHES * bench.batch;
        ours_rates[round] = ours(&bench);
        read_rates[round] = read_only(&bench, true);
        pread_rates[round] = read_only(&bench, false);
    }
    const double mine = median(ours_rates), read_rate = median(read_rates),
                 pread_rate = median(pread_rates);
    printf("ours %.0f read %.0f pread %.0f samples/s: %.0f %% of read (goal 70 %%), %.0f %% of "
           "pread\n",
           mine, read_rate, pread_rate, 100 * mine / read_rate, 100 * mine / pread_rate);
    bench_close(&bench);
    return 0;
}
