// proto/config_options.h - the table of options: the only place where an option is named.
//
// X(section, key, type, default, min, max, choices, unit, resume, help)
//   default  as TOML; min, max for INTEGER and REAL (0, 0 otherwise); choices "a|b" for CHOICE
//   resume   FREE | NOTICE | FIXED: may it change when a run is resumed
// Names are those of the official RDT scripts where they have one.
#ifndef PROTO_CONFIG_OPTIONS_H
#define PROTO_CONFIG_OPTIONS_H

#define PROTO_OPTIONS_RUN(X)                                                                       \
    X(run, output_dir, TEXT, "\"checkpoints/run\"", 0, 0, "", "folder", FREE,                      \
      "run folder: checkpoints, metrics, logs")                                                    \
    X(run, seed, INTEGER, "42", 0, 9007199254740991, "", "", FIXED,                                \
      "everything random in the run follows from it")                                              \
    X(run, max_train_steps, INTEGER, "20000", 1, 1e9, "", "steps", NOTICE,                         \
      "optimiser steps of the whole run")                                                          \
    X(run, resume, TEXT, "\"auto\"", 0, 0, "", "", FREE,                                           \
      "auto: from the newest checkpoint if there is one; no: refuse a folder that has one; "       \
      "or a checkpoint's path")

#define PROTO_OPTIONS_DATA(X)                                                                      \
    X(data, path, LIST, "[]", 0, 0, "", "files", FREE,                                             \
      "a LIBERO or robomimic HDF5 file, a folder of them, or a list")                              \
    X(data, statistics, TEXT, "\"per-task\"", 0, 0, "", "", FIXED,                                 \
      "per-task, pooled, or the path of a dataset_statistics.json")                                \
    X(data, transform, CHOICE, "\"zscore\"", 0, 0, "zscore|q01q99|identity", "", FIXED,            \
      "how state and action channels are scaled for the network")                                  \
    X(data, alignment, CHOICE, "\"auto\"", 0, 0, "auto|after|before", "", FIXED,                   \
      "after: obs[j] was stored after action[j], as LIBERO does; auto measures it")                \
    X(data, cameras, LIST, "[\"agentview\", \"eye_in_hand\"]", 0, 0, "", "", FIXED,                \
      "cameras in the network's order: exterior, right wrist, left wrist")                         \
    X(data, state, LIST, "[\"joint_pos\", \"gripper_qpos\", \"eef_pos\", \"eef_rot6d\"]", 0, 0,    \
      "", "", FIXED, "fields of the state vector, by name")                                        \
    X(data, action, LIST, "[\"eef_delta_pos\", \"eef_delta_rot\", \"gripper\"]", 0, 0, "", "",     \
      FIXED, "fields of the action vector, in the order of the file's columns")                    \
    X(data, action_key, TEXT, "\"actions\"", 0, 0, "", "", FIXED,                                  \
      "dataset that holds the actions to learn")                                                   \
    X(data, control_freq, REAL, "20.0", 0.1, 1000, "", "Hz", FIXED, "control steps per second")    \
    X(data, image_aug, BOOLEAN, "false", 0, 0, "", "", FIXED,                                      \
      "image augmentation; needs vision.cache = false")                                            \
    X(data, state_noise_snr, REAL, "40.0", 0, 200, "", "dB", FIXED,                                \
      "signal-to-noise ratio of noise added to the state; 0: none")                                \
    X(data, cond_mask_prob, REAL, "0.1", 0, 0.999, "", "", FIXED,                                  \
      "probability that a condition (frequency, state, each image, language) is dropped")          \
    X(data, validation_episodes, INTEGER, "2", 0, 100000, "", "episodes", FIXED,                   \
      "episodes of each task that are never trained on")

#define PROTO_OPTIONS_LOADER(X)                                                                    \
    X(loader, workers, INTEGER, "8", 1, 256, "", "processes", FREE,                                \
      "loader processes; changed live with `pipeline scale loader=N`")                             \
    X(loader, batches_in_flight, INTEGER, "4", 1, 64, "", "batches", FREE,                         \
      "batches on their way from one loader to one rank")                                          \
    X(loader, packing, CHOICE, "\"auto\"", 0, 0, "auto|raw|lz4", "", FREE,                         \
      "auto: raw on one host, lz4 over tcp when the measured ratio pays")                          \
    X(loader, lease_timeout_s, REAL, "10.0", 0.1, 3600, "", "s", FREE,                             \
      "a ticket not answered by then is leased to another loader")                                 \
    X(loader, cache_mib, INTEGER, "256", 1, 1048576, "", "MiB", FREE,                              \
      "memory of one loader for episodes it may need again: numbers, unpacked frames")

#define PROTO_OPTIONS_MODEL(X)                                                                     \
    X(model, preset, CHOICE, "\"rdt-1b\"", 0, 0, "rdt-1b|rdt-170m|rdt-tiny", "", FIXED,            \
      "sizes of the network; each can be overridden by its own key")                               \
    X(model, pretrained, TEXT, "\"\"", 0, 0, "", "folder", FIXED,                                  \
      "folder with config.json and model.safetensors; \"\": random weights")                       \
    X(model, layout, CHOICE, "\"\"", 0, 0, "|unified|compact", "", FIXED,                          \
      "unified: RDT's 128 slots; compact: only the used channels")                                 \
    X(model, hidden_size, INTEGER, "0", 0, 16384, "", "", FIXED, "width of a token")               \
    X(model, depth, INTEGER, "0", 0, 256, "", "blocks", FIXED, "transformer blocks")               \
    X(model, num_heads, INTEGER, "0", 0, 256, "", "", FIXED, "attention heads")                    \
    X(model, chunk_size, INTEGER, "0", 0, 256, "", "steps", FIXED,                                 \
      "actions predicted at once (pred_horizon)")                                                  \
    X(model, img_history_size, INTEGER, "0", 0, 4, "", "frames", FIXED, "frames per camera")       \
    X(model, num_cameras, INTEGER, "0", 0, 4, "", "cameras", FIXED,                                \
      "camera places of the network; places without a camera see the background")                  \
    X(model, max_lang_cond_len, INTEGER, "0", 0, 4096, "", "tokens", FIXED,                        \
      "rows of the language position table")                                                       \
    X(model, norm_stat, CHOICE, "\"variance\"", 0, 0, "variance|mean_square", "", FIXED,           \
      "statistic of RmsNorm; released RDT weights need variance")

#define PROTO_OPTIONS_VISION(X)                                                                    \
    X(vision, encoder, CHOICE, "\"siglip\"", 0, 0, "siglip|pixels", "", FIXED,                     \
      "pixels needs no weights")                                                                   \
    X(vision, path, TEXT, "\"\"", 0, 0, "", "folder", FREE, "SigLIP's Hugging Face folder")        \
    X(vision, cache, BOOLEAN, "false", 0, 0, "", "", FREE, "keep frame features on disk")          \
    X(vision, patch_grid, INTEGER, "8", 1, 64, "", "patches", FIXED,                               \
      "pixels: patches along each side of a frame")                                                \
    X(vision, patch_size, INTEGER, "8", 1, 64, "", "pixels", FIXED,                                \
      "pixels: side of a patch, after the frame is resized to patch_grid x patch_size")

#define PROTO_OPTIONS_LANGUAGE(X)                                                                  \
    X(language, encoder, CHOICE, "\"t5\"", 0, 0, "t5|hash", "", FIXED, "hash needs no weights")    \
    X(language, path, TEXT, "\"\"", 0, 0, "", "folder", FREE, "T5's Hugging Face folder")          \
    X(language, token_dim, INTEGER, "64", 1, 8192, "", "", FIXED, "hash: width of a word vector")

#define PROTO_OPTIONS_TRAINER(X)                                                                   \
    X(trainer, devices, LIST, "[\"cuda:0\"]", 0, 0, "", "", NOTICE,                                \
      "one rank each: cuda:N (relative to CUDA_VISIBLE_DEVICES) or cpu")                           \
    X(trainer, threads, INTEGER, "0", 0, 1024, "", "threads", NOTICE,                              \
      "threads of a cpu rank; 0: cores divided by ranks")                                          \
    X(trainer, train_batch_size, INTEGER, "16", 1, 65536, "", "samples", NOTICE,                   \
      "samples of one micro step over all ranks")                                                  \
    X(trainer, gradient_accumulation_steps, INTEGER, "1", 1, 4096, "", "micro steps", NOTICE,      \
      "micro steps of one optimiser step")                                                         \
    X(trainer, mixed_precision, CHOICE, "\"bf16\"", 0, 0, "no|bf16|fp16", "", NOTICE,              \
      "arithmetic of the network; master weights are fp32 always; cpu ranks need no")              \
    X(trainer, activation_checkpointing, BOOLEAN, "false", 0, 0, "", "", FREE,                     \
      "keep less for the backward pass and compute it again: same results, less memory, slower")   \
    X(trainer, learning_rate, REAL, "1e-4", 0, 10, "", "", NOTICE, "peak rate")                    \
    X(trainer, lr_scheduler, CHOICE, "\"constant\"", 0, 0,                                         \
      "constant|constant_with_warmup|linear|cosine|cosine_with_restarts|polynomial", "", NOTICE,   \
      "how the rate changes over the run")                                                         \
    X(trainer, lr_warmup_steps, INTEGER, "0", 0, 1e9, "", "steps", NOTICE, "linear warm-up")       \
    X(trainer, lr_num_cycles, INTEGER, "1", 1, 1000, "", "", NOTICE, "cosine_with_restarts")       \
    X(trainer, lr_power, REAL, "1.0", 0, 100, "", "", NOTICE, "polynomial")                        \
    X(trainer, adam_beta1, REAL, "0.9", 0, 0.999999, "", "", NOTICE, "AdamW")                      \
    X(trainer, adam_beta2, REAL, "0.999", 0, 0.9999999, "", "", NOTICE, "AdamW")                   \
    X(trainer, adam_weight_decay, REAL, "1e-2", 0, 10, "", "", NOTICE,                             \
      "AdamW, on every parameter as official")                                                     \
    X(trainer, adam_epsilon, REAL, "1e-8", 1e-16, 1, "", "", NOTICE, "AdamW")                      \
    X(trainer, max_grad_norm, REAL, "1.0", 0, 1e9, "", "", NOTICE,                                 \
      "gradients are clipped to this global norm; 0: not")                                         \
    X(trainer, ema_power, REAL, "0.75", 0, 10, "", "", FIXED,                                      \
      "decay of the averaged weights: 1 - (1 + n / inv_gamma) ^ -power")                           \
    X(trainer, ema_inv_gamma, REAL, "1.0", 1e-9, 1e9, "", "", FIXED, "see ema_power")              \
    X(trainer, ema_update_after_step, INTEGER, "0", 0, 1e9, "", "steps", FIXED,                    \
      "averaging starts after this step")                                                          \
    X(trainer, ema_min_decay, REAL, "0.0", 0, 1, "", "", FIXED, "lower bound of the decay")        \
    X(trainer, ema_max_decay, REAL, "0.9999", 0, 1, "", "", FIXED, "upper bound of the decay")     \
    X(trainer, checkpointing_period, INTEGER, "1000", 1, 1e9, "", "steps", FREE,                   \
      "a checkpoint every so many steps, and at the end")                                          \
    X(trainer, checkpoints_total_limit, INTEGER, "10", 1, 100000, "", "checkpoints", FREE,         \
      "kept: the newest so many, and the best")                                                    \
    X(trainer, sample_period, INTEGER, "500", 0, 1e9, "", "steps", FREE,                           \
      "validation by full sampling every so many steps; 0: only at the end")                       \
    X(trainer, sample_batch_size, INTEGER, "16", 1, 65536, "", "samples", FREE,                    \
      "samples of one validation batch over all ranks")                                            \
    X(trainer, num_sample_batches, INTEGER, "4", 1, 10000, "", "batches", FIXED,                   \
      "validation batches; sample_batch_size times this is the validation set")                    \
    X(trainer, num_inference_timesteps, INTEGER, "5", 1, 1000, "", "steps", FIXED,                 \
      "solver steps of a prediction")                                                              \
    X(trainer, ledger, BOOLEAN, "false", 0, 0, "", "", FREE,                                       \
      "write every sample id consumed to metrics.jsonl")

#define PROTO_OPTIONS_COLLECTIVE(X)                                                                \
    X(collective, backend, CHOICE, "\"nccl\"", 0, 0, "nccl|host|staged", "", NOTICE,               \
      "how ranks add their gradients: nccl for GPUs, host for CPUs")                               \
    X(collective, deadline_s, REAL, "600.0", 1, 86400, "", "s", FREE,                              \
      "a rank that is waited for longer counts as hung")                                           \
    X(collective, bucket_mib, REAL, "25.0", 0.01, 65536, "", "MiB", NOTICE,                        \
      "GPUs: gradients leave in pieces of this size during the backward pass")                     \
    X(collective, env, TABLE, "{}", 0, 0, "", "", FREE,                                            \
      "environment of the trainers: NCCL_DEBUG and the like")

#define PROTO_OPTIONS_SUPERVISOR(X)                                                                \
    X(supervisor, restart_limit, INTEGER, "5", 0, 1000, "", "deaths", FREE,                        \
      "deaths of a stage in a row without progress in between, then the run stops")                \
    X(supervisor, heartbeat_timeout_s, REAL, "30.0", 1, 3600, "", "s", FREE,                       \
      "a stage silent for longer is killed and restarted")

#define PROTO_OPTIONS_EVALUATOR(X)                                                                 \
    X(evaluator, when, CHOICE, "\"auto\"", 0, 0, "never|during|after|auto", "", FREE,              \
      "when checkpoints are rolled out; auto: during training, or after it on a GPU that trains, " \
      "or never where the benchmark's files are missing")                                          \
    X(evaluator, workers, INTEGER, "1", 1, 64, "", "processes", FREE, "evaluator processes")       \
    X(evaluator, seed, INTEGER, "0", 0, 9007199254740991, "", "", FREE, "of the episodes")         \
    X(evaluator, benchmark, TEXT, "\"libero_90\"", 0, 0, "", "", FREE, "LIBERO suite")             \
    X(evaluator, tasks, LIST, "[\"trained\"]", 0, 0, "", "", FREE, "trained, first:N, or names")   \
    X(evaluator, episodes_per_task, INTEGER, "20", 1, 10000, "", "episodes", FREE, "per row set")  \
    X(evaluator, controls, CHOICE, "\"best\"", 0, 0, "never|best|all", "", FREE,                   \
      "open loop and blind on the same starts, of the best checkpoint or of all")                  \
    X(evaluator, max_steps, INTEGER, "200", 1, 100000, "", "steps", FREE,                          \
      "control steps of an episode")                                                               \
    X(evaluator, exec_horizon, INTEGER, "16", 1, 256, "", "steps", FREE,                           \
      "actions executed of each predicted chunk")                                                  \
    X(evaluator, settle_steps, INTEGER, "10", 0, 1000, "", "steps", FREE,                          \
      "steps without motion before the first prediction")                                          \
    X(evaluator, environments, INTEGER, "8", 1, 1024, "", "simulators", FREE,                      \
      "simulators whose queries form one batch of the policy")                                     \
    X(evaluator, record_video, BOOLEAN, "true", 0, 0, "", "", FREE, "H.264 video of episodes")     \
    X(evaluator, device, TEXT, "\"cuda:0\"", 0, 0, "", "", FREE, "where the policy runs")          \
    X(evaluator, every, INTEGER, "1", 1, 100000, "", "checkpoints", FREE,                          \
      "every n-th checkpoint, by checkpointing_period, and the last")

#define PROTO_OPTIONS_LIBERO(X)                                                                    \
    X(libero, root, TEXT, "\"\"", 0, 0, "", "folder", FREE,                                        \
      "assets, bddl_files, init_files; \"\": found by the rule that `pipeline doctor` prints")

#define PROTO_OPTIONS(X)                                                                           \
    PROTO_OPTIONS_RUN(X)                                                                           \
    PROTO_OPTIONS_DATA(X)                                                                          \
    PROTO_OPTIONS_LOADER(X)                                                                        \
    PROTO_OPTIONS_MODEL(X)                                                                         \
    PROTO_OPTIONS_VISION(X)                                                                        \
    PROTO_OPTIONS_LANGUAGE(X)                                                                      \
    PROTO_OPTIONS_TRAINER(X)                                                                       \
    PROTO_OPTIONS_COLLECTIVE(X)                                                                    \
    PROTO_OPTIONS_SUPERVISOR(X)                                                                    \
    PROTO_OPTIONS_EVALUATOR(X)                                                                     \
    PROTO_OPTIONS_LIBERO(X)

#endif
