// tests/evaluator/movie_test.c - a video holds the frames that were put in, in H.264 that browsers
// play, and a caption is where it was asked for. Oracle: FFmpeg's decoder.
#include "tests/check.h"

#include "evaluator/caption.h"
#include "evaluator/movie.h"
#include "proto/files.h"

#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <unistd.h>

enum { WIDTH = 96, HEIGHT = 64, FRAMES = 37 };
static char folder[256], path[300];

static int begin(void **state) {
    (void)state;
    check_folder(folder);
    snprintf(path, sizeof path, "%s/a.mp4", folder);
    return 0;
}
static int end(void **state) {
    struct proto_error error;
    (void)state;
    return proto_folder_remove(folder, &error) ? 0 : -1;
}

// Grey of frame i: left half brighter with i, right half black.
static void frame_fill(uint8_t *rgb, uint32_t i) {
    for (uint32_t y = 0; y < HEIGHT; y++)
        for (uint32_t x = 0; x < WIDTH; x++)
            memset(rgb + (y * WIDTH + x) * 3, x < WIDTH / 2 ? (int)(20 + 5 * i) : 0, 3);
}

TEST(movie_gives_its_frames_back_through_a_decoder) {
    static uint8_t rgb[WIDTH * HEIGHT * 3];
    struct proto_error error = {0};
    struct evaluator_movie *movie = NULL;
    CHECK_OK(evaluator_movie_open(path, HEIGHT, WIDTH, 20, &movie, &error), error);
    for (uint32_t i = 0; i < FRAMES; i++) {
        frame_fill(rgb, i);
        CHECK_OK(evaluator_movie_add(movie, rgb, &error), error);
    }
    CHECK(!proto_path_exists(path));  // another name until it is whole
    CHECK_OK(evaluator_movie_finish(&movie, path, &error), error);
    CHECK(!movie);

    AVFormatContext *file = NULL;
    CHECK(avformat_open_input(&file, path, NULL, NULL) >= 0);
    CHECK(avformat_find_stream_info(file, NULL) >= 0);
    CHECK_INT(file->nb_streams, 1);
    const AVCodecParameters *stream = file->streams[0]->codecpar;
    CHECK_INT(stream->codec_id, AV_CODEC_ID_H264);
    CHECK_INT(stream->format, AV_PIX_FMT_YUV420P);
    AVCodecContext *decoder = avcodec_alloc_context3(avcodec_find_decoder(AV_CODEC_ID_H264));
    CHECK(avcodec_parameters_to_context(decoder, stream) >= 0);
    CHECK(avcodec_open2(decoder, NULL, NULL) >= 0);
    AVPacket *packet = av_packet_alloc();
    AVFrame *frame = av_frame_alloc();
    uint32_t count = 0;
    for (bool more = true; more;) {
        more = av_read_frame(file, packet) >= 0;
        CHECK(avcodec_send_packet(decoder, more ? packet : NULL) >= 0);
        av_packet_unref(packet);
        while (avcodec_receive_frame(decoder, frame) >= 0) {
            // luma of grey g in studio range is 16 + g * 219 / 255; compression at this quality
            // moves a flat area by a few steps
            const int left = frame->data[0][(HEIGHT / 2) * frame->linesize[0] + WIDTH / 4];
            const int right = frame->data[0][(HEIGHT / 2) * frame->linesize[0] + 3 * WIDTH / 4];
            CHECK_NEAR(left, 16 + (20 + 5.0 * count) * 219 / 255, 6);
            CHECK_NEAR(right, 16, 6);
            count++;
        }
    }
    CHECK_INT(count, FRAMES);
    av_frame_free(&frame);
    av_packet_free(&packet);
    avcodec_free_context(&decoder);
    avformat_close_input(&file);
}

TEST(movie_on_a_full_disk_says_so_and_leaves_nothing) {
    struct proto_error error = {0};
    struct evaluator_movie *movie = NULL;
    static uint8_t rgb[WIDTH * HEIGHT * 3];
    // a folder that is not there, and a device that is always full
    snprintf(path, sizeof path, "%s/nowhere/a.mp4", folder);
    CHECK(!evaluator_movie_open(path, HEIGHT, WIDTH, 20, &movie, &error));
    CHECK_HAS(error.where, "nowhere");
    snprintf(path, sizeof path, "%s/full.mp4", folder);
    char partial[320];
    snprintf(partial, sizeof partial, "%s.partial", path);
    CHECK(symlink("/dev/full", partial) == 0);
    bool done = evaluator_movie_open(path, HEIGHT, WIDTH, 20, &movie, &error);
    for (uint32_t i = 0; done && i < 400; i++) {
        for (size_t k = 0; k < sizeof rgb; k++) rgb[k] = (uint8_t)(k * (i + 1) * 2654435761u >> 13);
        done = evaluator_movie_add(movie, rgb, &error);
    }
    if (done) done = evaluator_movie_finish(&movie, path, &error);
    CHECK(!done);
    CHECK_INT(error.status, PROTO_EXHAUSTED);
    evaluator_movie_abandon(&movie);
    CHECK(!proto_path_exists(path) && !proto_path_exists(partial));
    CHECK(!evaluator_movie_open(path, HEIGHT + 1, WIDTH, 20, &movie, &error));
}

TEST(caption_draws_dots_and_stays_inside) {
    static uint8_t rgb[40 * 60 * 3], again[40 * 60 * 3];
    static const uint8_t white[] = {255, 255, 255};
    const struct evaluator_canvas canvas = {rgb, 40, 60};
    // an I is a column of seven dots between two bars of three
    evaluator_caption_line(&canvas, 2, 3, 2, white, "i");
    uint32_t lit = 0;
    for (size_t i = 0; i < sizeof rgb; i += 3) lit += rgb[i] == 255;
    CHECK_INT(lit, (3 + 5 + 3) * 4);
    for (uint32_t y = 0; y < 14; y++) CHECK_INT(rgb[((3 + y) * 60 + 2 + 2 * 2) * 3], 255);
    // capitals are what is drawn
    memcpy(again, rgb, sizeof rgb);
    evaluator_caption_line(&canvas, 2, 3, 2, white, "I");
    CHECK(memcmp(again, rgb, sizeof rgb) == 0);
    // nothing is written outside, whatever is asked
    evaluator_caption_line(&canvas, 55, 35, 3, white, "outside");
    evaluator_caption_line(&canvas, 1000, 1000, 3, white, "far outside");
    CHECK_INT(
        evaluator_caption_paragraph(&canvas, 0, 0, 1, white, 9, 3, "open the top drawer of it"), 3);
    CHECK_INT(evaluator_caption_paragraph(&canvas, 0, 0, 1, white, 9, 9, "unbreakablelongword"), 3);
    CHECK_INT(evaluator_caption_paragraph(&canvas, 0, 0, 1, white, 9, 9, ""), 0);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, begin, end)
TEST_MAIN(CASE(movie_gives_its_frames_back_through_a_decoder),
          CASE(movie_on_a_full_disk_says_so_and_leaves_nothing),
          UNIT(caption_draws_dots_and_stays_inside))
