// trainer/expect.c - see expect.h.
#include "trainer/expect.h"

#include "trainer/forecast.h"

#include <stdio.h>
#include <string.h>

#define GB 1e9

static bool on_cpu(const struct trainer_session *session) {
    return !session->plan.device || strcmp(session->plan.device, "cpu") == 0;
}

static bool recipe_of(const struct trainer_session *session, struct trainer_recipe *recipe,
                      struct proto_error *error) {
    const struct trainer_plan *plan = &session->plan;
    const struct proto_codec *codec = plan->codec;
    *recipe = (struct trainer_recipe){
        .ranks = plan->ranks,
        .rank_batch = plan->rank_batch,
        .accumulation = plan->accumulation,
        .validation_batch = plan->validation_set > 0 ? plan->rank_validation_batch : 0,
        .lang_length = session->instructions.length,
        .precision = plan->precision,
        .recompute = plan->config->trainer.activation_checkpointing,
        .image_bytes = 3.0 * codec->image_height * codec->image_width + 1,
    };
    return trainer_plan_sizes(plan, session->language, &recipe->sizes, error);
}

void trainer_expect_say(const struct trainer_session *session) {
    const struct trainer_plan *plan = &session->plan;
    struct trainer_recipe recipe;
    struct trainer_forecast *forecast = NULL, *alone = NULL;
    struct trainer_forecast_time time, time_alone;
    struct proto_error ignored = {0};  // nothing depends on a forecast
    if (plan->rank != 0 || on_cpu(session)) return;
    // its name begins with the device's
    const struct trainer_card *card = trainer_card_find(model_backend_kernels(session->backend));
    if (!card) {
        proto_link_say(session->link,
                       "%s is a device of no known kind: what a step takes is not predicted",
                       model_backend_kernels(session->backend));
        return;
    }
    if (!recipe_of(session, &recipe, &ignored) ||
        !trainer_forecast_new(&recipe, &forecast, &ignored))
        return;
    trainer_forecast_time(forecast, card, &time);
    char scaling[128] = "";
    recipe.rank_batch *= recipe.ranks;
    recipe.ranks = 1;
    if (plan->ranks > 1 && trainer_forecast_new(&recipe, &alone, &ignored)) {
        trainer_forecast_time(alone, card, &time_alone);
        snprintf(scaling, sizeof scaling, ", %.2f times as fast as one (%.0f ms of gradients show)",
                 time_alone.step_s / time.step_s, 1e3 * time.exposed_s);
    }
    proto_link_say(session->link,
                   "predicted for %u x %s: %.3g s a step%s, %.1f GB a device; `pipeline plan` says "
                   "what is assumed",
                   plan->ranks, card->name, time.step_s, scaling, forecast->memory.total / GB);
    trainer_forecast_free(&alone);
    trainer_forecast_free(&forecast);
}

void trainer_expect_advise(const struct trainer_session *session, struct proto_error *error) {
    struct model_backend_memory memory;
    struct trainer_recipe recipe;
    struct trainer_fit fit;
    struct proto_error ignored = {0};
    char text[384];
    if (error->status != PROTO_EXHAUSTED || on_cpu(session) || !session->backend ||
        !session->language || session->instructions.length < 1)
        return;
    if (!model_backend_memory(session->backend, &memory, &ignored) || memory.total_bytes == 0 ||
        !recipe_of(session, &recipe, &ignored))
        return;
    // others use the device too: theirs is not to be had
    const double others =
        (double)memory.total_bytes - (double)memory.free_bytes - (double)memory.held_bytes;
    const double room = (double)memory.total_bytes - (others > 0 ? others : 0);
    if (!trainer_forecast_fit(&recipe, room, &fit, &ignored)) return;
    // what failed does not fit, whatever the forecast says of it
    if (fit.fits && fit.rank_batch == recipe.rank_batch && recipe.rank_batch > 1) {
        struct trainer_recipe smaller = recipe;
        for (smaller.rank_batch--; recipe.rank_batch % smaller.rank_batch != 0;)
            smaller.rank_batch--;
        smaller.accumulation *= recipe.rank_batch / smaller.rank_batch;
        if (!trainer_forecast_fit(&smaller, room, &fit, &ignored)) return;
    }
    trainer_fit_text(&recipe, &fit, room, text, sizeof text);
    const size_t used = strlen(error->text);
    snprintf(error->text + used, sizeof error->text - used, ". By forecast, %s", text);
}
