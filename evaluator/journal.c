// evaluator/journal.c - episodes.jsonl and its locks.
#include "evaluator/journal.h"

#include "proto/files.h"
#include "proto/json.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define HEAD_BYTE 0  // of the lock file: whoever writes the first line; episodes use later ones

struct evaluator_journal {
    struct evaluator_results *results;
    char *path, *lock_path;
    int file, lock;
    off_t read;  // bytes of whole lines taken so far
};

static bool lock_byte(const struct evaluator_journal *journal, off_t byte, short kind, bool wait) {
    struct flock range = {.l_type = kind, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};
    int result;
    do {
        result = fcntl(journal->lock, wait ? F_OFD_SETLKW : F_OFD_SETLK, &range);
    } while (result != 0 && errno == EINTR);
    return result == 0;
}

// The byte of an episode: a hash of its key; two keys on one byte would only wait for each other.
static off_t byte_of(const struct evaluator_journal *journal,
                     const struct evaluator_episode *episode) {
    const char *task = journal->results->tasks[episode->task].task;
    const uint64_t key[] = {proto_hash(task, strlen(task)), (uint64_t)episode->pilot, episode->row};
    return (off_t)(1 + (proto_hash(key, sizeof key) >> 2));
}

// One write at the end of the file, so that lines of several processes never mix.
static bool append(struct evaluator_journal *journal, json_t *line, struct proto_error *error) {
    char *text = line ? json_dumps(line, JSON_COMPACT | JSON_REAL_PRECISION(17)) : NULL;
    json_decref(line);
    // a line that a kill cut short ends here: the newline in front makes it one to be passed over
    char *whole = text ? proto_format(error, "\n%s\n", text) : NULL;
    free(text);
    if (!whole) return proto_fail(error, PROTO_EXHAUSTED, "no memory for a line of episodes.jsonl");
    const size_t size = strlen(whole);
    const ssize_t wrote = write(journal->file, whole, size);
    if (wrote >= 0 && (size_t)wrote < size) errno = ENOSPC;
    const bool done = wrote == (ssize_t)size && fdatasync(journal->file) == 0;
    free(whole);
    if (done) return true;
    proto_fail_errno(error, PROTO_FAILED, "an episode's outcome cannot be written");
    return proto_error_where(error, "%s", journal->path);
}

// ---- lines --------------------------------------------------------------------------------------

static json_t *head_line(const struct evaluator_results *results) {
    char checkpoint[17], codec[17], assets[17];
    proto_hex64(results->checkpoint_hash, checkpoint);
    proto_hex64(results->codec_hash, codec);
    proto_hex64(results->assets_hash, assets);
    return json_pack("{s:s, s:s, s:s, s:s, s:I, s:i, s:i, s:i}", "checkpoint_hash", checkpoint,
                     "codec_hash", codec, "assets_hash", assets, "mujoco", results->mujoco, "seed",
                     (json_int_t)results->seed, "max_steps", (int)results->max_steps,
                     "exec_horizon", (int)results->exec_horizon, "settle_steps",
                     (int)results->settle_steps);
}

static json_t *episode_line(const struct evaluator_results *results,
                            const struct evaluator_episode *episode) {
    char frames[17];
    proto_hex64(episode->frames_hash, frames);
    return json_pack(
        "{s:s, s:s, s:i, s:I, s:b, s:i, s:s, s:o}", "task", results->tasks[episode->task].task,
        "row", evaluator_pilot_names[episode->pilot], "init_state", (int)episode->row, "seed",
        (json_int_t)episode->seed, "success", episode->success, "steps", (int)episode->steps,
        "frames", frames, "note", proto_json_string(episode->note));
}

static bool episode_parse(const struct evaluator_results *results, const json_t *line,
                          struct evaluator_episode *episode, bool *ours,
                          struct proto_error *error) {
    const char *task = NULL, *pilot = NULL, *note = NULL;
    int64_t row = 0, seed = 0, steps = 0;
    *episode = (struct evaluator_episode){.pilot = EVALUATOR_PILOTS, .task = UINT32_MAX};
    if (!proto_json_text(line, "task", &task, error) ||
        !proto_json_text(line, "row", &pilot, error) ||
        !proto_json_integer(line, "init_state", 0, UINT32_MAX, &row, error) ||
        !proto_json_integer(line, "seed", 0, UINT32_MAX, &seed, error) ||
        !proto_json_integer(line, "steps", 0, UINT32_MAX, &steps, error) ||
        !proto_json_boolean(line, "success", &episode->success, error) ||
        !proto_json_hex64(line, "frames", &episode->frames_hash, error) ||
        !proto_json_text(line, "note", &note, error))
        return false;
    for (uint32_t t = 0; t < results->task_count; t++)
        if (strcmp(results->tasks[t].task, task) == 0) episode->task = t;
    for (int i = 0; i < EVALUATOR_PILOTS; i++)
        if (strcmp(evaluator_pilot_names[i], pilot) == 0) episode->pilot = (enum evaluator_pilot)i;
    if (episode->pilot == EVALUATOR_PILOTS)
        return proto_fail(error, PROTO_DAMAGED, "row is %.40s, none of ours", pilot);
    episode->row = (uint32_t)row;
    episode->seed = (uint32_t)seed;
    episode->steps = (uint32_t)steps;
    snprintf(episode->note, sizeof episode->note, "%.159s", note);
    *ours = episode->task != UINT32_MAX;
    return true;
}

static bool line_take(struct evaluator_journal *journal, const char *text, size_t size,
                      struct proto_error *error) {
    struct proto_error torn;
    struct evaluator_episode episode;
    bool ours = false;
    json_t *line = size > 0 ? proto_json_parse(text, size, &torn) : NULL;
    if (!line) return true;  // empty, or cut short
    bool done = true;
    if (json_object_get(line, "checkpoint_hash")) {
        json_t *own = head_line(journal->results);
        done = own ? json_equal(own, line) ||
                         proto_fail(error, PROTO_USAGE,
                                    "holds the episodes of another checkpoint or protocol: choose "
                                    "another --output_dir, or --restart to throw them away")
                   : proto_fail(error, PROTO_EXHAUSTED, "no memory");
        json_decref(own);
    } else if (episode_parse(journal->results, line, &episode, &ours, error)) {
        done = !ours || evaluator_results_add(journal->results, &episode, error);
    } else {
        done = false;
    }
    json_decref(line);
    return done || proto_error_where(error, "%s", journal->path);
}

bool evaluator_journal_refresh(struct evaluator_journal *journal, struct proto_error *error) {
    struct stat status;
    bool done = true;
    if (fstat(journal->file, &status) != 0) {
        proto_fail_errno(error, PROTO_DAMAGED, "cannot be read");
        return proto_error_where(error, "%s", journal->path);
    }
    if (status.st_size <= journal->read) return true;
    const size_t size = (size_t)(status.st_size - journal->read);
    char *bytes = proto_alloc(size + 1, error);
    if (!bytes) return false;
    const ssize_t got = pread(journal->file, bytes, size, journal->read);
    size_t begin = 0;
    for (size_t i = 0; done && got > 0 && i < (size_t)got; i++) {
        if (bytes[i] != '\n') continue;
        done = line_take(journal, bytes + begin, i - begin, error);
        begin = i + 1;
    }
    journal->read += (off_t)begin;
    free(bytes);
    return done;
}

// ---- open and claims ----------------------------------------------------------------------------

bool evaluator_journal_open(const char *folder, struct evaluator_results *results,
                            struct evaluator_journal **journal, struct proto_error *error) {
    if (!proto_folder_make(folder, 0777, error)) return false;
    struct evaluator_journal *opened = proto_alloc(sizeof *opened, error);
    if (!opened) return false;
    opened->results = results;
    opened->file = opened->lock = -1;
    opened->path = proto_format(error, "%s/episodes.jsonl", folder);
    opened->lock_path = opened->path ? proto_format(error, "%s/episodes.lock", folder) : NULL;
    bool done = opened->lock_path != NULL;
    if (done) {
        opened->file = open(opened->path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
        opened->lock = open(opened->lock_path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
        if (opened->file < 0 || opened->lock < 0 || !lock_byte(opened, HEAD_BYTE, F_WRLCK, true)) {
            proto_fail_errno(error, PROTO_FAILED, "the output folder cannot be used");
            done = proto_error_where(error, "%s", folder);
        }
    }
    if (done) {
        done = evaluator_journal_refresh(opened, error) &&
               (opened->read > 0 || append(opened, head_line(results), error));
        lock_byte(opened, HEAD_BYTE, F_UNLCK, false);
    }
    if (done)
        *journal = opened;
    else
        evaluator_journal_close(&opened);
    return done;
}

void evaluator_journal_close(struct evaluator_journal **journal) {
    if (!*journal) return;
    if ((*journal)->file >= 0) close((*journal)->file);
    if ((*journal)->lock >= 0) close((*journal)->lock);
    free((*journal)->path);
    free((*journal)->lock_path);
    free(*journal);
    *journal = NULL;
}

bool evaluator_journal_claim(struct evaluator_journal *journal,
                             const struct evaluator_episode *episode, enum evaluator_claim *claim,
                             struct proto_error *error) {
    *claim = EVALUATOR_DONE;
    if (evaluator_results_have(journal->results, episode)) return true;
    const off_t byte = byte_of(journal, episode);
    if (!lock_byte(journal, byte, F_WRLCK, false)) {
        *claim = EVALUATOR_BUSY;
        if (errno == EAGAIN || errno == EACCES) return true;
        proto_fail_errno(error, PROTO_FAILED, "cannot be locked");
        return proto_error_where(error, "%s", journal->lock_path);
    }
    // its holder may have finished it between our last look and the lock
    if (!evaluator_journal_refresh(journal, error)) return false;
    if (evaluator_results_have(journal->results, episode))
        lock_byte(journal, byte, F_UNLCK, false);
    else
        *claim = EVALUATOR_MINE;
    return true;
}

bool evaluator_journal_record(struct evaluator_journal *journal,
                              const struct evaluator_episode *episode, struct proto_error *error) {
    // what was appended is also what is read back
    const bool done = append(journal, episode_line(journal->results, episode), error) &&
                      evaluator_journal_refresh(journal, error);
    lock_byte(journal, byte_of(journal, episode), F_UNLCK, false);
    return done;
}
