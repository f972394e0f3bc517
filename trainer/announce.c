// trainer/announce.c - the lines before the first step.
#include "trainer/announce.h"

#include <cblas.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define MIB (1024.0 * 1024.0)

bool trainer_announce_memory(const struct trainer_session *session,
                             const struct model_rdt_sizes *sizes,
                             const struct model_rdt_plan *network, struct proto_error *error) {
    const struct trainer_plan *plan = &session->plan;
    const struct proto_codec *codec = plan->codec;
    struct model_parameters *table = NULL;
    size_t activations = 0;
    if (!model_rdt_memory(session->backend, sizes, network, &activations, error) ||
        !model_parameters_new(sizes, &table, error))
        return false;
    const double parameters = (double)table->elements;
    model_parameters_free(&table);
    const double image = 3.0 * codec->image_height * codec->image_width;
    const double sample =
        image * codec->history * codec->camera_count + 4.0 * (codec->chunk + 3.0) * codec->width;
    // products read a rounded copy of 2 bytes
    const double rounded = plan->precision == MODEL_F32 ? 0 : 2 * parameters;
    const double weights = 2 * 4 * parameters + rounded, optimiser = 3 * 4 * parameters;
    const double copy = (plan->rank == 0 ? 4 : 1) * 4 * parameters;
    const double batches = sample * plan->batch_max * plan->window;
    const double total = weights + optimiser + copy + batches + (double)activations;
    if (plan->rank == 0)
        proto_link_say(session->link,
                       "%.0f parameters; memory of a rank: weights and gradients %.1f MiB, AdamW "
                       "and average %.1f, activations %.1f, copy for checkpoints %.1f, batches "
                       "%.1f: %.1f MiB",
                       parameters, weights / MIB, optimiser / MIB, (double)activations / MIB,
                       copy / MIB, batches / MIB, total / MIB);
    const double machine = (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE);
    if (strcmp(plan->device, "cpu") == 0 && total > machine)
        return proto_fail(error, PROTO_EXHAUSTED,
                          "rank %u needs %.1f MiB of memory, the machine has %.1f MiB: choose a "
                          "smaller model.preset or train_batch_size",
                          plan->rank, total / MIB, machine / MIB);
    return true;
}

static void announce_statistics(const struct trainer_session *session) {
    const struct trainer_plan *plan = &session->plan;
    const char *statistics = plan->config->data.statistics;
    const uint32_t tasks = plan->index->task_count;
    if (strcmp(statistics, "per-task") == 0 && tasks == 1)
        proto_link_say(session->link, "1 task found: single-task statistics (%s)",
                       plan->config->data.transform);
    else if (strcmp(statistics, "per-task") == 0)
        proto_link_say(session->link,
                       "%u tasks found: per-task statistics, each task is scaled by its own (%s)",
                       tasks, plan->config->data.transform);
    else
        proto_link_say(session->link, "%u task%s found: statistics %s (%s)", tasks,
                       tasks == 1 ? "" : "s", statistics, plan->config->data.transform);
}

static void announce_data(const struct trainer_session *session) {
    const struct trainer_plan *plan = &session->plan;
    const struct proto_index *index = plan->index;
    uint32_t validation = 0;
    for (uint32_t i = 0; i < index->episode_count; i++)
        if (index->episodes[i].validation) validation++;
    proto_link_say(
        session->link,
        "an epoch is %" PRIu64 " samples of %u episodes; the run takes %" PRIu64 " (%.2f epochs)",
        index->train_samples, index->episode_count - validation,
        plan->steps * plan->batch * plan->accumulation,
        (double)(plan->steps * plan->batch * plan->accumulation) / (double)index->train_samples);
    if (plan->validation_set == 0)
        proto_link_say(session->link,
                       "no validation: data.validation_episodes is 0 or leaves no sample");
    else
        proto_link_say(session->link,
                       "validation: %" PRIu64 " samples of %u episodes that are never trained on",
                       plan->validation_set, validation);
}

void trainer_announce_run(const struct trainer_session *session) {
    const struct trainer_plan *plan = &session->plan;
    const bool cpu = strcmp(plan->device, "cpu") == 0;
    proto_link_say(session->link,
                   "Distributed training: world_size=%u, rank=%u, device %s, %u thread%s, %s",
                   plan->ranks, plan->rank, plan->device, plan->threads,
                   plan->threads == 1 ? "" : "s", session->kernels);
    if (cpu && openblas_get_parallel() == OPENBLAS_OPENMP)
        proto_link_say(session->link,
                       "warning: OpenBLAS is its OpenMP variant, which is slow below our threads; "
                       "install libopenblas0-pthread");
    if (plan->rank != 0) return;
    proto_link_say(session->link,
                   "effective batch %u: %u samples a micro step over %u rank%s (%u each), %u micro "
                   "step%s an optimiser step",
                   plan->batch * plan->accumulation, plan->batch, plan->ranks,
                   plan->ranks == 1 ? "" : "s", plan->rank_batch, plan->accumulation,
                   plan->accumulation == 1 ? "" : "s");
    announce_statistics(session);
    announce_data(session);
}

void trainer_announce_start(const struct trainer_session *session) {
    const struct proto_config *config = session->plan.config;
    if (session->plan.rank != 0) return;
    if (*config->model.pretrained)
        proto_link_say(session->link, "starting from the weights in %s", config->model.pretrained);
    else
        proto_link_say(session->link, "starting from random weights, seed %lld",
                       (long long)config->run.seed);
}

void trainer_announce_resume(const struct trainer_session *session, const char *checkpoint,
                             const struct proto_trainer_state *header) {
    const struct trainer_plan *plan = &session->plan;
    const char *kernels = session->kernels;
    if (plan->rank != 0) return;
    proto_link_say(session->link,
                   "resuming from %s: %" PRIu64 " steps done, next position %" PRIu64, checkpoint,
                   header->step, header->cursor);
    const struct {
        const char *what;
        uint64_t before, now;
    } rows[] = {
        {"ranks", header->ranks, plan->ranks},
        {"threads of a rank", header->threads, plan->threads},
        {"trainer.train_batch_size", header->train_batch_size, plan->batch},
        {"trainer.gradient_accumulation_steps", header->gradient_accumulation_steps,
         plan->accumulation},
    };
    for (size_t i = 0; i < PROTO_COUNT(rows); i++)
        if (rows[i].before != rows[i].now)
            proto_link_say(session->link,
                           "notice: %s was %" PRIu64 ", is %" PRIu64
                           " now: what follows is close to the uninterrupted run, not equal bit "
                           "for bit",
                           rows[i].what, rows[i].before, rows[i].now);
    if (strcmp(header->kernels, kernels) != 0)
        proto_link_say(session->link,
                       "notice: the kernels were %s, are %s now: what follows is close to the "
                       "uninterrupted run, not equal bit for bit",
                       header->kernels, kernels);
}
