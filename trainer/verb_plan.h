// trainer/verb_plan.h - the verb `plan` of pipeline-trainer, which is `pipeline plan`.
#ifndef TRAINER_VERB_PLAN_H
#define TRAINER_VERB_PLAN_H

// words[0] is the verb. Returns the exit code and prints its own errors.
int trainer_verb_plan(int count, char **words);

#endif
