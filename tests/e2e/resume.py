# tests/e2e/resume.py - what a run may be when it goes on: options that may change and options that
# must stay, the newest checkpoint or an older one.
#
# Oracle: an undisturbed run; the ledger of what was trained (`pipeline ledger verify`) has no hole
# and no double, whatever was cut back.
import os
import shutil
import subprocess

import case
from case import Run, check


def again(run, code, *says, **sets):
    """`up` once more with other options: its exit code, and what it says."""
    options = {key.replace("__", "."): value for key, value in sets.items()}
    before, run.sets = run.sets, dict(run.sets, **options)
    length = len(run.text())
    try:
        run.start().finish(code)
    finally:
        run.sets = before
    text = run.text()[length:]
    for word in says:
        check(word in text, "%s: it does not say %r:\n%s" % (options, word, text[-3000:]))
    verify(run)


def verify(run):
    done = subprocess.run([os.path.join(case.BIN, "pipeline"), "ledger", "verify", run.folder],
                          capture_output=True, text=True)
    check(done.returncode == 0, "ledger verify: " + done.stdout + done.stderr)


def checkpoints(run):
    return sorted(name for name in os.listdir(run.folder) if name.startswith("checkpoint-"))


def rules(folder):
    """What must stay is refused by name and nothing is touched; what may change is told."""
    run = Run(folder + "/run", 20, 1, trainer__ledger="true").go()
    before = case.sha256(os.path.join(run.folder, "metrics.jsonl"))
    for key, value in (("run.seed", 7), ("model.hidden_size", 64), ("model.depth", 2),
                       ("data.transform", "q01q99"), ("data.validation_episodes", 1)):
        again(run, 2, key, "must stay", **{key: value})
    again(run, 2, "checkpoint-20", run__resume="no")
    check(before == case.sha256(os.path.join(run.folder, "metrics.jsonl")), "metrics were touched")
    again(run, 0, loader__workers=3, run__max_train_steps=25)
    again(run, 0, "trainer.learning_rate is 0.0005 now", trainer__learning_rate=5e-4,
          run__max_train_steps=30)
    again(run, 0, "ranks was 2, is 1 now", trainer__devices='["cpu"]', trainer__threads=1,
          trainer__train_batch_size=4, trainer__gradient_accumulation_steps=2,
          run__max_train_steps=35)
    check(run.step() == 35 and len(run.metrics()) == 35, "steps are not 1..35")


def going_back(folder):
    """An older checkpoint by name: metrics are cut back, newer checkpoints are set aside and do not
    come back at the next resume. One that has lost its
    optimizer's file is refused by name."""
    reference = Run(folder + "/one", 30, 1).go()
    run = Run(folder + "/run", 30, 1, trainer__checkpointing_period=5).go()
    again(run, 3, "checkpoint-10/optimizer.safetensors", "too old to resume from",
          run__resume=run.checkpoint(10))
    again(run, 0, "checkpoint-<step>.aside", run__resume=run.checkpoint(25),
          run__max_train_steps=27)
    check(checkpoints(run)[-3:] == ["checkpoint-25", "checkpoint-27", "checkpoint-30.aside"],
          "there are %s" % checkpoints(run))
    again(run, 0, "checkpoint-27: 27 steps done")
    check([m["step"] for m in run.metrics()] == list(range(1, 31)), "steps are not 1..30")
    check(reference.metrics()[24]["ledger"] == run.metrics()[24]["ledger"], "the ledger differs")


def anothers_checkpoint(folder):
    """A run that begins with the checkpoint of another goes on as that one would have."""
    reference = Run(folder + "/one", 40, 1).go()
    run = Run(folder + "/run", 40, 1)
    run.sets["run.resume"] = reference.checkpoint(20)
    run.go()
    verify(run)
    check([m["step"] for m in run.metrics()] == list(range(21, 41)), "steps are not 21..40")
    for x, y in zip(reference.metrics()[20:], run.metrics()):
        check(x["loss"] == y["loss"] and x["ledger"] == y["ledger"],
              "step %d differs" % x["step"])


def pretrained(folder):
    """A checkpoint of ours is a folder of weights; one that does not fit is refused, once."""
    source = Run(folder + "/source", 8, 1).go().checkpoint(8)
    run = Run(folder + "/run", 4, 1, model__pretrained=source).go()
    check("starting from the weights in " + source in run.text(), "it does not say from where")
    verify(run)
    cases = (
        ("another network", 2, ["config.json", "hidden_size", "128"], None),
        ("cut off", 3, ["model.safetensors"], lambda f: os.truncate(f + "/model.safetensors", 999)),
        ("no weights", 4, ["no model.safetensors"], lambda f: os.remove(f + "/model.safetensors")),
        ("pickled", 4, ["safetensors.torch.save_file"],
         lambda f: os.rename(f + "/model.safetensors", f + "/pytorch_model.bin")),
    )
    for number, (name, code, says, damage) in enumerate(cases):
        weights = "%s/weights%d" % (folder, number)
        shutil.copytree(source, weights)
        sets = {"model__pretrained": weights}
        if damage:
            damage(weights)
        else:
            sets["model__hidden_size"] = 64
        run = Run("%s/refused%d" % (folder, number), 4, 1, **sets).start().finish(code)
        for word in says:
            check(word in run.text(), "%s: %r is not said:\n%s" % (name, word, run.text()[-2000:]))
        check(not run.events("restart_group"), name + ": it was tried again")


case.main({f.__name__: f for f in (rules, going_back, anothers_checkpoint, pretrained)})
