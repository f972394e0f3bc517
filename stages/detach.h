// stages/detach.h - `pipeline up --detach`: the run goes to the background once it has started.
#ifndef STAGES_DETACH_H
#define STAGES_DETACH_H

#include "stages/up.h"

// Runs `work` in a child in a session of its own and relays its lines until all trainers are ready
// (returns 0, the child goes on) or it ends before (returns its exit code). settings->output and
// settings->started are replaced.
int stage_detach(const struct stage_up_settings *settings,
                 int (*work)(const struct stage_up_settings *settings));

#endif
