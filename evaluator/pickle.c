// evaluator/pickle.c - a stack machine for the opcodes of pickle protocol 2 that numpy needs to
// describe an array (Python: pickletools.py; numpy: ndarray.__reduce__, dtype.__reduce__).
#include "evaluator/pickle.h"

#include <stdlib.h>
#include <string.h>

#define STACK_MAX 64
#define MEMO_MAX 256    // BINPUT has one byte
#define TUPLES_MAX 512  // all tuples' items together; a file needs 26
#define NAME_BYTES_MAX 64

enum kind {
    MARK,
    NONE,
    BOOLEAN,
    INTEGER,
    TEXT,
    NAME,
    TUPLE,
    BYTES,
    DTYPE,
    DTYPE_BUILT,
    ARRAY,
    BUILT
};
static const char *const kind_names[] = {"a mark",  "None",    "a boolean",      "an integer",
                                         "a text",  "a name",  "a tuple",        "bytes",
                                         "a dtype", "a dtype", "an empty array", "an array"};
enum known { RECONSTRUCT, NDARRAY, ENCODE, NUMPY_DTYPE };
static const struct {
    const char *module, *name;
    enum known known;
} names[] = {
    {"numpy.core.multiarray", "_reconstruct", RECONSTRUCT},
    {"numpy._core.multiarray", "_reconstruct", RECONSTRUCT},  // since numpy 2
    {"numpy", "ndarray", NDARRAY},
    {"_codecs", "encode", ENCODE},
    {"numpy", "dtype", NUMPY_DTYPE},
};

struct value {
    enum kind kind;
    int64_t number;       // of integer, boolean, name
    uint32_t first;       // of a tuple: its first item in machine.items
    uint32_t count;       // of a tuple
    const uint8_t *text;  // of text and bytes (as UTF-8)
    size_t text_bytes;
    uint32_t rows, columns;  // of a built array
};
struct machine {
    const uint8_t *bytes;
    size_t size, at;
    struct value stack[STACK_MAX], memo[MEMO_MAX], items[TUPLES_MAX];
    bool memo_used[MEMO_MAX];
    uint32_t depth, item_count;
};

// ---- stack -------------------------------------------------------------------------------------

static bool push(struct machine *machine, struct value value, struct proto_error *error) {
    if (machine->depth == STACK_MAX)
        return proto_fail(error, PROTO_DAMAGED, "more than %d values on the stack", STACK_MAX);
    machine->stack[machine->depth++] = value;
    return true;
}

// The n-th value from the top, 0 the top; marks are no values.
static const struct value *top(const struct machine *machine, uint32_t n, const char *what,
                               struct proto_error *error) {
    if (machine->depth > n && machine->stack[machine->depth - 1 - n].kind != MARK)
        return &machine->stack[machine->depth - 1 - n];
    proto_fail(error, PROTO_DAMAGED, "%s finds too few values on the stack", what);
    return NULL;
}

static bool take(struct machine *machine, size_t count, const uint8_t **bytes,
                 struct proto_error *error) {
    if (count > machine->size - machine->at)
        return proto_fail(error, PROTO_DAMAGED, "needs %zu bytes, %zu are left", count,
                          machine->size - machine->at);
    *bytes = machine->bytes + machine->at;
    machine->at += count;
    return true;
}

// The top `count` values become one.
static bool make_tuple(struct machine *machine, uint32_t count, struct proto_error *error) {
    if (count > TUPLES_MAX - machine->item_count)
        return proto_fail(error, PROTO_DAMAGED, "more than %d values in tuples", TUPLES_MAX);
    const struct value tuple = {.kind = TUPLE, .first = machine->item_count, .count = count};
    for (uint32_t i = 0; i < count; i++) {
        const struct value *item = top(machine, count - 1 - i, "TUPLE", error);
        if (!item) return false;
        machine->items[machine->item_count++] = *item;
    }
    machine->depth -= count;
    return push(machine, tuple, error);
}

static bool tuple_to_mark(struct machine *machine, struct proto_error *error) {
    uint32_t count = 0;
    while (count < machine->depth && machine->stack[machine->depth - 1 - count].kind != MARK)
        count++;
    if (count == machine->depth) return proto_fail(error, PROTO_DAMAGED, "TUPLE without MARK");
    if (!make_tuple(machine, count, error)) return false;
    machine->stack[machine->depth - 2] = machine->stack[machine->depth - 1];  // over the mark
    machine->depth--;
    return true;
}

// ---- what values must be -----------------------------------------------------------------------

static bool is_text(const struct value *value, const char *text) {
    return value->kind == TEXT && value->text_bytes == strlen(text) &&
           memcmp(value->text, text, value->text_bytes) == 0;
}
static bool is_number(const struct value *value, enum kind kind, int64_t number) {
    return value->kind == kind && value->number == number;
}

static bool call_dtype(const struct value *arguments, uint32_t count, struct value *result,
                       struct proto_error *error) {
    if (count != 3 || arguments[0].kind != TEXT || !is_number(&arguments[1], BOOLEAN, 0) ||
        !is_number(&arguments[2], BOOLEAN, 1))
        return proto_fail(error, PROTO_DAMAGED, "numpy.dtype is not given (text, False, True)");
    if (!is_text(&arguments[0], "f8"))
        return proto_fail(error, PROTO_DAMAGED, "dtype is %.*s, expected f8 (float64)",
                          (int)(arguments[0].text_bytes < 16 ? arguments[0].text_bytes : 16),
                          (const char *)arguments[0].text);
    *result = (struct value){.kind = DTYPE};
    return true;
}

static bool call(const struct machine *machine, const struct value *name, const struct value *tuple,
                 struct value *result, struct proto_error *error) {
    const struct value *arguments = &machine->items[tuple->first];
    const uint32_t count = tuple->count;
    switch ((enum known)name->number) {
    case RECONSTRUCT:
        if (count != 3 || !is_number(&arguments[0], NAME, NDARRAY) || arguments[1].kind != TUPLE ||
            arguments[2].kind != BYTES)
            break;
        *result = (struct value){.kind = ARRAY};
        return true;
    case ENCODE:
        if (count != 2 || arguments[0].kind != TEXT || !is_text(&arguments[1], "latin1")) break;
        *result = (struct value){
            .kind = BYTES, .text = arguments[0].text, .text_bytes = arguments[0].text_bytes};
        return true;
    case NUMPY_DTYPE:
        return call_dtype(arguments, count, result, error);
    case NDARRAY:
        break;
    }
    return proto_fail(
        error, PROTO_DAMAGED,
        "REDUCE calls a numpy name with other arguments than an array of float64 has");
}

static bool build_dtype(const struct value *state, uint32_t count, struct value *result,
                        struct proto_error *error) {
    if (count < 2 || !is_number(&state[0], INTEGER, 3) || state[1].kind != TEXT)
        return proto_fail(error, PROTO_DAMAGED, "the state of a dtype is not (3, order, ...)");
    if (!is_text(&state[1], "<"))
        return proto_fail(error, PROTO_DAMAGED,
                          "the numbers are not little-endian: byte order is not \"<\"");
    for (uint32_t i = 2; i < count; i++)
        if (state[i].kind != NONE && state[i].kind != INTEGER)
            return proto_fail(error, PROTO_DAMAGED,
                              "the state of a dtype has %s, expected plain float64",
                              kind_names[state[i].kind]);
    *result = (struct value){.kind = DTYPE_BUILT};
    return true;
}

static bool build_array(const struct machine *machine, const struct value *state, uint32_t count,
                        struct value *result, struct proto_error *error) {
    if (count != 5 || !is_number(&state[0], INTEGER, 1) || state[1].kind != TUPLE ||
        state[2].kind != DTYPE_BUILT || state[3].kind != BOOLEAN || state[4].kind != BYTES)
        return proto_fail(error, PROTO_DAMAGED,
                          "the state of an array is not (1, shape, dtype, order, bytes)");
    const struct value *shape = &machine->items[state[1].first];
    if (state[1].count != 2 || shape[0].kind != INTEGER || shape[1].kind != INTEGER)
        return proto_fail(error, PROTO_DAMAGED,
                          "the array has %u dimensions, expected 2: [rows, "
                          "numbers]",
                          state[1].count);
    const int64_t rows = shape[0].number, columns = shape[1].number;
    if (rows < 1 || rows > EVALUATOR_PICKLE_ROWS_MAX || columns < 2 ||
        columns > EVALUATOR_PICKLE_COLUMNS_MAX)
        return proto_fail(error, PROTO_DAMAGED,
                          "the array is [%lld, %lld], expected [1..%d, 2..%d]", (long long)rows,
                          (long long)columns, EVALUATOR_PICKLE_ROWS_MAX,
                          EVALUATOR_PICKLE_COLUMNS_MAX);
    if (state[3].number != 0)
        return proto_fail(error, PROTO_DAMAGED, "the array is in Fortran order, expected C");
    *result = (struct value){.kind = BUILT,
                             .text = state[4].text,
                             .text_bytes = state[4].text_bytes,
                             .rows = (uint32_t)rows,
                             .columns = (uint32_t)columns};
    return true;
}

// ---- opcodes -----------------------------------------------------------------------------------

static bool op_global(struct machine *machine, struct proto_error *error) {
    char words[2][NAME_BYTES_MAX + 1];
    for (size_t i = 0; i < 2; i++) {
        const uint8_t *begin = machine->bytes + machine->at;
        const size_t left = machine->size - machine->at;
        const uint8_t *end = memchr(begin, '\n', left < NAME_BYTES_MAX ? left : NAME_BYTES_MAX);
        if (!end)
            return proto_fail(error, PROTO_DAMAGED, "a global name does not end within %d bytes",
                              NAME_BYTES_MAX);
        const size_t bytes = (size_t)(end - begin);
        for (size_t j = 0; j < bytes; j++)
            words[i][j] = begin[j] > ' ' && begin[j] < 0x7f ? (char)begin[j] : '?';
        words[i][bytes] = '\0';
        machine->at += bytes + 1;
    }
    for (size_t i = 0; i < PROTO_COUNT(names); i++)
        if (strcmp(words[0], names[i].module) == 0 && strcmp(words[1], names[i].name) == 0)
            return push(machine, (struct value){.kind = NAME, .number = names[i].known}, error);
    return proto_fail(
        error, PROTO_DAMAGED,
        "asks for %s.%s, which start states do not need; nothing was executed: do not "
        "open this file with Python",
        words[0], words[1]);
}

static bool op_reduce(struct machine *machine, struct proto_error *error) {
    struct value result = {0};
    const struct value *tuple = top(machine, 0, "REDUCE", error);
    const struct value *name = tuple ? top(machine, 1, "REDUCE", error) : NULL;
    if (!name) return false;
    if (name->kind != NAME || tuple->kind != TUPLE)
        return proto_fail(error, PROTO_DAMAGED, "REDUCE of %s with %s", kind_names[name->kind],
                          kind_names[tuple->kind]);
    if (!call(machine, name, tuple, &result, error)) return false;
    machine->depth -= 2;
    return push(machine, result, error);
}

static bool op_build(struct machine *machine, struct proto_error *error) {
    struct value result = {0};
    const struct value *tuple = top(machine, 0, "BUILD", error);
    const struct value *object = tuple ? top(machine, 1, "BUILD", error) : NULL;
    if (!object) return false;
    if (tuple->kind != TUPLE || (object->kind != DTYPE && object->kind != ARRAY))
        return proto_fail(error, PROTO_DAMAGED, "BUILD of %s with %s", kind_names[object->kind],
                          kind_names[tuple->kind]);
    const struct value *state = &machine->items[tuple->first];
    if (object->kind == DTYPE ? !build_dtype(state, tuple->count, &result, error)
                              : !build_array(machine, state, tuple->count, &result, error))
        return false;
    machine->depth -= 2;
    return push(machine, result, error);
}

static bool op_memo(struct machine *machine, bool put, struct proto_error *error) {
    const uint8_t *index = NULL;
    if (!take(machine, 1, &index, error)) return false;
    if (!put && !machine->memo_used[*index])
        return proto_fail(error, PROTO_DAMAGED, "BINGET of memo %u, which is empty", *index);
    if (!put) return push(machine, machine->memo[*index], error);
    const struct value *value = top(machine, 0, "BINPUT", error);
    if (!value) return false;
    machine->memo[*index] = *value;
    machine->memo_used[*index] = true;
    return true;
}

static bool op_integer(struct machine *machine, size_t bytes, struct proto_error *error) {
    const uint8_t *at = NULL;
    uint32_t number = 0;
    if (!take(machine, bytes, &at, error)) return false;
    for (size_t i = 0; i < bytes; i++) number |= (uint32_t)at[i] << 8 * i;
    // only the form of 4 bytes has a sign
    const int64_t value =
        bytes == 4 && number > INT32_MAX ? (int64_t)number - (INT64_C(1) << 32) : (int64_t)number;
    return push(machine, (struct value){.kind = INTEGER, .number = value}, error);
}

static bool op_text(struct machine *machine, struct proto_error *error) {
    const uint8_t *length = NULL, *text = NULL;
    if (!take(machine, 4, &length, error)) return false;
    const uint32_t bytes =
        (uint32_t)(length[0] | length[1] << 8 | length[2] << 16) | (uint32_t)length[3] << 24;
    if (!take(machine, bytes, &text, error)) return false;
    return push(machine, (struct value){.kind = TEXT, .text = text, .text_bytes = bytes}, error);
}

static bool step(struct machine *machine, uint8_t opcode, struct proto_error *error) {
    switch (opcode) {
    case '(':
        return push(machine, (struct value){.kind = MARK}, error);
    case 'N':
        return push(machine, (struct value){.kind = NONE}, error);
    case 0x88:
    case 0x89:
        return push(machine, (struct value){.kind = BOOLEAN, .number = opcode == 0x88}, error);
    case 'K':
        return op_integer(machine, 1, error);
    case 'M':
        return op_integer(machine, 2, error);
    case 'J':
        return op_integer(machine, 4, error);
    case 'X':
        return op_text(machine, error);
    case 'c':
        return op_global(machine, error);
    case 'q':
        return op_memo(machine, true, error);
    case 'h':
        return op_memo(machine, false, error);
    case 0x85:
    case 0x86:
    case 0x87:
        return make_tuple(machine, opcode - 0x84u, error);
    case 't':
        return tuple_to_mark(machine, error);
    case 'R':
        return op_reduce(machine, error);
    case 'b':
        return op_build(machine, error);
    default:
        return proto_fail(
            error, PROTO_DAMAGED, "opcode 0x%02x%s%c%s is not needed for start states and refused",
            opcode, opcode > ' ' && opcode < 0x7f ? " '" : "",
            opcode > ' ' && opcode < 0x7f ? opcode : ' ', opcode > ' ' && opcode < 0x7f ? "'" : "");
    }
}

bool evaluator_pickle_read(const uint8_t *bytes, size_t size, struct evaluator_pickle *pickle,
                           struct proto_error *error) {
    if (size < 2 || bytes[0] != 0x80 || bytes[1] != 2)
        return proto_fail(error, PROTO_DAMAGED, "no pickle of protocol 2, as torch.save writes it");
    struct machine *machine = proto_alloc(sizeof *machine, error);
    if (!machine) return false;
    *machine = (struct machine){.bytes = bytes, .size = size, .at = 2};
    bool done = false;
    while (machine->at < size) {
        const size_t at = machine->at++;
        done = bytes[at] == '.';
        if (done) break;
        if (step(machine, bytes[at], error)) continue;
        proto_error_where(error, "byte %zu", at);
        goto end;
    }
    if (!done) {
        proto_fail(error, PROTO_DAMAGED, "the pickle is cut off: it has no STOP");
    } else if (machine->at != size) {
        done = proto_fail(error, PROTO_DAMAGED, "%zu bytes behind STOP", size - machine->at);
    } else if (machine->depth != 1 || machine->stack[0].kind != BUILT) {
        done =
            proto_fail(error, PROTO_DAMAGED, "the pickle is %s, expected one array of float64",
                       machine->depth == 1 ? kind_names[machine->stack[0].kind] : "not one value");
    } else {
        *pickle = (struct evaluator_pickle){machine->stack[0].rows, machine->stack[0].columns,
                                            machine->stack[0].text, machine->stack[0].text_bytes};
    }
end:
    free(machine);
    return done;
}
