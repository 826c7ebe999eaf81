/* The recurrence of a lattice, unrolled over its steps, and its backward pass. It computes what
   `sweeper.model.recurrence` does with torch, but one image in one network at a time, so that every state stays in the
   first caches. Gradients are called slopes.

   All functions take a range of networks and of images, so that a caller may divide the work. They return 0, or -1 if
   memory runs out. Arrays are float32 and C-contiguous, except the images, whose strides are given. */
#include "planes.h"
#include "kernels.h"

/* A part of the work: networks and images of the batch, each from the first up to, not including, the last. */
typedef struct {
    int64_t batch, first_network, last_network, first_image, last_image;
} Range;

/* Weights of all networks by layer: (P, C_l, I_l, k, k), (P, C_l), (P, C_l, C_l, k, k), (P, C_l, C_{l+1}, k, k). */
typedef struct {
    const float *up[MOST_LAYERS], *bias[MOST_LAYERS], *lateral[MOST_LAYERS], *down[MOST_LAYERS];
} Weights;

static void read_weights(const Sizes *z, const float *const *flat, Weights *w) {
    int n = 0;
    for (int l = 0; l < z->layers; l++) w->up[l] = flat[n++];
    for (int l = 0; l < z->layers; l++) w->bias[l] = flat[n++];
    for (int l = 0; l < z->layers; l++) w->lateral[l] = z->steps > 1 ? flat[n++] : 0;
    for (int l = 0; l + 1 < z->layers; l++) w->down[l] = z->steps > 1 ? flat[n++] : 0;
}

/* Return the first weight of one network. */
INLINE const float *of_network(const float *weights, int64_t p, long outputs, long inputs, long taps) {
    return weights + p * outputs * inputs * taps;
}

/* Whether layer l's top-down input is part of its joined convolution; not if the layer above has another side. */
INLINE int joins_above(const Sizes *z, int l) { return l + 1 < z->layers && z->stride[l + 1] == 1; }

int64_t sweeper_record_floats(const int32_t *sizes) {
    Sizes z;
    read_sizes(&z, sizes);
    return z.record;
}

/* ---- forward ---- */

typedef struct {
    Sizes z;
    Memory memory;
    /* By layer: packed weights of all of its inputs, and their number of terms. Layer 0's bottom-up input is separate,
       since the image's drive is the same at every step. */
    float *packed[MOST_LAYERS];
    int terms[MOST_LAYERS];
    float *packed_image, *drive;
    /* If the layer above is smaller: top-down input at the side of that layer, and at this layer's side. */
    float *packed_down[MOST_LAYERS], *coarse[MOST_LAYERS], *fine[MOST_LAYERS];
    int *up[MOST_LAYERS], *same[MOST_LAYERS]; /* offsets of taps: of bottom-up input, and of a layer's own planes */
    bits *inside[MOST_LAYERS];
    const float **term;
    float *scratch; /* replaces the record if none is kept: room for two steps in turn */
} Forward;

static int prepare_forward(Forward *f, int keeps) {
    const Sizes *z = &f->z;
    Memory *m = &f->memory;
    int K = z->taps, most = z->image_channels * K;
    for (int l = 0; l < z->layers; l++) {
        int c = z->channels[l], above = l + 1 < z->layers && z->steps > 1 ? z->channels[l + 1] : 0;
        int joins = joins_above(z, l);
        f->terms[l] = ((l ? z->channels[l - 1] : 0) + (z->steps > 1 ? c : 0) + (joins ? above : 0)) * K;
        if (f->terms[l] > most) most = f->terms[l];
        if (above * K > most) most = above * K;
        f->packed[l] = floats(m, (long)c * f->terms[l]);
        f->packed_down[l] = f->coarse[l] = f->fine[l] = 0;
        if (above && !joins) {
            f->packed_down[l] = floats(m, (long)c * above * K);
            f->coarse[l] = floats(m, c * z->side[l + 1].plane);
            f->fine[l] = zeros(m, c * z->side[l].plane);
        }
        f->up[l] = numbers(m, (long)inputs_of(z, l) * K);
        f->same[l] = numbers(m, (long)c * K);
        f->inside[l] = (bits *)zeros(m, (long)z->side[l].vectors * LANES);
    }
    f->packed_image = floats(m, (long)z->channels[0] * z->image_channels * K);
    f->drive = zeros(m, z->channels[0] * z->side[0].plane);
    f->term = places(m, most);
    f->scratch = keeps ? 0 : floats(m, 2 * z->step + z->record - z->step * z->steps);
    if (m->failed) return -1;
    for (int l = 0; l < z->layers; l++) {
        Side s = z->side[l];
        /* A layer reads planes from below that have its own side, or phases, which have its own side too. */
        taps_of(z, s, inputs_of(z, l), z->stride[l] == 2, 1, f->up[l]);
        taps_of(z, s, z->channels[l], 0, 1, f->same[l]);
        int32_t *inside = (int32_t *)f->inside[l];
        for (int y = 0; y < s.height; y++)
            for (int x = 0; x < s.width; x++) inside[y * s.row + x] = -1;
    }
    return 0;
}

static void pack_forward(Forward *f, const Weights *w, int64_t p) {
    const Sizes *z = &f->z;
    int K = z->taps;
    pack(of_network(w->up[0], p, z->channels[0], z->image_channels, K), z->channels[0], z->image_channels, K,
         z->image_channels * K, 0, f->packed_image);
    for (int l = 0; l < z->layers; l++) {
        int c = z->channels[l], at = 0, all = f->terms[l];
        if (l) {
            int below = z->channels[l - 1];
            pack(of_network(w->up[l], p, c, below, K), c, below, K, all, 0, f->packed[l]);
            at = below * K;
        }
        if (z->steps == 1) continue;
        pack(of_network(w->lateral[l], p, c, c, K), c, c, K, all, at, f->packed[l]);
        if (l + 1 == z->layers) continue;
        int above = z->channels[l + 1];
        const float *down = of_network(w->down[l], p, c, above, K);
        if (f->packed_down[l]) pack(down, c, above, K, above * K, 0, f->packed_down[l]);
        else pack(down, c, above, K, all, at + c * K, f->packed[l]);
    }
}

/* Write layer l's top-down input from a smaller layer into `fine`; for the first layer add the image's drive. */
static void come_down(Forward *f, int l, const float *above) {
    const Sizes *z = &f->z;
    Side s = z->side[l], small = z->side[l + 1];
    int terms = z->channels[l + 1] * z->taps;
    for (int k = 0; k < terms; k++) f->term[k] = above + small.front + f->same[l + 1][k];
    Convolution c = {f->term, terms, f->packed_down[l], terms, 0, 0, 0, 0, 0, 0,
                     f->coarse[l], small.plane, z->channels[l], small.vectors};
    convolve_plain(&c);
    for (int ch = 0; ch < z->channels[l]; ch++)
        for (int y = 0; y < s.height; y++) {
            float *to = f->fine[l] + ch * s.plane + y * s.row;
            const float *from = f->coarse[l] + ch * small.plane + (y >> 1) * small.row;
            for (int x = 0; x < s.width; x++) to[x] = from[x >> 1];
            if (l) continue;
            const float *drive = f->drive + ch * s.plane + y * s.row;
            for (int x = 0; x < s.width; x++) to[x] += drive[x];
        }
}

/* Compute a layer's state at step t from the records of this step and the one before, and pool it. */
static void step_layer(Forward *f, const float *bias, int l, int t, float *now, const float *before, float *features) {
    const Sizes *z = &f->z;
    Side s = z->side[l];
    int K = z->taps, c = z->channels[l], n = 0;
    const float *init = l ? 0 : f->drive;
    if (t && f->packed_down[l]) {
        come_down(f, l, before + z->state[l + 1]);
        init = f->fine[l];
    }
    /* Missing terms are the last packed ones. The one exception is step 0 of a network whose bottom-up input takes a
       step: there all terms are missing. */
    if (l && t >= z->delay) {
        const float *below = z->delay ? before : now;
        below += (z->stride[l] == 2 ? z->phases[l - 1] : z->state[l - 1]) + s.front;
        for (int k = 0; k < z->channels[l - 1] * K; k++) f->term[n++] = below + f->up[l][k];
    }
    if (t) {
        const float *own = before + z->state[l] + s.front;
        for (int k = 0; k < c * K; k++) f->term[n++] = own + f->same[l][k];
        if (joins_above(z, l)) {
            const float *above = before + z->state[l + 1] + s.front;
            for (int k = 0; k < z->channels[l + 1] * K; k++) f->term[n++] = above + f->same[l + 1][k];
        }
    }
    float *state = now + z->state[l];
    clear_around(state, c, s);
    Convolution convolution = {f->term, n, f->packed[l], f->terms[l], l ? bias : 0, init, s.plane, 0, 0, f->inside[l],
                               state + s.front, s.plane, c, s.vectors};
    convolve_relu(&convolution);
    for (int ch = 0; ch < c; ch++) {
        const float *h = state + ch * s.plane + s.front;
        vec sum = {0};
        for (int v = 0; v < s.vectors; v++) sum += load(h + v * LANES);
        features[ch] = sum_of(sum) / (s.height * s.width);
        if (l + 1 < z->layers && z->stride[l + 1] == 2)
            lay_out(h, s.row, s.height, s.width, z->side[l + 1], 1,
                    now + z->phases[l] + (long)ch * 4 * z->side[l + 1].plane);
    }
}

/* Pool the states of every step into features (T, B, P, F). Images are at b · image_stride + p · network_stride, each
   (C, H, W). If records are given, (P, B, sweeper_record_floats), write into them what `sweeper_backward` needs. */
int sweeper_forward(const int32_t *sizes, const Range *range, const float *images, int64_t image_stride,
                    int64_t network_stride, const float *const *weights, float *features, float *records) {
    Forward f = {.memory = {.count = 0}};
    Weights w;
    read_sizes(&f.z, sizes);
    const Sizes *z = &f.z;
    read_weights(z, weights, &w);
    int failed = prepare_forward(&f, records != 0), halves = z->stride[0] == 2;
    int terms = z->image_channels * z->taps;
    for (int64_t p = range->first_network; !failed && p < range->last_network; p++) {
        pack_forward(&f, &w, p);
        for (int64_t b = range->first_image; b < range->last_image; b++) {
            float *record = records ? records + (p * range->batch + b) * z->record : f.scratch;
            float *image = record + z->step * (records ? z->steps : 2);
            const float *pixels = images + b * image_stride + p * network_stride;
            for (int c = 0; c < z->image_channels; c++)
                lay_out(pixels + (long)c * z->image_height * z->image_width, z->image_width, z->image_height,
                        z->image_width, z->side[0], halves, image + (long)c * (halves ? 4 : 1) * z->side[0].plane);
            for (int k = 0; k < terms; k++) f.term[k] = image + z->side[0].front + f.up[0][k];
            Convolution first = {f.term, terms, f.packed_image, terms, w.bias[0] + p * z->channels[0], 0, 0, 0, 0, 0,
                                 f.drive, z->side[0].plane, z->channels[0], z->side[0].vectors};
            convolve_plain(&first);
            for (int t = 0; t < z->steps; t++) {
                float *now = record + z->step * (records ? t : t & 1);
                const float *before = records ? now - z->step : record + z->step * (~t & 1);
                float *pooled = features + ((t * range->batch + b) * z->networks + p) * z->features;
                for (int l = 0; l < z->layers; l++)
                    step_layer(&f, w.bias[l] + p * z->channels[l], l, t, now, before, pooled + z->first_feature[l]);
            }
        }
    }
    give_back(&f.memory);
    return failed;
}

/* ---- backward ---- */

#define SUMMED 128 /* least number of vectors that a sum runs over before its lanes are added up */

typedef struct {
    Sizes z;
    Memory memory;
    /* Number of images whose slopes are kept at once: weights' slopes are summed over them before lanes are added up. */
    int together;
    /* By image: slopes before the relu of all steps, and one step of zeros behind, (T + 1) · step; a layer's planes
       begin at `slope`. For a halving layer, the slopes of the layer below, summed over the pixels that one of its own
       pixels feeds top-down, begin at `folded`. */
    float *slopes;
    long step, slope[MOST_LAYERS], folded[MOST_LAYERS];
    /* By layer: packed weights of all that a state feeds, and their number of terms. If the layer above halves, its
       weights are packed separately by phase; their results are kept by phase, and then at this layer's side. */
    float *packed[MOST_LAYERS], *packed_up[MOST_LAYERS][4], *by_phase[MOST_LAYERS], *from_above[MOST_LAYERS];
    int terms[MOST_LAYERS], phase_terms[MOST_LAYERS][4];
    int *up[MOST_LAYERS], *same[MOST_LAYERS], *back[MOST_LAYERS];
    const float **term, **slope_at, **source_at;
    float *pooled, *image_slope;
} Backward;

static int prepare_backward(Backward *f) {
    Sizes *z = &f->z;
    Memory *m = &f->memory;
    int K = z->taps, most = K;
    f->step = 0;
    for (int l = 0; l < z->layers; l++) {
        f->slope[l] = f->step;
        f->step += z->channels[l] * z->side[l].plane;
        f->folded[l] = f->step;
        if (l && z->stride[l] == 2) f->step += z->channels[l - 1] * z->side[l].plane;
    }
    long vectors = (long)z->steps * z->side[z->layers - 1].vectors;
    f->together = vectors >= SUMMED ? 1 : (SUMMED + vectors - 1) / vectors;
    f->slopes = zeros(m, f->together * f->step * (z->steps + 1));
    for (int l = 0; l < z->layers; l++) {
        int c = z->channels[l], above = l + 1 < z->layers ? z->channels[l + 1] : 0, joins = joins_above(z, l);
        f->terms[l] = ((joins ? above : 0) + (z->steps > 1 ? c + (l ? z->channels[l - 1] : 0) : 0)) * K;
        if (f->terms[l] > most) most = f->terms[l];
        if (above * K > most) most = above * K;
        f->packed[l] = floats(m, (long)c * f->terms[l]);
        f->up[l] = numbers(m, (long)inputs_of(z, l) * K);
        f->same[l] = numbers(m, (long)c * K);
        f->back[l] = numbers(m, (long)c * K);
        f->from_above[l] = f->by_phase[l] = 0;
        if (above && !joins) {
            f->from_above[l] = zeros(m, c * z->side[l].plane);
            f->by_phase[l] = floats(m, 4 * c * z->side[l + 1].plane);
            for (int phase = 0; phase < 4; phase++) {
                f->phase_terms[l][phase] = 0;
                for (int dy = -z->pad; dy <= z->pad; dy++)
                    for (int dx = -z->pad; dx <= z->pad; dx++) f->phase_terms[l][phase] += (phase_of(dy, dx) == phase) * above;
                f->packed_up[l][phase] = floats(m, (long)c * f->phase_terms[l][phase]);
            }
        }
    }
    f->term = places(m, most);
    f->slope_at = places(m, (long)z->steps * f->together);
    f->source_at = places(m, (long)z->steps * f->together);
    f->pooled = floats(m, z->features);
    f->image_slope = floats(m, (long)f->together * z->channels[0] * z->side[0].plane);
    if (m->failed) return -1;
    for (int l = 0; l < z->layers; l++) {
        taps_of(z, z->side[l], inputs_of(z, l), z->stride[l] == 2, 1, f->up[l]);
        taps_of(z, z->side[l], z->channels[l], 0, 1, f->same[l]);
        taps_of(z, z->side[l], z->channels[l], 0, -1, f->back[l]);
    }
    return 0;
}

static void pack_backward(Backward *f, const Weights *w, int64_t p) {
    const Sizes *z = &f->z;
    int K = z->taps;
    for (int l = 0; l < z->layers; l++) {
        int c = z->channels[l], at = 0, all = f->terms[l];
        if (l + 1 < z->layers) {
            int above = z->channels[l + 1];
            const float *up = of_network(w->up[l + 1], p, above, c, K);
            if (f->from_above[l])
                for (int phase = 0; phase < 4; phase++)
                    pack_back(up, above, c, z->pad, phase, f->phase_terms[l][phase], 0, f->packed_up[l][phase]);
            else {
                pack_back(up, above, c, z->pad, -1, all, 0, f->packed[l]);
                at = above * K;
            }
        }
        if (z->steps == 1) continue;
        pack_back(of_network(w->lateral[l], p, c, c, K), c, c, z->pad, -1, all, at, f->packed[l]);
        if (!l) continue;
        int below = z->channels[l - 1];
        pack_back(of_network(w->down[l - 1], p, below, c, K), below, c, z->pad, -1, all, at + c * K, f->packed[l]);
    }
}

/* Write into `from_above` the slopes that a halving layer, whose slopes are given, passes back to layer l, with one
   convolution for each phase. */
static void halved_back(Backward *f, int l, const float *slopes) {
    const Sizes *z = &f->z;
    Side s = z->side[l], small = z->side[l + 1];
    const float *from = slopes + small.front;
    for (int phase = 0; phase < 4; phase++) {
        int n = 0;
        for (int o = 0; o < z->channels[l + 1]; o++)
            for (int dy = -z->pad; dy <= z->pad; dy++)
                for (int dx = -z->pad; dx <= z->pad; dx++)
                    if (phase_of(dy, dx) == phase)
                        f->term[n++] = from + o * small.plane - (half_down(dy) * small.row + half_down(dx));
        Convolution c = {f->term, n, f->packed_up[l][phase], n, 0, 0, 0, 0, 0, 0,
                         f->by_phase[l] + phase * small.plane, 4 * small.plane, z->channels[l], small.vectors};
        convolve_plain(&c);
    }
    for (int ch = 0; ch < z->channels[l]; ch++)
        for (int y = 0; y < s.height; y++) {
            float *to = f->from_above[l] + ch * s.plane + y * s.row;
            const float *even = f->by_phase[l] + ch * 4 * small.plane + (y & 1) * 2 * small.plane + (y >> 1) * small.row;
            const float *odd = even + small.plane;
            for (int x = 0; x + 1 < s.width; x += 2) {
                to[x] = even[x >> 1];
                to[x + 1] = odd[x >> 1];
            }
            if (s.width & 1) to[s.width - 1] = even[s.width >> 1];
        }
}

/* Sum the slopes of a layer's state over the pixels that each pixel of the smaller layer above feeds top-down. */
static void fold(const float *slopes, int channels, Side s, Side small, float *to) {
    memset(to, 0, channels * small.plane * sizeof(float));
    for (int ch = 0; ch < channels; ch++)
        for (int y = 0; y < s.height; y++) {
            const float *from = slopes + ch * s.plane + s.front + y * s.row;
            float *row = to + ch * small.plane + small.front + (y >> 1) * small.row;
            for (int x = 0; x + 1 < s.width; x += 2) row[x >> 1] += from[x] + from[x + 1];
            if (s.width & 1) row[s.width >> 1] += from[s.width - 1];
        }
}

/* Compute the slope of h[l,t] before its relu, from the slopes of the states that it feeds. */
static void slope_layer(Backward *f, int l, int t, float *slopes, const float *now, const float *feature_slopes) {
    const Sizes *z = &f->z;
    Side s = z->side[l];
    int K = z->taps, c = z->channels[l], n = 0;
    float *here = slopes + f->step * t, *next = here + f->step;
    const float *init = 0;
    if (l + 1 < z->layers && t + z->delay < z->steps) {
        const float *above = (z->delay ? next : here) + f->slope[l + 1];
        if (f->from_above[l]) {
            halved_back(f, l, above);
            init = f->from_above[l];
        } else
            for (int k = 0; k < z->channels[l + 1] * K; k++) f->term[n++] = above + s.front + f->back[l + 1][k];
    }
    if (t + 1 < z->steps) {
        const float *own = next + f->slope[l] + s.front;
        for (int k = 0; k < c * K; k++) f->term[n++] = own + f->back[l][k];
        if (l) {
            const float *below = next + (z->stride[l] == 2 ? f->folded[l] : f->slope[l - 1]) + s.front;
            for (int i = 0; i < z->channels[l - 1]; i++)
                for (int k = 0; k < K; k++) f->term[n++] = below + i * s.plane + f->back[l][k];
        }
    }
    for (int ch = 0; ch < c; ch++) f->pooled[ch] = feature_slopes[ch] / (s.height * s.width);
    Convolution convolution = {f->term, n, f->packed[l], f->terms[l], f->pooled, init, s.plane,
                               now + z->state[l] + s.front, s.plane, 0, here + f->slope[l] + s.front, s.plane, c, s.vectors};
    convolve_gate(&convolution);
    if (t && l + 1 < z->layers && z->stride[l + 1] == 2)
        fold(here + f->slope[l], c, s, z->side[l + 1], here + f->folded[l + 1]);
}

/* Add the contribution of some images, whose records are adjacent, to the slopes of layer l's weights. The slopes of
   all of their states must be computed already. */
static void weigh_layer(Backward *f, const Weights *slopes, int64_t p, int l, const float *records, int images) {
    const Sizes *z = &f->z;
    Side s = z->side[l];
    int K = z->taps, c = z->channels[l], below = inputs_of(z, l), n = 0;
    long of_image = f->step * (z->steps + 1), of_drive = c * s.plane;
    float *bias = (float *)slopes->bias[l] + p * c;
    for (int ch = 0; ch < c; ch++) {
        vec all = {0};
        for (int i = 0; i < images; i++)
            for (int v = 0; v < s.vectors; v++) {
                vec sum = {0};
                const float *from = f->slopes + i * of_image + f->slope[l] + ch * s.plane + s.front + v * LANES;
                for (int t = 0; t < z->steps; t++) sum += load(from + f->step * t);
                if (!l) store(f->image_slope + i * of_drive + ch * s.plane + v * LANES, sum);
                all += sum;
            }
        bias[ch] += sum_of(all);
    }
    for (int i = 0; i < images; i++) {
        const float *its = f->slopes + i * of_image, *record = records + i * z->record;
        if (!l) { /* the image is the same at every step, so the slopes are summed first */
            f->slope_at[n] = f->image_slope + i * of_drive;
            f->source_at[n++] = record + z->step * z->steps + s.front;
        } else
            for (int t = z->delay; t < z->steps; t++, n++) {
                f->slope_at[n] = its + f->step * t + f->slope[l] + s.front;
                f->source_at[n] = record + z->step * (t - z->delay) + s.front +
                                  (z->stride[l] == 2 ? z->phases[l - 1] : z->state[l - 1]);
            }
    }
    Correlation up = {f->slope_at, s.plane, c, f->source_at, f->up[l], below * K, n, s.vectors,
                      (float *)slopes->up[l] + p * c * below * K};
    correlate(&up);
    if (z->steps == 1) return;
    n = 0;
    for (int i = 0; i < images; i++)
        for (int t = 1; t < z->steps; t++, n++) {
            f->slope_at[n] = f->slopes + i * of_image + f->step * t + f->slope[l] + s.front;
            f->source_at[n] = records + i * z->record + z->step * (t - 1) + z->state[l] + s.front;
        }
    Correlation lateral = {f->slope_at, s.plane, c, f->source_at, f->same[l], c * K, n, s.vectors,
                           (float *)slopes->lateral[l] + p * c * c * K};
    correlate(&lateral);
    if (l + 1 == z->layers) return;
    Side high = z->side[l + 1];
    int above = z->channels[l + 1];
    long slope = z->stride[l + 1] == 2 ? f->folded[l + 1] : f->slope[l];
    n = 0;
    for (int i = 0; i < images; i++)
        for (int t = 1; t < z->steps; t++, n++) {
            f->slope_at[n] = f->slopes + i * of_image + f->step * t + slope + high.front;
            f->source_at[n] = records + i * z->record + z->step * (t - 1) + z->state[l + 1] + high.front;
        }
    Correlation down = {f->slope_at, high.plane, c, f->source_at, f->same[l + 1], above * K, n, high.vectors,
                        (float *)slopes->down[l] + p * c * above * K};
    correlate(&down);
}

/* Add to the slopes of the weights, which have the weights' layout, given the slopes of the features (T, B, P, F) and
   the records of `sweeper_forward`. */
int sweeper_backward(const int32_t *sizes, const Range *range, const float *const *weights, const float *feature_slopes,
                     const float *records, float *const *slopes) {
    Backward f = {.memory = {.count = 0}};
    Weights w, found;
    read_sizes(&f.z, sizes);
    const Sizes *z = &f.z;
    read_weights(z, weights, &w);
    read_weights(z, (const float *const *)slopes, &found);
    int failed = prepare_backward(&f);
    for (int64_t p = range->first_network; !failed && p < range->last_network; p++) {
        pack_backward(&f, &w, p);
        for (int64_t b = range->first_image; b < range->last_image; b += f.together) {
            int images = range->last_image - b < f.together ? range->last_image - b : f.together;
            const float *kept = records + (p * range->batch + b) * z->record;
            for (int i = 0; i < images; i++)
                for (int t = z->steps - 1; t >= 0; t--) {
                    const float *pooled = feature_slopes + ((t * range->batch + b + i) * z->networks + p) * z->features;
                    for (int l = z->layers - 1; l >= 0; l--)
                        slope_layer(&f, l, t, f.slopes + i * f.step * (z->steps + 1), kept + i * z->record + z->step * t,
                                    pooled + z->first_feature[l]);
                }
            for (int l = 0; l < z->layers; l++) weigh_layer(&f, &found, p, l, kept, images);
        }
    }
    give_back(&f.memory);
    return failed;
}

#ifndef SOURCE_DIGEST
#define SOURCE_DIGEST ""
#endif
/* Hash of the source; a library that was compiled from another source is not loaded. */
const char *sweeper_source_digest(void) { return SOURCE_DIGEST; }
