// All kernels as C++, and their entry points by name.

#include <bank.cu>
#include <queries.cu>
#include <propose.cu>
#include <refine.cu>
#include <rescan.cu>
#include <codes.cu>
#include <sift.cu>
#include <survivors.cu>

#define ENTRY(name) \
    extern "C" void emulated_##name(const void* problem) { name(*static_cast<const Problem*>(problem)); }

ENTRY(measure_bank)
ENTRY(centre_bank)
ENTRY(prepare_queries)
ENTRY(propose)
ENTRY(refine)
ENTRY(rescan)
ENTRY(gather)
#if FAROUT_ARCH >= 750
ENTRY(encode_bank)
ENTRY(encode_queries)
ENTRY(sift)
ENTRY(sift_wide)
ENTRY(tighten)
ENTRY(measure)
ENTRY(conclude)
#endif
