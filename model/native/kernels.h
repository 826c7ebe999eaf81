/* The two sums that all time goes into: a convolution of planes, and the correlation that gives a weight's slope.

   Both keep a tile of results in registers. Its sizes are constants wherever a tile is called, so that its loops are
   unrolled. */

#define OUTPUTS 4 /* channels of a tile */
#define ACROSS 3  /* vectors of a tile, or weights of one of slopes */

#if defined(__x86_64__)
#define KEEP(x) __asm__("" : "+x"(x)) /* in a register: as an operand in memory it would be read once for each use */
#elif defined(__aarch64__)
#define KEEP(x) __asm__("" : "+w"(x))
#else
#define KEEP(x)
#endif
#if LANES * 4 > 32 && !defined(__AVX512F__) || LANES * 4 > 16 && !defined(__AVX__) || LANES < 4
#undef KEEP
#define KEEP(x) /* more than one register */
#endif

enum { PLAIN, RELU, GATE };

/* out[o] = bias[o] + init[o] + Σ_k weight[o][k] · term[k], all but the weights planes. */
typedef struct {
    const float *const *term; /* where the first pixel of each is */
    int terms;
    const float *weight; /* as `pack` lays them out, with `all_terms` for each output, the first of which are used */
    int all_terms;
    const float *bias; /* by output; or none */
    const float *init; /* planes; or none */
    long init_plane;
    const float *gate; /* GATE: planes; only where they are above 0 is anything let through */
    long gate_plane;
    const bits *inside; /* RELU: all bits inside the image */
    float *out;
    long out_plane;
    int outputs, vectors;
} Convolution;

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
        vec x[ACROSS];
#pragma GCC unroll 8
        for (int v = 0; v < V; v++) x[v] = load(from + v * LANES);
#pragma GCC unroll 8
        for (int o = 0; o < O; o++)
#pragma GCC unroll 8
            for (int v = 0; v < V; v++) sum[o][v] += x[v] * w[k * O + o];
    }
#pragma GCC unroll 8
    for (int o = 0; o < O; o++)
#pragma GCC unroll 8
        for (int v = 0; v < V; v++) {
            vec y = sum[o][v];
            if (mode == RELU) /* NaN stays NaN, as in torch */
                y = (vec)((bits)y & ~(y <= 0) & c->inside[v0 + v]);
            if (mode == GATE) y = (vec)((bits)y & ~(load(c->gate + (o0 + o) * c->gate_plane + at + v * LANES) <= 0));
            store(c->out + (o0 + o) * c->out_plane + at + v * LANES, y);
        }
}
INLINE void convolve_outputs(const int O, const int mode, const Convolution *c, const float *w, int o0) {
    int v = 0;
    for (; v + ACROSS <= c->vectors; v += ACROSS) convolve_tile(O, ACROSS, mode, c, w, o0, v);
    if (c->vectors - v == 2) convolve_tile(O, 2, mode, c, w, o0, v);
    if (c->vectors - v == 1) convolve_tile(O, 1, mode, c, w, o0, v);
}
INLINE void convolve(const int mode, const Convolution *c) {
    const float *w = c->weight;
    int o = 0;
    for (; o + OUTPUTS <= c->outputs; o += OUTPUTS, w += OUTPUTS * c->all_terms) convolve_outputs(OUTPUTS, mode, c, w, o);
    if (c->outputs - o == 3) convolve_outputs(3, mode, c, w, o);
    if (c->outputs - o == 2) convolve_outputs(2, mode, c, w, o);
    if (c->outputs - o == 1) convolve_outputs(1, mode, c, w, o);
}
static __attribute__((noinline)) void convolve_plain(const Convolution *c) { convolve(PLAIN, c); }
static __attribute__((noinline)) void convolve_relu(const Convolution *c) { convolve(RELU, c); }
static __attribute__((noinline)) void convolve_gate(const Convolution *c) { convolve(GATE, c); }

/* Lay weights (O, I, taps) out for a convolution: by tile of outputs, then by term (input, tap), then by output. They are
   its terms from `first` on, of `all` in all. */
static void pack(const float *w, int O, int I, int taps, int all, int first, float *packed) {
    for (int o = 0; o < O; o += OUTPUTS) {
        int width = O - o < OUTPUTS ? O - o : OUTPUTS;
        float *to = packed + (long)o * all + (long)first * width;
        for (int k = 0; k < I * taps; k++)
            for (int j = 0; j < width; j++) to[k * width + j] = w[(long)(o + j) * I * taps + k];
    }
}
/* The same for the way back: the inputs are its outputs, and its terms (output, tap). Only taps that read `phase` are
   taken, or all where it is below 0. */
static void pack_back(const float *w, int O, int I, int pad, int phase, int all, int first, float *packed) {
    int taps = (2 * pad + 1) * (2 * pad + 1);
    for (int i = 0; i < I; i += OUTPUTS) {
        int width = I - i < OUTPUTS ? I - i : OUTPUTS;
        float *to = packed + (long)i * all + (long)first * width;
        for (int o = 0; o < O; o++)
            for (int tap = 0; tap < taps; tap++) {
                int dy = tap / (2 * pad + 1) - pad, dx = tap % (2 * pad + 1) - pad;
                if (phase >= 0 && phase_of(dy, dx) != phase) continue;
                for (int j = 0; j < width; j++) *to++ = w[((long)o * I + i + j) * taps + tap];
            }
    }
}

/* out[o][k] += Σ over steps and pixels of slope[o] · source[k], both planes. */
typedef struct {
    const float *const *slope; /* by step */
    long slope_plane;
    int outputs;
    const float *const *source; /* by step */
    const int *offset;          /* where each term lies in it */
    int terms, steps, vectors;
    float *out;
} Correlation;

INLINE void correlate_tile(const int O, const int K, const Correlation *c, int o0, int k0) {
    vec sum[OUTPUTS][ACROSS];
#pragma GCC unroll 8
    for (int o = 0; o < O; o++)
#pragma GCC unroll 8
        for (int k = 0; k < K; k++) sum[o][k] = (vec){0};
    for (int s = 0; s < c->steps; s++) {
        const float *slope = c->slope[s] + o0 * c->slope_plane, *from[ACROSS];
#pragma GCC unroll 8
        for (int k = 0; k < K; k++) from[k] = c->source[s] + c->offset[k0 + k];
        for (int v = 0; v < c->vectors; v++) {
            vec x[ACROSS];
#pragma GCC unroll 8
            for (int k = 0; k < K; k++) x[k] = load(from[k] + v * LANES);
#pragma GCC unroll 8
            for (int o = 0; o < O; o++) {
                vec d = load(slope + o * c->slope_plane + v * LANES);
                KEEP(d);
#pragma GCC unroll 8
                for (int k = 0; k < K; k++) sum[o][k] += d * x[k];
            }
        }
    }
#pragma GCC unroll 8
    for (int o = 0; o < O; o++)
#pragma GCC unroll 8
        for (int k = 0; k < K; k++) c->out[(long)(o0 + o) * c->terms + k0 + k] += sum_of(sum[o][k]);
}
INLINE void correlate_outputs(const int O, const Correlation *c, int o0) {
    int k = 0;
    for (; k + ACROSS <= c->terms; k += ACROSS) correlate_tile(O, ACROSS, c, o0, k);
    for (; k < c->terms; k++) correlate_tile(O, 1, c, o0, k);
}
static __attribute__((noinline)) void correlate(const Correlation *c) {
    int o = 0;
    for (; o + OUTPUTS <= c->outputs; o += OUTPUTS) correlate_outputs(OUTPUTS, c, o);
    if (c->outputs - o == 3) correlate_outputs(3, c, o);
    if (c->outputs - o == 2) correlate_outputs(2, c, o);
    if (c->outputs - o == 1) correlate_outputs(1, c, o);
}
