/* Vectors, and memory for them. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#ifndef LANES
#define LANES 8 /* floats of a vector; any power of two is correct, the processor's own is fast */
#endif
#define MOST_LAYERS 64
#define INLINE static inline __attribute__((always_inline))

typedef float vec __attribute__((vector_size(4 * LANES)));
typedef float anywhere __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int32_t bits __attribute__((vector_size(4 * LANES)));

INLINE vec load(const float *p) { return *(const anywhere *)p; }
INLINE void store(float *p, vec x) { *(anywhere *)p = x; }
INLINE float sum_of(vec x) {
    float sum = 0;
    for (int i = 0; i < LANES; i++) sum += x[i];
    return sum;
}

/* Memory that is freed all at once; if any allocation has failed, none may be used. */
typedef struct {
    void *taken[16 * MOST_LAYERS + 32];
    int count, failed;
} Memory;

static void *take(Memory *m, size_t bytes) {
    void *p = 0;
    if (posix_memalign(&p, 64, bytes + 64)) {
        m->failed = 1;
        return 0;
    }
    m->taken[m->count++] = p;
    return p;
}
/* Allocate floats, with room to read or write one vector behind the last one. */
static float *floats(Memory *m, long count) { return take(m, (count + 2 * LANES) * sizeof(float)); }
static float *zeros(Memory *m, long count) {
    float *p = floats(m, count);
    if (p) memset(p, 0, count * sizeof(float));
    return p;
}
static void give_back(Memory *m) {
    while (m->count) free(m->taken[--m->count]);
}
