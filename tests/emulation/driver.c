/* A stand-in for NVIDIA's driver (libcuda): memory is the host's, work is done at once, and what was asked for is noted. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What a test reads and sets, in this order: flags of the context, of the last event, whether every event sleeps; calls that
   are refused as while a graph is captured, and calls that were; synchronisations of a whole stream; device that was opened;
   milliseconds that a wait for a copy to the host takes. */
int farout_context_flags, farout_event_flags, farout_all_sleep = 1, farout_refuse, farout_refused, farout_stream_waits,
    farout_device = -1, farout_wait_ms;

static int last_copy_was_out;
struct event { int out; };

static int refused(void) {
    if (farout_refuse > 0) { farout_refuse--; farout_refused++; return 1; }
    return 0;
}

int cuInit(unsigned f) { return 0; }
int cuDriverGetVersion(int* v) { *v = 12060; return 0; }
int cuDeviceGetCount(int* n) { *n = 2; return 0; }
int cuDeviceGet(int* d, int n) { *d = n; return 0; }
int cuDeviceGetName(char* t, int n, int d) { strncpy(t, "stand-in", n); return 0; }
int cuDeviceGetAttribute(int* v, int a, int d) { *v = a == 75 ? 8 : a == 76 ? 7 : a == 97 ? 99 << 10 : 4; return 0; }
int cuDevicePrimaryCtxGetState(int d, unsigned* f, int* a) { *f = farout_context_flags; *a = 0; return 0; }
int cuDevicePrimaryCtxSetFlags_v2(int d, unsigned f) { farout_context_flags = f; return 0; }
int cuDevicePrimaryCtxRetain(void** c, int d) { *c = &farout_device; farout_device = d; return 0; }
int cuDevicePrimaryCtxRelease_v2(int d) { return 0; }
int cuCtxSetCurrent(void* c) { return 0; }
int cuGetErrorString(int e, const char** t) { *t = e == 900 ? "operation not permitted when stream is capturing" : "?"; return 0; }
int cuMemGetInfo_v2(size_t* a, size_t* b) { *a = *b = 1 << 30; return 0; }
int cuStreamCreate(void** s, unsigned f) { *s = malloc(1); return 0; }
int cuStreamSynchronize(void* s) { farout_stream_waits++; return 0; }
int cuStreamDestroy_v2(void* s) { free(s); return 0; }
int cuStreamWaitEvent(void* s, void* e, unsigned f) { return 0; }
int cuEventCreate(void** e, unsigned f) { *e = calloc(1, sizeof(struct event)); farout_event_flags = f; farout_all_sleep &= f & 1; return 0; }
int cuEventRecord(void* e, void* s) { ((struct event*)e)->out = last_copy_was_out; last_copy_was_out = 0; return 0; }
int cuEventSynchronize(void* e) { if (((struct event*)e)->out) usleep(farout_wait_ms * 1000); return 0; }
int cuEventDestroy_v2(void* e) { free(e); return 0; }
int cuMemAlloc_v2(unsigned long long* a, size_t n) { if (refused()) return 900; *a = (unsigned long long)malloc(n); return 0; }
int cuMemFree_v2(unsigned long long a) { if (refused()) return 900; free((void*)a); return 0; }
int cuMemAllocHost_v2(void** a, size_t n) { *a = malloc(n); return 0; }
int cuMemHostAlloc(void** a, size_t n, unsigned f) { *a = malloc(n); return 0; }
int cuMemFreeHost(void* a) { free(a); return 0; }
int cuMemcpyHtoDAsync_v2(unsigned long long to, const void* from, size_t n, void* s) { if (refused()) return 900; memcpy((void*)to, from, n); return 0; }
int cuMemcpyDtoHAsync_v2(void* to, unsigned long long from, size_t n, void* s) { if (refused()) return 900; memcpy(to, (void*)from, n); last_copy_was_out = 1; return 0; }
int cuMemcpyDtoDAsync_v2(unsigned long long to, unsigned long long from, size_t n, void* s) { if (refused()) return 900; memcpy((void*)to, (void*)from, n); return 0; }
int cuMemsetD8Async(unsigned long long a, unsigned char v, size_t n, void* s) { memset((void*)a, v, n); return 0; }
int cuModuleLoadData(void** m, const void* code) { if (!memcmp(code, "refused", 7)) return 222; *m = malloc(1); return 0; }
int cuModuleUnload(void* m) { free(m); return 0; }
int cuModuleGetFunction(void** f, void* m, const char* n) { *f = m; return 0; }
int cuFuncSetAttribute(void* f, int a, int v) { return 0; }
int cuLaunchKernel(void* f, unsigned a, unsigned b, unsigned c, unsigned d, unsigned e, unsigned g, unsigned h, void* s, void** p, void** x) { return 0; }
