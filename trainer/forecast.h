// trainer/forecast.h - what a run will take, before it runs: memory of a device, operations of a
// step, seconds of a step on a kind of card. Pure arithmetic: the network's own code runs over a
// device that only counts (model/backend_counting.h), so that sizes and operations are those of the
// run and not of a formula beside it. Seconds follow from assumptions that a card's row states.
//
//     const struct trainer_recipe recipe = {.sizes = sizes, .ranks = 2, .rank_batch = 8, ...};
//     struct trainer_forecast *forecast = NULL;
//     if (!trainer_forecast_new(&recipe, &forecast, error)) ...
//     trainer_forecast_time(forecast, trainer_card_find("H100"), &time);
//     if (!trainer_forecast_fit(&recipe, 24e9, &fit, error)) ...
#ifndef TRAINER_FORECAST_H
#define TRAINER_FORECAST_H

#include "model/rdt.h"
#include "trainer/cards.h"

// What decides it.
struct trainer_recipe {
    struct model_rdt_sizes sizes;
    uint32_t ranks;
    uint32_t rank_batch, accumulation;  // samples of a rank's micro step; micro steps
    uint32_t validation_batch;          // samples of a rank's validation batch; 0: none
    uint32_t lang_length;               // tokens of the longest instruction
    enum model_precision precision;
    bool recompute;  // trainer.activation_checkpointing
    bool cpu;
    double encoder_flop;   // of frozen encoders, for one image; 0 when they only copy
    double encoder_bytes;  // they hold on the device
    double image_bytes;    // of one frame on the device
};

// Bytes of one device.
struct trainer_forecast_memory {
    double weights, gradients, moments, average;
    double rounded;      // copy of the weights that products read
    double activations;  // inputs included
    double encoders;     // frozen: weights, frames
    double scratch;      // rounded operands and scores of the largest product
    double runtime;      // context, workspaces of libraries: assumed
    double total;
};

struct trainer_forecast {
    struct trainer_recipe recipe;
    double parameters;
    struct trainer_forecast_memory memory;
    // of one micro step of a rank, matrix products only
    double forward_flop, backward_flop, encoder_flop;
    double image_kv_flop, language_kv_flop, attention_flop;  // parts of forward + backward
    double optimiser_bytes;                                  // moved by an optimiser step
    struct trainer_forecast_steps *steps;                    // every operation, in order
};
// Owned by the caller, who calls trainer_forecast_free. PROTO_USAGE: sizes that are no network.
PROTO_MUST_CHECK bool trainer_forecast_new(const struct trainer_recipe *recipe,
                                           struct trainer_forecast **forecast,
                                           struct proto_error *error);
void trainer_forecast_free(struct trainer_forecast **forecast);  // accepts NULL; leaves NULL

// One optimiser step on such a card, or on as many as the recipe has ranks.
struct trainer_forecast_time {
    double encoders_s, forward_s, backward_s, optimiser_s;  // all micro steps together
    double link_s;     // gradients on the wire; 0 with one rank
    double exposed_s;  // the part of it that no computation hides
    double step_s;
    double flop;  // of a rank's step
};
void trainer_forecast_time(const struct trainer_forecast *forecast, const struct trainer_card *card,
                           struct trainer_forecast_time *time);

// The largest micro batch that a memory holds, at the same samples of an optimiser step.
struct trainer_fit {
    bool fits;
    uint32_t rank_batch, accumulation, validation_batch;
    double bytes;  // needed then; when nothing fits, with one sample
    // With trainer.activation_checkpointing, where that holds a larger batch; else 0.
    uint32_t recompute_batch;
    double recompute_bytes;
};
PROTO_MUST_CHECK bool trainer_forecast_fit(const struct trainer_recipe *recipe, double memory_bytes,
                                           struct trainer_fit *fit, struct proto_error *error);
// In words for a person: "trainer.train_batch_size = 8 with gradient_accumulation_steps = 2 fits
// (41.2 of 48.0 GB); with trainer.activation_checkpointing = true, train_batch_size = 16 does".
void trainer_fit_text(const struct trainer_recipe *recipe, const struct trainer_fit *fit,
                      double memory_bytes, char *text, size_t size);

#endif
