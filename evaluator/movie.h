// evaluator/movie.h - one H.264 video file, frame by frame, through FFmpeg's libraries. It has
// another name until it is whole; its index stands in front, so that browsers play it while it
// loads.
#ifndef EVALUATOR_MOVIE_H
#define EVALUATOR_MOVIE_H

#include "proto/error.h"

#include <stdint.h>

struct evaluator_movie;
// Height and width must be even. PROTO_MISSING: the libraries have no H.264 encoder; PROTO_FAILED
// or PROTO_EXHAUSTED: the file cannot be written.
PROTO_MUST_CHECK bool evaluator_movie_open(const char *path, uint32_t height, uint32_t width,
                                           uint32_t frames_per_s, struct evaluator_movie **movie,
                                           struct proto_error *error);
// rgb u8 [height, width, 3], top row first; not kept.
PROTO_MUST_CHECK bool evaluator_movie_add(struct evaluator_movie *movie, const uint8_t *rgb,
                                          struct proto_error *error);
// Finishes the file and gives it the name `path`. The movie is gone afterwards, also on failure.
PROTO_MUST_CHECK bool evaluator_movie_finish(struct evaluator_movie **movie, const char *path,
                                             struct proto_error *error);
void evaluator_movie_abandon(struct evaluator_movie **movie);  // accepts NULL; removes the file

#endif
