/* The part of a training step after the recurrence: readout, time selection and loss of every network, and their
   gradients, called slopes. It computes what `sweeper.model.learning` and `sweeper.model.time_selection` define, with
   the backward pass written out, in one pass over the images.

   Each network is computed separately. Arrays are float32 and C-contiguous, with shapes as in `sweeper.model.lattice`:
   T steps, B images, P networks, K classes, F features. */
#include <math.h>

#include "vectors.h"

#define LEAST_STEP 1e-30f  /* smaller probabilities are raised to it, and have no slope */
#define SUREST (-1e-6f)    /* log-probabilities above it count as equally sure */

enum { ONE_STEP, FIXED_STEPS, CONFIDENCE, STATE };

typedef struct {
    int64_t steps, batch, networks, classes, layers, rule;
    double step_loss, hazard_bound, least_pooled_std;
    const int32_t *channels;          /* of each layer */
    const float *features;            /* (T, B, P, F) */
    const int64_t *labels;            /* (B, P) */
    const float *const *readout;      /* by layer (P, K, C) */
    const float *readout_bias;        /* (P, K) */
    const float *selection;           /* FIXED_STEPS: logits (P, T); with a hazard: its bias (P) */
    const float *sureness;            /* CONFIDENCE: its weight (P) */
    const float *const *hazard;       /* STATE: by layer (P, 1, C) */
    const float *pooled_mean, *pooled_var; /* STATE: (P, F), or none */
    const float *entry;               /* (P, T) */
    const float *time_pressure;       /* (P) */
    float *loss, *expected_steps;     /* (P): loss with the price of time; means over images */
    float *step_share;                /* (T, P): mean of the step distribution over images */
    float *feature_slopes;            /* as the features; the others as their weights */
    float *const *readout_slopes;
    float *readout_bias_slopes, *selection_slopes, *sureness_slopes;
    float *const *hazard_slopes;
} Head;

typedef struct {
    long T, B, K, F, rows, across, wide; /* rows: steps × images; across, wide: features and classes, rounded up to vectors */
    Memory memory;
    /* Rows of features, of their slopes, and of class probabilities, which the slopes of the readout then replace. */
    float *features, *slopes, *classes;
    float *readout, *readout_turned, *readout_slopes; /* (K, across), (F, wide), (K, across) */
    float *hazard, *hazard_slopes, *mean, *inverse_std; /* by feature */
    float *batch_mean, *batch_inverse_std, *total, *along;
    float *loss, *sureness, *logit, *slope; /* by row: cross-entropy; of the hazard's logit */
    float *log_p, *p, *p_slope, *survival, *going;      /* by step */
    double *share, *share_slope;                        /* by step */
} Room;

static long whole_vectors(long count) { return (count + LANES - 1) / LANES * LANES; }

static int prepare(Room *r, const Head *h) {
    Memory *m = &r->memory;
    r->T = h->steps;
    r->B = h->batch;
    r->K = h->classes;
    r->F = 0;
    for (int l = 0; l < h->layers; l++) r->F += h->channels[l];
    r->rows = r->T * r->B;
    r->across = whole_vectors(r->F);
    r->wide = whole_vectors(r->K);
    r->features = zeros(m, r->rows * r->across);
    r->slopes = floats(m, r->rows * r->across);
    r->classes = floats(m, r->rows * r->wide);
    r->readout = zeros(m, r->K * r->across);
    r->readout_turned = zeros(m, r->F * r->wide);
    r->readout_slopes = floats(m, r->K * r->across);
    float **by_feature[] = {&r->hazard, &r->hazard_slopes, &r->mean, &r->inverse_std, &r->batch_mean,
                            &r->batch_inverse_std, &r->total, &r->along};
    for (int i = 0; i < 8; i++) *by_feature[i] = zeros(m, r->across);
    float **by_row[] = {&r->loss, &r->sureness, &r->logit, &r->slope};
    for (int i = 0; i < 4; i++) *by_row[i] = floats(m, r->rows);
    float **by_step[] = {&r->log_p, &r->p, &r->p_slope, &r->survival, &r->going};
    for (int i = 0; i < 5; i++) *by_step[i] = floats(m, r->T + 1);
    r->share = take(m, (r->T + 1) * sizeof(double));
    r->share_slope = take(m, (r->T + 1) * sizeof(double));
    return m->failed ? -1 : 0;
}

/* Lay out the network's features and weights in rows of whole vectors. */
static void lay_out_network(Room *r, const Head *h, int64_t p) {
    for (long row = 0; row < r->rows; row++)
        memcpy(r->features + row * r->across, h->features + (row * h->networks + p) * r->F, r->F * sizeof(float));
    for (long l = 0, first = 0; l < h->layers; first += h->channels[l++]) {
        long c = h->channels[l];
        for (long k = 0; k < r->K; k++) {
            const float *from = h->readout[l] + (p * r->K + k) * c;
            memcpy(r->readout + k * r->across + first, from, c * sizeof(float));
            for (long i = 0; i < c; i++) r->readout_turned[(first + i) * r->wide + k] = from[i];
        }
        if (h->rule == STATE) memcpy(r->hazard + first, h->hazard[l] + p * c, c * sizeof(float));
    }
}

/* to += factor · from, in whole vectors */
INLINE void add_scaled(float *to, float factor, const float *from, long count) {
    for (long i = 0; i < count; i += LANES) store(to + i, load(to + i) + factor * load(from + i));
}

/* Compute the answer of each step: class probabilities, cross-entropy, and how sure the answer is. */
static void read_out(Room *r, const Head *h, int64_t p) {
    const float *bias = h->readout_bias + p * r->K;
    for (long row = 0; row < r->rows; row++) {
        float *z = r->classes + row * r->wide;
        const float *x = r->features + row * r->across;
        memset(z, 0, r->wide * sizeof(float));
        memcpy(z, bias, r->K * sizeof(float));
        for (long f = 0; f < r->F; f++) add_scaled(z, x[f], r->readout_turned + f * r->wide, r->wide);
        float most = z[0], sum = 0;
        for (long k = 1; k < r->K; k++) most = z[k] > most ? z[k] : most;
        float own = z[h->labels[row % r->B * h->networks + p]] - most;
        for (long k = 0; k < r->K; k++) sum += z[k] = expf(z[k] - most);
        float log_sum = logf(sum);
        for (long k = 0; k < r->K; k++) z[k] /= sum;
        r->loss[row] = log_sum - own;
        float surest = -log_sum > SUREST ? SUREST : -log_sum;
        r->sureness[row] = surest - logf(-expm1f(surest));
    }
}

/* Prepare the statistics by which the hazard standardises features, if any are kept. */
static void standardize(Room *r, const Head *h, int64_t p) {
    double eps = h->least_pooled_std * h->least_pooled_std;
    for (long f = 0; f < r->F; f++) {
        r->mean[f] = h->pooled_mean ? h->pooled_mean[p * r->F + f] : 0;
        r->inverse_std[f] = h->pooled_mean ? 1 / sqrtf(h->pooled_var[p * r->F + f] + (float)eps) : 1;
    }
    if (!h->pooled_mean) return;
    /* The batch's statistics, for the backward pass; absent steps have no weight. */
    const float *entry = h->entry + p * r->T;
    double open = 0;
    for (long t = 0; t < r->T; t++) open += entry[t];
    for (long f = 0; f < r->F; f++) {
        double mean = 0, var = 0;
        for (long row = 0; row < r->rows; row++) mean += entry[row / r->B] * r->features[row * r->across + f];
        mean /= open * r->B;
        for (long row = 0; row < r->rows; row++) {
            double apart = r->features[row * r->across + f] - mean;
            var += entry[row / r->B] * apart * apart;
        }
        r->batch_mean[f] = mean;
        r->batch_inverse_std[f] = 1 / sqrt(var / (open * r->B) + eps);
    }
}

/* Compute the logit of each step's hazard, before its bound. */
static void hazard_logits(Room *r, const Head *h, int64_t p) {
    float bias = h->selection[p];
    if (h->rule == CONFIDENCE) {
        for (long row = 0; row < r->rows; row++) r->logit[row] = bias + h->sureness[p] * r->sureness[row];
        return;
    }
    standardize(r, h, p);
    for (long row = 0; row < r->rows; row++) {
        const float *x = r->features + row * r->across;
        float sum = bias;
        for (long f = 0; f < r->F; f++) sum += (x[f] - r->mean[f]) * r->inverse_std[f] * r->hazard[f];
        r->logit[row] = sum;
    }
}

/* Compute the probability of answering after exactly each step, for one image, from its hazards. */
static void step_dist(Room *r, const Head *h, int64_t p, long b) {
    const float *entry = h->entry + p * r->T;
    float bound = h->hazard_bound, log_sum = 0, open = 1, before = 1;
    for (long t = 0; t < r->T; t++) {
        float bounded = -bound * tanhf(r->logit[t * r->B + b] / bound);
        float stops = expf(-bounded);
        log_sum -= log1pf(stops);
        open *= t + 1 < r->T ? entry[t + 1] : 0;
        r->going[t] = stops / (1 + stops); /* slope of the log-probability of going on, in its bounded logit */
        r->survival[t] = expf(log_sum) * open;
        r->p[t] = before - r->survival[t];
        before = r->survival[t];
    }
}

/* Pass the slopes of one image's step distribution back to the logits of its hazards. */
static void step_dist_back(Room *r, const Head *h, long b) {
    float bound = h->hazard_bound, sum = 0;
    for (long t = r->T - 1; t >= 0; t--) {
        if (t + 1 < r->T) sum += (r->p_slope[t + 1] - r->p_slope[t]) * r->survival[t];
        float bent = tanhf(r->logit[t * r->B + b] / bound);
        r->slope[t * r->B + b] = -sum * r->going[t] * (1 - bent * bent);
    }
}

/* Compute the loss, and its slopes: of the readouts, into `classes`, and of the time selection. */
static void lose(Room *r, const Head *h, int64_t p) {
    const float *entry = h->entry + p * r->T;
    long T = r->T, B = r->B;
    float price = h->time_pressure[p];
    double loss = 0, steps = 0, open = 0;
    for (long t = 0; t < T; t++) {
        r->share[t] = r->share_slope[t] = 0;
        open += entry[t];
    }
    if (h->rule == ONE_STEP) r->p[0] = 1;
    if (h->rule == FIXED_STEPS) {
        const float *logits = h->selection + p * T;
        float most = -INFINITY, sum = 0;
        for (long t = 0; t < T; t++)
            if (entry[t] > 0) most = fmaxf(most, logits[t] + logf(entry[t]));
        for (long t = 0; t < T; t++) sum += r->p[t] = entry[t] > 0 ? expf(logits[t] + logf(entry[t]) - most) : 0;
        for (long t = 0; t < T; t++) r->p[t] /= sum;
    }
    for (long b = 0; b < B; b++) {
        if (h->rule >= CONFIDENCE) step_dist(r, h, p, b);
        float most = -INFINITY, sum = 0, log_mixture = 0;
        if (h->rule != STATE) {
            for (long t = 0; t < T; t++) {
                r->log_p[t] = logf(r->p[t] < LEAST_STEP ? LEAST_STEP : r->p[t]) - r->loss[t * B + b];
                if (!(r->log_p[t] <= most)) most = r->log_p[t];
            }
            for (long t = 0; t < T; t++) sum += expf(r->log_p[t] - most);
            log_mixture = most + logf(sum);
            loss -= log_mixture;
        }
        for (long t = 0; t < T; t++) {
            long row = t * B + b;
            double all_steps = h->step_loss * entry[t] / open;
            float weight;
            if (h->rule == STATE) {
                /* The mixture's loss rewards steps that are right for few images too little; see `model.learning`. */
                weight = r->p[t];
                loss += r->p[t] * r->loss[row];
                r->p_slope[t] = r->loss[row];
            } else {
                weight = expf(r->log_p[t] - log_mixture);
                r->p_slope[t] = r->p[t] >= LEAST_STEP ? -weight / r->p[t] : 0;
            }
            loss += all_steps * r->loss[row];
            weight = (weight + (float)all_steps) / B;
            r->p_slope[t] = (r->p_slope[t] + price * (t + 1)) / B;
            steps += r->p[t] * (t + 1);
            r->share[t] += r->p[t];
            r->share_slope[t] += r->p_slope[t];
            float *z = r->classes + row * r->wide;
            for (long k = 0; k < r->wide; k++) z[k] *= weight;
            z[h->labels[b * h->networks + p]] -= weight;
        }
        if (h->rule >= CONFIDENCE) step_dist_back(r, h, b);
    }
    h->loss[p] = (loss + price * steps) / B;
    h->expected_steps[p] = steps / B;
    for (long t = 0; t < T; t++) h->step_share[t * h->networks + p] = r->share[t] / B;
    if (h->rule == FIXED_STEPS) {
        double mean = 0;
        for (long t = 0; t < T; t++) mean += r->p[t] * r->share_slope[t];
        for (long t = 0; t < T; t++) h->selection_slopes[p * T + t] = r->p[t] * (r->share_slope[t] - mean);
    }
}

/* Pass the slopes of the readouts back to their weights and to the features. */
static void read_out_back(Room *r, const Head *h, int64_t p) {
    memset(r->readout_slopes, 0, r->K * r->across * sizeof(float));
    memset(r->slopes, 0, r->rows * r->across * sizeof(float));
    for (long k = 0; k < r->K; k++) {
        float *weights = r->readout_slopes + k * r->across;
        double sum = 0;
        for (long row = 0; row < r->rows; row++) {
            float slope = r->classes[row * r->wide + k];
            sum += slope;
            add_scaled(weights, slope, r->features + row * r->across, r->across);
            add_scaled(r->slopes + row * r->across, slope, r->readout + k * r->across, r->across);
        }
        h->readout_bias_slopes[p * r->K + k] = sum;
    }
}

/* Pass the slopes of the hazards' logits back to their weights and, if the hazards read them, to the features. */
static void hazard_back(Room *r, const Head *h, int64_t p) {
    double bias = 0, sureness = 0;
    for (long row = 0; row < r->rows; row++) {
        bias += r->slope[row];
        sureness += r->slope[row] * r->sureness[row];
    }
    h->selection_slopes[p] = bias;
    if (h->rule == CONFIDENCE) {
        h->sureness_slopes[p] = sureness;
        return;
    }
    const float *entry = h->entry + p * r->T;
    double open = 0;
    for (long t = 0; t < r->T; t++) open += entry[t];
    for (long f = 0; f < r->F; f++) {
        double weight = 0, along = 0;
        for (long row = 0; row < r->rows; row++) {
            float x = r->features[row * r->across + f];
            weight += r->slope[row] * ((x - r->mean[f]) * r->inverse_std[f]);
            if (h->pooled_mean) along += r->slope[row] * ((x - r->batch_mean[f]) * r->batch_inverse_std[f]);
        }
        r->hazard_slopes[f] = weight;
        for (long row = 0; row < r->rows; row++) {
            float *to = r->slopes + row * r->across + f;
            if (!h->pooled_mean) {
                *to += r->slope[row] * r->hazard[f];
                continue;
            }
            /* Through the batch's own statistics, so that the hazard cannot move the activations of all images at once. */
            float y = (r->features[row * r->across + f] - r->batch_mean[f]) * r->batch_inverse_std[f];
            float weighs = entry[row / r->B] / (open * r->B);
            *to += r->hazard[f] * r->batch_inverse_std[f] * (float)(r->slope[row] - weighs * (bias + y * along));
        }
    }
}

/* Copy the slopes to the arrays of the caller. */
static void hand_out(const Room *r, const Head *h, int64_t p) {
    for (long row = 0; row < r->rows; row++)
        memcpy(h->feature_slopes + (row * h->networks + p) * r->F, r->slopes + row * r->across, r->F * sizeof(float));
    for (long l = 0, first = 0; l < h->layers; first += h->channels[l++]) {
        long c = h->channels[l];
        for (long k = 0; k < r->K; k++)
            memcpy(h->readout_slopes[l] + (p * r->K + k) * c, r->readout_slopes + k * r->across + first, c * sizeof(float));
        if (h->rule == STATE) memcpy(h->hazard_slopes[l] + p * c, r->hazard_slopes + first, c * sizeof(float));
    }
}

/* Compute losses, and the slopes of features and weights. Returns 0; or -1 if memory runs out; or -2 if a label is no
   class, before anything is computed. */
int sweeper_head(const Head *h) {
    Room r = {.memory = {.count = 0}};
    for (int64_t i = 0; i < h->batch * h->networks; i++)
        if (h->labels[i] < 0 || h->labels[i] >= h->classes) return -2;
    int failed = prepare(&r, h);
    for (int64_t p = 0; !failed && p < h->networks; p++) {
        lay_out_network(&r, h, p);
        read_out(&r, h, p);
        if (h->rule >= CONFIDENCE) hazard_logits(&r, h, p);
        lose(&r, h, p);
        read_out_back(&r, h, p);
        if (h->rule >= CONFIDENCE) hazard_back(&r, h, p);
        hand_out(&r, h, p);
    }
    give_back(&r.memory);
    return failed;
}
