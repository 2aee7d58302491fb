// The machine: fibers, meetings, memory with a shadow, and the entry points for the tests.
//
// The shadow keeps for every two bytes who wrote and read them last, and how often the block and the
// warp had met by then. Two accesses of which one writes are ordered if the same thread makes them, if
// the block met in between, or if both are of one warp and the warp met in between (__syncwarp;
// shuffles and matrix operations order no memory). All else is a race, whatever the schedule made of it.
// The compiler instruments the kernels' accesses (-fsanitize=thread); its calls end here, not in a
// sanitizer's library.

#include "machine.h"

#include <setjmp.h>
#include <ucontext.h>

#include <cmath>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace emulation {

Index thread, block, grid;

namespace {

constexpr size_t GUARD = 4096;
constexpr size_t STACK = 64 << 10;
constexpr unsigned char POISON = 0xff; // a NaN in every format

struct Reader {
    int thread = -1; // of the launch
    unsigned warp_epoch = 0;
};

// What happened last to two bytes.
struct Cell {
    bool defined = false, arriving = false, atomic = false;
    int writer = -1;
    unsigned write_launch = 0, write_block_epoch = 0, write_warp_epoch = 0;
    unsigned read_launch = 0, read_block_epoch = 0;
    // Of the present epoch: two of one warp, one of another warp, one of another block.
    Reader first, second, other_warp, other_block;
};

struct Region {
    unsigned char* start = nullptr; // behind the guard
    size_t size = 0;
    std::vector<unsigned char> memory;
    std::vector<Cell> cells;
    bool is_shared = false;

    Region(size_t bytes, bool is_shared) : size(bytes), memory(bytes + 2 * GUARD + 16, POISON), is_shared(is_shared) {
        const auto at = reinterpret_cast<uintptr_t>(memory.data() + GUARD);
        start = memory.data() + GUARD + (16 - at % 16) % 16;
        cells.resize(bytes / 2 + 1);
    }
};

struct Copy {
    void* shared;
    const void* global;
    size_t size;
};

struct Fiber {
    ucontext_t context;
    jmp_buf state;
    bool started = false, ended = false;
    unsigned warp_meetings = 0;
    std::vector<Copy> uncommitted;
    std::deque<std::vector<Copy>> groups;
    std::unique_ptr<unsigned char[]> stack;
};

struct Warp {
    unsigned char values[2][32 * 32];
    const char* what = nullptr;
    unsigned arrived = 0, number = 0, epoch = 0;
    std::vector<unsigned> waiting;
};

std::map<uintptr_t, std::unique_ptr<Region>> regions; // by end of the guard behind
Region* arena = nullptr;
std::vector<std::unique_ptr<Fiber>> fibers;
std::vector<Warp> warps;
std::vector<unsigned> ready;
unsigned running, threads, living;
unsigned block_epoch, launch_number, block_number;
std::vector<unsigned> waiting_block;
bool any, any_result;
jmp_buf outside;
uint64_t dice;
std::string failure;
void (*kernel)(const void*);
const void* argument;

[[noreturn]] void leave() { _longjmp(outside, 1); }

[[noreturn]] __attribute__((format(printf, 1, 2))) void fail(const char* format, ...) {
    char text[512];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    char where[96];
    snprintf(where, sizeof where, "block (%u, %u), thread %u: ", block.x, block.y, running);
    failure = std::string(where) + text;
    leave();
}

void begin_fiber() {
    kernel(argument);
    Fiber& self = *fibers[running];
    self.ended = true;
    if (!self.uncommitted.empty() || !self.groups.empty()) {
        for (const auto& group : self.groups) {
            if (!group.empty()) {
                fail("the thread ends with copies under way");
            }
        }
    }
    --living;
    // The block may have been waiting for this thread only.
    if (living > 0 && waiting_block.size() == living) {
        any_result = any;
        any = false;
        ++block_epoch;
        ready.insert(ready.end(), waiting_block.begin(), waiting_block.end());
        waiting_block.clear();
    }
    extern void pass_on();
    pass_on();
}

void resume(unsigned next) {
    running = next;
    thread.x = next;
    Fiber& fiber = *fibers[next];
    if (!fiber.started) {
        fiber.started = true;
        setcontext(&fiber.context);
    }
    _longjmp(fiber.state, 1);
}

// Goes on with another thread, drawn from those that can.
void pass_on() {
    if (ready.empty()) {
        if (living > 0) {
            fail("%u threads wait for ever: %zu at a meeting of the block, the others at one of their warp", living,
                 waiting_block.size());
        }
        leave();
    }
    dice ^= dice << 13;
    dice ^= dice >> 7;
    dice ^= dice << 17;
    const size_t at = dice % ready.size();
    const unsigned next = ready[at];
    ready[at] = ready.back();
    ready.pop_back();
    resume(next);
}

// The running thread stops until somebody makes it ready.
void wait() {
    if (_setjmp(fibers[running]->state) == 0) {
        pass_on();
    }
}

bool unordered(int other, unsigned launch, unsigned at_block, unsigned at_warp) {
    const int self = static_cast<int>(block_number * threads + running);
    if (other < 0 || other == self || launch != launch_number) {
        return false;
    }
    if (other / threads != self / threads) {
        return true;
    }
    return at_block == block_epoch && !(other / 32 == self / 32 && at_warp != warps[running / 32].epoch);
}

Region* region_at(const void* address) {
    const auto at = reinterpret_cast<uintptr_t>(address);
    if (arena != nullptr && at + GUARD >= reinterpret_cast<uintptr_t>(arena->start)
        && at < reinterpret_cast<uintptr_t>(arena->start) + arena->size + GUARD) {
        return arena;
    }
    const auto found = regions.upper_bound(at);
    if (found == regions.end() || at + GUARD < reinterpret_cast<uintptr_t>(found->second->start)) {
        return nullptr;
    }
    return found->second.get();
}

enum Kind { READ, WRITE, ATOMIC };

void check(Cell& cell, Kind kind, const char* where, size_t offset) {
    const int self = static_cast<int>(block_number * threads + running);
    const unsigned epoch = warps[running / 32].epoch;
    if (cell.arriving) {
        fail("%s memory at byte %zu is touched while a copy to it is under way", where, offset);
    }
    const bool both_atomic = kind == ATOMIC && cell.atomic;
    if (!both_atomic && unordered(cell.writer, cell.write_launch, cell.write_block_epoch, cell.write_warp_epoch)) {
        fail("race on %s memory at byte %zu: thread %d of the launch wrote it, and nothing orders this %s", where, offset,
             cell.writer, kind == READ ? "read" : "write");
    }
    const bool fresh = cell.read_launch != launch_number;
    if (kind == READ) {
        if (!cell.defined) {
            fail("%s memory at byte %zu is read but was never written", where, offset);
        }
        if (fresh) {
            cell.first = cell.second = cell.other_warp = cell.other_block = Reader();
        } else if (cell.first.thread >= 0 && cell.first.thread / threads != self / threads) {
            cell.other_block = cell.first;
            cell.first = cell.second = cell.other_warp = Reader();
        } else if (cell.read_block_epoch != block_epoch) {
            cell.first = cell.second = cell.other_warp = Reader();
        }
        cell.read_launch = launch_number;
        cell.read_block_epoch = block_epoch;
        if (cell.first.thread < 0 || cell.first.thread == self) {
            cell.first = {self, epoch};
        } else if (cell.first.thread / 32 != self / 32) {
            cell.other_warp = {self, epoch};
        } else if (cell.first.warp_epoch != epoch) {
            cell.first = {self, epoch};
            cell.second = Reader();
        } else {
            cell.second = {self, epoch};
        }
        return;
    }
    if (!fresh) {
        for (const Reader& reader : {cell.first, cell.second, cell.other_warp, cell.other_block}) {
            if (unordered(reader.thread, cell.read_launch, cell.read_block_epoch, reader.warp_epoch)) {
                fail("race on %s memory at byte %zu: thread %d of the launch reads it, and nothing orders this write", where,
                     offset, reader.thread);
            }
        }
    }
    if (kind == ATOMIC && !cell.defined) {
        fail("%s memory at byte %zu is changed but was never written", where, offset);
    }
    cell.first = cell.second = cell.other_warp = cell.other_block = Reader();
    cell.defined = true;
    cell.atomic = kind == ATOMIC;
    cell.writer = self;
    cell.write_launch = launch_number;
    cell.write_block_epoch = block_epoch;
    cell.write_warp_epoch = epoch;
}

template <class Each>
void each_cell(const void* address, size_t size, Each each) {
    Region* region = region_at(address);
    if (region == nullptr) {
        return; // a thread's own memory
    }
    const char* where = region->is_shared ? "shared" : "global";
    const auto offset = static_cast<const unsigned char*>(address) - region->start;
    if (offset < 0 || offset + size > region->size) {
        fail("%s memory is touched at byte %td, of %zu", where, offset, region->size);
    }
    for (size_t at = offset / 2; at * 2 < offset + size; ++at) {
        each(region->cells[at], where, at * 2);
    }
}

void access(const void* address, size_t size, Kind kind) {
    each_cell(address, size, [&](Cell& cell, const char* where, size_t offset) { check(cell, kind, where, offset); });
}

struct HalfTable {
    std::vector<float> values;
    HalfTable() : values(65536) {
        for (unsigned bits = 0; bits < 65536; ++bits) {
            const int exponent = bits >> 10 & 31;
            const unsigned fraction = bits & 1023;
            float x = exponent == 0 ? std::ldexp(float(fraction), -24)
                : exponent == 31   ? (fraction != 0 ? NAN : INFINITY)
                                   : std::ldexp(float(1024 + fraction), exponent - 25);
            values[bits] = bits & 0x8000 ? -x : x;
        }
    }
};
const HalfTable halves;

} // namespace

unsigned char* shared() { return arena->start; }

bool meet(bool condition) {
    any = any || condition;
    if (waiting_block.size() + 1 == living) {
        any_result = any;
        any = false;
        ++block_epoch;
        ready.insert(ready.end(), waiting_block.begin(), waiting_block.end());
        waiting_block.clear();
        ready.push_back(running);
    } else {
        waiting_block.push_back(running);
    }
    wait();
    return any_result;
}

const unsigned char* exchange(const char* what, const void* mine, size_t size) {
    Warp& warp = warps[running / 32];
    if (warp.arrived > 0 && strcmp(warp.what, what) != 0) {
        fail("the warp diverges: this lane is at %s, others are at %s", what, warp.what);
    }
    warp.what = what;
    const unsigned char* all = warp.values[warp.number & 1];
    memcpy(warp.values[warp.number & 1] + 32 * (running & 31), mine, size);
    if (++warp.arrived == 32) {
        warp.arrived = 0;
        ++warp.number;
        ready.insert(ready.end(), warp.waiting.begin(), warp.waiting.end());
        warp.waiting.clear();
    } else {
        warp.waiting.push_back(running);
        wait();
    }
    return all;
}

void meet_warp() {
    const unsigned before = warps[running / 32].number;
    const unsigned char none = 0;
    exchange("syncwarp", &none, 1);
    Warp& warp = warps[running / 32];
    Fiber& self = *fibers[running];
    // The first lane on its way counts the meeting for all.
    if (self.warp_meetings <= before) {
        ++warp.epoch;
        for (unsigned lane = 0; lane < 32; ++lane) {
            fibers[running / 32 * 32 + lane]->warp_meetings = before + 1;
        }
    }
}

unsigned add(unsigned* address, unsigned by) {
    access(address, sizeof *address, ATOMIC);
    const unsigned before = *address;
    *address += by;
    return before;
}

unsigned raise(unsigned* address, unsigned other) {
    access(address, sizeof *address, ATOMIC);
    const unsigned before = *address;
    *address = before < other ? other : before;
    return before;
}

unsigned long long lower(unsigned long long* address, unsigned long long other) {
    access(address, sizeof *address, ATOMIC);
    const unsigned long long before = *address;
    *address = other < before ? other : before;
    return before;
}

void copy_changing(void* to, const void* address, size_t size) {
    access(address, size, ATOMIC);
    memcpy(to, address, size);
}

void copy_later(void* to, const void* from, size_t size) {
    if (reinterpret_cast<uintptr_t>(to) % 16 != 0 || reinterpret_cast<uintptr_t>(from) % 16 != 0) {
        fail("a copy of 16 bytes is not aligned to 16 bytes");
    }
    access(from, size, READ);
    access(to, size, WRITE);
    each_cell(to, size, [](Cell& cell, const char*, size_t) { cell.arriving = true; });
    memset(to, POISON, size);
    fibers[running]->uncommitted.push_back({to, from, size});
}

void commit_copies() {
    Fiber& self = *fibers[running];
    self.groups.push_back(std::move(self.uncommitted));
    self.uncommitted.clear();
}

void wait_for_copies(size_t under_way) {
    Fiber& self = *fibers[running];
    while (self.groups.size() > under_way) {
        for (const Copy& copy : self.groups.front()) {
            each_cell(copy.shared, copy.size, [](Cell& cell, const char*, size_t) { cell.arriving = false; });
            access(copy.shared, copy.size, WRITE);
            memcpy(copy.shared, copy.global, copy.size);
        }
        self.groups.pop_front();
    }
}

float float_of_half(unsigned short bits) { return halves.values[bits]; }

unsigned short half_of_float(float x) {
    uint32_t bits;
    memcpy(&bits, &x, 4);
    const unsigned short sign = bits >> 16 & 0x8000;
    bits &= 0x7fffffff;
    if (bits > 0x7f800000) {
        return sign | 0x7fff;
    }
    // Multiples of 2^-24 below 2^-14, 11 bits above.
    float magnitude;
    memcpy(&magnitude, &bits, 4);
    if (bits < 0x38800000) {
        return sign | static_cast<unsigned short>(std::nearbyintf(magnitude * 0x1p24f));
    }
    const uint32_t rounded = bits + 0xfff + (bits >> 13 & 1);
    return rounded >= 0x47800000 ? sign | 0x7c00 : sign | static_cast<unsigned short>((rounded - 0x38000000) >> 13);
}

} // namespace emulation

using namespace emulation;

extern "C" {

// Device memory: `bytes` of poison between guards.
void* emulation_alloc(size_t bytes) {
    auto region = std::make_unique<Region>(bytes, false);
    void* start = region->start;
    regions[reinterpret_cast<uintptr_t>(start) + bytes + GUARD] = std::move(region);
    return start;
}

void emulation_free(void* start) {
    for (auto at = regions.begin(); at != regions.end(); ++at) {
        if (at->second->start == start) {
            regions.erase(at);
            return;
        }
    }
}

// The host has written there.
void emulation_defined(void* start, size_t bytes) {
    Region* region = region_at(start);
    const size_t first = (static_cast<unsigned char*>(start) - region->start) / 2;
    for (size_t at = first; at * 2 < first * 2 + bytes; ++at) {
        region->cells[at] = Cell();
        region->cells[at].defined = true;
    }
}

// Runs a kernel; false with a message if it breaks a rule.
bool emulation_run(void (*entry)(const void*), unsigned grid_x, unsigned grid_y, unsigned block_threads,
                   size_t shared_bytes, const void* given, uint64_t seed, char* message, size_t room) {
    kernel = entry;
    argument = given;
    threads = block_threads;
    grid = {grid_x, grid_y};
    dice = seed * 0x9e3779b97f4a7c15 + 1;
    failure.clear();
    ++launch_number;
    while (fibers.size() < threads) {
        fibers.push_back(std::make_unique<Fiber>());
        fibers.back()->stack.reset(new unsigned char[STACK]);
    }
    for (unsigned number = 0; number < grid_x * grid_y && failure.empty(); ++number) {
        block_number = number;
        block = {number % grid_x, number / grid_x};
        Region own(shared_bytes, true);
        arena = &own;
        warps.assign((threads + 31) / 32, Warp());
        ready.clear();
        waiting_block.clear();
        living = threads;
        block_epoch = 0;
        any = false;
        for (unsigned i = 0; i < threads; ++i) {
            Fiber& fiber = *fibers[i];
            fiber.started = fiber.ended = false;
            fiber.warp_meetings = 0;
            fiber.uncommitted.clear();
            fiber.groups.clear();
            getcontext(&fiber.context);
            fiber.context.uc_stack.ss_sp = fiber.stack.get();
            fiber.context.uc_stack.ss_size = STACK;
            fiber.context.uc_link = nullptr;
            makecontext(&fiber.context, begin_fiber, 0);
            ready.push_back(i);
        }
        if (_setjmp(outside) == 0) {
            pass_on();
        }
        arena = nullptr;
    }
    snprintf(message, room, "%s", failure.c_str());
    return failure.empty();
}

// What the compiler calls at each access.
#define ACCESSES(size) \
    void __tsan_read##size(void* a) { access(a, size, READ); } \
    void __tsan_write##size(void* a) { access(a, size, WRITE); } \
    void __tsan_unaligned_read##size(void* a) { access(a, size, READ); } \
    void __tsan_unaligned_write##size(void* a) { access(a, size, WRITE); } \
    void __tsan_volatile_read##size(void* a) { access(a, size, READ); } \
    void __tsan_volatile_write##size(void* a) { access(a, size, WRITE); }
ACCESSES(1)
ACCESSES(2)
ACCESSES(4)
ACCESSES(8)
ACCESSES(16)
void __tsan_read_range(void* a, size_t size) { access(a, size, READ); }
void __tsan_write_range(void* a, size_t size) { access(a, size, WRITE); }
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_init() {}
}
