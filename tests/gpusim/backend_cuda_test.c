// tests/gpusim/backend_cuda_test.c - what the CUDA backend adds to the table's promises, over the
// simulated GPU: products in bf16 and fp16 against sums in double of operands rounded here, copies
// of parameters that follow every write, attention in parts, and words for what goes wrong. The
// tests of tests/model run on it too. Tolerance of a product: k roundings of 6e-8 of terms of
// size 1.
#include "tests/model/device.h"

#include "model/backend_cuda.h"

#include <sys/wait.h>
#include <unistd.h>

static struct model_backend *cuda_open_at(enum model_precision precision) {
    struct model_backend *backend = NULL;
    struct proto_error error = {0};
    CHECK_OK(model_backend_open("cuda:0", 1, &backend, &error), error);
    CHECK_OK(model_backend_precision(backend, precision, &error), error);
    return backend;
}
// To the nearest number of the format, ties to even.
static double rounded(enum model_precision precision, double x) {
    int exponent = 0;
    if (precision == MODEL_F32 || x == 0) return x;
    (void)frexp(x, &exponent);
    const int digits = precision == MODEL_BF16 ? 8 : 11,
              least = precision == MODEL_BF16 ? -133 : -24;
    const double unit = ldexp(1, exponent - digits > least ? exponent - digits : least);
    return nearbyint(x / unit) * unit;
}

// ---- products ----

struct world {
    struct model_backend *backend;
    size_t m, n, k;
    float *a, *b, *c;     // host: [m, k], [n, k], [m, n]
    float *da, *db, *dc;  // device
};
static struct world world_of(enum model_precision precision, size_t m, size_t n, size_t k) {
    struct world w = {.backend = cuda_open_at(precision), .m = m, .n = n, .k = k};
    w.a = device_host(m * k, 1), w.b = device_host(n * k, 2), w.c = device_host(m * n, 3);
    w.da = device_floats(w.backend, w.a, m * k), w.db = device_floats(w.backend, w.b, n * k);
    w.dc = device_floats(w.backend, w.c, m * n);
    return w;
}
static void world_close(struct world *w) {
    free(w->a), free(w->b), free(w->c);
    model_backend_close(&w->backend);
}
// y = x W^T + c: d is what it must be for the host's a and b.
static void check_product(struct world *w) {
    struct proto_error error = {0};
    const enum model_precision p = model_backend_precision_of(w->backend);
    float *d = device_floats(w->backend, NULL, w->m * w->n);
    const struct model_gemm g = {.transpose_b = true,
                                 .m = w->m,
                                 .n = w->n,
                                 .k = w->k,
                                 .a = w->da,
                                 .a_stride = w->k,
                                 .b = w->db,
                                 .b_stride = w->k,
                                 .c = w->dc,
                                 .c_stride = w->n,
                                 .d = d,
                                 .d_stride = w->n};
    CHECK_OK(model_gemm(w->backend, &g, &error), error);
    float *found = device_back(w->backend, d, w->m * w->n);
    for (size_t r = 0; r < w->m; r++)
        for (size_t j = 0; j < w->n; j++) {
            double sum = w->c[r * w->n + j];
            for (size_t l = 0; l < w->k; l++)
                sum += rounded(p, w->a[r * w->k + l]) * rounded(p, w->b[j * w->k + l]);
            CHECK_NEAR(found[r * w->n + j], sum, 2e-7 * ((double)w->k + 8));
        }
    free(found);
    model_backend_free(w->backend, d);
}
static const enum model_precision precisions[] = {MODEL_F32, MODEL_BF16, MODEL_FP16};

TEST(products_read_rounded_operands) {
    const size_t shapes[][3] = {{1, 1, 1}, {3, 5, 7}, {17, 33, 9}, {64, 48, 20}, {5, 130, 129}};
    for (size_t p = 0; p < PROTO_COUNT(precisions); p++)
        for (size_t i = 0; i < PROTO_COUNT(shapes); i++) {
            struct world w = world_of(precisions[p], shapes[i][0], shapes[i][1], shapes[i][2]);
            check_product(&w);
            model_cuda_of(w.backend)->left_bytes_max = 1;  // in parts of eight rows
            check_product(&w);
            world_close(&w);
        }
}

// dW += dy^T x with the bias's gradient, then dx = dy W, which uses the rounded dy again; then the
// same after dy was written anew.
TEST(gradients_are_products_of_rounded_operands) {
    enum { M = 21, N = 13, K = 30 };  // rows, in, out
    for (size_t p = 0; p < PROTO_COUNT(precisions); p++)
        for (int parts = 0; parts < 2; parts++) {
            struct proto_error error = {0};
            struct model_backend *backend = cuda_open_at(precisions[p]);
            if (parts) model_cuda_of(backend)->left_bytes_max = 1;
            float *x = device_host(M * N, 1), *w = device_host(K * N, 2);
            float *dx = device_floats(backend, NULL, M * N),
                  *dw = device_floats(backend, NULL, K * N);
            float *sums = device_floats(backend, NULL, K),
                  *ddy = device_floats(backend, NULL, M * K);
            const float *in = device_floats(backend, x, M * N),
                        *weights = device_floats(backend, w, K * N);
            for (uint32_t round = 0; round < 2; round++) {
                float *dy = device_host(M * K, 3 + round);
                CHECK_OK(model_backend_upload(backend, ddy, dy, M * K * sizeof *dy, &error), error);
                CHECK_OK(model_backend_fill(backend, dw, 0, K * N * sizeof *dw, &error), error);
                CHECK_OK(model_backend_fill(backend, sums, 0, K * sizeof *sums, &error), error);
                const struct model_gemm first = {.transpose_a = true,
                                                 .m = K,
                                                 .n = N,
                                                 .k = M,
                                                 .a = ddy,
                                                 .a_stride = K,
                                                 .b = in,
                                                 .b_stride = N,
                                                 .c = dw,
                                                 .c_stride = N,
                                                 .d = dw,
                                                 .d_stride = N,
                                                 .a_sums = sums};
                const struct model_gemm second = {.m = M,
                                                  .n = N,
                                                  .k = K,
                                                  .a = ddy,
                                                  .a_stride = K,
                                                  .b = weights,
                                                  .b_stride = N,
                                                  .d = dx,
                                                  .d_stride = N};
                CHECK_OK(model_gemm(backend, &first, &error), error);
                CHECK_OK(model_gemm(backend, &second, &error), error);
                float *dw_found = device_back(backend, dw, K * N),
                      *dx_found = device_back(backend, dx, M * N);
                float *sums_found = device_back(backend, sums, K);
                for (size_t o = 0; o < K; o++) {
                    double sum = 0;  // of values as they are
                    for (size_t r = 0; r < M; r++) sum += dy[r * K + o];
                    CHECK_NEAR(sums_found[o], sum, 2e-7 * (M + 8));
                    for (size_t i = 0; i < N; i++) {
                        double s = 0;
                        for (size_t r = 0; r < M; r++)
                            s += rounded(precisions[p], dy[r * K + o]) *
                                 rounded(precisions[p], x[r * N + i]);
                        CHECK_NEAR(dw_found[o * N + i], s, 2e-7 * (M + 8));
                    }
                }
                for (size_t r = 0; r < M; r++)
                    for (size_t i = 0; i < N; i++) {
                        double s = 0;
                        for (size_t o = 0; o < K; o++)
                            s += rounded(precisions[p], dy[r * K + o]) *
                                 rounded(precisions[p], w[o * N + i]);
                        CHECK_NEAR(dx_found[r * N + i], s, 2e-7 * (K + 8));
                    }
                free(dy), free(dw_found), free(dx_found), free(sums_found);
            }
            free(x), free(w);
            model_backend_close(&backend);
        }
}

TEST(copies_of_parameters_follow_every_write) {
    for (size_t p = 1; p < PROTO_COUNT(precisions); p++) {
        struct proto_error error = {0};
        struct world w = world_of(precisions[p], 9, 16, 24);
        const size_t n = w.n * w.k, bytes = n * sizeof(float);
        CHECK_OK(model_backend_parameters(w.backend, w.db, n, &error), error);
        check_product(&w);
        CHECK(!model_backend_precision(w.backend, MODEL_F32, &error));
        CHECK_HAS(error.text, "before parameters are declared");
        // a part of them, not on a boundary
        for (size_t i = 5; i < 99; i++) w.b[i] = 0.7f * w.b[i];
        CHECK_OK(model_backend_upload(w.backend, w.db + 5, w.b + 5, 94 * 4, &error), error);
        check_product(&w);
        float *other = device_host(n, 9), *device = device_floats(w.backend, other, n);
        CHECK_OK(model_backend_copy(w.backend, w.db, device, bytes, &error), error);
        memcpy(w.b, other, bytes);
        check_product(&w);
        CHECK_OK(model_backend_fill(w.backend, w.db + 3, 0, 20, &error), error);
        memset(w.b + 3, 0, 20);
        check_product(&w);
        const struct model_adamw a = {.n = n,
                                      .p = w.db,
                                      .m = device_floats(w.backend, NULL, n),
                                      .v = device_floats(w.backend, NULL, n),
                                      .g = device,
                                      .gradient_scale = 1,
                                      .rate = 0.05,
                                      .beta1 = 0.9,
                                      .beta2 = 0.999,
                                      .epsilon = 1e-8,
                                      .correction1 = 0.1,
                                      .correction2 = 0.001};
        CHECK_OK(model_adamw(w.backend, &a, &error), error);
        float *now = device_back(w.backend, w.db, n);
        CHECK(memcmp(now, w.b, bytes) != 0);
        memcpy(w.b, now, bytes);
        check_product(&w);
        free(now), free(other);
        world_close(&w);
    }
}

TEST(a_product_reads_what_was_written_since_the_last) {
    for (size_t p = 1; p < PROTO_COUNT(precisions); p++) {
        struct proto_error error = {0};
        struct world w = world_of(precisions[p], 9, 16, 24);
        for (int round = 0; round < 3; round++) {
            check_product(&w);
            for (size_t i = 0; i < w.m * w.k; i++) w.a[i] = 0.9f * w.a[i] + 0.01f;
            CHECK_OK(model_backend_upload(w.backend, w.da, w.a, w.m * w.k * 4, &error), error);
        }
        check_product(&w);
        world_close(&w);
    }
}

// ---- attention ----

// y, dq, dk, dv and both gains of one attention; `scores` bounds the memory of its parts.
enum { BATCH = 3, HEADS = 4, QUERIES = 5, KEYS = 11, WIDTH = 8, ROW = HEADS * WIDTH };
struct attended {
    float *y, *dq, *dk, *dv, *dq_gain, *dk_gain;
};
static struct attended attend(struct model_backend *backend) {
    struct proto_error error = {0};
    enum { Q = BATCH * QUERIES * ROW, K = BATCH * KEYS * ROW };
    uint8_t mask[BATCH * KEYS];
    float *host = device_host(3 * K, 1), *x = device_floats(backend, host, 3 * K);
    float *out = device_floats(backend, NULL, 2 * Q + 2 * K + 2 * WIDTH);
    const size_t saved = model_attention_saved(backend, BATCH, HEADS, QUERIES, KEYS, WIDTH);
    for (size_t i = 0; i < sizeof mask; i++) mask[i] = i % KEYS == 0 || i % 3 != 1;
    for (size_t i = 0; i < WIDTH; i++) host[i] = 1.5f + host[i] / 4;
    const struct model_attention a = {.epsilon = 1e-3f,
                                      .batch = BATCH,
                                      .heads = HEADS,
                                      .queries = QUERIES,
                                      .keys = KEYS,
                                      .head_width = WIDTH,
                                      .q = x,
                                      .k = x + Q,
                                      .v = x + Q + K,
                                      .q_stride = ROW,
                                      .kv_stride = ROW,
                                      .q_gain = device_floats(backend, host, WIDTH),
                                      .k_gain = device_floats(backend, host, WIDTH),
                                      .mask = device_copy(backend, mask, sizeof mask),
                                      .y = out,
                                      .saved = device_floats(backend, NULL, saved)};
    const struct model_attention_backward b = {.forward = a,
                                               .dy = device_floats(backend, host + Q, Q),
                                               .dq = out + Q,
                                               .dk = out + 2 * Q,
                                               .dv = out + 2 * Q + K,
                                               .dq_gain = out + 2 * Q + 2 * K,
                                               .dk_gain = out + 2 * Q + 2 * K + WIDTH};
    CHECK_OK(model_attention(backend, &a, &error), error);
    CHECK_OK(model_attention_backward(backend, &b, &error), error);
    float *y = device_back(backend, out, 2 * Q + 2 * K + 2 * WIDTH);
    free(host);
    return (struct attended){
        y, y + Q, y + 2 * Q, y + 2 * Q + K, y + 2 * (Q + K), y + 2 * (Q + K) + WIDTH};
}
#define ATTENDED (2 * BATCH * (QUERIES + KEYS) * ROW + 2 * WIDTH)

TEST(attention_in_parts_is_attention) {
    for (size_t p = 0; p < PROTO_COUNT(precisions); p++) {
        const size_t head = QUERIES * (KEYS + 8) * sizeof(float);
        struct model_backend *backend = cuda_open_at(precisions[p]);
        struct attended whole = attend(backend);
        // one head, three heads, one sample, two samples at once
        const size_t limits[] = {1, 3 * head, HEADS * head, 2 * HEADS * head + head};
        for (size_t i = 0; i < PROTO_COUNT(limits); i++) {
            model_cuda_of(backend)->scores_bytes_max = limits[i];
            struct attended part = attend(backend);
            // gains are summed in another order
            for (size_t j = 0; j < ATTENDED; j++)
                CHECK_NEAR(part.y[j], whole.y[j], 1e-6 * fmax(1, fabs((double)whole.y[j])));
            free(part.y);
        }
        free(whole.y);
        model_backend_close(&backend);
    }
}

// The forward pass in double, with operands rounded where the backend rounds them.
static double reference_y(enum model_precision p, const float *x, size_t b, size_t h, size_t i,
                          size_t d) {
    const float *q = x + (b * QUERIES + i) * ROW + h * WIDTH;
    const float *k = x + BATCH * QUERIES * ROW + b * KEYS * ROW + h * WIDTH;
    const float *v = k + BATCH * KEYS * ROW;
    double score[KEYS], top = -INFINITY, sum = 0, y = 0, qn[WIDTH], kn[WIDTH];
    for (size_t l = 0; l < KEYS; l++) {
        for (int side = 0; side < 2; side++) {
            const float *row = side ? k + l * ROW : q;
            double mean = 0, square = 0;
            for (size_t e = 0; e < WIDTH; e++) mean += row[e] / (double)WIDTH;
            for (size_t e = 0; e < WIDTH; e++) square += (row[e] - mean) * (row[e] - mean);
            for (size_t e = 0; e < WIDTH; e++)
                (side ? kn : qn)[e] = rounded(p, row[e] * (double)(1.5f + x[e] / 4) /
                                                     sqrt(square / (WIDTH - 1) + 1e-3));
        }
        const bool seen = l == 0 || (b * KEYS + l) % 3 != 1;
        score[l] = 0;
        for (size_t e = 0; e < WIDTH; e++) score[l] += qn[e] * kn[e] / sqrt(WIDTH);
        if (!seen) score[l] = -INFINITY;
        top = fmax(top, score[l]);
    }
    for (size_t l = 0; l < KEYS; l++) sum += exp(score[l] - top);
    for (size_t l = 0; l < KEYS; l++)
        y += rounded(p, exp(score[l] - top) / sum) * rounded(p, v[l * ROW + d]);
    return y;
}
// A number that lies within a rounding of f32 of the middle between two of the format may go the
// other way here: some results in a hundred, by a few units of 16 bits. All others agree as f32
// does.
TEST(attention_reads_rounded_operands) {
    for (size_t p = 0; p < PROTO_COUNT(precisions); p++) {
        struct model_backend *backend = cuda_open_at(precisions[p]);
        struct attended found = attend(backend);
        float *x = device_host(3 * BATCH * KEYS * ROW, 1);
        size_t off = 0, all = 0;
        for (size_t b = 0; b < BATCH; b++)
            for (size_t i = 0; i < QUERIES; i++)
                for (size_t e = 0; e < ROW; e++, all++) {
                    const double y = reference_y(precisions[p], x, b, e / WIDTH, i, e % WIDTH);
                    const double error = fabs(found.y[(b * QUERIES + i) * ROW + e] - y);
                    CHECK(error <= (precisions[p] == MODEL_F32 ? 3e-6 : 8e-3));
                    off += error > 3e-6;
                }
        if (off > all / 20) fail_msg("%zu of %zu results are off", off, all);
        free(x), free(found.y);
        model_backend_close(&backend);
    }
}
// The way back in 16 bits is that in f32, within the format: u = 2^-8 or 2^-11 of each operand; the
// results' sums have up to 60 terms of both signs.
TEST(gradients_of_attention_are_those_of_f32_within_the_format) {
    struct model_backend *backend = cuda_open_at(MODEL_F32);
    struct attended exact = attend(backend);
    model_backend_close(&backend);
    for (size_t p = 1; p < PROTO_COUNT(precisions); p++) {
        const double u = precisions[p] == MODEL_BF16 ? 0x1p-8 : 0x1p-11;
        backend = cuda_open_at(precisions[p]);
        struct attended found = attend(backend);
        double worst = 0;
        for (size_t j = 0; j < ATTENDED; j++) {
            const double off = fabs((double)found.y[j] - (double)exact.y[j]);
            CHECK_NEAR(found.y[j], exact.y[j], 6 * u * fmax(1, fabs((double)exact.y[j])));
            worst = fmax(worst, off);
        }
        CHECK(worst > u / 16);  // it did round
        free(found.y);
        model_backend_close(&backend);
    }
    free(exact.y);
}

// ---- what goes wrong, each in a process of its own ----

// A step's calls; what it says is printed by main.
static bool everything(const char *device, size_t bytes, struct proto_error *error) {
    enum { N = 64 };
    struct model_backend *backend = NULL;
    float host[N * N] = {1, 2, 3}, *x = NULL, *y = NULL;
    if (!model_backend_open(device, 1, &backend, error)) return false;
    bool done = model_backend_precision(backend, MODEL_BF16, error);
    model_backend_purpose(backend, "weights");
    done = done && (x = model_backend_alloc(backend, sizeof host, error)) != NULL &&
           model_backend_parameters(backend, x, N * N, error) &&
           model_backend_upload(backend, x, host, sizeof host, error);
    model_backend_purpose(backend, "activations");
    done = done && (y = model_backend_alloc(backend, bytes, error)) != NULL;
    const struct model_gemm g = {.transpose_a = true,
                                 .m = N,
                                 .n = N,
                                 .k = N,
                                 .a = x,
                                 .a_stride = N,
                                 .b = x,
                                 .b_stride = N,
                                 .d = y,
                                 .d_stride = N,
                                 .a_sums = y + N * N};
    const struct model_attention a = {.epsilon = 1,
                                      .batch = 1,
                                      .heads = 2,
                                      .queries = N,
                                      .keys = N,
                                      .head_width = 8,
                                      .q = y,
                                      .k = y + 16,
                                      .v = y + 32,
                                      .q_stride = N,
                                      .kv_stride = N,
                                      .q_gain = x,
                                      .k_gain = x,
                                      .y = y + N * N};
    const struct model_sum_squares s = {
        .n = N * N, .x = y, .sum = (double *)(void *)(y + 3 * N * N)};
    double sum = 0;
    done = done && model_gemm(backend, &g, error) && model_attention(backend, &a, error) &&
           model_sum_squares(backend, &s, error) && model_backend_last(backend, error) &&
           model_backend_copy(backend, y + 2 * N * N, y, sizeof host, error) &&
           model_backend_download(backend, &sum, s.sum, sizeof sum, error) &&
           model_backend_wait(backend, error);
    // column sums and squares of the one row of numbers: (1, 2, 3)^T (1, 2, 3)
    if (done && sum != 196) done = proto_fail(error, PROTO_DAMAGED, "the sum is %g, not 196", sum);
    model_backend_free(backend, y);
    model_backend_free(backend, x);
    model_backend_close(&backend);
    return done;
}

static int child(char **arguments) {
    struct proto_error error = {0};
    const size_t bytes = strtoull(arguments[3], NULL, 10);
    if (everything(arguments[2], bytes, &error)) return 0;
    printf("%s: %s\n", error.where, error.text);
    return (int)error.status;
}
#define ENOUGH (4u * 64 * 64 * sizeof(float))

// Runs `everything` with one variable set; its exit code, and in `says` its words.
static int run(const char *name, const char *value, const char *device, size_t bytes,
               char says[static 1024]) {
    int ends[2], status = 0;
    char size[32];
    snprintf(size, sizeof size, "%zu", bytes);
    CHECK(pipe(ends) == 0);
    const pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        char self[] = "backend_cuda_test", flag[] = "--everything", place[32];
        snprintf(place, sizeof place, "%s", device);
        char *const arguments[] = {self, flag, place, size, NULL};
        (void)dup2(ends[1], STDOUT_FILENO);
        close(ends[0]), close(ends[1]);
        if (name) (void)setenv(name, value, 1);
        execv("/proc/self/exe", arguments);
        _exit(127);
    }
    close(ends[1]);
    size_t used = 0;
    for (ssize_t n = 1; n > 0 && used<1023; used += n> 0 ? (size_t)n : 0)
        n = read(ends[0], says + used, 1023 - used);
    says[used] = '\0';
    close(ends[0]);
    CHECK(waitpid(pid, &status, 0) == pid);
    if (!WIFEXITED(status)) fail_msg("%s=%s: killed by signal %d", name, value, WTERMSIG(status));
    return WEXITSTATUS(status);
}

TEST(failing_calls_are_errors_with_their_names) {
    static const struct {
        const char *call;
        int status;  // of the library
    } rows[] = {
        {"cudaSetDevice", 719},
        {"cudaStreamCreateWithFlags", 2},
        {"cudaEventCreateWithFlags", 2},
        {"cudaMalloc", 2},
        {"cudaHostAlloc", 2},
        {"cudaMemcpyAsync", 719},
        {"cudaMemsetAsync", 700},
        {"cudaEventRecord", 719},
        {"cudaEventSynchronize", 719},
        {"cudaStreamWaitEvent", 719},
        {"cudaLaunchKernel", 719},
        {"cublasLtCreate", 1},
        {"cublasLtMatmul", 13},
        {"cublasLtMatmulAlgoGetHeuristic", 14},
    };
    static const int places[] = {1, 2, 5};
    char says[1024], fault[128];
    for (size_t i = 0; i < PROTO_COUNT(rows); i++)
        for (size_t n = 0; n < PROTO_COUNT(places); n++) {
            snprintf(fault, sizeof fault, "%s:%d:%d", rows[i].call, places[n], rows[i].status);
            TEST_CASE(fault);
            const int code = run("GPUSIM_FAULT", fault, "cuda:0", ENOUGH, says);
            if (code == 0 && places[n] > 1) continue;  // fewer calls than that
            if (code != PROTO_FAILED && code != PROTO_EXHAUSTED && code != PROTO_MISSING)
                fail_msg("%s: exit code %d: %s", fault, code, says);
            CHECK_HAS(says, "cuda:0");
        }
}
// The library offers nothing for the fused forms: kernels do it, and the result is right.
TEST(a_form_that_is_not_offered_is_done_otherwise) {
    char says[1024];
    const int code =
        run("GPUSIM_FAULT", "cublasLtMatmulAlgoGetHeuristic:1:15", "cuda:0", ENOUGH, says);
    if (code != 0) fail_msg("exit code %d: %s", code, says);
}
TEST(missing_devices_are_named) {
    char says[1024];
    CHECK_INT(run("GPUSIM_DEVICES", "2", "cuda:2", ENOUGH, says), PROTO_MISSING);
    CHECK_HAS(says, "there is no GPU 2: this process sees 2, the last is cuda:1");
    CHECK_INT(run("CUDA_VISIBLE_DEVICES", "0", "cuda:1", ENOUGH, says), PROTO_MISSING);
    CHECK_HAS(says, "CUDA_VISIBLE_DEVICES is \"0\"");
    CHECK_INT(run("GPUSIM_DEVICES", "0", "cuda:0", ENOUGH, says), PROTO_MISSING);
    CHECK_HAS(says, "no usable NVIDIA driver");
    CHECK_INT(run("GPUSIM_DRIVER", "12080", "cuda:0", ENOUGH, says), PROTO_MISSING);
    CHECK_HAS(says, "this one can do CUDA 12.8, the program needs 13.");
    CHECK_INT(run("PIPELINE_CUDA_MODULE", "/nowhere.so", "cuda:0", ENOUGH, says), PROTO_MISSING);
    CHECK_HAS(says, "/nowhere.so");
    CHECK_INT(
        run("PIPELINE_CUDA_MODULE", "/lib/x86_64-linux-gnu/libm.so.6", "cuda:0", ENOUGH, says),
        PROTO_MISSING);
    CHECK_HAS(says, "pipeline_cuda_module");
}
TEST(a_full_device_says_what_holds_it) {
    char says[1024];
    CHECK_INT(run("GPUSIM_MEMORY", "67108864", "cuda:0", 60u << 20, says), PROTO_EXHAUSTED);
    CHECK_HAS(says, "is full: 60.0 MiB asked for activations, 31.9 MiB of 64.0 MiB are free");
    CHECK_HAS(says, "are free. This process holds 32.1 MiB: ");
    CHECK_HAS(says, "workspace of products 32.0 MiB");
    CHECK_HAS(says, "weights 16384 bytes");
}
TEST(a_lost_device_is_said_to_be_lost) {
    char says[1024];
    CHECK_INT(run("GPUSIM_FAULT", "cudaLaunchKernel:9:719", "cuda:0", ENOUGH, says), PROTO_FAILED);
    CHECK_HAS(says, "was lost");
}
// The real module, where it was built, on a machine without a driver.
TEST(the_real_module_says_that_there_is_no_driver) {
    char says[1024];
    if (!*TESTS_CUDA_MODULE || access("/dev/nvidiactl", F_OK) == 0) skip();
    CHECK_INT(run("PIPELINE_CUDA_MODULE", TESTS_CUDA_MODULE, "cuda:0", ENOUGH, says),
              PROTO_MISSING);
    CHECK_HAS(says, "no usable NVIDIA driver");
}

TEST(memory_is_accounted_by_purpose) {
    struct proto_error error = {0};
    struct model_backend *backend = cuda_open_at(MODEL_F32);
    struct model_backend_memory before, now;
    CHECK_OK(model_backend_memory(backend, &before, &error), error);
    model_backend_purpose(backend, "weights");
    void *first = device_copy(backend, NULL, 5 << 20),
         *second = device_copy(backend, NULL, 1 << 20);
    CHECK_OK(model_backend_memory(backend, &now, &error), error);
    CHECK_INT(now.held_bytes, before.held_bytes + (6 << 20));
    size_t found = 0;
    for (size_t i = 0; i < now.count; i++)
        if (strcmp(now.held[i].purpose, "weights") == 0) found = now.held[i].bytes;
    CHECK_INT(found, 6 << 20);
    CHECK(now.free_bytes < before.free_bytes && now.total_bytes == before.total_bytes);
    CHECK((uintptr_t)first % 256 == 0);
    model_backend_free(backend, first);
    model_backend_free(backend, second);
    CHECK_OK(model_backend_memory(backend, &now, &error), error);
    CHECK_INT(now.held_bytes, before.held_bytes);
    model_backend_close(&backend);
}
// The host runs far ahead: every slot is used again before its first piece has moved.
TEST(many_small_moves_do_not_overtake_each_other) {
    enum { MOVES = 40 * MODEL_CUDA_SLOTS, EACH = 24 };
    struct proto_error error = {0};
    struct model_backend *backend = cuda_open_at(MODEL_F32);
    float *host = device_host(MOVES * EACH, 1),
          *device = device_floats(backend, NULL, MOVES * EACH);
    for (size_t i = 0; i < MOVES; i++)
        CHECK_OK(model_backend_upload(backend, device + i * EACH, host + i * EACH,
                                      EACH * sizeof *host, &error),
                 error);
    float *back = device_back(backend, device, MOVES * EACH);
    CHECK(memcmp(host, back, MOVES * EACH * sizeof *host) == 0);
    free(host), free(back);
    model_backend_close(&backend);
}
// Longer than a piece, and more pieces than slots.
TEST(moves_come_back_whole) {
    struct proto_error error = {0};
    struct model_backend *backend = cuda_open_at(MODEL_F32);
    const size_t n = MODEL_CUDA_PIECE_BYTES / 4 * (MODEL_CUDA_SLOTS + 2) + 3;
    float *host = device_host(n, 1), *device = device_floats(backend, host, n);
    float *back = device_back(backend, device, n);
    CHECK(memcmp(host, back, n * sizeof *host) == 0);
    CHECK_OK(model_backend_last(backend, &error), error);
    free(host), free(back);
    model_backend_close(&backend);
}

int main(int count, char **arguments) {
    if (count == 4 && strcmp(arguments[1], "--everything") == 0) return child(arguments);
    const struct CMUnitTest units[] = {
        UNIT(products_read_rounded_operands),
        UNIT(gradients_are_products_of_rounded_operands),
        UNIT(copies_of_parameters_follow_every_write),
        UNIT(a_product_reads_what_was_written_since_the_last),
        UNIT(attention_in_parts_is_attention),
        UNIT(attention_reads_rounded_operands),
        UNIT(gradients_of_attention_are_those_of_f32_within_the_format),
        UNIT(failing_calls_are_errors_with_their_names),
        UNIT(a_form_that_is_not_offered_is_done_otherwise),
        UNIT(missing_devices_are_named),
        UNIT(a_full_device_says_what_holds_it),
        UNIT(a_lost_device_is_said_to_be_lost),
        UNIT(the_real_module_says_that_there_is_no_driver),
        UNIT(memory_is_accounted_by_purpose),
        UNIT(many_small_moves_do_not_overtake_each_other),
        UNIT(moves_come_back_whole),
    };
    return cmocka_run_group_tests(units, NULL, NULL);
}
