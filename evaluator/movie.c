// evaluator/movie.c - encoder, converter to 4:2:0 and container of one file.
#include "evaluator/movie.h"

#include "proto/files.h"

#include <errno.h>
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/error.h>
#include <libavutil/opt.h>
#include <libswscale/swscale.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct evaluator_movie {
    char *partial;
    uint32_t height, width;
    AVFormatContext *container;
    AVStream *stream;
    AVCodecContext *encoder;
    struct SwsContext *converter;
    AVFrame *frame;
    AVPacket *packet;
    int64_t count;
};

static bool failed(const struct evaluator_movie *movie, int code, const char *what,
                   struct proto_error *error) {
    char words[AV_ERROR_MAX_STRING_SIZE] = "";
    const bool full = code == AVERROR(ENOSPC) || code == AVERROR(EDQUOT) || code == AVERROR(ENOMEM);
    av_strerror(code, words, sizeof words);
    proto_fail(error, full ? PROTO_EXHAUSTED : PROTO_FAILED, "%s: %s", what, words);
    return proto_error_where(error, "%s", movie->partial ? movie->partial : "video");
}

static bool open_encoder(struct evaluator_movie *movie, uint32_t frames_per_s,
                         struct proto_error *error) {
    const AVCodec *codec = avcodec_find_encoder_by_name("libx264");
    if (!codec) codec = avcodec_find_encoder(AV_CODEC_ID_H264);
    if (!codec)
        return proto_fail(error, PROTO_MISSING,
                          "the FFmpeg libraries of this machine have no H.264 encoder; leave "
                          "--record_video out, or install an FFmpeg with libx264");
    movie->encoder = avcodec_alloc_context3(codec);
    if (!movie->encoder) return proto_fail(error, PROTO_EXHAUSTED, "no memory for an encoder");
    movie->encoder->width = (int)movie->width;
    movie->encoder->height = (int)movie->height;
    movie->encoder->pix_fmt = AV_PIX_FMT_YUV420P;  // what browsers play
    movie->encoder->time_base = (AVRational){1, (int)frames_per_s};
    movie->encoder->framerate = (AVRational){(int)frames_per_s, 1};
    movie->encoder->thread_count = 1;
    if (movie->container->oformat->flags & AVFMT_GLOBALHEADER)
        movie->encoder->flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
    // options that only x264 has; another encoder does without
    av_opt_set(movie->encoder->priv_data, "preset", "veryfast", 0);
    av_opt_set(movie->encoder->priv_data, "crf", "23", 0);
    const int code = avcodec_open2(movie->encoder, codec, NULL);
    return code >= 0 || failed(movie, code, "the encoder does not open", error);
}

static bool open_file(struct evaluator_movie *movie, struct proto_error *error) {
    movie->stream = avformat_new_stream(movie->container, NULL);
    if (!movie->stream) return proto_fail(error, PROTO_EXHAUSTED, "no memory for a stream");
    movie->stream->time_base = movie->encoder->time_base;
    int code = avcodec_parameters_from_context(movie->stream->codecpar, movie->encoder);
    if (code >= 0) code = avio_open(&movie->container->pb, movie->partial, AVIO_FLAG_WRITE);
    if (code < 0) return failed(movie, code, "the video cannot be written", error);
    AVDictionary *options = NULL;
    av_dict_set(&options, "movflags", "+faststart", 0);
    code = avformat_write_header(movie->container, &options);
    av_dict_free(&options);
    return code >= 0 || failed(movie, code, "the video cannot be written", error);
}

static bool open_frame(struct evaluator_movie *movie, struct proto_error *error) {
    movie->frame = av_frame_alloc();
    movie->packet = av_packet_alloc();
    movie->converter =
        sws_getContext((int)movie->width, (int)movie->height, AV_PIX_FMT_RGB24, (int)movie->width,
                       (int)movie->height, AV_PIX_FMT_YUV420P, SWS_BILINEAR, NULL, NULL, NULL);
    if (!movie->frame || !movie->packet || !movie->converter)
        return proto_fail(error, PROTO_EXHAUSTED, "no memory for video frames");
    movie->frame->format = AV_PIX_FMT_YUV420P;
    movie->frame->width = (int)movie->width;
    movie->frame->height = (int)movie->height;
    const int code = av_frame_get_buffer(movie->frame, 0);
    return code >= 0 || failed(movie, code, "no memory for video frames", error);
}

bool evaluator_movie_open(const char *path, uint32_t height, uint32_t width, uint32_t frames_per_s,
                          struct evaluator_movie **movie, struct proto_error *error) {
    struct evaluator_movie *opened = proto_alloc(sizeof *opened, error);
    if (!opened) return false;
    av_log_set_level(AV_LOG_QUIET);  // what goes wrong comes back as an error
    opened->height = height;
    opened->width = width;
    opened->partial = proto_format(error, "%s.partial", path);
    bool done = opened->partial != NULL;
    if (done && (height % 2 != 0 || width % 2 != 0))
        done =
            proto_fail(error, PROTO_FAILED, "a video of %ux%u: sides must be even", width, height);
    if (done) {
        const int code =
            avformat_alloc_output_context2(&opened->container, NULL, "mp4", opened->partial);
        done = code >= 0 || failed(opened, code, "no MP4 writer", error);
    }
    done = done && open_encoder(opened, frames_per_s, error) && open_file(opened, error) &&
           open_frame(opened, error);
    if (done)
        *movie = opened;
    else
        evaluator_movie_abandon(&opened);
    return done;
}

// Moves what the encoder has finished into the file.
static bool drain(struct evaluator_movie *movie, struct proto_error *error) {
    int code;
    while ((code = avcodec_receive_packet(movie->encoder, movie->packet)) >= 0) {
        movie->packet->duration = 1;  // else the last frame has none, and players leave it out
        av_packet_rescale_ts(movie->packet, movie->encoder->time_base, movie->stream->time_base);
        movie->packet->stream_index = movie->stream->index;
        code = av_interleaved_write_frame(movie->container, movie->packet);
        if (code >= 0 && movie->container->pb->error < 0) code = movie->container->pb->error;
        if (code < 0) return failed(movie, code, "the video cannot be written", error);
    }
    return code == AVERROR(EAGAIN) || code == AVERROR_EOF ||
           failed(movie, code, "a frame cannot be encoded", error);
}

bool evaluator_movie_add(struct evaluator_movie *movie, const uint8_t *rgb,
                         struct proto_error *error) {
    const uint8_t *planes[] = {rgb};
    const int strides[] = {(int)movie->width * 3};
    int code = av_frame_make_writable(movie->frame);
    if (code < 0) return failed(movie, code, "no memory for video frames", error);
    sws_scale(movie->converter, planes, strides, 0, (int)movie->height, movie->frame->data,
              movie->frame->linesize);
    movie->frame->pts = movie->count++;
    code = avcodec_send_frame(movie->encoder, movie->frame);
    return code >= 0 ? drain(movie, error)
                     : failed(movie, code, "a frame cannot be encoded", error);
}

static void movie_free(struct evaluator_movie *movie) {
    if (movie->container && movie->container->pb) avio_closep(&movie->container->pb);
    avformat_free_context(movie->container);
    avcodec_free_context(&movie->encoder);
    sws_freeContext(movie->converter);
    av_frame_free(&movie->frame);
    av_packet_free(&movie->packet);
    free(movie->partial);
    free(movie);
}

void evaluator_movie_abandon(struct evaluator_movie **movie) {
    if (!*movie) return;
    if ((*movie)->partial) unlink((*movie)->partial);
    movie_free(*movie);
    *movie = NULL;
}

bool evaluator_movie_finish(struct evaluator_movie **movie, const char *path,
                            struct proto_error *error) {
    struct evaluator_movie *whole = *movie;
    int code = avcodec_send_frame(whole->encoder, NULL);
    bool done = (code >= 0 || failed(whole, code, "the video cannot be finished", error)) &&
                drain(whole, error);
    if (done) {
        code = av_write_trailer(whole->container);
        const int closed = avio_closep(&whole->container->pb);
        if (code >= 0) code = closed;
        done = code >= 0 || failed(whole, code, "the video cannot be written", error);
    }
    done = done && proto_path_rename(whole->partial, path, error);
    if (!done) {
        evaluator_movie_abandon(movie);
        return false;
    }
    movie_free(whole);
    *movie = NULL;
    return true;
}
