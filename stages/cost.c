// stages/cost.c - see cost.h.
#include "stages/cost.h"

#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BLOCK_BYTES (256u << 10)  // a longer line is passed over

static void take_line(struct stage_cost *cost, const char *line, size_t length, bool counts,
                      bool under_way) {
    json_t *step = json_loadb(line, length, 0, NULL);
    const json_t *step_s = json_object_get(step, "step_s");
    if (counts && json_is_number(step_s) && json_number_value(step_s) > 0) {
        cost->steps[under_way]++;
        cost->total_s[under_way] += json_number_value(step_s);
    }
    json_decref(step);
}

static void take_block(struct stage_cost *cost, int file, char *block, bool counts,
                       bool under_way) {
    ssize_t count;
    while ((count = pread(file, block, BLOCK_BYTES, cost->offset)) > 0) {
        const char *line = block, *end;
        while ((end = memchr(line, '\n', (size_t)(block + count - line)))) {
            take_line(cost, line, (size_t)(end - line), counts, under_way);
            line = end + 1;
        }
        if (line == block && count < (ssize_t)BLOCK_BYTES) return;  // a line that is not whole yet
        cost->offset += line == block ? count : line - block;
    }
}

void stage_cost_look(struct stage_cost *cost, const char *metrics, bool under_way) {
    struct stat info;
    const int file = open(metrics, O_RDONLY | O_CLOEXEC);
    if (file < 0) return;
    char *block = NULL;
    if (fstat(file, &info) != 0) goto end;
    // what was there before this run began, or before it was set back, is nobody's
    if (!cost->opened || info.st_size < cost->offset)
        cost->offset = info.st_size;
    else if (info.st_size > cost->offset && (block = malloc(BLOCK_BYTES)))
        take_block(cost, file, block, under_way == cost->before, under_way);
    cost->opened = true;
    cost->before = under_way;
end:
    free(block);
    close(file);
}

bool stage_cost_means(const struct stage_cost *cost, double *alone_s, double *under_way_s) {
    if (cost->steps[0] < STAGE_COST_STEPS_MIN || cost->steps[1] < STAGE_COST_STEPS_MIN)
        return false;
    *alone_s = cost->total_s[0] / (double)cost->steps[0];
    *under_way_s = cost->total_s[1] / (double)cost->steps[1];
    return true;
}
