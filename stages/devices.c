// stages/devices.c - see devices.h.
#include "stages/devices.h"

#include "proto/probe.h"
#include "stages/nvml.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GIB (1024.0 * 1024.0 * 1024.0)

struct stage_devices {
    struct stage_nvml *nvml;  // NULL: no driver's library
    json_t *known;            // of pipeline-trainer devices
    size_t count;
    struct {
        bool cuda;
        unsigned long number;  // of cuda:N
    } ranks[];
};

struct stage_devices *stage_devices_new(const struct proto_list *list, json_t *known) {
    struct proto_error error = {0};
    struct stage_devices *devices =
        proto_alloc(sizeof *devices + list->count * sizeof devices->ranks[0], &error);
    if (!devices) {
        json_decref(known);
        return NULL;
    }
    devices->known = known;
    devices->count = list->count;
    for (size_t i = 0; i < list->count; i++) {
        devices->ranks[i].cuda = strncmp(list->items[i], "cuda:", 5) == 0;
        if (devices->ranks[i].cuda)
            devices->ranks[i].number = strtoul(list->items[i] + 5, NULL, 10);
    }
    // nothing depends on it: what cannot be read is not shown
    if (!stage_nvml_open(&devices->nvml, &error)) devices->nvml = NULL;
    return devices;
}

struct stage_devices *stage_devices_open(const struct proto_list *list) {
    struct proto_error error = {0};
    bool any = false;
    for (size_t i = 0; i < list->count; i++) any = any || strncmp(list->items[i], "cuda:", 5) == 0;
    // a driver that nobody uses takes seconds to start
    json_t *known =
        any ? proto_probe_with("pipeline-trainer", "devices", NULL, PROTO_PROBE_LONG_MS, &error)
            : NULL;
    return known ? stage_devices_new(list, known) : NULL;
}

void stage_devices_close(struct stage_devices **devices) {
    if (!*devices) return;
    stage_nvml_close(&(*devices)->nvml);
    json_decref((*devices)->known);
    free(*devices);
    *devices = NULL;
}

static void set_whole(json_t *row, const char *key, int64_t value) {
    if (value >= 0) json_object_set_new(row, key, json_integer(value));
}

void stage_devices_describe(struct stage_devices *devices, size_t i, json_t *row) {
    struct stage_nvml_reading reading;
    struct proto_error error = {0};
    if (!devices || !row || i >= devices->count || !devices->ranks[i].cuda) return;
    json_t *device =
        json_array_get(json_object_get(devices->known, "devices"), devices->ranks[i].number);
    static const char *const keys[] = {"name", "uuid", "memory_bytes"};
    for (size_t k = 0; k < PROTO_COUNT(keys); k++)
        if (json_object_get(device, keys[k]))
            json_object_set(row, keys[k], json_object_get(device, keys[k]));
    const char *uuid = json_string_value(json_object_get(device, "uuid"));
    if (!uuid || !devices->nvml || !stage_nvml_read(devices->nvml, uuid, &reading, &error)) return;
    set_whole(row, "utilisation", reading.utilisation);
    set_whole(row, "memory_used_bytes", reading.used_bytes);
    set_whole(row, "memory_bytes", reading.total_bytes);
    set_whole(row, "temperature_c", reading.temperature_c);
    if (reading.power_w >= 0) json_object_set_new(row, "power_w", json_real(reading.power_w));
}

void stage_devices_print(const json_t *rows) {
    size_t i;
    const json_t *row;
    json_array_foreach(rows, i, row) {
        const char *device = json_string_value(json_object_get(row, "device"));
        const char *name = json_string_value(json_object_get(row, "name"));
        const json_t *busy = json_object_get(row, "utilisation");
        const json_t *used = json_object_get(row, "memory_used_bytes");
        const json_t *power = json_object_get(row, "power_w");
        if (!name) continue;
        printf("%-13s %s", device ? device : "", name);
        if (busy) printf("  %3lld %% busy", (long long)json_integer_value(busy));
        if (used)
            printf("  %.1f of %.1f GiB", (double)json_integer_value(used) / GIB,
                   (double)json_integer_value(json_object_get(row, "memory_bytes")) / GIB);
        if (power) printf("  %.0f W", json_number_value(power));
        printf("\n");
    }
}
