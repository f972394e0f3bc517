// tests/trainer/feed_loaders_test.c - real loader processes serving real ranks over ipc: killed,
// stopped, late, leaving, refused; ranks that begin anew. The loader is this very program, started
// again as `--loader`, with loader/serve's loop around a builder made of arithmetic.
#include "loader/serve.h"
#include "proto/config.h"
#include "tests/check.h"
#include "tests/trainer/feed_world.h"
#include "trainer/feed.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

// --- the loader's side ---

// How a test's loader behaves; from its command line.
struct manners {
    uint32_t build_ms;
    uint64_t damaged_first;  // data at this position is damaged
};
static struct manners manners = {.damaged_first = UINT64_MAX};

// Stands in for the builder that reads files.
bool loader_builder_build(struct loader_builder *builder, const struct proto_ticket *ticket,
                          struct proto_batch *batch, struct proto_error *error) {
    (void)builder;
    world_work(manners.build_ms);
    if (ticket->first == manners.damaged_first) {
        proto_fail(error, PROTO_DAMAGED, "action is not finite, must be");
        return proto_error_where(error, "a.hdf5: data/demo_3/actions");
    }
    world_fill(ticket, batch);
    return true;
}

static int loader_main(int count, char **arguments) {
    char packing[] = "auto";
    struct proto_config config = {.loader = {.batches_in_flight = 4, .packing = packing}};
    struct proto_index index = {.hash = strtoull(arguments[4], NULL, 16)};
    struct proto_link *link = NULL;
    struct proto_error error = {0};
    manners.build_ms = (uint32_t)strtoul(arguments[2], NULL, 10);
    manners.damaged_first = strtoull(arguments[3], NULL, 10);
    if (!proto_link_open("loader", 0, &link, &error)) return proto_error_print("loader", &error);
    const struct loader_serve_settings settings = {.config = &config,
                                                   .index = &index,
                                                   .codec = &world_codec,
                                                   .endpoints = (const char *const *)arguments + 5,
                                                   .count = (uint32_t)(count - 5),
                                                   .link = link};
    const bool done = loader_serve(&settings, &error);
    proto_link_close(&link);
    return done ? 0 : proto_error_print("loader", &error);
}

// --- the test's side ---

struct world {
    char log[300], endpoints[2][300];
};

static void world_open(struct world *world) {
    char folder[256];
    check_folder(folder);
    snprintf(world->log, sizeof world->log, "%s/log", folder);
    for (int i = 0; i < 2; i++)
        snprintf(world->endpoints[i], sizeof world->endpoints[i], "ipc://%s/rank-%d", folder, i);
}

static pid_t loader_start(const struct world *world, uint32_t build_ms, uint64_t damaged_first,
                          uint64_t index_hash, int ranks) {
    char build[16], damaged[32], index[32], self[4096];
    snprintf(build, sizeof build, "%u", build_ms);
    snprintf(damaged, sizeof damaged, "%llu", (unsigned long long)damaged_first);
    snprintf(index, sizeof index, "%llx", (unsigned long long)index_hash);
    const ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    CHECK(length > 0);
    self[length] = '\0';
    char *arguments[] = {self,
                         (char *)"--loader",
                         build,
                         damaged,
                         index,
                         (char *)world->endpoints[0],
                         ranks > 1 ? (char *)world->endpoints[1] : NULL,
                         NULL};
    const pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        const int log = open(world->log, O_WRONLY | O_CREAT | O_APPEND, 0600);
        dup2(log, STDOUT_FILENO);
        dup2(log, STDERR_FILENO);
        execv(self, arguments);
        _exit(99);
    }
    return child;
}

// Waits for the end of a loader, at most 5 s; exit code, or 128 + signal.
static int loader_end(pid_t child) {
    const int64_t begin_ms = world_ms();
    for (int status = 0; world_ms() - begin_ms < 5000; world_work(5))
        if (waitpid(child, &status, WNOHANG) == child)
            return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    fail_msg("a loader did not leave within 5 s");
    return -1;
}

static void loader_kill(pid_t child) {
    kill(child, SIGKILL);
    CHECK_INT(loader_end(child), 128 + SIGKILL);
}

static struct trainer_feed *feed_of(const char *endpoint, uint32_t attempt, double timeout_s) {
    struct trainer_feed *feed = NULL;
    struct proto_error error = {0};
    const struct trainer_feed_settings settings = {.endpoint = endpoint,
                                                   .codec = &world_codec,
                                                   .index_hash = WORLD_INDEX_HASH,
                                                   .attempt = attempt,
                                                   .batch_max = WORLD_BATCH_MAX,
                                                   .window = 8,
                                                   .lease_timeout_s = timeout_s};
    CHECK_OK(trainer_feed_open(&settings, &feed, &error), error);
    return feed;
}

static struct trainer_feed_counters counters_of(struct trainer_feed *feed) {
    struct trainer_feed_counters counters;
    trainer_feed_counters(feed, &counters);
    return counters;
}

// Waits until a counter has reached a value; ms that it took.
#define UNTIL(feed, counter, value)                                                                \
    until(feed, offsetof(struct trainer_feed_counters, counter), value, #counter)
static int64_t until(struct trainer_feed *feed, size_t offset, uint64_t value, const char *name) {
    const int64_t begin_ms = world_ms();
    for (;; world_work(2)) {
        const struct trainer_feed_counters counters = counters_of(feed);
        uint64_t found = 0;
        if (offset < offsetof(struct trainer_feed_counters, loaders))
            memcpy(&found, (const char *)&counters + offset, 8);
        else
            memcpy(&found, (const char *)&counters + offset, 4);
        if (found >= value) return world_ms() - begin_ms;
        if (world_ms() - begin_ms > 10000) fail_msg("%s is %d", name, (int)found);
    }
}

static void fill_window(struct trainer_feed *feed, uint64_t *wanted) {
    while (trainer_feed_room(feed)) {
        const struct proto_ticket next = world_ticket((*wanted)++);
        trainer_feed_want(feed, next.validation, next.first, next.count);
    }
}

TEST(feed_leases_of_a_killed_loader_are_free_at_once) {
    struct world world;
    uint64_t wanted = 0;
    world_open(&world);
    struct trainer_feed *feed = feed_of(world.endpoints[0], 1, 60);
    const pid_t slow = loader_start(&world, 60000, UINT64_MAX, WORLD_INDEX_HASH, 1);
    UNTIL(feed, loaders, 1);
    fill_window(feed, &wanted);
    UNTIL(feed, leased, 4);
    loader_kill(slow);
    // far below the second of silence and the minute of the lease: the broken connection tells
    const int64_t took_ms = UNTIL(feed, released, 4);
    print_message("released %d ms after kill -9\n", (int)took_ms);
    CHECK(took_ms < 700);
    CHECK_INT(counters_of(feed).loaders, 0);
    const pid_t fast = loader_start(&world, 0, UINT64_MAX, WORLD_INDEX_HASH, 1);
    world_consume(feed, &wanted, 0, 50);
    loader_kill(fast);
    trainer_feed_close(&feed);
}

TEST(feed_leases_of_a_stopped_loader_run_out_and_its_late_answers_are_discarded) {
    struct world world;
    uint64_t wanted = 0;
    world_open(&world);
    struct trainer_feed *feed = feed_of(world.endpoints[0], 1, 0.3);
    const pid_t stopped = loader_start(&world, 50, UINT64_MAX, WORLD_INDEX_HASH, 1);
    UNTIL(feed, loaders, 1);
    fill_window(feed, &wanted);
    UNTIL(feed, leased, 4);
    kill(stopped, SIGSTOP);
    const pid_t other = loader_start(&world, 0, UINT64_MAX, WORLD_INDEX_HASH, 1);
    world_consume(feed, &wanted, 0, 40);
    CHECK(counters_of(feed).released > 0);
    kill(stopped, SIGCONT);
    UNTIL(feed, duplicates, 1);
    world_consume(feed, &wanted, 40, 80);  // which also asks the one that is back
    CHECK_INT(counters_of(feed).damaged, 0);
    loader_kill(stopped);
    loader_kill(other);
    trainer_feed_close(&feed);
}

TEST(feed_rank_that_begins_anew_is_served_by_the_loaders_that_are_there) {
    struct world world;
    world_open(&world);
    const pid_t early =
        loader_start(&world, 5, UINT64_MAX, WORLD_INDEX_HASH, 1);  // before the rank
    const pid_t second = loader_start(&world, 5, UINT64_MAX, WORLD_INDEX_HASH, 1);
    for (uint32_t attempt = 1; attempt <= 3; attempt++) {
        uint64_t wanted = 0;
        struct trainer_feed *feed = feed_of(world.endpoints[0], attempt, 60);
        UNTIL(feed, loaders, 2);
        world_consume(feed, &wanted, 0, 30);
        fill_window(feed, &wanted);  // leaves with tickets on their way
        trainer_feed_close(&feed);
    }
    kill(early, SIGTERM);
    kill(second, SIGTERM);
    CHECK_INT(loader_end(early), 0);
    CHECK_INT(loader_end(second), 0);
}

TEST(feed_loaders_come_late_and_leave_without_a_wait) {
    struct world world;
    uint64_t wanted = 0;
    world_open(&world);
    struct trainer_feed *feed = feed_of(world.endpoints[0], 1, 60);
    // slow enough to have tickets left when it is told to leave, whatever else the machine does
    const pid_t first = loader_start(&world, 150, UINT64_MAX, WORLD_INDEX_HASH, 1);
    world_consume(feed, &wanted, 0, 10);
    const pid_t late = loader_start(&world, 20, UINT64_MAX, WORLD_INDEX_HASH, 1);
    UNTIL(feed, loaders, 2);
    world_consume(feed, &wanted, 10, 20);
    fill_window(feed, &wanted);
    const uint64_t released = counters_of(feed).released;
    kill(first, SIGTERM);
    CHECK_INT(loader_end(first), 0);
    const int64_t begin_ms = world_ms();
    world_consume(feed, &wanted, 20, 60);  // no lease of a minute is waited for
    CHECK(world_ms() - begin_ms < 5000);
    CHECK_INT(counters_of(feed).loaders, 1);
    CHECK(counters_of(feed).released > released);  // handed back
    loader_kill(late);
    trainer_feed_close(&feed);
}

TEST(feed_slow_loader_does_not_hold_up_the_window) {
    struct world world;
    uint64_t wanted = 0;
    world_open(&world);
    struct trainer_feed *feed = feed_of(world.endpoints[0], 1, 0.2);
    const pid_t slow = loader_start(&world, 3000, UINT64_MAX, WORLD_INDEX_HASH, 1);
    const pid_t fast = loader_start(&world, 1, UINT64_MAX, WORLD_INDEX_HASH, 1);
    UNTIL(feed, loaders, 2);
    const int64_t begin_ms = world_ms();
    world_consume(feed, &wanted, 0, 60);
    CHECK(world_ms() - begin_ms < 2500);  // less than one ticket of the slow one
    loader_kill(slow);
    loader_kill(fast);
    trainer_feed_close(&feed);
}

TEST(feed_two_ranks_share_two_loaders) {
    struct world world;
    uint64_t wanted[2] = {0, 0};
    struct trainer_feed *feeds[2];
    pid_t loaders[2];
    world_open(&world);
    for (int i = 0; i < 2; i++) feeds[i] = feed_of(world.endpoints[i], 1, 60);
    for (int i = 0; i < 2; i++)
        loaders[i] = loader_start(&world, 1, UINT64_MAX, WORLD_INDEX_HASH, 2);
    for (uint64_t n = 0; n < 40; n++)
        for (int i = 0; i < 2; i++) world_consume(feeds[i], &wanted[i], n, n + 1);
    for (int i = 0; i < 2; i++) UNTIL(feeds[i], loaders, 2);
    for (int i = 0; i < 2; i++) kill(loaders[i], SIGTERM);
    for (int i = 0; i < 2; i++) CHECK_INT(loader_end(loaders[i]), 0);
    for (int i = 0; i < 2; i++) trainer_feed_close(&feeds[i]);
}

TEST(feed_take_ends_with_the_loaders_words_when_data_is_damaged) {
    struct world world;
    uint64_t wanted = 0;
    const struct proto_batch *batch = NULL;
    struct proto_error error = {0};
    world_open(&world);
    struct trainer_feed *feed = feed_of(world.endpoints[0], 1, 60);
    const pid_t loader = loader_start(&world, 0, world_ticket(5).first, WORLD_INDEX_HASH, 1);
    fill_window(feed, &wanted);
    world_consume(feed, &wanted, 0, 5);
    CHECK(!trainer_feed_take(feed, 10000, &batch, &error));
    CHECK_INT(error.status, PROTO_DAMAGED);
    CHECK_TEXT(error.text, "action is not finite, must be");
    CHECK_TEXT(error.where, "a.hdf5: data/demo_3/actions");
    CHECK(!trainer_feed_take(feed, 10, &batch, &error));  // and stays so
    loader_kill(loader);
    trainer_feed_close(&feed);
}

TEST(feed_loader_of_another_index_leaves_with_the_reason) {
    struct world world;
    world_open(&world);
    struct trainer_feed *feed = feed_of(world.endpoints[0], 1, 60);
    const pid_t stranger = loader_start(&world, 0, UINT64_MAX, 7, 1);
    CHECK_INT(loader_end(stranger), PROTO_USAGE);
    char text[2048] = "";
    FILE *log = fopen(world.log, "r");
    CHECK(log != NULL);
    const size_t length = fread(text, 1, sizeof text - 1, log);
    fclose(log);
    text[length] = '\0';
    CHECK_HAS(text, "the rank refuses this loader: index 0000000000000007 is not the run's");
    CHECK_HAS(text, world.endpoints[0]);
    trainer_feed_close(&feed);
}

int main(int count, char **arguments) {
    if (count >= 6 && strcmp(arguments[1], "--loader") == 0) return loader_main(count, arguments);
    const struct CMUnitTest units[] = {
        UNIT(feed_leases_of_a_killed_loader_are_free_at_once),
        UNIT(feed_leases_of_a_stopped_loader_run_out_and_its_late_answers_are_discarded),
        UNIT(feed_rank_that_begins_anew_is_served_by_the_loaders_that_are_there),
        UNIT(feed_loaders_come_late_and_leave_without_a_wait),
        UNIT(feed_slow_loader_does_not_hold_up_the_window),
        UNIT(feed_two_ranks_share_two_loaders),
        UNIT(feed_take_ends_with_the_loaders_words_when_data_is_damaged),
        UNIT(feed_loader_of_another_index_leaves_with_the_reason),
    };
    return cmocka_run_group_tests(units, NULL, NULL);
}
