// trainer/collective_module.h - what the NCCL module (libpipeline_nccl.so) gives to the trainer,
// which links neither NCCL nor CUDA itself: trainer/collective.c loads it (proto/module.h) for
// collective.backend = "nccl".
#ifndef TRAINER_COLLECTIVE_MODULE_H
#define TRAINER_COLLECTIVE_MODULE_H

#include "trainer/collective_backend.h"

// Raised with every change of this header, of trainer_collective_ops or of the settings.
#define TRAINER_COLLECTIVE_MODULE_VERSION 2
#define TRAINER_COLLECTIVE_MODULE_SYMBOL "pipeline_collective_module"

struct trainer_collective_module {
    uint32_t version;    // TRAINER_COLLECTIVE_MODULE_VERSION
    uint32_t ops_bytes;  // sizeof(struct trainer_collective_ops) on the module's side
    // Of the library that is loaded: 22809 is 2.28.9. Needs no driver.
    bool (*nccl_version)(uint32_t *version, struct proto_error *error);
    // `control` is a host collective of the same ranks, owned from here on, also after a failure.
    bool (*open)(const struct trainer_collective_settings *settings,
                 struct trainer_collective *control, struct trainer_collective **collective,
                 struct proto_error *error);
};
typedef const struct trainer_collective_module *trainer_collective_module_entry(void);
trainer_collective_module_entry pipeline_collective_module;  // what the module exports

#endif
