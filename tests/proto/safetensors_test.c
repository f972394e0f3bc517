// tests/proto/safetensors_test.c - what a broken or hostile safetensors file can say, and the words
// it gets back; what we write, the official package opens.
#include "proto/files.h"
#include "proto/safetensors.h"
#include "tests/check.h"

#include <math.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[256], path[300];
static int begin(void **state) {
    (void)state;
    check_folder(folder);
    snprintf(path, sizeof path, "%s/x.safetensors", folder);
    return 0;
}
static int end(void **state) {
    (void)state;
    struct proto_error error;
    return proto_folder_remove(folder, &error) ? 0 : -1;
}

// A file out of a header's text and `data_bytes` bytes of data, with a header size that may lie.
static void put(const char *header, uint64_t size_said, size_t data_bytes) {
    struct proto_error error = {0};
    const size_t length = strlen(header);
    uint8_t *bytes = calloc(1, 8 + length + data_bytes);
    for (int i = 0; i < 8; i++) bytes[i] = (uint8_t)(size_said >> 8 * i);
    memcpy(bytes + 8, header, length);
    for (size_t i = 0; i < data_bytes; i++) bytes[8 + length + i] = (uint8_t)i;
    CHECK_OK(proto_file_write(path, bytes, 8 + length + data_bytes, &error), error);
    free(bytes);
}

// Two tensors, a: F32 [2, 3] at 0..24, b: U8 [4] at 24..28.
#define GOOD_A "\"a\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]}"
#define B(dtype, shape, offsets)                                                                   \
    "{" GOOD_A ",\"b\":{\"dtype\":" dtype ",\"shape\":" shape ",\"data_offsets\":" offsets "}}"

TEST(safetensors_each_lying_field_is_refused_by_name) {
    static const struct {
        const char *name, *header, *where, *says;
    } cases[] = {
        {"overlap", B("\"U8\"", "[8]", "[20,28]"), ": b", "overlapping"},
        {"gap", B("\"U8\"", "[3]", "[25,28]"), ": b", "leaving a gap"},
        {"hole at the end", B("\"U8\"", "[3]", "[24,27]"), "", "tensors end at 27"},
        {"past the end", B("\"U8\"", "[5]", "[24,29]"), ": b", "outside the 28 bytes"},
        {"backwards", B("\"U8\"", "[0]", "[28,24]"), ": b", "outside"},
        {"larger than its bytes", B("\"U8\"", "[5]", "[24,28]"), ": b", "needs 5 elements"},
        {"smaller than its bytes", B("\"F32\"", "[2]", "[24,28]"), ": b", "needs 2 elements"},
        {"product overflows", B("\"U8\"", "[4294967296,4294967296,4]", "[24,28]"), ": b",
         "overflows"},
        {"product wraps to the right number", B("\"U8\"", "[4611686018427387905,4]", "[24,28]"),
         ": b", "overflows"},
        {"bytes overflow", B("\"F64\"", "[4611686018427387904]", "[24,28]"), ": b", "needs"},
        {"negative size", B("\"U8\"", "[-4]", "[24,28]"), ": b", "shape[0]"},
        {"size is real", B("\"U8\"", "[4.0]", "[24,28]"), ": b", "shape[0]"},
        {"size is text", B("\"U8\"", "[\"4\"]", "[24,28]"), ": b", "shape[0]"},
        {"nine dimensions", B("\"U8\"", "[1,1,1,1,1,1,1,1,4]", "[24,28]"), ": b: shape",
         "at most 8"},
        {"shape is no array", B("\"U8\"", "4", "[24,28]"), ": b: shape", "an array"},
        {"negative offset", B("\"U8\"", "[4]", "[-24,28]"), ": b", "whole numbers"},
        {"offset past 64 bit", B("\"U8\"", "[4]", "[24,18446744073709551644]"), "header",
         "too big"},
        {"one offset", B("\"U8\"", "[4]", "[24]"), ": b", "two whole numbers"},
        {"three offsets", B("\"U8\"", "[4]", "[24,28,28]"), ": b: data_offsets", "at most 2"},
        {"unknown dtype", B("\"F8_E4M3\"", "[4]", "[24,28]"), ": b", "F8_E4M3"},
        {"dtype is a number", B("4", "[4]", "[24,28]"), ": b: dtype", "must be a text"},
        {"no dtype", "{" GOOD_A ",\"b\":{\"shape\":[4],\"data_offsets\":[24,28]}}", ": b: dtype",
         "missing"},
        {"no offsets", "{" GOOD_A ",\"b\":{\"shape\":[4],\"dtype\":\"U8\"}}", ": b: data_offsets",
         "missing"},
        {"unknown key",
         "{" GOOD_A ",\"b\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[24,"
         "28],\"x\":1}}",
         ": b", "\"x\""},
        {"duplicate tensor", "{" GOOD_A "," GOOD_A "}", "header", "duplicate"},
        {"duplicate key",
         "{\"a\":{\"dtype\":\"U8\",\"dtype\":\"U8\",\"shape\":[28],"
         "\"data_offsets\":[0,28]}}",
         "header", "duplicate"},
        {"entry is no object", "{" GOOD_A ",\"b\":[]}", ": b", "must be an object"},
        {"header is an array", "[1]", "", "does not begin with '{'"},
        {"leading space", " {}", "", "does not begin with '{'"},
        {"no JSON", "{\"a\"", "header", "JSON"},
        {"metadata is an array", "{\"__metadata__\":[]}", "", "__metadata__"},
        {"metadata of numbers", "{\"__metadata__\":{\"k\":1}}", "", "k must be a text"},
        {"no tensors, but data", "{}", "", "tensors end at 0"},
    };
    for (size_t i = 0; i < PROTO_COUNT(cases); i++) {
        struct proto_error error = {0};
        struct proto_safetensors *file = NULL;
        TEST_CASE(cases[i].name);
        put(cases[i].header, strlen(cases[i].header), 28);
        CHECK(!proto_safetensors_open(path, &file, &error));
        CHECK(file == NULL);
        CHECK_INT(error.status, PROTO_DAMAGED);
        CHECK_HAS(error.where, "x.safetensors");
        CHECK_HAS(error.where, cases[i].where);
        CHECK_HAS(error.text, cases[i].says);
    }
    TEST_CASE("");
}

TEST(safetensors_the_size_of_the_header_is_checked_before_it_is_used) {
    static const struct {
        uint64_t said;
        const char *says;
    } cases[] = {
        {0, "begin with"},
        {UINT64_MAX, "at most"},
        {1ull << 63, "at most"},
        {UINT64_MAX - 7, "at most"},
        {(16u << 20) + 1, "at most 16777216"},
        {16u << 20, "only 10"},
        {3, "only 10"},
        {1, "JSON"},
    };
    struct proto_error error = {0};
    struct proto_safetensors *file = NULL;
    for (size_t i = 0; i < PROTO_COUNT(cases); i++) {
        put("{}", cases[i].said, 0);
        CHECK(!proto_safetensors_open(path, &file, &error));
        CHECK_INT(error.status, PROTO_DAMAGED);
        CHECK_HAS(error.text, cases[i].says);
    }
    for (size_t size = 0; size < 8; size++) {
        CHECK_OK(proto_file_write(path, "\0\0\0\0\0\0\0", size, &error), error);
        CHECK(!proto_safetensors_open(path, &file, &error));
        CHECK_HAS(error.text, "8 and more");
    }
    CHECK(!proto_safetensors_open("/nonexistent", &file, &error));
    CHECK_HAS(error.text, "No such file");
    CHECK(!proto_safetensors_open(folder, &file, &error));
    put("{}", 2, 0);
    CHECK_OK(proto_safetensors_open(path, &file, &error), error);
    CHECK_INT(proto_safetensors_count(file), 0);
    CHECK(proto_safetensors_find(file, "a") == NULL);
    proto_safetensors_close(&file);
    proto_safetensors_close(&file);
}

// The file that the next tests write and damage.
static const float weights[6] = {1, -2.5f, 3e-40f, INFINITY, 0, 6};
static const double doubles[2] = {0.1, -3};
static const struct proto_tensor_out tensors[] = {
    {"z.weight", PROTO_F32, 2, {2, 3}, weights}, {"empty", PROTO_F32, 2, {0, 7}, NULL},
    {"odd", PROTO_U8, 1, {3}, "\1\2\377"},       {"a.double", PROTO_F64, 1, {2}, doubles},
    {"scalar", PROTO_BOOL, 0, {0}, "\1"},
};
static const char *const metadata[][2] = {{"format", "pt"}, {"step", "17"}};

static void write_file(void) {
    struct proto_error error = {0};
    CHECK_OK(proto_safetensors_write(path, tensors, PROTO_COUNT(tensors), metadata, 2, &error),
             error);
}

TEST(safetensors_what_was_written_is_read_back) {
    struct proto_error error = {0};
    struct proto_safetensors *file = NULL;
    float out[6];
    write_file();
    CHECK_OK(proto_safetensors_open(path, &file, &error), error);
    CHECK_INT(proto_safetensors_count(file), 5);
    CHECK_TEXT(proto_safetensors_at(file, 0)->name, "a.double");
    CHECK_TEXT(proto_safetensors_at(file, 4)->name, "z.weight");
    CHECK_TEXT(proto_safetensors_metadata(file, "step"), "17");
    CHECK(proto_safetensors_metadata(file, "none") == NULL);
    const struct proto_tensor_info *info = proto_safetensors_find(file, "z.weight");
    CHECK(info && info->dtype == PROTO_F32 && info->dimensions == 2);
    CHECK_INT(info->shape[0], 2);
    CHECK_INT(info->shape[1], 3);
    CHECK(memcmp(proto_safetensors_data(file, info), weights, sizeof weights) == 0);
    CHECK(!proto_safetensors_read_f32(file, info, out, 5, &error));
    CHECK_HAS(error.where, "z.weight");
    CHECK_HAS(error.text, "has 6 elements, expected 5");
    // at an odd address
    info = proto_safetensors_find(file, "a.double");
    CHECK_OK(proto_safetensors_read_f32(file, info, out, 2, &error), error);
    CHECK(out[0] == 0.1f && out[1] == -3);
    info = proto_safetensors_find(file, "odd");
    CHECK_OK(proto_safetensors_read_f32(file, info, out, 3, &error), error);
    CHECK(out[2] == 255);
    info = proto_safetensors_find(file, "empty");
    CHECK_OK(proto_safetensors_read_f32(file, info, out, 0, &error), error);
    info = proto_safetensors_find(file, "scalar");
    CHECK_INT(info->elements, 1);
    CHECK_OK(proto_safetensors_read_f32(file, info, out, 1, &error), error);
    CHECK(out[0] == 1);
    proto_safetensors_close(&file);
}

TEST(safetensors_data_begins_at_a_multiple_of_eight) {
    struct proto_error error = {0};
    char *data = NULL, name[32] = "";
    size_t size = 0;
    for (int i = 0; i < 9; i++) {
        struct proto_tensor_out tensor = {name, PROTO_U8, 1, {1}, "x"};
        memset(name, 'n', (size_t)i + 1);
        CHECK_OK(proto_safetensors_write(path, &tensor, 1, NULL, 0, &error), error);
        CHECK_OK(proto_file_read(path, 10000, PROTO_DAMAGED, &data, &size, &error), error);
        CHECK_INT(data[0] % 8, 0);
        CHECK_INT(8 + (unsigned char)data[0] + 1, size);
        free(data);
    }
}

// Oracle: IEEE 754 by hand; every half-precision number against the definition with ldexp.
TEST(safetensors_every_dtype_becomes_f32_exactly) {
    static const struct {
        enum proto_dtype dtype;
        uint8_t bytes[8];
        float value;
    } cases[] = {
        {PROTO_F16, {0x00, 0x3c}, 1},
        {PROTO_F16, {0x01, 0x80}, -0x1p-24f},
        {PROTO_F16, {0xff, 0x7b}, 65504},
        {PROTO_F16, {0x00, 0xfc}, -INFINITY},
        {PROTO_BF16, {0x80, 0x3f}, 1},
        {PROTO_BF16, {0x00, 0xc0}, -2},
        {PROTO_I8, {0xff}, -1},
        {PROTO_U16, {0xff, 0xff}, 65535},
        {PROTO_I16, {0xff, 0xff}, -1},
        {PROTO_U32, {0, 0, 0, 0x80}, 0x1p31f},
        {PROTO_I32, {0, 0, 0, 0x80}, -0x1p31f},
        {PROTO_BOOL, {1}, 1},
        {PROTO_U64, {0, 0, 0, 0, 0, 0, 0, 0x80}, 0x1p63f},
        {PROTO_I64, {0, 0, 0, 0, 0, 0, 0, 0x80}, -0x1p63f},
        {PROTO_F64, {0, 0, 0, 0, 0, 0, 0xf0, 0x3f}, 1},
    };
    struct proto_error error = {0};
    struct proto_safetensors *file = NULL;
    for (size_t i = 0; i < PROTO_COUNT(cases); i++) {
        const struct proto_tensor_out tensor = {"t", cases[i].dtype, 1, {1}, cases[i].bytes};
        float out = NAN;
        TEST_CASE(proto_dtype_name(cases[i].dtype));
        CHECK_OK(proto_safetensors_write(path, &tensor, 1, NULL, 0, &error), error);
        CHECK_OK(proto_safetensors_open(path, &file, &error), error);
        CHECK_OK(proto_safetensors_read_f32(file, proto_safetensors_at(file, 0), &out, 1, &error),
                 error);
        CHECK(out == cases[i].value);
        proto_safetensors_close(&file);
    }
    TEST_CASE("");
    static uint16_t halves[65536];
    static float floats[65536];
    for (unsigned i = 0; i < 65536; i++) halves[i] = (uint16_t)i;
    const struct proto_tensor_out tensor = {"t", PROTO_F16, 1, {65536}, halves};
    CHECK_OK(proto_safetensors_write(path, &tensor, 1, NULL, 0, &error), error);
    CHECK_OK(proto_safetensors_open(path, &file, &error), error);
    CHECK_OK(proto_safetensors_read_f32(file, proto_safetensors_at(file, 0), floats, 65536, &error),
             error);
    for (int i = 0; i < 65536; i++) {
        const int exponent = i >> 10 & 31, fraction = i & 1023;
        const double size = exponent == 0    ? ldexp(fraction, -24)
                            : exponent == 31 ? (fraction ? (double)NAN : (double)INFINITY)
                                             : ldexp(1024 + fraction, exponent - 25);
        const double expected = i & 0x8000 ? -size : size;
        CHECK((isnan(expected) && isnan(floats[i])) || (double)floats[i] == expected);
        CHECK(!signbit(floats[i]) == !(i & 0x8000));
    }
    proto_safetensors_close(&file);
}

TEST(safetensors_every_dtype_has_its_name_and_size) {
    for (int dtype = PROTO_F32; dtype <= PROTO_BOOL; dtype++) {
        enum proto_dtype found;
        CHECK(proto_dtype_parse(proto_dtype_name((enum proto_dtype)dtype), &found));
        CHECK_INT(found, dtype);
        CHECK(proto_dtype_size(found) >= 1 && proto_dtype_size(found) <= 8);
    }
    enum proto_dtype found;
    CHECK(!proto_dtype_parse("f32", &found) && !proto_dtype_parse("", &found));
}

TEST(safetensors_what_a_reader_would_refuse_is_not_written) {
    struct proto_error error = {0};
    static const struct proto_tensor_out same[] = {{"a", PROTO_U8, 1, {1}, "x"},
                                                   {"a", PROTO_U8, 1, {1}, "y"}};
    static const struct proto_tensor_out reserved = {"__metadata__", PROTO_U8, 1, {1}, "x"};
    static const struct proto_tensor_out bytes = {"\xff", PROTO_U8, 1, {1}, "x"};
    static const struct proto_tensor_out nine = {"n", PROTO_U8, 9, {1}, "x"};
    static const struct proto_tensor_out huge = {"h", PROTO_F64, 2, {SIZE_MAX / 8, 2}, "x"};
    CHECK(!proto_safetensors_write(path, same, 2, NULL, 0, &error));
    CHECK_HAS(error.text, "two tensors");
    CHECK(!proto_safetensors_write(path, &reserved, 1, NULL, 0, &error));
    CHECK(!proto_safetensors_write(path, &bytes, 1, NULL, 0, &error));
    CHECK(!proto_safetensors_write(path, &nine, 1, NULL, 0, &error));
    CHECK(!proto_safetensors_write(path, &huge, 1, NULL, 0, &error));
    CHECK(!proto_path_exists(path));
}

// Opens a damaged file and, when it opens, touches every byte it gives access to.
static void open_and_touch(double *sum) {
    struct proto_error error = {0};
    struct proto_safetensors *file = NULL;
    float out[64];
    if (!proto_safetensors_open(path, &file, &error)) {
        CHECK(error.text[0] != '\0' && error.status != PROTO_DONE);
        return;
    }
    for (size_t i = 0; i < proto_safetensors_count(file); i++) {
        const struct proto_tensor_info *info = proto_safetensors_at(file, i);
        CHECK(proto_safetensors_find(file, info->name) == info);
        const uint8_t *data = proto_safetensors_data(file, info);
        for (size_t k = 0; k < info->size_bytes; k++) *sum += data[k];
        if (info->elements <= 64)
            CHECK_OK(proto_safetensors_read_f32(file, info, out, info->elements, &error), error);
    }
    proto_safetensors_close(&file);
}

// splitmix64: a damage is replayed from its number.
static uint64_t draw(uint64_t *dice) {
    uint64_t x = *dice += 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

TEST(safetensors_twenty_thousand_damaged_files_never_crash) {
    struct proto_error error = {0};
    char *good = NULL, name[32];
    size_t size = 0;
    double sum = 0;
    write_file();
    CHECK_OK(proto_file_read(path, 10000, PROTO_DAMAGED, &good, &size, &error), error);
    char *bytes = malloc(size);
    static const char interesting[] = "0123456789-[]{},:\"\\ \0\377aF";
    for (uint64_t damage = 0; damage < 20000; damage++) {
        uint64_t dice = damage;
        size_t length = size;
        snprintf(name, sizeof name, "damage %d", (int)damage);
        TEST_CASE(name);
        memcpy(bytes, good, size);
        for (uint64_t n = draw(&dice) % 4 + 1; n > 0; n--) {
            // half of the damages hit the size, or digits of the header
            const size_t at = draw(&dice) % (draw(&dice) % 2 ? size : 12);
            bytes[at] = draw(&dice) % 2 ? interesting[draw(&dice) % (sizeof interesting - 1)]
                                        : (char)draw(&dice);
        }
        if (draw(&dice) % 8 == 0) length = draw(&dice) % (size + 1);
        // not proto_file_write: 40,000 fsyncs would take minutes and prove nothing here
        FILE *file = fopen(path, "wb");
        CHECK(file && fwrite(bytes, 1, length, file) == length && fclose(file) == 0);
        open_and_touch(&sum);
    }
    TEST_CASE("");
    CHECK(sum > 0);
    free(bytes);
    free(good);
}

TEST(safetensors_a_header_of_many_tensors_is_read_and_the_limit_holds) {
    struct proto_error error = {0};
    struct proto_safetensors *file = NULL;
    const size_t count = 20000;
    struct proto_tensor_out *many = calloc(PROTO_TENSORS_MAX + 1, sizeof *many);
    char(*names)[16] = calloc(count, sizeof *names);
    for (size_t i = 0; i < count; i++) {
        snprintf(names[i], sizeof names[i], "%d", (int)i);
        many[i] = (struct proto_tensor_out){names[i], PROTO_U8, 1, {1}, "x"};
    }
    CHECK(!proto_safetensors_write(path, many, PROTO_TENSORS_MAX + 1, NULL, 0, &error));
    CHECK_HAS(error.text, "at most");
    CHECK_OK(proto_safetensors_write(path, many, count, NULL, 0, &error), error);
    CHECK_OK(proto_safetensors_open(path, &file, &error), error);
    CHECK_INT(proto_safetensors_count(file), count);
    for (size_t i = 0; i < count; i += 97) {
        const struct proto_tensor_info *info = proto_safetensors_find(file, names[i]);
        CHECK(info && info->begin == i);
    }
    proto_safetensors_close(&file);
    free(names);
    free(many);
}

static int python(const char *program) {
    const pid_t child = fork();
    if (child == 0) {
        execlp("python3", "python3", "-c", program, path, (char *)NULL);
        _exit(127);
    }
    int status = 0;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

// Oracle: the official package. It sees our file, and we see its.
TEST(safetensors_the_official_package_opens_our_files_and_we_open_its) {
    struct proto_error error = {0};
    struct proto_safetensors *file = NULL;
    float out[6];
    if (python("import sys\n"
               "try:\n"
               "    import numpy, safetensors.numpy\n"
               "except Exception:\n"
               "    sys.exit(77)\n") != 0) {
        print_message("needs python3 with safetensors and numpy\n");
        skip();
    }
    // aligned data only: numpy refuses others, and our checkpoints are F32 throughout
    static const struct proto_tensor_out ours[] = {
        {"z.weight", PROTO_F32, 2, {2, 3}, weights},
        {"a.double", PROTO_F64, 1, {2}, doubles},
        {"empty", PROTO_F32, 2, {0, 7}, NULL},
    };
    CHECK_OK(proto_safetensors_write(path, ours, 3, metadata, 2, &error), error);
    CHECK_INT(python("import sys, numpy, safetensors\n"
                     "with safetensors.safe_open(sys.argv[1], 'numpy') as f:\n"
                     "    assert sorted(f.keys()) == ['a.double', 'empty', 'z.weight']\n"
                     "    assert f.metadata() == {'format': 'pt', 'step': '17'}\n"
                     "    z = f.get_tensor('z.weight')\n"
                     "    assert z.dtype == numpy.float32 and z.shape == (2, 3)\n"
                     "    w = numpy.array([1, -2.5, 3e-40, numpy.inf, 0, 6], 'f4')\n"
                     "    assert z.tobytes() == w.tobytes()\n"
                     "    assert list(f.get_tensor('a.double')) == [0.1, -3]\n"
                     "    assert f.get_tensor('empty').shape == (0, 7)\n"
                     "from safetensors.numpy import save_file\n"
                     "save_file({'h': z.astype('f2'), 'n': numpy.arange(3), 'b': z > 0,\n"
                     "           's': numpy.array(7, 'f4')}, sys.argv[1], {'k': 'v'})\n"),
              0);
    CHECK_OK(proto_safetensors_open(path, &file, &error), error);
    CHECK_INT(proto_safetensors_count(file), 4);
    CHECK_TEXT(proto_safetensors_metadata(file, "k"), "v");
    CHECK_OK(proto_safetensors_read_f32(file, proto_safetensors_find(file, "h"), out, 6, &error),
             error);
    CHECK(out[1] == -2.5f && isinf(out[3]) && out[5] == 6);
    CHECK_OK(proto_safetensors_read_f32(file, proto_safetensors_find(file, "n"), out, 3, &error),
             error);
    CHECK(out[2] == 2);
    CHECK_OK(proto_safetensors_read_f32(file, proto_safetensors_find(file, "s"), out, 1, &error),
             error);
    CHECK(out[0] == 7);
    proto_safetensors_close(&file);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, begin, end)
TEST_MAIN(CASE(safetensors_each_lying_field_is_refused_by_name),
          CASE(safetensors_the_size_of_the_header_is_checked_before_it_is_used),
          CASE(safetensors_what_was_written_is_read_back),
          CASE(safetensors_data_begins_at_a_multiple_of_eight),
          CASE(safetensors_every_dtype_becomes_f32_exactly),
          CASE(safetensors_every_dtype_has_its_name_and_size),
          CASE(safetensors_what_a_reader_would_refuse_is_not_written),
          CASE(safetensors_twenty_thousand_damaged_files_never_crash),
          CASE(safetensors_a_header_of_many_tensors_is_read_and_the_limit_holds),
          CASE(safetensors_the_official_package_opens_our_files_and_we_open_its))
