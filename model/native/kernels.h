/* The two sums that take nearly all of the time: the convolution of planes, and the correlation that gives a weight's
   gradient.

   Both keep a tile of results in registers. The sizes of a tile are constants in each call, so that its loops are
   unrolled. */

#define OUTPUTS 4 /* most channels of a tile */
#define ACROSS 9  /* most vectors of a convolution's tile, or weights of a correlation's */

/* Width of a tile of O channels. It fills the registers with sums, since each sum waits for its own last addition. */
#define ACROSS_OF(O) ((O) == 4 ? 3 : (O) == 3 ? 3 : (O) == 2 ? 5 : 9)

/* Channels of the next tile if `left` are left. All tiles get about the same number, since narrow tiles are slow. */
INLINE int tile_of(int left) {
    int tiles = (left + OUTPUTS - 1) / OUTPUTS;
    return (left + tiles - 1) / tiles;
}

#if defined(__x86_64__)
#define KEEP(x) __asm__("" : "+x"(x)) /* keeps x in a register; an operand in memory would be read at each use */
#elif defined(__aarch64__)
#define KEEP(x) __asm__("" : "+w"(x))
#else
#define KEEP(x) (void)(x)
#endif
#if LANES * 4 > 32 && !defined(__AVX512F__) || LANES * 4 > 16 && !defined(__AVX__) || LANES < 4
#undef KEEP
#define KEEP(x) (void)(x) /* a vector takes more than one register */
#endif

enum { PLAIN, RELU, GATE };

/* out[o] = bias[o] + init[o] + Σ_k weight[o][k] · term[k], all but the weights planes. */
typedef struct {
    const float *const *term; /* first pixel of each term */
    int terms;
    const float *weight; /* as `pack` lays them out, `all_terms` for each output, of which the first `terms` are used */
    int all_terms;
    const float *bias; /* by output; or none */
    const float *init; /* planes; or none */
    long init_plane;
    const float *gate; /* GATE: planes; outputs are 0 wherever these are not above 0 */
    long gate_plane;
    const bits *inside; /* RELU: all bits set for pixels inside the image, none outside */
    float *out;
    long out_plane;
    int outputs, vectors;
} Convolution;

/* Write the sums of a tile to planes. A function of its own, so that its variables take no registers from the sums. */
static __attribute__((noinline)) void finish(const int mode, const Convolution *c, const vec *sums, int O, int V, int o0, int v0) {
    long at = (long)v0 * LANES;
    for (int o = o0; o < o0 + O; o++) {
        float *out = c->out + o * c->out_plane + at;
        const float *gate = mode == GATE ? c->gate + o * c->gate_plane + at : 0;
        for (int v = 0; v < V; v++) {
            vec y = *sums++;
            if (mode == RELU) /* NaN stays NaN, as in torch */
                y = (vec)((bits)y & ~(y <= 0) & c->inside[v0 + v]);
            if (mode == GATE) y = (vec)((bits)y & ~(load(gate + v * LANES) <= 0));
            store(out + v * LANES, y);
        }
    }
}

INLINE void convolve_tile(const int O, const int V, const int mode, const Convolution *c, const float *w, int o0, int v0) {
    vec sum[OUTPUTS][ACROSS];
    long at = (long)v0 * LANES;
#pragma GCC unroll 8
    for (int o = 0; o < O; o++)
#pragma GCC unroll 8
        for (int v = 0; v < V; v++) {
            sum[o][v] = (vec){0} + (c->bias ? c->bias[o0 + o] : 0.0f);
            if (c->init) sum[o][v] += load(c->init + (o0 + o) * c->init_plane + at + v * LANES);
        }
    for (int k = 0; k < c->terms; k++) {
        const float *from = c->term[k] + at;
        if (V <= O) { /* the smaller set of operands stays in registers beside the sums */
            vec x[ACROSS];
#pragma GCC unroll 16
            for (int v = 0; v < V; v++) x[v] = load(from + v * LANES);
#pragma GCC unroll 8
            for (int o = 0; o < O; o++)
#pragma GCC unroll 16
                for (int v = 0; v < V; v++) sum[o][v] += x[v] * w[k * O + o];
        } else {
#pragma GCC unroll 16
            for (int v = 0; v < V; v++) {
                vec x = load(from + v * LANES);
#pragma GCC unroll 8
                for (int o = 0; o < O; o++) sum[o][v] += x * w[k * O + o];
            }
        }
    }
    vec sums[OUTPUTS * ACROSS];
#pragma GCC unroll 8
    for (int o = 0; o < O; o++)
#pragma GCC unroll 16
        for (int v = 0; v < V; v++) sums[o * V + v] = sum[o][v];
    finish(mode, c, sums, O, V, o0, v0);
}
INLINE void convolve_outputs(const int O, const int mode, const Convolution *c, const float *w, int o0) {
    const int V = ACROSS_OF(O);
    int v = 0;
    for (; v + V <= c->vectors; v += V) convolve_tile(O, V, mode, c, w, o0, v);
    if (V > 5 && c->vectors - v >= 5) convolve_tile(O, 5, mode, c, w, o0, v), v += 5;
    if (V > 4 && c->vectors - v >= 4) convolve_tile(O, 4, mode, c, w, o0, v), v += 4;
    if (V > 3 && c->vectors - v >= 3) convolve_tile(O, 3, mode, c, w, o0, v), v += 3;
    if (c->vectors - v == 2) convolve_tile(O, 2, mode, c, w, o0, v);
    if (c->vectors - v == 1) convolve_tile(O, 1, mode, c, w, o0, v);
}
INLINE void convolve(const int mode, const Convolution *c) {
    for (int o = 0, width; o < c->outputs; o += width) {
        const float *w = c->weight + (long)o * c->all_terms;
        width = tile_of(c->outputs - o);
        if (width == 4) convolve_outputs(4, mode, c, w, o);
        if (width == 3) convolve_outputs(3, mode, c, w, o);
        if (width == 2) convolve_outputs(2, mode, c, w, o);
        if (width == 1) convolve_outputs(1, mode, c, w, o);
    }
}
static __attribute__((noinline)) void convolve_plain(const Convolution *c) { convolve(PLAIN, c); }
static __attribute__((noinline)) void convolve_relu(const Convolution *c) { convolve(RELU, c); }
static __attribute__((noinline)) void convolve_gate(const Convolution *c) { convolve(GATE, c); }

/* Lay weights (O, I, taps) out for a convolution: by tile of outputs, then by term (input, tap), then by output. They
   become the terms from `first` on, of `all` terms in all. */
static void pack(const float *w, int O, int I, int taps, int all, int first, float *packed) {
    for (int o = 0, width; o < O; o += width) {
        width = tile_of(O - o);
        float *to = packed + (long)o * all + (long)first * width;
        for (int k = 0; k < I * taps; k++)
            for (int j = 0; j < width; j++) to[k * width + j] = w[(long)(o + j) * I * taps + k];
    }
}
/* The same for the backward pass: outputs are the inputs, and terms are (output, tap). Only taps that read `phase` are
   taken, or all taps if it is below 0. */
static void pack_back(const float *w, int O, int I, int pad, int phase, int all, int first, float *packed) {
    int taps = (2 * pad + 1) * (2 * pad + 1);
    for (int i = 0, width; i < I; i += width) {
        width = tile_of(I - i);
        float *to = packed + (long)i * all + (long)first * width;
        for (int o = 0; o < O; o++)
            for (int tap = 0; tap < taps; tap++) {
                int dy = tap / (2 * pad + 1) - pad, dx = tap % (2 * pad + 1) - pad;
                if (phase >= 0 && phase_of(dy, dx) != phase) continue;
                for (int j = 0; j < width; j++) *to++ = w[((long)o * I + i + j) * taps + tap];
            }
    }
}

/* out[o][k] += Σ over steps and pixels of slope[o] · source[k], both planes; a slope is a gradient. */
typedef struct {
    const float *const *slope; /* by step */
    long slope_plane;
    int outputs;
    const float *const *source; /* by step */
    const int *offset;          /* of each term in a source */
    int terms, steps, vectors;
    float *out;
} Correlation;

INLINE void correlate_tile(const int O, const int K, const Correlation *c, int o0, int k0) {
    vec sum[OUTPUTS][ACROSS];
#pragma GCC unroll 8
    for (int o = 0; o < O; o++)
#pragma GCC unroll 16
        for (int k = 0; k < K; k++) sum[o][k] = (vec){0};
    for (int s = 0; s < c->steps; s++) {
        const float *slope = c->slope[s] + o0 * c->slope_plane, *from[ACROSS];
#pragma GCC unroll 16
        for (int k = 0; k < K; k++) from[k] = c->source[s] + c->offset[k0 + k];
        for (int v = 0; v < c->vectors; v++) {
            if (K <= O) {
                vec x[ACROSS];
#pragma GCC unroll 16
                for (int k = 0; k < K; k++) x[k] = load(from[k] + v * LANES);
#pragma GCC unroll 8
                for (int o = 0; o < O; o++) {
                    vec d = load(slope + o * c->slope_plane + v * LANES);
                    KEEP(d);
#pragma GCC unroll 16
                    for (int k = 0; k < K; k++) sum[o][k] += d * x[k];
                }
            } else {
                vec d[OUTPUTS];
#pragma GCC unroll 8
                for (int o = 0; o < O; o++) {
                    d[o] = load(slope + o * c->slope_plane + v * LANES);
                    KEEP(d[o]);
                }
#pragma GCC unroll 16
                for (int k = 0; k < K; k++) {
                    vec x = load(from[k] + v * LANES);
                    if (O > 1) KEEP(x);
#pragma GCC unroll 8
                    for (int o = 0; o < O; o++) sum[o][k] += d[o] * x;
                }
            }
        }
    }
#pragma GCC unroll 8
    for (int o = 0; o < O; o++)
#pragma GCC unroll 16
        for (int k = 0; k < K; k++) c->out[(long)(o0 + o) * c->terms + k0 + k] += sum_of(sum[o][k]);
}
INLINE void correlate_outputs(const int O, const Correlation *c, int o0) {
    const int K = ACROSS_OF(O);
    int k = 0;
    for (; k + K <= c->terms; k += K) correlate_tile(O, K, c, o0, k);
    if (K > 4 && c->terms - k >= 4) correlate_tile(O, 4, c, o0, k), k += 4;
    for (; k < c->terms; k++) correlate_tile(O, 1, c, o0, k);
}
static __attribute__((noinline)) void correlate(const Correlation *c) {
    for (int o = 0, width; o < c->outputs; o += width) {
        width = tile_of(c->outputs - o);
        if (width == 4) correlate_outputs(4, c, o);
        if (width == 3) correlate_outputs(3, c, o);
        if (width == 2) correlate_outputs(2, c, o);
        if (width == 1) correlate_outputs(1, c, o);
    }
}
