// stages/up.c - `pipeline up`: the checks before a run in their order (configuration, machine,
// lock, what is resumed), the files that a run leaves for others, then the supervisor.
#include "stages/up.h"

#include "proto/checkpoint.h"
#include "proto/config.h"
#include "proto/files.h"
#include "proto/programs.h"
#include "stages/client.h"
#include "stages/lock.h"
#include "stages/supervisor.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct up {
    const struct stage_up_settings *settings;
    struct proto_config *config;
    char folder[PROTO_PATH_MAX];  // run folder, real path
    int lock;
    char *resumed;              // checkpoint that the run goes on from, or NULL
    struct proto_list notices;  // lines to say when the run starts
    bool notice_lost;
};

static void up_notice(void *context, const char *line) {
    struct up *up = context;
    char **grown = realloc(up->notices.items, (up->notices.count + 1) * sizeof *grown);
    char *copy = strdup(line);
    if (grown) up->notices.items = grown;
    if (grown && copy)
        grown[up->notices.count++] = copy;
    else {
        free(copy);
        up->notice_lost = true;
    }
}

static bool up_folder(struct up *up, struct proto_error *error) {
    const char *given = up->config->run.output_dir;
    if (!proto_folder_make(given, 0755, error)) return false;
    char *real = realpath(given, NULL);
    if (!real) return proto_fail_errno(error, PROTO_USAGE, "run.output_dir %s", given);
    const bool fits = strlen(real) < PROTO_PATH_MAX;
    if (fits) memcpy(up->folder, real, strlen(real) + 1);
    free(real);
    return fits || proto_fail(error, PROTO_USAGE, "run.output_dir: the real path is over %d bytes",
                              PROTO_PATH_MAX - 1);
}

// A checkpoint that the run goes on from must be whole, and made with the same fixed options.
static bool up_resume(struct up *up, struct proto_error *error) {
    char before_path[PROTO_PATH_MAX];
    char *checkpoint = NULL;
    struct proto_config *before = NULL;
    bool done = false;
    if (!proto_checkpoint_resolve(up->folder, up->config->run.resume, &checkpoint, error))
        return false;
    if (!checkpoint) return true;
    if (!proto_checkpoint_check(checkpoint, error)) goto end;
    if (!proto_run_path(checkpoint, "../pipeline.toml", before_path, error)) goto end;
    if (proto_path_exists(before_path)) {
        if (!proto_config_read(before_path, NULL, 0, &before, error)) goto end;
        if (!proto_config_may_resume(before, up->config, up_notice, up, error)) goto end;
    }
    up->resumed = checkpoint;
    checkpoint = NULL;  // moved
    done = true;
end:
    proto_config_free(&before);
    free(checkpoint);
    return done;
}

// RUN/pipeline.toml for the stages, RUN/address and the note beside the sockets for other verbs.
static bool up_write(struct up *up, struct proto_error *error) {
    char path[PROTO_PATH_MAX], sockets[PROTO_PATH_MAX];
    char *toml = NULL;
    struct proto_config written = *up->config;  // borrows everything but what is changed
    char automatic[] = "auto";
    // "no" was an answer for this moment: the next attempt must find the checkpoints of this one
    if (strcmp(written.run.resume, "no") == 0) written.run.resume = automatic;
    written.run.output_dir = up->folder;
    if (!proto_config_print(&written, &toml, error)) return false;
    bool done = proto_run_path(up->folder, "pipeline.toml", path, error) &&
                proto_file_write(path, toml, strlen(toml), error);
    free(toml);
    done = done && proto_run_sockets_choose(up->folder, sockets, error) &&
           proto_run_path(up->folder, "address", path, error);
    if (!done) return false;
    const size_t length = strlen(sockets);
    sockets[length] = '\n';
    if (length + 1 >= sizeof sockets || !proto_file_write(path, sockets, length + 1, error))
        return false;
    return stage_run_note(up->folder, error);
}

static void up_started(void *context) {
    const struct up *up = context;
    if (up->settings->started) up->settings->started(up->settings->context, up->folder);
}

bool stage_up_run(const struct stage_up_settings *settings, int *code, struct proto_error *error) {
    struct up up = {.settings = settings, .lock = -1};
    char programs[PROTO_PATH_MAX];
    bool done = false;
    if (!settings->programs && !proto_programs_folder(programs, error)) goto end;
    if (!proto_config_read(settings->file, settings->sets, settings->set_count, &up.config, error))
        goto end;
    if (!proto_config_check_machine(up.config, error)) goto end;
    if (!up_folder(&up, error)) goto end;
    if (!stage_lock_take(up.folder, &up.lock, error)) goto end;
    if (!up_resume(&up, error)) goto end;
    if (!up_write(&up, error)) goto end;
    const struct stage_run run = {.config = up.config,
                                  .folder = up.folder,
                                  .programs = settings->programs ? settings->programs : programs,
                                  .output = settings->output,
                                  .resumed = up.resumed,
                                  .notices = &up.notices,
                                  .stuck_ms = settings->stuck_ms,
                                  .started = up_started,
                                  .started_context = &up};
    done = stage_supervise(&run, code, error);
end:
    if (!done) *code = (int)error->status;
    for (size_t i = 0; i < up.notices.count; i++) free(up.notices.items[i]);
    free(up.notices.items);
    free(up.resumed);
    if (up.lock >= 0) close(up.lock);
    proto_config_free(&up.config);
    return done;
}
