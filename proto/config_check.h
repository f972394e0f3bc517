// proto/config_check.h - what must hold between options of one configuration.
#ifndef PROTO_CONFIG_CHECK_H
#define PROTO_CONFIG_CHECK_H

#include "proto/config.h"

#include <jansson.h>

// Fills what model.preset stands for into the sizes that were left at 0 or "".
PROTO_MUST_CHECK bool proto_config_resolve(struct proto_config *config, struct proto_error *error);

// PROTO_USAGE at the place of the option to change. Of a resolved configuration.
PROTO_MUST_CHECK bool proto_config_check(const struct proto_config *config,
                                         struct proto_error *error);

// Are the devices that a configuration asks for among those that `pipeline-trainer devices` knows
// ("devices", "why", "nccl", "nccl_why")? PROTO_MISSING with the reason and what would run instead.
PROTO_MUST_CHECK bool proto_config_check_devices(const struct proto_config *config,
                                                 const json_t *known, struct proto_error *error);

// "cuda:3": *cuda true, *number 3; "cpu": *cuda false. False for anything else.
bool proto_device_parse(const char *device, bool *cuda, uint32_t *number);

#endif
