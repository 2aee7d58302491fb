//! The kernel for x86-64 processors with AMX (Sapphire Rapids and newer): tiles of 16 x 64 bytes.
//!
//! The tile instructions are no stable part of Rust: they are written as assembly, without their
//! feature's detection by the standard library.

use std::arch::asm;
use std::arch::x86_64::*;
use std::sync::OnceLock;

use super::{BLOCK, Block, Hits, Kernel, Strip, avx512};

/// Patches per strip: two tiles of 16 meet two tiles of 16 rows in four accumulators.
const STRIP: usize = 32;
/// Bytes of a tile's row, and so the granule of the width.
const DEPTH: usize = 64;

/// 16 x 16 x 64 products of 8 bits per instruction; both sides signed.
pub(in crate::nearest) static AMX: Kernel = Kernel {
    strip: STRIP,
    step: DEPTH,
    limit: 127.0,
    cost: 1.0 / 600.0,
    bias: 0,
    rest_bias: 128,
    begin,
    end,
    screen,
    dot: avx512::dot,
    distance_f16: avx512::distance_f16,
    distance_f32: avx512::distance_f32,
    encode: avx512::encode_avx512,
};

/// Linux' number of the tile data among the processor's states.
const XFEATURE_XTILEDATA: usize = 18;
/// Linux' request for the use of such a state, see arch_prctl(2).
const ARCH_REQ_XCOMP_PERM: usize = 0x1023;

/// Whether this process may use AMX with 8-bit products: the processor has it and the system grants it.
///
/// # Errors
/// What is missing.
pub(in crate::nearest) fn may_use() -> Result<(), &'static str> {
    static ANSWER: OnceLock<Result<(), &'static str>> = OnceLock::new();
    *ANSWER.get_or_init(|| {
        let has = |bit: u32| __cpuid_count(7, 0).edx & (1 << bit) != 0;
        // CPUID.(7,0):EDX: 24 is AMX-TILE, 25 AMX-INT8.
        if __cpuid(0).eax < 7 || !has(24) || !has(25) {
            return Err("this processor has no AMX-INT8");
        }
        // CPUID.(0x1D,1): palette 1 has 8 tiles of 16 rows of 64 bytes; the kernel is made for these.
        let palette = __cpuid_count(0x1d, 1);
        if (palette.ebx & 0xffff, palette.ebx >> 16, palette.ecx & 0xffff) != (64, 8, 16) {
            return Err("this processor's AMX tiles have another shape");
        }
        if cfg!(not(target_os = "linux")) {
            return Err("AMX is asked for in Linux' way only");
        }
        // SAFETY: arch_prctl with this request only grants or refuses.
        let answer = unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) };
        if answer == 0 { Ok(()) } else { Err("the system does not grant AMX to this process") }
    })
}

/// A tile configuration as LDTILECFG reads it.
#[repr(C, align(64))]
struct Configuration {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

fn begin() {
    let mut all =
        Configuration { palette: 1, start_row: 0, reserved: [0; 14], row_bytes: [0; 16], rows: [0; 16] };
    all.row_bytes[..8].fill(DEPTH as u16);
    all.rows[..8].fill(16);
    // SAFETY: `may_use` said yes, and palette 1 has eight such tiles. Tiles are no registers that
    // compiled code uses.
    unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const all, options(nostack, preserves_flags)) };
}

fn end() {
    // SAFETY: `may_use` said yes.
    unsafe { asm!("tilerelease", options(nostack, preserves_flags)) };
}

#[target_feature(enable = "avx512f,avx512bw")]
fn screen(block: &Block, strip: &Strip, hits: &mut Hits) -> bool {
    let width = strip.numbers.len() / STRIP;
    assert!(strip.terms.len() == STRIP && width.is_multiple_of(DEPTH) && width > 0);
    assert!(strip.numbers.len() == STRIP * width && block.numbers.len() == width * BLOCK);
    for half in 0..2 {
        // SAFETY: `begin` configured all tiles as 16 x 64 bytes. The patches are read as two tiles of
        // 16 rows `width` apart in steps of 64 of `width` numbers, the rows as two tiles of 16 groups
        // 4 x BLOCK apart, half a block in all; the products are written as four tiles of
        // 16 rows 4 x BLOCK bytes apart, half of the strip's STRIP x BLOCK.
        unsafe {
            let patches = strip.numbers.as_ptr();
            let rows = block.numbers.as_ptr().add(half * 128);
            let out = hits.products.as_mut_ptr().add(half * 32);
            asm!(
                "tilezero tmm0",
                "tilezero tmm1",
                "tilezero tmm2",
                "tilezero tmm3",
                "2:",
                "tileloadd tmm4, [{patches} + {width}]",
                "tileloadd tmm6, [{rows} + {stride}]",
                "tdpbssd tmm0, tmm4, tmm6",
                "tileloadd tmm7, [{rows} + {stride} + 64]",
                "tdpbssd tmm1, tmm4, tmm7",
                "tileloadd tmm5, [{below} + {width}]",
                "tdpbssd tmm2, tmm5, tmm6",
                "tdpbssd tmm3, tmm5, tmm7",
                "add {patches}, 64",
                "add {below}, 64",
                "add {rows}, 4096",
                "dec {steps}",
                "jnz 2b",
                "tilestored [{out} + {stride}], tmm0",
                "tilestored [{out} + {stride} + 64], tmm1",
                "tilestored [{lower} + {stride}], tmm2",
                "tilestored [{lower} + {stride} + 64], tmm3",
                patches = inout(reg) patches => _,
                below = inout(reg) patches.add(16 * width) => _,
                rows = inout(reg) rows => _,
                steps = inout(reg) width / DEPTH => _,
                width = in(reg) width,
                stride = in(reg) 4 * BLOCK,
                out = in(reg) out,
                lower = in(reg) out.add(16 * BLOCK),
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nostack),
            );
        }
    }
    let mut any = 0;
    for ((terms, products), rows) in
        strip.terms.iter().zip(hits.products.as_chunks::<BLOCK>().0).zip(&mut hits.rows)
    {
        // SAFETY: 16 numbers are a vector.
        let products =
            std::array::from_fn(|v| unsafe { _mm512_loadu_si512(products.as_ptr().add(16 * v).cast()) });
        *rows = avx512::test(block, terms, &products);
        any |= *rows;
    }
    any != 0
}
