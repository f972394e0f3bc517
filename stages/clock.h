// stages/clock.h - time as the supervisor needs it: a clock that never jumps, and texts for people.
#ifndef STAGES_CLOCK_H
#define STAGES_CLOCK_H

#include <stddef.h>
#include <stdint.h>

int64_t stage_now_ms(void);  // monotonic
// UTC wall clock, "2026-11-24T18:05:29.123Z".
void stage_time_text(char text[static 32]);
// Seconds as h:mm:ss.
void stage_duration_text(double duration_s, char text[static 32]);

#endif
