//! What the machine can do at most: multiply-adds per second of an instruction on registers alone, on all threads at
//! once. No search can be faster at brute force; how near it comes tells what is left to gain.

use std::time::Instant;

/// Iterations between two looks at the clock.
const LOOPS: u64 = 20_000;

/// An instruction that engines are built on.
struct Instruction {
    /// As backends are named after it.
    name: &'static str,
    /// Multiply-adds of one iteration of the loop.
    per_loop: u64,
    present: fn() -> bool,
    /// Runs so many iterations.
    run: fn(u64),
}

/// The measured peak of the instruction that the backend `name` is built on: its name and multiply-adds per
/// second on `threads` threads. `None` if there is no measure for it here.
pub fn of(backend: &str, threads: usize) -> Option<(&'static str, f64)> {
    // "cpu-gemm, AVX-512" multiplies in single precision.
    let wanted = match backend {
        name if name.contains("amx-int8") => "amx-int8",
        name if name.contains("avx512-vnni") => "avx512-vnni",
        name if name.contains("avx-vnni") => "avx-vnni",
        name if name.contains("avx2") => "avx2-int8",
        name if name.contains("AVX-512") => "avx512-f32",
        _ => return None,
    };
    let found = instructions().into_iter().find(|i| i.name == wanted && (i.present)())?;
    let one = || {
        (found.run)(LOOPS);
        let (start, mut loops) = (Instant::now(), 0);
        while start.elapsed().as_secs_f64() < 0.2 {
            (found.run)(LOOPS);
            loops += LOOPS;
        }
        (loops * found.per_loop) as f64 / start.elapsed().as_secs_f64()
    };
    let all = std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(one)).collect();
        running.into_iter().map(|r| r.join().unwrap_or(0.0)).sum::<f64>()
    });
    Some((found.name, all))
}

#[cfg(not(target_arch = "x86_64"))]
fn instructions() -> Vec<Instruction> {
    Vec::new()
}

#[cfg(target_arch = "x86_64")]
fn instructions() -> Vec<Instruction> {
    use std::arch::is_x86_feature_detected as has;
    vec![
        Instruction {
            name: "amx-int8",
            per_loop: 4 * 16 * 16 * 64,
            present: || x86::may_use_amx(),
            run: x86::amx,
        },
        Instruction {
            name: "avx512-vnni",
            per_loop: 12 * 64,
            present: || has!("avx512f") && has!("avx512vnni"),
            run: x86::avx512_vnni,
        },
        Instruction { name: "avx-vnni", per_loop: 12 * 32, present: || has!("avxvnni"), run: x86::avx_vnni },
        Instruction { name: "avx2-int8", per_loop: 8 * 32, present: || has!("avx2"), run: x86::avx2_int8 },
        Instruction {
            name: "avx512-f32",
            per_loop: 12 * 16,
            present: || has!("avx512f"),
            run: x86::avx512_f32,
        },
    ]
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::asm;

    /// Shapes of the AMX tiles, as LDTILECFG reads them.
    #[repr(C, align(64))]
    struct TileShapes {
        palette: u8,
        start: u8,
        reserved: [u8; 14],
        bytes: [u16; 16],
        rows: [u8; 16],
    }

    /// Whether the processor has AMX and Linux lets this process use its tiles.
    pub fn may_use_amx() -> bool {
        let leaf = std::arch::x86_64::__cpuid(0);
        if leaf.eax < 7 || std::arch::x86_64::__cpuid_count(7, 0).edx >> 25 & 1 == 0 {
            return false;
        }
        // ARCH_REQ_XCOMP_PERM for the state XTILEDATA.
        // SAFETY: asks for a permission, touches no memory.
        unsafe { libc::syscall(libc::SYS_arch_prctl, 0x1023, 18) == 0 }
    }

    pub fn amx(loops: u64) {
        let mut shapes =
            TileShapes { palette: 1, start: 0, reserved: [0; 14], bytes: [0; 16], rows: [0; 16] };
        shapes.bytes[..8].fill(64);
        shapes.rows[..8].fill(16);
        // SAFETY: only called where `may_use_amx`; the shapes are valid, and tiles alone are written.
        unsafe {
            asm!(
                "ldtilecfg [{shapes}]",
                "tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3",
                "tilezero tmm4", "tilezero tmm5", "tilezero tmm6", "tilezero tmm7",
                "2:",
                "tdpbssd tmm0, tmm4, tmm6",
                "tdpbssd tmm1, tmm4, tmm7",
                "tdpbssd tmm2, tmm5, tmm6",
                "tdpbssd tmm3, tmm5, tmm7",
                "dec {loops}",
                "jnz 2b",
                "tilerelease",
                shapes = in(reg) &raw const shapes,
                loops = inout(reg) loops => _,
                options(nostack),
            );
        }
    }

    /// Twelve independent sums: enough to hide the latency of the instruction.
    macro_rules! twelve {
        ($(#[$about:meta])* $name:ident, $instruction:literal, $register:literal) => {
            $(#[$about])*
            pub fn $name(loops: u64) {
                // SAFETY: only called where the processor has the instruction; vector registers alone are written.
                unsafe {
                    asm!(
                        "2:",
                        concat!($instruction, " ", $register, "0, ", $register, "12, ", $register, "13"),
                        concat!($instruction, " ", $register, "1, ", $register, "12, ", $register, "13"),
                        concat!($instruction, " ", $register, "2, ", $register, "12, ", $register, "13"),
                        concat!($instruction, " ", $register, "3, ", $register, "12, ", $register, "13"),
                        concat!($instruction, " ", $register, "4, ", $register, "12, ", $register, "13"),
                        concat!($instruction, " ", $register, "5, ", $register, "12, ", $register, "13"),
                        concat!($instruction, " ", $register, "6, ", $register, "12, ", $register, "13"),
                        concat!($instruction, " ", $register, "7, ", $register, "12, ", $register, "13"),
                        concat!($instruction, " ", $register, "8, ", $register, "12, ", $register, "13"),
                        concat!($instruction, " ", $register, "9, ", $register, "12, ", $register, "13"),
                        concat!($instruction, " ", $register, "10, ", $register, "12, ", $register, "13"),
                        concat!($instruction, " ", $register, "11, ", $register, "12, ", $register, "13"),
                        "dec {loops}",
                        "jnz 2b",
                        "vzeroupper",
                        loops = inout(reg) loops => _,
                        out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _, out("xmm4") _, out("xmm5") _,
                        out("xmm6") _, out("xmm7") _, out("xmm8") _, out("xmm9") _, out("xmm10") _, out("xmm11") _,
                        out("xmm12") _, out("xmm13") _, out("xmm14") _, out("xmm15") _,
                        options(nostack),
                    );
                }
            }
        };
    }

    twelve!(avx512_vnni, "vpdpbusd", "zmm");
    twelve!(avx512_f32, "vfmadd231ps", "zmm");
    twelve!(avx_vnni, "{{vex}} vpdpbusd", "ymm");

    /// Without VNNI products of bytes are summed in 16 bits, two of them before they are widened.
    pub fn avx2_int8(loops: u64) {
        // SAFETY: only called where the processor has AVX2; vector registers alone are written.
        unsafe {
            asm!(
                "2:",
                "vpmaddubsw ymm4, ymm12, ymm13", "vpmaddubsw ymm5, ymm12, ymm13",
                "vpmaddubsw ymm6, ymm12, ymm13", "vpmaddubsw ymm7, ymm12, ymm13",
                "vpmaddubsw ymm8, ymm12, ymm13", "vpmaddubsw ymm9, ymm12, ymm13",
                "vpmaddubsw ymm10, ymm12, ymm13", "vpmaddubsw ymm11, ymm12, ymm13",
                "vpaddw ymm4, ymm4, ymm5", "vpaddw ymm6, ymm6, ymm7",
                "vpaddw ymm8, ymm8, ymm9", "vpaddw ymm10, ymm10, ymm11",
                "vpmaddwd ymm4, ymm4, ymm14", "vpaddd ymm0, ymm0, ymm4",
                "vpmaddwd ymm6, ymm6, ymm14", "vpaddd ymm1, ymm1, ymm6",
                "vpmaddwd ymm8, ymm8, ymm14", "vpaddd ymm2, ymm2, ymm8",
                "vpmaddwd ymm10, ymm10, ymm14", "vpaddd ymm3, ymm3, ymm10",
                "dec {loops}",
                "jnz 2b",
                "vzeroupper",
                loops = inout(reg) loops => _,
                out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _, out("xmm4") _, out("xmm5") _,
                out("xmm6") _, out("xmm7") _, out("xmm8") _, out("xmm9") _, out("xmm10") _, out("xmm11") _,
                out("xmm12") _, out("xmm13") _, out("xmm14") _,
                options(nostack),
            );
        }
    }
}
