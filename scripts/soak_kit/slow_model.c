/* ONNX Runtime as a stand-in that is slow: it hands everything on to the real library (SLOW_MODEL_OF) and lets each run of a model
 * take as many times as long as the file SLOW_MODEL_FACTOR says. Only scripts/soak builds it.
 *
 *   cc -shared -fPIC -o libslow.so slow_model.c -ldl
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

/* What onnxruntime_c_api.h declares, as far as it is needed: a base of two functions, and a table of functions in a fixed order. */
struct base {
    const void *(*get_api)(uint32_t version);
    const char *(*get_version)(void);
};
enum { RUN = 9, RUN_WITH_BINDING = 133 };

typedef void *(*run_fn)(void *, const void *, const char *const *, const void *const *, size_t, const char *const *, size_t, void **);
typedef void *(*bound_fn)(void *, const void *, const void *);
static run_fn real_run;
static bound_fn real_bound;
static const struct base *real_base;
static struct base own_base;

static double factor(void) {
    double value = 1;
    FILE *file = fopen(getenv("SLOW_MODEL_FACTOR"), "r");
    if (file) {
        if (fscanf(file, "%lf", &value) != 1) value = 1;
        fclose(file);
    }
    return value;
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec * 1e-9;
}

static void wait_after(double begun) {
    double more = (now() - begun) * (factor() - 1);
    if (more > 0) usleep((useconds_t)(more * 1e6));
}

static void *slow_run(void *session, const void *options, const char *const *names, const void *const *inputs, size_t count,
                      const char *const *outputs, size_t outputs_count, void **values) {
    double begun = now();
    void *status = real_run(session, options, names, inputs, count, outputs, outputs_count, values);
    wait_after(begun);
    return status;
}

static void *slow_bound(void *session, const void *options, const void *binding) {
    double begun = now();
    void *status = real_bound(session, options, binding);
    wait_after(begun);
    return status;
}

static const void *get_api(uint32_t version) {
    void **table = (void **)real_base->get_api(version);
    if (table && table[RUN] != (void *)slow_run) {
        /* In place: how long the table is depends on the version. */
        uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), from = (uintptr_t)table & ~(page - 1);
        if (mprotect((void *)from, (uintptr_t)(table + RUN_WITH_BINDING + 1) - from, PROT_READ | PROT_WRITE)) abort();
        real_run = (run_fn)table[RUN];
        real_bound = (bound_fn)table[RUN_WITH_BINDING];
        table[RUN] = (void *)slow_run;
        table[RUN_WITH_BINDING] = (void *)slow_bound;
    }
    return table;
}

const struct base *OrtGetApiBase(void) {
    if (!real_base) {
        void *library = dlopen(getenv("SLOW_MODEL_OF"), RTLD_NOW | RTLD_LOCAL);
        if (!library) {
            fprintf(stderr, "%s\n", dlerror());
            abort();
        }
        const struct base *(*entry)(void) = (const struct base *(*)(void))dlsym(library, "OrtGetApiBase");
        real_base = entry();
        own_base = (struct base){get_api, real_base->get_version};
    }
    return &own_base;
}
