// proto/place.c - the page with the note, in two halves: the half that is not shown is written,
// then shown by one store, so that a death at any moment leaves a whole note.
#include "proto/place.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE_BYTES 4096
#define NOTE_BYTES 2032

struct page {
    _Atomic uint32_t shown;  // 0 nothing, else 1 + the half that is shown
    char notes[2][NOTE_BYTES];
};
_Static_assert(sizeof(struct page) <= PAGE_BYTES, "the page holds both halves");

// The process's own note: one a process, because a death is the process's too.
static struct page page_private;
static struct page *page_now = &page_private;
static pthread_once_t page_once = PTHREAD_ONCE_INIT;
static pthread_mutex_t page_lock = PTHREAD_MUTEX_INITIALIZER;

static bool page_map(int descriptor, struct page **page, struct proto_error *error) {
    struct stat status;
    // a shorter file would end the process at the first touch
    if (fstat(descriptor, &status) != 0 || status.st_size != PAGE_BYTES)
        return proto_fail(error, PROTO_FAILED, "descriptor %d is no page for notes", descriptor);
    void *map = mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    if (map == MAP_FAILED)
        return proto_fail_errno(error, PROTO_FAILED, "the page for notes cannot be mapped");
    *page = map;
    return true;
}

// Takes the inherited page, if there is one; whatever is wrong with it, notes stay private.
static void page_find(void) {
    const char *text = getenv("PIPELINE_PLACE");
    if (!text || *text == '\0') return;
    char *end = NULL;
    const long descriptor = strtol(text, &end, 10);
    struct proto_error ignored;
    struct page *page = NULL;
    if (*end != '\0' || descriptor < 0 || descriptor > 1000000) return;
    if (page_map((int)descriptor, &page, &ignored)) page_now = page;
}

static void page_write(const char *file, const char *dataset) {
    pthread_once(&page_once, page_find);
    pthread_mutex_lock(&page_lock);
    const uint32_t half = atomic_load(&page_now->shown) == 1 ? 1 : 0;
    char *note = page_now->notes[half];
    snprintf(note, NOTE_BYTES, *dataset ? "%s: %s" : "%s%s", file, dataset);
    atomic_store(&page_now->shown, half + 1);
    pthread_mutex_unlock(&page_lock);
}

void proto_place_note(const char *file, const char *dataset) { page_write(file, dataset); }
void proto_place_clear(void) { page_write("", ""); }

bool proto_place_new(int *descriptor, struct proto_error *error) {
    const int made = memfd_create("pipeline-place", MFD_CLOEXEC);
    if (made >= 0 && ftruncate(made, PAGE_BYTES) == 0) {
        *descriptor = made;
        return true;
    }
    proto_fail_errno(error, PROTO_FAILED, "no page for notes is to be had");
    if (made >= 0) close(made);
    return false;
}

bool proto_place_pass(int descriptor, struct proto_error *error) {
    char text[16];
    snprintf(text, sizeof text, "%d", descriptor);
    if (fcntl(descriptor, F_SETFD, 0) == 0 && setenv("PIPELINE_PLACE", text, 1) == 0) return true;
    return proto_fail_errno(error, PROTO_FAILED, "the page for notes cannot be passed on");
}

bool proto_place_attach(int descriptor, struct proto_error *error) {
    struct page *page = NULL;
    if (!page_map(descriptor, &page, error)) return false;
    pthread_once(&page_once, page_find);
    pthread_mutex_lock(&page_lock);
    page_now = page;
    pthread_mutex_unlock(&page_lock);
    return true;
}

bool proto_place_read(int descriptor, char *text, size_t size_bytes) {
    struct page copy;
    if (size_bytes == 0) return false;
    text[0] = '\0';
    const ssize_t got = pread(descriptor, &copy, sizeof copy, 0);
    if (got != (ssize_t)sizeof copy) return false;
    const uint32_t shown = atomic_load(&copy.shown);
    if (shown != 1 && shown != 2) return false;
    copy.notes[shown - 1][NOTE_BYTES - 1] = '\0';
    snprintf(text, size_bytes, "%s", copy.notes[shown - 1]);
    return text[0] != '\0';
}
