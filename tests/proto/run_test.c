// tests/proto/run_test.c - the names of a run, and a socket folder that nobody else can lay out.
#include "proto/files.h"
#include "proto/run.h"
#include "tests/check.h"

#include <sys/stat.h>
#include <unistd.h>

static char folder[256], run[300];
static int begin(void **state) {
    struct proto_error error;
    (void)state;
    check_folder(folder);
    snprintf(run, sizeof run, "%s/run", folder);
    setenv("XDG_RUNTIME_DIR", folder, 1);
    return proto_folder_make(run, 0700, &error) ? 0 : -1;
}
static int end(void **state) {
    struct proto_error error;
    (void)state;
    return proto_folder_remove(folder, &error) ? 0 : -1;
}

TEST(run_paths_are_joined_and_bounded) {
    struct proto_error error = {0};
    char path[PROTO_PATH_MAX], text[1100];
    CHECK_OK(proto_run_path("a/b", "logs/loader-0.log", path, &error), error);
    CHECK_TEXT(path, "a/b/logs/loader-0.log");
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    CHECK(!proto_run_path(text, "lock", path, &error));
    CHECK_INT(error.status, PROTO_USAGE);
    CHECK_TEXT(path, "");
    // the longest that fits, and one more
    text[PROTO_PATH_MAX - 6] = '\0';
    CHECK_OK(proto_run_path(text, "lock", path, &error), error);
    CHECK_INT(strlen(path), PROTO_PATH_MAX - 1);
    text[PROTO_PATH_MAX - 6] = 'x';
    text[PROTO_PATH_MAX - 5] = '\0';
    CHECK(!proto_run_path(text, "lock", path, &error));
}

TEST(run_sockets_are_private_and_found_by_every_name_of_the_run) {
    struct proto_error error = {0};
    char first[PROTO_PATH_MAX], second[PROTO_PATH_MAX], link[400], other[400];
    struct stat status;
    CHECK_OK(proto_run_sockets(run, first, &error), error);
    CHECK_INT(stat(first, &status), 0);
    CHECK(S_ISDIR(status.st_mode) && (status.st_mode & 0777) == 0700);
    CHECK_HAS(first, folder);
    snprintf(link, sizeof link, "%s/link", folder);
    CHECK_INT(symlink(run, link), 0);
    CHECK_OK(proto_run_sockets(link, second, &error), error);
    CHECK_TEXT(second, first);
    snprintf(other, sizeof other, "%s/other/..//run/.", folder);
    CHECK(!proto_run_sockets(other, second, &error));  // no such folder
    CHECK_INT(error.status, PROTO_USAGE);
    CHECK_TEXT(error.where, other);
    snprintf(other, sizeof other, "%s/other", folder);
    CHECK_OK(proto_folder_make(other, 0700, &error), error);
    CHECK_OK(proto_run_sockets(other, second, &error), error);
    CHECK(strcmp(first, second) != 0);
}

TEST(run_a_socket_folder_open_to_others_is_refused) {
    struct proto_error error = {0};
    char path[PROTO_PATH_MAX], base[300];
    snprintf(base, sizeof base, "%s/pipeline", folder);
    CHECK_INT(mkdir(base, 0700), 0);
    CHECK_INT(chmod(base, 0755), 0);
    CHECK(!proto_run_sockets(run, path, &error));
    CHECK_TEXT(error.text, "has mode 0755, must be 0700: chmod 700 it");
    CHECK_TEXT(error.where, base);
    CHECK_INT(rmdir(base), 0);
    // a link that somebody laid out beforehand, and a file
    CHECK_INT(symlink(run, base), 0);
    CHECK(!proto_run_sockets(run, path, &error));
    CHECK_HAS(error.text, "is not a folder");
    CHECK_INT(unlink(base), 0);
    CHECK_OK(proto_file_write(base, "", 0, &error), error);
    CHECK(!proto_run_sockets(run, path, &error));
    CHECK_INT(unlink(base), 0);
    if (geteuid() != 0) return;  // only root can give a folder away
    CHECK_INT(mkdir(base, 0700), 0);
    CHECK_INT(chown(base, 12345, 12345), 0);
    CHECK(!proto_run_sockets(run, path, &error));
    CHECK_HAS(error.text, "belongs to user 12345");
}

TEST(run_without_a_usable_runtime_folder_sockets_are_in_tmp) {
    struct proto_error error = {0};
    char path[PROTO_PATH_MAX], expected[64], text[400];
    snprintf(expected, sizeof expected, "/tmp/pipeline-%ld/", (long)geteuid());
    snprintf(text, sizeof text, "%s/%0120d", folder, 0);
    CHECK_OK(proto_folder_make(text, 0700, &error), error);
    const char *const unusable[] = {NULL, "", "relative", "/nonexistent", text};
    for (size_t i = 0; i < PROTO_COUNT(unusable); i++) {
        if (unusable[i])
            setenv("XDG_RUNTIME_DIR", unusable[i], 1);
        else
            unsetenv("XDG_RUNTIME_DIR");
        CHECK_OK(proto_run_sockets(run, path, &error), error);
        CHECK(strncmp(path, expected, strlen(expected)) == 0);
    }
    CHECK_INT(rmdir(path), 0);
}

TEST(run_sockets_have_names_that_a_socket_can_have) {
    struct proto_error error = {0};
    char path[PROTO_PATH_MAX], sockets[PROTO_PATH_MAX], expected[PROTO_PATH_MAX + 40];
    CHECK_OK(proto_run_sockets(run, sockets, &error), error);
    CHECK_OK(proto_run_rank_endpoint(run, 4294967295u, path, &error), error);
    snprintf(expected, sizeof expected, "ipc://%s/rank-4294967295", sockets);
    CHECK_TEXT(path, expected);
    CHECK(strlen(path) - strlen("ipc://") < 108);
    CHECK_OK(proto_run_control(run, path, &error), error);
    snprintf(expected, sizeof expected, "%s/control", sockets);
    CHECK_TEXT(path, expected);
}

// What `up` wrote to RUN/address counts in every terminal, unless it is another run's (the folder
// was copied), gone, or open to others.
TEST(run_sockets_are_where_the_address_says_whatever_the_environment) {
    struct proto_error error = {0};
    char started[PROTO_PATH_MAX], found[PROTO_PATH_MAX], text[PROTO_PATH_MAX], name[400];
    CHECK_OK(proto_run_sockets_choose(run, started, &error), error);
    snprintf(name, sizeof name, "%s/address", run);
    const int length = snprintf(text, sizeof text, "%s\n", started);
    CHECK_OK(proto_file_write(name, text, (size_t)length, &error), error);
    snprintf(text, sizeof text, "%s/elsewhere", folder);
    CHECK_OK(proto_folder_make(text, 0700, &error), error);
    setenv("XDG_RUNTIME_DIR", text, 1);
    CHECK_OK(proto_run_sockets(run, found, &error), error);
    CHECK_TEXT(found, started);
    CHECK_OK(proto_run_sockets_choose(run, found, &error), error);
    CHECK(strncmp(found, text, strlen(text)) == 0);
    CHECK_INT(chmod(started, 0755), 0);
    CHECK_OK(proto_run_sockets(run, found, &error), error);
    CHECK(strncmp(found, text, strlen(text)) == 0);
    CHECK_INT(rmdir(started), 0);
    CHECK_OK(proto_run_sockets(run, found, &error), error);
    CHECK(strncmp(found, text, strlen(text)) == 0);
    CHECK_OK(proto_file_write(name, folder, strlen(folder), &error), error);
    CHECK_OK(proto_run_sockets(run, found, &error), error);
    CHECK(strncmp(found, text, strlen(text)) == 0);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, begin, end)
TEST_MAIN(CASE(run_paths_are_joined_and_bounded),
          CASE(run_sockets_are_private_and_found_by_every_name_of_the_run),
          CASE(run_a_socket_folder_open_to_others_is_refused),
          CASE(run_without_a_usable_runtime_folder_sockets_are_in_tmp),
          CASE(run_sockets_have_names_that_a_socket_can_have),
          CASE(run_sockets_are_where_the_address_says_whatever_the_environment))
