// proto/config_docs.c - documentation pages from the tables of options, fields and exit codes.
#include "proto/config_docs.h"

#include "proto/codec.h"
#include "proto/config.h"
#include "proto/config_value.h"
#include "proto/preset.h"

#include <inttypes.h>
#include <string.h>

#define MADE_FROM(file)                                                                            \
    "<!-- Made from " file " by build/tests/pipeline_docs; change it there, then run\n"            \
    "     build/tests/pipeline_docs write docs -->\n\n"

// What a section is for, in the order of the table.
static const struct section {
    const char *section, *about;
    const char *see;  // more, as Markdown
} sections[] = {
    {"run", "The run as a whole.", ""},
    {"data", "Which demonstrations, and how their numbers become the network's.",
     " Names of fields: [fields.md](fields.md); layout of the files: [data.md](data.md)."},
    {"loader", "The processes that read demonstrations and build samples.", ""},
    {"model", "Sizes of the network. 0 and \"\" mean: as the preset says.", ""},
    {"vision", "How frames become tokens.", ""},
    {"language", "How the instruction becomes tokens.", ""},
    {"trainer", "Devices, batches, optimiser, schedule, averaged weights, checkpoints, validation.",
     ""},
    {"collective", "How ranks add their gradients.", ""},
    {"supervisor", "When a stage is restarted, and when the run gives up.", ""},
    {"evaluator", "Rollouts in the simulator.", ""},
    {"libero", "Where LIBERO's own files are.", ""},
};

// In a table cell of Markdown a bar would end the cell.
static void cell(FILE *out, const char *text) {
    for (const char *c = text; *c; c++) {
        if (*c == '|') fputc('\\', out);
        fputc(*c, out);
    }
}

static void print_range(FILE *out, const struct proto_option *option) {
    switch (option->type) {
    case PROTO_OPTION_INTEGER:
    case PROTO_OPTION_REAL:
        fprintf(out, "%.16g..%.16g", option->min, option->max);
        break;
    case PROTO_OPTION_CHOICE:
        for (const char *c = option->choices; *c; c++) {
            if (c == option->choices) fputs(*c == '|' ? "`\"\"` " : "`", out);
            if (*c != '|')
                fputc(*c, out);
            else
                fputs(c == option->choices ? "`" : "` `", out);
        }
        fputc('`', out);
        break;
    case PROTO_OPTION_BOOLEAN:
        fputs("`true` `false`", out);
        break;
    case PROTO_OPTION_TEXT:
        fputs("text", out);
        break;
    case PROTO_OPTION_LIST:
        fputs("texts", out);
        break;
    case PROTO_OPTION_TABLE:
        fputs("names and texts", out);
        break;
    }
}

static const char *resume_word(enum proto_resume resume) {
    static const char *const words[] = {"yes", "with a notice", "no"};
    return words[resume];
}

static const struct section *section_find(const char *name) {
    for (size_t i = 0; i < PROTO_COUNT(sections); i++)
        if (strcmp(sections[i].section, name) == 0) return &sections[i];
    static const struct section unnamed = {"", "", ""};
    return &unnamed;
}

static void print_presets(FILE *out) {
    size_t count;
    const struct proto_preset *presets = proto_presets(&count);
    fputs("\n| preset | layout | hidden_size | depth | num_heads | chunk_size | img_history_size | "
          "num_cameras | max_lang_cond_len |\n|---|---|---|---|---|---|---|---|---|\n",
          out);
    for (size_t i = 0; i < count; i++)
        fprintf(out,
                "| `%s` | %s | %" PRId64 " | %" PRId64 " | %" PRId64 " | %" PRId64 " | %" PRId64
                " | %" PRId64 " | %" PRId64 " |\n",
                presets[i].name, presets[i].layout, presets[i].hidden_size, presets[i].depth,
                presets[i].num_heads, presets[i].chunk_size, presets[i].img_history_size,
                presets[i].num_cameras, presets[i].max_lang_cond_len);
}

bool proto_docs_configuration(FILE *out) {
    size_t count;
    const struct proto_option *options = proto_options(&count);
    fputs(MADE_FROM("proto/config_options.h"), out);
    fputs("# Configuration\n\n"
          "One TOML file describes one run; `pipelines/` has examples. Options that are not in the "
          "file have\ntheir default. `--set section.key=value` on the command line wins over the "
          "file: the value is TOML,\nor else a text, so that `--set run.seed=7` and "
          "`--set data.path=demos/a.hdf5` both do what they say; a\nlist is quoted for the shell, "
          "`--set 'trainer.devices=[\"cpu\", \"cpu\"]'`. Relative paths start at the\nfolder where "
          "`pipeline` is called.\n\n"
          "Unknown sections and keys, values of another type and values out of range are errors "
          "that name file,\nline, column and the nearest known key. The run folder's "
          "`pipeline.toml` is the whole configuration\nas it was understood, defaults and "
          "`--set` included; it can be run again as it is.\n\n"
          "*On resume* says whether a run that goes on may have another value "
          "([resume.md](resume.md)).\n",
          out);
    const char *section = "";
    for (size_t i = 0; i < count; i++) {
        const struct proto_option *option = &options[i];
        if (strcmp(section, option->section) != 0) {
            if (strcmp(section, "model") == 0) print_presets(out);
            section = option->section;
            const struct section *named = section_find(section);
            fprintf(out, "\n## [%s]\n\n%s%s\n\n", section, named->about, named->see);
            fputs("| key | default | values | unit | on resume | meaning |\n"
                  "|---|---|---|---|---|---|\n",
                  out);
        }
        fprintf(out, "| `%s` | `%s` | ", option->key, option->default_value);
        print_range(out, option);
        fprintf(out, " | %s | %s | ", option->unit, resume_word(option->resume));
        cell(out, option->help);
        fputs(" |\n", out);
    }
    return !ferror(out);
}

static void resume_list(FILE *out, enum proto_resume resume) {
    size_t count;
    const struct proto_option *options = proto_options(&count);
    fputs("\n| option | meaning |\n|---|---|\n", out);
    for (size_t i = 0; i < count; i++) {
        if (options[i].resume != resume) continue;
        fprintf(out, "| `%s.%s` | ", options[i].section, options[i].key);
        cell(out, options[i].help);
        fputs(" |\n", out);
    }
}

bool proto_docs_resume(FILE *out) {
    fputs(MADE_FROM("proto/config_options.h"), out);
    fputs("# What may change when a run goes on\n\n"
          "`pipeline up` on a folder with checkpoints goes on from the newest (`run.resume`). Its "
          "configuration\nis compared with the run folder's `pipeline.toml`.\n\n"
          "Besides options, the data must be the same: episodes are compared by content, so files "
          "may move but\nnot change. A missing or damaged checkpoint is an error, never a silent "
          "fresh start.\n\n"
          "## Must stay\n\n"
          "A change is refused with both values: the samples, the network or the meaning of its "
          "numbers would\nbe another run's. Start one in another `run.output_dir`.\n",
          out);
    resume_list(out, PROTO_RESUME_FIXED);
    fputs("\n## May change, and the log says so\n\n"
          "The stream of samples goes on where it was. Losses are bit-equal to the uninterrupted "
          "run only while\nthese stay.\n",
          out);
    resume_list(out, PROTO_RESUME_NOTICE);
    fputs("\n## May change\n\nNo influence on what is learnt.\n", out);
    resume_list(out, PROTO_RESUME_FREE);
    return !ferror(out);
}

static const struct {
    enum proto_status status;
    const char *what_to_do;
} codes[] = {
    {PROTO_DONE, "-"},
    {PROTO_FAILED, "read the last lines: they name the stage and what it was doing"},
    {PROTO_USAGE, "correct the option or the line of the file that the message names"},
    {PROTO_DAMAGED, "the message names file and dataset; `pipeline check` tells what is usable"},
    {PROTO_MISSING, "install what the message names, or take the alternative it prints"},
    {PROTO_EXHAUSTED, "free disk or memory; the run goes on with the same command"},
    {PROTO_REFUSED, "do not start training: `pipeline check` lists the proofs that failed"},
    {PROTO_RESUMABLE, "start the same command again; a scheduler may requeue the job"},
    {PROTO_INTERRUPTED, "start the same command again"},
    {PROTO_TERMINATED, "start the same command again"},
};

bool proto_docs_exit_codes(FILE *out) {
    fputs(MADE_FROM("proto/config_docs.c"), out);
    fputs("# Exit codes\n\nOf every program and verb. Each failure prints one line on stderr: "
          "place, what was found, what was\nexpected, what to do.\n\n"
          "| code | meaning | what to do |\n|---|---|---|\n",
          out);
    for (size_t i = 0; i < PROTO_COUNT(codes); i++)
        fprintf(out, "| %d | %s | %s |\n", (int)codes[i].status,
                proto_status_meaning((int)codes[i].status), codes[i].what_to_do);
    return !ferror(out);
}

static void print_fields(FILE *out, bool action) {
    size_t count;
    const struct proto_field *fields = proto_fields(&count);
    fprintf(out, "\n| name | numbers | slots | unit | %s |\n|---|---|---|---|---|\n",
            action ? "kind" : "read from, best first");
    for (size_t i = 0; i < count; i++) {
        const struct proto_field *field = &fields[i];
        if (field->action != action) continue;
        fprintf(out, "| `%s` | %u | %u", field->name, field->components, field->first_slot);
        if (field->components > 1) fprintf(out, "-%u", field->first_slot + field->components - 1);
        fprintf(out, " | %s | ", field->unit);
        if (action)
            fputs(field->kind == PROTO_CHANNEL_GRIPPER ? "gripper command"
                  : field->delta                       ? "motion"
                                                       : "absolute",
                  out);
        for (size_t j = 0; !action && j < PROTO_COUNT(field->sources) && field->sources[j]; j++)
            fprintf(out, "%s`%s`", j > 0 ? ", " : "", field->sources[j]);
        fputs(" |\n", out);
    }
}

bool proto_docs_fields(FILE *out) {
    fputs(MADE_FROM("proto/fields.c"), out);
    fputs("# Fields of a robot\n\nNames for `data.state` and `data.action`. Slots are places in "
          "RDT's vector of 128 numbers; with\n`model.layout = \"compact\"` only the used ones "
          "remain.\n\n## State\n",
          out);
    print_fields(out, false);
    fputs("\n## Action\n\nColumns of the dataset `data.action_key`, in the order of "
          "`data.action`.\n",
          out);
    print_fields(out, true);
    return !ferror(out);
}

bool proto_config_help(FILE *out, const char *section) {
    size_t count;
    const struct proto_option *options = proto_options(&count);
    const char *last = "";
    for (size_t i = 0; i < count; i++) {
        const struct proto_option *option = &options[i];
        char expected[256];
        if (section && strcmp(section, option->section) != 0) continue;
        if (strcmp(last, option->section) != 0)
            fprintf(out, "%s[%s]  %s\n", *last ? "\n" : "", option->section,
                    section_find(option->section)->about);
        last = option->section;
        proto_option_expected(option, expected);
        fprintf(out, "  %s = %s\n      %s\n      %s\n", option->key, option->default_value,
                option->help, expected);
    }
    return *last != '\0';
}
