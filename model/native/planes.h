/* Layout of states in memory.

   A channel of a state is a plane: its rows laid end to end, with `pad` zeros after each, and zeros before the first
   and behind the last. So a neighbour is at the same distance from every pixel, inside the image or in the zeros around it,
   and a convolution is a sum of shifted planes, whatever the size of the image. A layer that halves the image reads its
   four phases: the pixels of even and odd rows and columns, each a plane of half the side. */
#include "vectors.h"

/* The planes of a layer: size, distance between rows, zeros before the first row, vectors of all rows, floats in all. */
typedef struct {
    int height, width, row, front, vectors;
    long plane;
} Side;

typedef struct {
    int networks, steps, layers, kernel, delay, pad, taps;
    int image_channels, image_height, image_width;
    int channels[MOST_LAYERS], stride[MOST_LAYERS];
    Side side[MOST_LAYERS];
    /* Offsets in the record of a step: of a layer's states, and of their phases, which a halving layer above reads. */
    long state[MOST_LAYERS], phases[MOST_LAYERS];
    long step, record; /* floats of a step's record, and of the whole record of one image in one network */
    int features, first_feature[MOST_LAYERS];
} Sizes;

static Side side_of(int height, int width, int pad) {
    Side s = {height, width, width + pad, 0, 0, 0};
    s.front = pad * s.row + pad;
    s.vectors = (height * s.row + LANES - 1) / LANES;
    s.plane = s.front + (long)s.vectors * LANES + s.front;
    s.plane = (s.plane + LANES - 1) / LANES * LANES;
    return s;
}

/* given: networks, steps, layers, kernel, delay, image channels, height, width; then by layer channels, strides,
   heights and widths */
static void read_sizes(Sizes *z, const int32_t *given) {
    z->networks = given[0]; z->steps = given[1]; z->layers = given[2]; z->kernel = given[3]; z->delay = given[4];
    z->image_channels = given[5]; z->image_height = given[6]; z->image_width = given[7];
    z->pad = z->kernel / 2;
    z->taps = z->kernel * z->kernel;
    const int32_t *channels = given + 8, *strides = channels + z->layers;
    const int32_t *heights = strides + z->layers, *widths = heights + z->layers;
    z->features = 0;
    for (int l = 0; l < z->layers; l++) {
        z->channels[l] = channels[l];
        z->stride[l] = strides[l];
        z->side[l] = side_of(heights[l], widths[l], z->pad);
        z->first_feature[l] = z->features;
        z->features += channels[l];
    }
    long at = 0;
    for (int l = 0; l < z->layers; l++) {
        z->state[l] = at;
        at += z->channels[l] * z->side[l].plane;
        z->phases[l] = at;
        if (l + 1 < z->layers && z->stride[l + 1] == 2) at += 4 * z->channels[l] * z->side[l + 1].plane;
    }
    z->step = at;
    z->record = at * z->steps + (z->stride[0] == 2 ? 4 : 1) * z->image_channels * z->side[0].plane;
}

/* Number of channels that layer l reads from below. */
INLINE int inputs_of(const Sizes *z, int l) { return l ? z->channels[l - 1] : z->image_channels; }

INLINE int half_down(int d) { return d >= 0 ? d / 2 : -((1 - d) / 2); }

/* Write the distance from a pixel to the value that each channel and tap of a convolution reads, in planes of a side.
   With `halves` it reads phases: tap (dy, dx) of pixel (y, x) is row 2y + dy and column 2x + dx of the whole plane. */
static void taps_of(const Sizes *z, Side s, int channels, int halves, int sign, int *offset) {
    int n = 0;
    for (int i = 0; i < channels; i++)
        for (int dy = -z->pad; dy <= z->pad; dy++)
            for (int dx = -z->pad; dx <= z->pad; dx++, n++) {
                if (!halves) {
                    offset[n] = i * (int)s.plane + sign * (dy * s.row + dx);
                    continue;
                }
                int y = half_down(dy), x = half_down(dx), phase = (dy - 2 * y) * 2 + (dx - 2 * x);
                offset[n] = (i * 4 + phase) * (int)s.plane + sign * (y * s.row + x);
            }
}

/* Return which phase a tap reads, 0 to 3. */
INLINE int phase_of(int dy, int dx) { return (dy & 1) * 2 + (dx & 1); }

/* Set the floats before and behind the rows of planes to zero. */
static void clear_around(float *planes, long count, Side s) {
    long behind = s.front + (long)s.vectors * LANES;
    for (long i = 0; i < count; i++, planes += s.plane) {
        memset(planes, 0, s.front * sizeof(float));
        memset(planes + behind, 0, (s.plane - behind) * sizeof(float));
    }
}

/* Lay an image out as a plane, or with `halves` as its four phases. */
static void lay_out(const float *image, long row, int height, int width, Side s, int halves, float *to) {
    memset(to, 0, (halves ? 4 : 1) * s.plane * sizeof(float));
    for (int y = 0; y < height; y++) {
        const float *from = image + y * row;
        if (!halves) {
            memcpy(to + s.front + y * s.row, from, width * sizeof(float));
            continue;
        }
        float *even = to + (y & 1) * 2 * s.plane + s.front + (y >> 1) * s.row, *odd = even + s.plane;
        for (int x = 0; x + 1 < width; x += 2) {
            even[x >> 1] = from[x];
            odd[x >> 1] = from[x + 1];
        }
        if (width & 1) even[width >> 1] = from[width - 1];
    }
}

/* Allocate integers, and pointers to floats. */
static int *numbers(Memory *m, long count) { return take(m, (count + 1) * sizeof(int)); }
static const float **places(Memory *m, long count) { return take(m, (count + 1) * sizeof(float *)); }
