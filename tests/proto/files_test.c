// tests/proto/files_test.c - a file is the old one or the new one, a limit is a limit, a tree goes
// without following links.
#include "proto/files.h"
#include "tests/check.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[256];
static const char *in(const char *name) {
    static char paths[4][600];
    static unsigned turn;
    char *path = paths[turn++ % 4];
    snprintf(path, 600, "%s/%s", folder, name);
    return path;
}
static int begin(void **state) {
    (void)state;
    check_folder(folder);
    return 0;
}
static int end(void **state) {
    (void)state;
    struct proto_error error;
    proto_disk_replace(NULL);
    return proto_folder_remove(folder, &error) ? 0 : -1;
}

TEST(files_what_was_written_is_read_back) {
    struct proto_error error = {0};
    static const char content[] = "one\0two\n";
    char *data = NULL;
    size_t size = 0;
    CHECK_OK(proto_file_write(in("a"), content, sizeof content - 1, &error), error);
    CHECK_OK(proto_file_read(in("a"), 100, PROTO_DAMAGED, &data, &size, &error), error);
    CHECK_INT(size, sizeof content - 1);
    CHECK(memcmp(data, content, sizeof content) == 0);  // with the NUL behind the end
    CHECK(!proto_path_exists(in("a.partial")));
    free(data);
}

TEST(files_the_limit_is_exact_also_for_files_that_hide_their_size) {
    struct proto_error error = {0};
    char *data = NULL;
    size_t size = 0;
    CHECK_OK(proto_file_write(in("a"), "12345", 5, &error), error);
    CHECK_OK(proto_file_read(in("a"), 5, PROTO_DAMAGED, &data, &size, &error), error);
    free(data);
    CHECK(!proto_file_read(in("a"), 4, PROTO_DAMAGED, &data, &size, &error));
    CHECK_INT(error.status, PROTO_DAMAGED);
    CHECK_HAS(error.text, "larger than the 4 bytes");
    CHECK_HAS(error.where, "/a");
    // /proc says 0 bytes and has more
    CHECK_OK(proto_file_read("/proc/self/status", 1 << 20, PROTO_DAMAGED, &data, &size, &error),
             error);
    CHECK(size > 100 && strlen(data) == size);
    free(data);
    CHECK(!proto_file_read("/dev/zero", 1 << 16, PROTO_DAMAGED, &data, &size, &error));
}

TEST(files_a_missing_file_has_the_status_its_reader_names) {
    struct proto_error error = {0};
    char *data = NULL;
    size_t size = 0;
    CHECK(!proto_file_read(in("none"), 5, PROTO_USAGE, &data, &size, &error));
    CHECK_INT(error.status, PROTO_USAGE);
    CHECK_HAS(error.text, "No such file");
    CHECK(!proto_file_read(folder, 5, PROTO_DAMAGED, &data, &size, &error));
    CHECK_HAS(error.text, "directory");
}

// Answers `fail_number` at the n-th call; a write before that puts half of the bytes.
static int calls, fail_at, fail_number;
static bool fails(void) {
    errno = fail_number;
    return ++calls == fail_at;
}
static int faulty_open(const char *path, int flags, mode_t mode) {
    return fails() ? -1 : proto_disk_real.open(path, flags, mode);
}
static ssize_t faulty_write(int descriptor, const void *data, size_t size) {
    if (fails()) return -1;
    return proto_disk_real.write(descriptor, data, size > 1 ? size / 2 : size);
}
static int faulty_fsync(int descriptor) { return fails() ? -1 : proto_disk_real.fsync(descriptor); }
static int faulty_rename(const char *from, const char *to) {
    return fails() ? -1 : proto_disk_real.rename(from, to);
}
static int faulty_mkdir(const char *path, mode_t mode) {
    return fails() ? -1 : proto_disk_real.mkdir(path, mode);
}
static struct proto_disk faulty(void) {
    struct proto_disk disk = proto_disk_real;
    disk.open = faulty_open;
    disk.write = faulty_write;
    disk.fsync = faulty_fsync;
    disk.rename = faulty_rename;
    disk.mkdir = faulty_mkdir;
    return disk;
}

TEST(files_a_failure_at_any_call_leaves_old_or_new_and_says_why) {
    const struct proto_disk disk = faulty();
    struct proto_error error = {0};
    char *data = NULL;
    size_t size = 0;
    bool done = false;
    CHECK_OK(proto_file_write(in("a"), "old", 3, &error), error);
    fail_number = ENOSPC;
    for (fail_at = 1; !done; fail_at++) {
        calls = 0;
        proto_disk_replace(&disk);
        done = proto_file_write(in("a"), "newer content", 13, &error);
        proto_disk_replace(NULL);
        if (!done) CHECK_INT(error.status, PROTO_EXHAUSTED);
        CHECK_OK(proto_file_read(in("a"), 100, PROTO_DAMAGED, &data, &size, &error), error);
        CHECK(strcmp(data, "newer content") == 0 || (!done && strcmp(data, "old") == 0));
        CHECK(!proto_path_exists(in("a.partial")));
        free(data);
        CHECK(fail_at < 50);
    }
    CHECK(fail_at > 6);   // open, writes, fsync, rename, fsync of the folder were all tried
    fail_number = EINTR;  // an interrupted write goes on
    fail_at = 2;
    calls = 0;
    proto_disk_replace(&disk);
    CHECK_OK(proto_file_write(in("a"), "after", 5, &error), error);
}

// The order of calls as letters: open, write, fsync, rename.
static char order[64];
static void note(char letter) {
    const size_t used = strlen(order);
    if (used + 1 < sizeof order) order[used] = letter;
}
static int noted_open(const char *path, int flags, mode_t mode) {
    note('o');
    return proto_disk_real.open(path, flags, mode);
}
static ssize_t noted_write(int descriptor, const void *data, size_t size) {
    note('w');
    return proto_disk_real.write(descriptor, data, size);
}
static int noted_fsync(int descriptor) {
    struct stat status;
    fstat(descriptor, &status);
    note(S_ISDIR(status.st_mode) ? 'F' : 'f');
    return proto_disk_real.fsync(descriptor);
}
static int noted_rename(const char *from, const char *to) {
    note('r');
    return proto_disk_real.rename(from, to);
}

TEST(files_the_content_is_durable_before_the_name_and_the_name_before_success) {
    struct proto_error error = {0};
    struct proto_disk disk = proto_disk_real;
    disk.open = noted_open;
    disk.write = noted_write;
    disk.fsync = noted_fsync;
    disk.rename = noted_rename;
    proto_disk_replace(&disk);
    CHECK_OK(proto_file_write(in("a"), "x", 1, &error), error);
    CHECK_TEXT(order, "owfrF");
}

TEST(files_folders_are_made_with_parents_and_removed_without_following_links) {
    struct proto_error error = {0};
    CHECK_OK(proto_folder_make(in("a/b//c"), 0700, &error), error);
    CHECK_OK(proto_folder_make(in("a/b/c"), 0700, &error), error);
    CHECK(proto_path_is_folder(in("a/b/c")));
    CHECK_OK(proto_folder_make(in("kept"), 0700, &error), error);
    CHECK_OK(proto_file_write(in("kept/file"), "x", 1, &error), error);
    CHECK_INT(symlink(in("kept"), in("a/b/link")), 0);
    CHECK_INT(symlink("nowhere", in("a/dangling")), 0);
    CHECK_OK(proto_folder_remove(in("a"), &error), error);
    CHECK(!proto_path_exists(in("a")));
    CHECK(proto_path_exists(in("kept/file")));
    CHECK_OK(proto_folder_remove(in("a"), &error), error);  // nothing there is fine
    CHECK(!proto_folder_make(in("kept/file/below"), 0700, &error));
    CHECK_HAS(error.where, "kept/file");
    CHECK_HAS(error.text, "Not a directory");
}

TEST(files_names_are_listed_in_byte_order) {
    struct proto_error error = {0};
    struct proto_names names = {0};
    static const char *const made[] = {"demo_10", "demo_2", "B", "a"};
    for (size_t i = 0; i < PROTO_COUNT(made); i++)
        CHECK_OK(proto_file_write(in(made[i]), "", 0, &error), error);
    CHECK_OK(proto_folder_list(folder, &names, &error), error);
    CHECK_INT(names.count, 4);
    CHECK_TEXT(names.items[0], "B");
    CHECK_TEXT(names.items[1], "a");
    CHECK_TEXT(names.items[2], "demo_10");
    CHECK_TEXT(names.items[3], "demo_2");
    proto_names_free(&names);
    CHECK(!proto_folder_list(in("none"), &names, &error));
    CHECK_HAS(error.where, "none");
    CHECK_INT(names.count, 0);
}

// Oracle: published test values of XXH64 with seed 0.
TEST(files_hashes_are_xxh64) {
    struct proto_error error = {0};
    uint64_t hash = 0;
    CHECK(proto_hash("", 0) == 0xef46db3751d8e999u);
    CHECK(proto_hash("abc", 3) == 0x44bc2cf5ad770999u);
    CHECK_OK(proto_file_write(in("abc"), "abc", 3, &error), error);
    CHECK_OK(proto_file_hash(in("abc"), &hash, &error), error);
    CHECK(hash == 0x44bc2cf5ad770999u);
    char *large = calloc(1, 3000001);
    CHECK_OK(proto_file_write(in("large"), large, 3000001, &error), error);
    CHECK_OK(proto_file_hash(in("large"), &hash, &error), error);
    CHECK(hash == proto_hash(large, 3000001));
    free(large);
    CHECK(!proto_file_hash(in("none"), &hash, &error));
    CHECK_HAS(error.text, "No such file");
}

TEST(files_a_writer_tells_size_and_hash_of_all_pieces) {
    struct proto_error error = {0};
    struct proto_writer writer;
    CHECK_OK(proto_writer_open(&writer, in("abc"), &error), error);
    CHECK_OK(proto_writer_add(&writer, "a", 1, &error), error);
    CHECK_OK(proto_writer_add(&writer, NULL, 0, &error), error);
    CHECK_OK(proto_writer_add(&writer, "bc", 2, &error), error);
    CHECK_OK(proto_writer_finish(&writer, &error), error);
    CHECK_INT(writer.size_bytes, 3);
    CHECK(writer.hash == 0x44bc2cf5ad770999u);
    CHECK(!proto_writer_open(&writer, in("none/abc"), &error));
    CHECK_HAS(error.where, "none/abc");
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, begin, end)
TEST_MAIN(CASE(files_what_was_written_is_read_back),
          CASE(files_the_limit_is_exact_also_for_files_that_hide_their_size),
          CASE(files_a_missing_file_has_the_status_its_reader_names),
          CASE(files_a_failure_at_any_call_leaves_old_or_new_and_says_why),
          CASE(files_the_content_is_durable_before_the_name_and_the_name_before_success),
          CASE(files_folders_are_made_with_parents_and_removed_without_following_links),
          CASE(files_names_are_listed_in_byte_order), CASE(files_hashes_are_xxh64),
          CASE(files_a_writer_tells_size_and_hash_of_all_pieces))
