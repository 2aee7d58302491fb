//! NVRTC, NVIDIA's run-time compiler, asked for code. It needs no GPU.

use std::ffi::{CString, c_char, c_int};
use std::sync::OnceLock;

use super::super::device::NoCuda;
use super::geometry::Arch;
use super::nvrtc::{self, Handle, Nvrtc};
use super::source;

/// What code is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    /// Machine code of one architecture.
    Cubin(Arch),
    /// PTX, which the driver translates for this architecture or any newer one.
    Ptx(Arch),
}

impl Target {
    /// NVIDIA's name for it, e.g. `sm_87` or `compute_90`.
    pub(super) fn name(self) -> String {
        match self {
            Target::Cubin(arch) => arch.to_string(),
            Target::Ptx(arch) => format!("compute_{}", arch.number()),
        }
    }

    pub(super) fn arch(self) -> Arch {
        match self {
            Target::Cubin(arch) | Target::Ptx(arch) => arch,
        }
    }
}

/// The options that the kernels are compiled with.
pub(super) fn options(target: Target) -> Vec<String> {
    let mut options = vec![format!("--gpu-architecture={}", target.name()), "--std=c++17".to_owned()];
    options.extend(target.arch().macros());
    // Registers, spills and shared memory of each kernel, into the log.
    options.push("--ptxas-options=-v".to_owned());
    options
}

/// What a compilation gives.
pub(super) struct Compiled {
    pub code: Vec<u8>,
    /// Read by the tests that check registers and spills.
    #[cfg_attr(not(test), allow(dead_code))]
    pub log: String,
}

/// A library that compiles.
#[derive(Debug, Clone)]
pub(super) struct Compiler {
    library: Nvrtc,
}

const REMEDY: &str = "install CUDA's NVRTC (libnvrtc.so.13 with a driver for CUDA 13, e.g. from the PyPI wheel \
    nvidia-cuda-nvrtc; libnvrtc.so.12 with any driver, e.g. from nvidia-cuda-nvrtc-cu12) and name it in \
    NVRTC_DYLIB_PATH, or bring ready code: farout kernels build on another machine, and search.kernels here";

impl Compiler {
    /// All compilers of this machine, newest first; they are looked for once per process.
    ///
    /// # Errors
    /// [`NoCuda::NoKernels`] if there is none.
    pub(super) fn all() -> Result<&'static [Compiler], NoCuda> {
        static FOUND: OnceLock<Result<Vec<Compiler>, String>> = OnceLock::new();
        let found = FOUND.get_or_init(|| {
            let (found, faults) = nvrtc::find();
            match (found.is_empty(), faults.is_empty()) {
                (true, true) => Err(format!("NVRTC is not installed; {REMEDY}")),
                (true, false) => Err(format!("NVRTC does not load ({}); {REMEDY}", faults.join("; "))),
                _ => Ok(found.into_iter().map(|library| Compiler { library }).collect()),
            }
        });
        found.as_deref().map_err(|why| NoCuda::NoKernels(why.clone()))
    }

    /// The newest compiler that makes machine code for all of `archs`, of the oldest generation that has one: code of
    /// CUDA 12 loads on drivers for CUDA 13, too.
    ///
    /// # Errors
    /// [`NoCuda::NoKernels`] if there is none, or an architecture that none knows.
    pub(super) fn for_all(archs: &[Arch]) -> Result<&'static Compiler, NoCuda> {
        let all = Compiler::all()?;
        let fits =
            |one: &&Compiler| one.known().is_ok_and(|known| archs.iter().all(|arch| known.contains(arch)));
        let oldest = all.iter().filter(fits).map(|one| one.library.version.0).min();
        if let Some(best) = all.iter().filter(fits).find(|one| Some(one.library.version.0) == oldest) {
            return Ok(best);
        }
        let told = |one: &Compiler| {
            let known: Vec<String> = one.known().unwrap_or_default().iter().map(Arch::to_string).collect();
            format!("NVRTC {} knows {}", one.version(), known.join(", "))
        };
        let archs: Vec<String> = archs.iter().map(Arch::to_string).collect();
        let told: Vec<String> = all.iter().map(told).collect();
        Err(NoCuda::NoKernels(format!(
            "no NVRTC here compiles for all of {}: {}",
            archs.join(", "),
            told.join("; ")
        )))
    }

    /// The compiler and the target for a card of architecture `arch` whose driver is for this version of CUDA (12060 is
    /// 12.6): the newest compiler whose code the driver loads, best of all machine code.
    ///
    /// # Errors
    /// [`NoCuda::NoKernels`] if there is none that knows an architecture like it.
    pub(super) fn for_card(arch: Arch, driver: i32) -> Result<(&'static Compiler, Target), NoCuda> {
        let all = Compiler::all()?;
        let mut ways = Vec::new();
        for compiler in all {
            match compiler.target_for(arch) {
                Ok(target) => ways.push((compiler, target)),
                Err(why) => tracing::debug!(%why, "a compiler is passed over"),
            }
        }
        let rank = |(compiler, target): &(&Compiler, Target)| {
            let loads = loads(driver, compiler.library.version, *target);
            (loads, matches!(target, Target::Cubin(_)))
        };
        // Of equal ways the last is taken: newest first, hence from the end.
        let best = ways.into_iter().rev().max_by_key(rank);
        best.ok_or_else(|| {
            let versions: Vec<String> = all.iter().map(Compiler::version).collect();
            NoCuda::NoKernels(format!("NVRTC {} knows no architecture like {arch}", versions.join(" and ")))
        })
    }

    /// E.g. `12.6`.
    pub(super) fn version(&self) -> String {
        format!("{}.{}", self.library.version.0, self.library.version.1)
    }

    /// Version and file, for people.
    pub(super) fn describe(&self) -> String {
        format!("NVRTC {} ({})", self.version(), self.library.path)
    }

    /// The best target for a card: its own machine code, or PTX of the newest architecture that this
    /// compiler knows and the card can run.
    ///
    /// # Errors
    /// [`NoCuda::NoKernels`] if it knows none.
    pub(super) fn target_for(&self, arch: Arch) -> Result<Target, NoCuda> {
        let known = self.known()?;
        if known.contains(&arch) {
            return Ok(Target::Cubin(arch));
        }
        match known.iter().filter(|known| **known < arch).max() {
            Some(older) => Ok(Target::Ptx(*older)),
            None => {
                Err(NoCuda::NoKernels(format!("NVRTC {} knows no architecture like {arch}", self.version())))
            }
        }
    }

    /// The architectures that it compiles for.
    ///
    /// # Errors
    /// [`NoCuda::NoKernels`] if it does not tell.
    pub(super) fn known(&self) -> Result<Vec<Arch>, NoCuda> {
        let known = self.library.known();
        let known = known.map_err(|why| NoCuda::NoKernels(format!("NVRTC {}: {why}", self.version())))?;
        Ok(known.into_iter().map(Arch::of).collect())
    }

    /// Compiles the kernels.
    ///
    /// # Errors
    /// [`NoCuda::NoKernels`] with the compiler's log.
    pub(super) fn compile(&self, target: Target) -> Result<Compiled, NoCuda> {
        let failed = |what: &str, why: String| {
            NoCuda::NoKernels(format!("NVRTC {} {what} for {}: {why}", self.version(), target.name()))
        };
        let text = |s: &str| CString::new(s).map_err(|e| failed("refuses the source", e.to_string()));
        let texts = |all: &mut dyn Iterator<Item = &str>| all.map(text).collect::<Result<Vec<_>, _>>();
        let unit = text(&source::unit())?;
        let names = texts(&mut source::FILES.iter().map(|(name, _)| *name))?;
        let files = texts(&mut source::FILES.iter().map(|(_, file)| *file))?;
        let options = texts(&mut options(target).iter().map(String::as_str))?;
        let mut program = Program { library: &self.library, handle: std::ptr::null_mut() };
        // SAFETY: all strings outlive the program, and both lists are as long as said.
        let made = unsafe {
            (self.library.create)(
                &raw mut program.handle,
                unit.as_ptr(),
                c"search.cu".as_ptr(),
                names.len() as c_int,
                pointers(&files).as_ptr(),
                pointers(&names).as_ptr(),
            )
        };
        self.library.check(made).map_err(|why| failed("cannot start", why))?;
        // SAFETY: the program was made above and lives until the end of this function; the list is as long as said.
        let outcome = unsafe {
            (self.library.compile)(program.handle, options.len() as c_int, pointers(&options).as_ptr())
        };
        // SAFETY: the program is alive.
        let log = unsafe { self.library.take(program.handle, self.library.log) };
        let log = log.map_or_else(|why| why, |log| readable(&log));
        self.library.check(outcome).map_err(|why| failed("cannot compile", format!("{why}\n{log}")))?;
        // PTX ends with a zero, as the driver wants it.
        let what = match target {
            Target::Cubin(_) => self.library.cubin,
            Target::Ptx(_) => self.library.ptx,
        };
        // SAFETY: as above.
        let code = unsafe { self.library.take(program.handle, what) };
        Ok(Compiled { code: code.map_err(|why| failed("gives no code", why))?, log })
    }
}

/// Whether a driver for this version of CUDA loads what a compiler of `version` makes. Machine code is loaded by drivers of
/// the same generation or a newer one, PTX by drivers at least as new (CUDA Compatibility: minor version compatibility, and
/// its limits for PTX).
fn loads(driver: i32, version: (c_int, c_int), target: Target) -> bool {
    let (major, minor) = (driver / 1000, driver % 1000 / 10);
    match target {
        Target::Cubin(_) => version.0 <= major,
        Target::Ptx(_) => version <= (major, minor),
    }
}

fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    strings.iter().map(|s| s.as_ptr()).collect()
}

fn readable(log: &[u8]) -> String {
    String::from_utf8_lossy(log.split(|byte| *byte == 0).next().unwrap_or_default()).into_owned()
}

/// A program under compilation.
struct Program<'a> {
    library: &'a Nvrtc,
    handle: Handle,
}

impl Drop for Program<'_> {
    fn drop(&mut self) {
        if !self.handle.is_null() {
            // SAFETY: made by nvrtcCreateProgram, destroyed once. There is nobody to tell of a failure.
            unsafe { (self.library.destroy)(&raw mut self.handle) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drivers_load_machine_code_of_their_generation_and_older_ptx() {
        let (cubin, ptx) = (Target::Cubin(Arch::of(87)), Target::Ptx(Arch::of(87)));
        // Driver, compiler, machine code, PTX.
        let cases = [
            (12060, (12, 9), true, false),
            (12060, (12, 6), true, true),
            (12060, (13, 0), false, false),
            (13000, (12, 9), true, true),
            (13000, (13, 0), true, true),
            (13000, (13, 1), true, false),
        ];
        for (driver, version, machine_code, text) in cases {
            assert_eq!(loads(driver, version, cubin), machine_code, "{driver} {version:?}");
            assert_eq!(loads(driver, version, ptx), text, "{driver} {version:?}");
        }
    }
}
