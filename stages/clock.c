// stages/clock.c - see clock.h.
#include "stages/clock.h"

#include <stdio.h>
#include <time.h>

int64_t stage_now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void stage_time_text(char text[static 32]) {
    struct timespec now;
    struct tm parts;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &parts);
    const size_t used = strftime(text, 32, "%Y-%m-%dT%H:%M:%S", &parts);
    snprintf(text + used, 32 - used, ".%03dZ", (int)(now.tv_nsec / 1000000));
}

void stage_duration_text(double duration_s, char text[static 32]) {
    const double limit_s = 1e9;  // beyond it, and for NaN, there is nothing to tell
    if (!(duration_s >= 0 && duration_s < limit_s)) {
        snprintf(text, 32, "-");
        return;
    }
    const long long s = (long long)duration_s;
    snprintf(text, 32, "%lld:%02lld:%02lld", s / 3600, s / 60 % 60, s % 60);
}
