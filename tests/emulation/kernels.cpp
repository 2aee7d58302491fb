// All kernels as C++, and their entry points by name.

#include <bank.cu>
#include <queries.cu>
#include <propose.cu>
#include <refine.cu>
#include <rescan.cu>

#define ENTRY(name) \
    extern "C" void emulated_##name(const void* problem) { name(*static_cast<const Problem*>(problem)); }

ENTRY(measure_bank)
ENTRY(centre_bank)
ENTRY(prepare_queries)
ENTRY(propose)
ENTRY(refine)
ENTRY(rescan)
ENTRY(gather)
