//! Every kernel compiled for every architecture, and what the compiler says of its resources checked
//! against what the launches assume.

use rayon::prelude::*;

use super::super::compiler::{Compiler, Target};
use super::super::geometry::{Arch, RESCAN_BYTES, THREADS};
use super::super::problem::Kernel;
use crate::skipped::skipped;

/// Shared memory that a block may have, in bytes (CUDA C++ Programming Guide, table of technical
/// specifications per compute capability).
fn shared_limit(arch: Arch) -> usize {
    1024 * match arch.number() {
        0..75 => 48,
        75..80 => 64,
        80 | 87 => 163,
        90..110 => 227,
        _ => 99,
    }
}

/// The compilers. Without one the test is skipped, loudly, unless `FAROUT_TEST_NVRTC` insists.
fn compilers() -> &'static [Compiler] {
    match Compiler::all() {
        Ok(compilers) => compilers,
        Err(why) => {
            assert!(std::env::var_os("FAROUT_TEST_NVRTC").is_none(), "{why}");
            skipped("the kernels compiled for every GPU", &why.to_string());
            &[]
        }
    }
}

/// What the compiler tells of one kernel.
#[derive(Debug, Default, PartialEq)]
struct Resources {
    registers: usize,
    spilled: usize,
    static_shared: usize,
}

/// The number before `unit` in a line of the log.
fn before(line: &str, unit: &str) -> usize {
    let Some(at) = line.find(unit) else { return 0 };
    line[..at].split_whitespace().last().and_then(|n| n.parse().ok()).unwrap_or(0)
}

fn resources(log: &str, kernel: &str) -> Option<Resources> {
    let start = log.find(&format!("Compiling entry function '{kernel}'"))?;
    let rest = &log[start..];
    let end = rest[1..].find("Compiling entry function").map_or(rest.len(), |at| at + 1);
    let mut found = Resources::default();
    for line in rest[..end].lines() {
        found.registers = found.registers.max(before(line, " registers"));
        found.spilled += before(line, " bytes spill stores") + before(line, " bytes spill loads");
        found.static_shared += before(line, " bytes smem");
    }
    Some(found)
}

/// Shared memory of a whole processor, in bytes.
fn shared_of_processor(arch: Arch) -> usize {
    1024 * match arch.number() {
        0..75 => 64,
        75..80 => 64,
        80 | 87 => 164,
        90..110 => 228,
        _ => 100,
    }
}

fn faults(compiler: &Compiler, arch: Arch) -> Vec<String> {
    let log = match compiler.compile(Target::Cubin(arch)) {
        Ok(compiled) if compiled.code.starts_with(b"\x7fELF") => compiled.log,
        Ok(_) => return vec![format!("{arch}: the code is no cubin")],
        Err(why) => return vec![why.to_string()],
    };
    let geometry = arch.geometry();
    let mut faults = Vec::new();
    for kernel in Kernel::of(arch) {
        let name = kernel.name();
        let Some(found) = resources(&log, name) else {
            faults.push(format!("{arch}: the log tells nothing of {name}:\n{log}"));
            continue;
        };
        let (blocks, dynamic) = match kernel {
            Kernel::Propose => (geometry.blocks, geometry.propose_bytes()),
            Kernel::Sift | Kernel::SiftWide => {
                (geometry.blocks, geometry.most_sift_bytes(shared_limit(arch)))
            }
            Kernel::Rescan => (1, RESCAN_BYTES),
            _ => (1, 0),
        };
        // Registers are given to warps in units of 8 per thread; a processor has 65,536, a thread 255.
        let limit = (65_536 / (THREADS * blocks)).min(255);
        if found.registers == 0 || found.registers.next_multiple_of(8) > limit.next_multiple_of(8) {
            faults.push(format!("{arch}: {name} takes {} registers, of {limit}", found.registers));
        }
        if found.spilled > 0 {
            faults.push(format!("{arch}: {name} spills {} bytes", found.spilled));
        }
        let shared = found.static_shared + dynamic;
        if found.static_shared != 0 || shared > shared_limit(arch) {
            faults.push(format!(
                "{arch}: {name} takes {shared} bytes of shared memory ({} static)",
                found.static_shared
            ));
        }
        // The system takes 1 KiB of each block.
        if blocks * (shared + 1024) > shared_of_processor(arch) {
            faults.push(format!("{arch}: {blocks} blocks of {name} do not fit a processor's shared memory"));
        }
    }
    faults
}

#[test]
fn every_kernel_compiles_for_every_architecture_within_its_means() {
    for compiler in compilers() {
        let known = compiler.known().unwrap();
        let mut archs = Arch::USUAL.to_vec();
        assert!(archs.iter().all(|arch| known.contains(arch)), "{known:?}");
        // The plain kernel's, and what is newer, as far as this compiler goes.
        archs.extend([52, 61, 70, 100, 110, 120].map(Arch::of).iter().filter(|arch| known.contains(arch)));
        let faults: Vec<String> = archs.par_iter().flat_map(|arch| faults(compiler, *arch)).collect();
        assert!(faults.is_empty(), "{}:\n{}", compiler.describe(), faults.join("\n"));
    }
}

#[test]
fn newer_cards_get_code_that_their_driver_translates() {
    for compiler in compilers() {
        assert_eq!(compiler.target_for(Arch::of(87)).unwrap(), Target::Cubin(Arch::of(87)));
        let newest = *compiler.known().unwrap().iter().max().unwrap();
        assert_eq!(compiler.target_for(Arch::of(999)).unwrap(), Target::Ptx(newest));
        assert!(compiler.target_for(Arch::of(20)).is_err());
        let ptx = compiler.compile(Target::Ptx(Arch::of(90))).unwrap().code;
        let text = std::ffi::CStr::from_bytes_with_nul(&ptx).unwrap().to_string_lossy();
        assert!(text.contains(".target sm_90") && text.contains("mma.sync") && text.contains("cp.async"));
        assert!(
            Kernel::of(Arch::of(90))
                .iter()
                .all(|kernel| text.contains(&format!(".entry {}(", kernel.name())))
        );
    }
}

#[test]
fn the_log_is_read_rightly() {
    let log = "ptxas info    : Compiling entry function 'propose' for 'sm_80'\n\
         ptxas         .     0 bytes stack frame, 8 bytes spill stores, 16 bytes spill loads\n\
         ptxas info    : Used 113 registers, used 1 barriers, 4096 bytes smem, 544 bytes cmem[0]\n\
         ptxas info    : Compiling entry function 'refine' for 'sm_80'\n\
         ptxas info    : Used 40 registers, 544 bytes cmem[0]\n";
    assert_eq!(
        resources(log, "propose"),
        Some(Resources { registers: 113, spilled: 24, static_shared: 4096 })
    );
    assert_eq!(resources(log, "refine"), Some(Resources { registers: 40, ..Default::default() }));
    assert_eq!(resources(log, "gather"), None);
}
