// stages/doctor_gpus.c - what pipeline-trainer, the driver's library and the environment say of
// GPUs and of NCCL, in the words of somebody whose run does not start.
#include "stages/doctor_gpus.h"

#include "proto/findings.h"
#include "proto/json.h"
#include "proto/probe.h"
#include "stages/nvml.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/statvfs.h>

#define GIB (1024.0 * 1024.0 * 1024.0)
#define MIB (1024.0 * 1024.0)
#define SHARED_MIB_WANTED 256.0  // NCCL's buffers between two ranks without peer access

extern char **environ;

static const char *text_of(const json_t *object, const char *key) {
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}
static long long whole_of(const json_t *object, const char *key) {
    return (long long)json_integer_value(json_object_get(object, key));
}

// ---- GPUs ----

static void look_at_module(json_t *findings, const json_t *known) {
    const json_t *devices = json_object_get(known, "devices");
    const size_t count = json_array_size(devices);
    const long long driver = whole_of(known, "driver"), runtime = whole_of(known, "runtime");
    const long long cublas = whole_of(known, "cublas");
    if (!json_is_true(json_object_get(known, "module"))) {
        proto_finding(findings, "CUDA",
                      "to train on a GPU: scripts/setup.sh --cuda, then build again; without one "
                      "pipelines/1task.toml runs",
                      "%s", text_of(known, "why"));
        return;
    }
    if (count == 0) {
        proto_finding(findings, "CUDA",
                      "install NVIDIA's driver (580 or newer), or run pipelines/1task.toml on the "
                      "CPU",
                      "%s", text_of(known, "why"));
        return;
    }
    proto_finding(findings, "CUDA",
                  driver < runtime ? "install a newer driver: this build's CUDA is newer" : NULL,
                  "%lld.%lld, driver for %lld.%lld, cuBLASLt %lld.%lld", runtime / 1000,
                  runtime % 1000 / 10, driver / 1000, driver % 1000 / 10, cublas / 10000,
                  cublas / 100 % 100);
}

static void look_at_devices(json_t *findings, const json_t *known) {
    size_t i;
    const json_t *device;
    json_array_foreach(json_object_get(known, "devices"), i, device) {
        char name[32];
        snprintf(name, sizeof name, "cuda:%zu", i);
        proto_finding(findings, name, NULL, "%s, %.1f GiB, capability %s, %s",
                      text_of(device, "name"), (double)whole_of(device, "memory_bytes") / GIB,
                      text_of(device, "capability"), text_of(device, "uuid"));
    }
}

static void look_at_nccl(json_t *findings, const json_t *known) {
    const long long version = whole_of(known, "nccl");
    if (version > 0)
        proto_finding(findings, "NCCL", NULL, "%lld.%lld.%lld", version / 10000,
                      version / 100 % 100, version % 100);
    else
        proto_finding(findings, "NCCL", NULL, "%s; needed for two GPUs only",
                      text_of(known, "nccl_why"));
}

static struct stage_nvml *look_at_nvml(json_t *findings) {
    struct stage_nvml *nvml = NULL;
    struct proto_error error = {0};
    if (stage_nvml_open(&nvml, &error))
        proto_finding(findings, "NVIDIA driver", NULL, "%s, %u GPU%s", stage_nvml_driver(nvml),
                      stage_nvml_count(nvml), stage_nvml_count(nvml) == 1 ? "" : "s");
    else
        proto_finding(findings, "NVIDIA driver", NULL,
                      "%s; `pipeline status` shows no load, memory or power of GPUs", error.text);
    return nvml;
}

static json_t *ask_devices(json_t *findings) {
    struct proto_error error = {0};
    json_t *known =
        proto_probe_with("pipeline-trainer", "devices", NULL, PROTO_PROBE_LONG_MS, &error);
    if (!known)
        proto_finding(findings, "CUDA", "build or install all programs together", "%.200s",
                      error.text);
    return known;
}

void stage_doctor_gpus(json_t *findings) {
    json_t *known = ask_devices(findings);
    if (!known) return;
    look_at_module(findings, known);
    look_at_devices(findings, known);
    if (json_is_true(json_object_get(known, "module"))) look_at_nccl(findings, known);
    json_decref(known);
    struct stage_nvml *nvml = look_at_nvml(findings);
    stage_nvml_close(&nvml);
}

// ---- doctor nccl ----

// What a variable does, as far as runs have been broken by it; advice NULL: harmless.
static const struct {
    const char *name, *value;  // value NULL: any
    const char *does, *advice;
} variables[] = {
    {"NCCL_DEBUG", NULL, "NCCL writes what it does to the trainers' logs", NULL},
    {"NCCL_P2P_DISABLE", "1", "GPUs exchange through the host's memory, slower",
     "unset it unless peer access is broken here"},
    {"NCCL_SHM_DISABLE", "1", "ranks without peer access go through the network",
     "unset it: on one machine it is the slowest way"},
    {"NCCL_P2P_LEVEL", NULL, "limits between which GPUs peer access is used", NULL},
    {"NCCL_SOCKET_IFNAME", NULL, "NCCL meets over this network interface only",
     "the interface must exist on every machine of the run; one machine needs none"},
    {"NCCL_IB_DISABLE", "1", "InfiniBand is not used", NULL},
    {"NCCL_ALGO", NULL, "fixes the algorithm", "unset it: sums may differ and be slow"},
    {"NCCL_PROTO", NULL, "fixes the protocol", "unset it: LL128 is wrong on some machines"},
    {"NCCL_BLOCKING_WAIT", NULL, "a variable of PyTorch, without effect here", NULL},
    {"NCCL_ASYNC_ERROR_HANDLING", NULL, "a variable of PyTorch, without effect here", NULL},
    {"NCCL_COMM_ID", NULL, "NCCL's own meeting place; ranks here are told theirs",
     "unset it: ranks may wait for a process that never comes"},
    {"NCCL_LAUNCH_MODE", NULL, "how kernels of several devices are started", NULL},
    {"CUDA_VISIBLE_DEVICES", NULL, "cuda:N counts these only, from 0", NULL},
    {"CUDA_LAUNCH_BLOCKING", "1", "every operation is waited for", "unset it: it is for debugging"},
};

static void look_at_variables(json_t *findings) {
    size_t known = 0;
    for (size_t i = 0; i < PROTO_COUNT(variables); i++) {
        const char *value = getenv(variables[i].name);
        if (!value || (variables[i].value && strcmp(value, variables[i].value) != 0)) continue;
        proto_finding(findings, variables[i].name, variables[i].advice, "%.80s: %s", value,
                      variables[i].does);
        known++;
    }
    for (char **entry = environ; *entry; entry++) {
        if (strncmp(*entry, "NCCL_", 5) != 0) continue;
        bool shown = false;
        const size_t length = strcspn(*entry, "=");
        for (size_t i = 0; i < PROTO_COUNT(variables) && !shown; i++)
            shown = strlen(variables[i].name) == length &&
                    strncmp(variables[i].name, *entry, length) == 0;
        if (!shown) proto_finding(findings, "variable", NULL, "%.120s is set", *entry);
        known += !shown;
    }
    if (known == 0)
        proto_finding(findings, "variables", NULL,
                      "no NCCL_* is set; [collective.env] of a configuration sets them for a run");
}

static void look_at_room(json_t *findings) {
    struct statvfs space;
    struct rlimit locked;
    if (statvfs("/dev/shm", &space) == 0) {
        const double free_mib = (double)space.f_bavail * (double)space.f_frsize / MIB;
        proto_finding(findings, "shared memory",
                      free_mib < SHARED_MIB_WANTED
                          ? "too small for ranks without peer access, which then die of a bus "
                            "error: enlarge it (containers: --shm-size=1g)"
                          : NULL,
                      "%.0f MiB free in /dev/shm", free_mib);
    } else {
        proto_finding(findings, "shared memory", "mount a tmpfs there", "/dev/shm is not there");
    }
    if (getrlimit(RLIMIT_MEMLOCK, &locked) == 0 && locked.rlim_cur != RLIM_INFINITY)
        proto_finding(findings, "locked memory", NULL,
                      "%.0f MiB; only networks with InfiniBand need more (ulimit -l unlimited)",
                      (double)locked.rlim_cur / MIB);
}

static void look_at_peers(json_t *findings, const json_t *known, struct stage_nvml *nvml) {
    const json_t *devices = json_object_get(known, "devices");
    struct stage_nvml_peers peers;
    struct proto_error error = {0};
    if (json_array_size(devices) < 2) return;
    if (!nvml || !stage_nvml_peers(nvml, text_of(json_array_get(devices, 0), "uuid"),
                                   text_of(json_array_get(devices, 1), "uuid"), &peers, &error)) {
        proto_finding(findings, "peer access", NULL, "not known: %s",
                      nvml ? error.text : "no NVML");
        return;
    }
    const char *behind = peers.path[0] ? ", behind " : "";
    if (peers.direct)
        proto_finding(findings, "peer access", NULL, "cuda:0 and cuda:1 reach each other%s%s%s",
                      peers.nvlink ? " over NVLink" : " over PCIe", behind, peers.path);
    else
        proto_finding(findings, "peer access",
                      "gradients go through the host's memory, which is slower and not wrong; if "
                      "runs hang: [collective.env] NCCL_P2P_DISABLE = \"1\", or collective.backend "
                      "= \"staged\"",
                      "cuda:0 and cuda:1 do not reach each other: %s%s%s", peers.why, behind,
                      peers.path);
}

// Two processes on two devices add a vector together.
static void try_ranks(json_t *findings, const char *name, const char *backend, const char *devices,
                      const char *advice) {
    struct proto_error error = {0};
    const char *const words[] = {"--backend", backend, "--devices", devices, NULL};
    json_t *answer =
        proto_probe_with("pipeline-trainer", "collective", words, PROTO_PROBE_LONG_MS, &error);
    const double seconds = json_number_value(json_object_get(answer, "seconds"));
    const double bytes = (double)whole_of(answer, "bytes");
    if (json_is_true(json_object_get(answer, "ok")) && seconds > 0)
        proto_finding(findings, name, NULL, "two processes added %.0f MiB in %.2f ms, %.1f GB/s",
                      bytes / MIB, 1e3 * seconds, bytes / seconds / 1e9);
    else
        proto_finding(findings, name, advice, "%s", answer ? text_of(answer, "why") : error.text);
    json_decref(answer);
}

int stage_doctor_nccl(bool json) {
    struct proto_error error = {0};
    json_t *findings = json_array();
    json_t *known = ask_devices(findings);
    struct stage_nvml *nvml = look_at_nvml(findings);
    const size_t count = json_array_size(json_object_get(known, "devices"));
    if (known) {
        look_at_module(findings, known);
        look_at_devices(findings, known);
        if (count < 2)
            proto_finding(findings, "GPUs",
                          "NCCL adds between GPUs, one rank each: run one rank per GPU, or "
                          "collective.backend = \"staged\" for two ranks on one",
                          "%zu, NCCL needs two", count);
        if (whole_of(known, "nccl") > 0)
            look_at_nccl(findings, known);
        else
            proto_finding(findings, "NCCL",
                          "build with a CUDA toolkit that has NCCL (scripts/setup.sh --cuda), or "
                          "use collective.backend = \"staged\"",
                          "%s", text_of(known, "nccl_why"));
        look_at_peers(findings, known, nvml);
    }
    look_at_room(findings);
    look_at_variables(findings);
    try_ranks(findings, "meeting", "host", "cpu,cpu",
              "ranks cannot reach each other on this machine: are abstract sockets and shared "
              "memory allowed here?");
    if (count >= 2 && whole_of(known, "nccl") > 0)
        try_ranks(findings, "NCCL, tried", "nccl", "cuda:0,cuda:1",
                  "[collective.env] NCCL_DEBUG = \"INFO\" writes the reason to the trainers' logs; "
                  "collective.backend = \"staged\" needs no NCCL");
    stage_nvml_close(&nvml);
    json_decref(known);
    const bool complains = proto_findings_complain(findings);
    json_t *report = json_pack("{s:O, s:b}", "findings", findings, "good", !complains);
    if (json && report) json_dumpf(report, stdout, JSON_INDENT(2));
    if (json) putchar('\n');
    if (!json) proto_findings_write(findings, stdout);
    json_decref(report);
    json_decref(findings);
    if (fflush(stdout) == 0) return complains ? PROTO_FAILED : PROTO_DONE;
    proto_fail_errno(&error, PROTO_FAILED, "stdout cannot be written");
    return proto_error_print("pipeline doctor nccl", &error);
}
