// proto/config_value.h - the value of one option inside a struct proto_config: taken from TOML,
// given back as TOML, freed. All that depends on an option's type is here.
#ifndef PROTO_CONFIG_VALUE_H
#define PROTO_CONFIG_VALUE_H

#include "proto/config.h"
#include "proto/toml_shim.h"

#define PROTO_LIST_MAX 4096  // items of one option

// Where the option lives in the configuration.
int64_t *proto_value_integer(struct proto_config *config, const struct proto_option *option);
double *proto_value_real(struct proto_config *config, const struct proto_option *option);
bool *proto_value_boolean(struct proto_config *config, const struct proto_option *option);
char **proto_value_text(struct proto_config *config, const struct proto_option *option);
struct proto_list *proto_value_list(struct proto_config *config, const struct proto_option *option);

// Replaces the value by that of node number `node`; type, range and choice are checked. On failure
// (PROTO_USAGE: found, expected) the old value stays.
PROTO_MUST_CHECK bool proto_value_take(struct proto_config *config,
                                       const struct proto_option *option,
                                       const struct proto_toml *toml, uint32_t node,
                                       struct proto_error *error);
// Sets one entry of a TABLE, as `--set collective.env.NAME=value` does.
PROTO_MUST_CHECK bool proto_value_take_entry(struct proto_config *config,
                                             const struct proto_option *option, const char *name,
                                             const char *value, struct proto_error *error);
void proto_value_free(struct proto_config *config, const struct proto_option *option);

// As TOML, reals with the fewest digits that read back equal. The caller frees; NULL and *error on
// lack of memory.
PROTO_MUST_CHECK char *proto_value_print(const struct proto_config *config,
                                         const struct proto_option *option,
                                         struct proto_error *error);

// What an option takes, in words: "an integer, 1..65536 samples". Into text.
void proto_option_expected(const struct proto_option *option, char text[static 256]);

#endif
