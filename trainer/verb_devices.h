// trainer/verb_devices.h - verbs of pipeline-trainer that other programs and `pipeline doctor` ask:
// which GPUs it can use, and whether some devices really add vectors together.
#ifndef TRAINER_VERB_DEVICES_H
#define TRAINER_VERB_DEVICES_H

// words[0] is the verb. Return the exit code and print their own errors.
int trainer_verb_devices(int count, char **words);
int trainer_verb_collective(int count, char **words);

#endif
