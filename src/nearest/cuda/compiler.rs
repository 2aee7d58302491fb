//! NVRTC, NVIDIA's run-time compiler: found, loaded and asked. It needs no GPU.
//!
//! Looked for: the file that `NVRTC_DYLIB_PATH` names; `.nvrtc` in the working folder; the system's
//! loader; `CUDA_HOME`, `CUDA_PATH` and `/usr/local/cuda`.

use std::ffi::{CString, c_char, c_int};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use cudarc::nvrtc::result::{self, NvrtcError};
use cudarc::nvrtc::sys;

use super::super::device::NoCuda;
use super::geometry::Arch;
use super::source;
use crate::library::{Library, SeenBy};

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

/// The library.
#[derive(Debug, Clone, Copy)]
pub(super) struct Compiler {
    version: (c_int, c_int),
}

const REMEDY: &str = "install CUDA's NVRTC (libnvrtc.so.12, e.g. from the PyPI wheel nvidia-cuda-nvrtc-cu12) and \
    name it in NVRTC_DYLIB_PATH, or bring ready code: farout kernels build on another machine, and search.kernels here";

impl Compiler {
    /// Loads the library, once per process.
    ///
    /// # Errors
    /// [`NoCuda::NoKernels`] if there is none.
    pub(super) fn load() -> Result<Compiler, NoCuda> {
        static LOADED: OnceLock<Result<Compiler, String>> = OnceLock::new();
        LOADED
            .get_or_init(|| {
                preload();
                // SAFETY: loads libnvrtc by its usual names; its initialisers are NVIDIA's.
                if !unsafe { sys::is_culib_present() } {
                    return Err(format!("NVRTC is not installed; {REMEDY}"));
                }
                let (mut major, mut minor) = (0, 0);
                // SAFETY: the library is there, and both places live through the call.
                unsafe { sys::nvrtcVersion(&raw mut major, &raw mut minor) }
                    .result()
                    .map_err(|e| format!("NVRTC does not tell its version: {e}; {REMEDY}"))?;
                Ok(Compiler { version: (major, minor) })
            })
            .clone()
            .map_err(NoCuda::NoKernels)
    }

    /// E.g. `12.6`.
    pub(super) fn version(self) -> String {
        format!("{}.{}", self.version.0, self.version.1)
    }

    /// The best target for a card: its own machine code, or PTX of the newest architecture that this
    /// compiler knows and the card can run.
    ///
    /// # Errors
    /// [`NoCuda::NoKernels`] if it knows none.
    pub(super) fn target_for(self, arch: Arch) -> Result<Target, NoCuda> {
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
    pub(super) fn known(self) -> Result<Vec<Arch>, NoCuda> {
        let failed = |e: NvrtcError| NoCuda::NoKernels(format!("NVRTC {}: {e}", self.version()));
        let mut count = 0;
        // SAFETY: the place lives through the call.
        unsafe { sys::nvrtcGetNumSupportedArchs(&raw mut count) }.result().map_err(failed)?;
        let mut known: Vec<c_int> = vec![0; usize::try_from(count).unwrap_or(0)];
        // SAFETY: there is room for as many as it told.
        unsafe { sys::nvrtcGetSupportedArchs(known.as_mut_ptr()) }.result().map_err(failed)?;
        Ok(known.into_iter().filter_map(|n| u32::try_from(n).ok()).map(Arch::of).collect())
    }

    /// Compiles the kernels.
    ///
    /// # Errors
    /// [`NoCuda::NoKernels`] with the compiler's log.
    pub(super) fn compile(self, target: Target) -> Result<Compiled, NoCuda> {
        let failed = |what: &str, why: String| {
            NoCuda::NoKernels(format!("NVRTC {} {what} for {}: {why}", self.version(), target.name()))
        };
        let text = |s: &str| CString::new(s).map_err(|e| failed("refuses the source", e.to_string()));
        let unit = text(&source::unit())?;
        let names = source::FILES.iter().map(|(name, _)| text(name)).collect::<Result<Vec<_>, _>>()?;
        let files = source::FILES.iter().map(|(_, file)| text(file)).collect::<Result<Vec<_>, _>>()?;
        let pointers =
            |strings: &[CString]| strings.iter().map(|s| s.as_ptr()).collect::<Vec<*const c_char>>();
        let mut program = Program(std::ptr::null_mut());
        // SAFETY: all strings outlive the program, and both lists are as long as said.
        unsafe {
            sys::nvrtcCreateProgram(
                &raw mut program.0,
                unit.as_ptr(),
                c"search.cu".as_ptr(),
                names.len() as c_int,
                pointers(&files).as_ptr(),
                pointers(&names).as_ptr(),
            )
        }
        .result()
        .map_err(|e| failed("cannot start", e.to_string()))?;
        // SAFETY: the program was made above and lives until the end of this function.
        let outcome = unsafe { result::compile_program(program.0, &options(target)) };
        // SAFETY: as above.
        let log = unsafe { result::get_program_log(program.0) }
            .map_or_else(|e| e.to_string(), |log| readable(&log));
        outcome.map_err(|e| failed("cannot compile", format!("{e}\n{log}")))?;
        let code = program.code(target).map_err(|e| failed("gives no code", e.to_string()))?;
        Ok(Compiled { code, log })
    }
}

fn readable(log: &[c_char]) -> String {
    let bytes: Vec<u8> = log.iter().map(|c| *c as u8).take_while(|b| *b != 0).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A program under compilation.
struct Program(sys::nvrtcProgram);

impl Program {
    /// The compiled code; PTX ends with a zero, as the driver wants it.
    fn code(&self, target: Target) -> Result<Vec<u8>, NvrtcError> {
        let mut bytes = 0;
        // SAFETY: the program is alive and compiled; there is room for as much as it told.
        unsafe {
            match target {
                Target::Cubin(_) => {
                    sys::nvrtcGetCUBINSize(self.0, &raw mut bytes).result()?;
                    let mut code = vec![0u8; bytes];
                    sys::nvrtcGetCUBIN(self.0, code.as_mut_ptr().cast()).result()?;
                    Ok(code)
                }
                Target::Ptx(_) => {
                    sys::nvrtcGetPTXSize(self.0, &raw mut bytes).result()?;
                    let mut code = vec![0u8; bytes];
                    sys::nvrtcGetPTX(self.0, code.as_mut_ptr().cast()).result()?;
                    Ok(code)
                }
            }
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if !self.0.is_null() {
            // SAFETY: made by nvrtcCreateProgram, destroyed once. There is nobody to tell of a failure.
            let _ = unsafe { result::destroy_program(self.0) };
        }
    }
}

/// Loads the library by its path where it lies off the loader's ways: a later search by name finds
/// what is loaded already.
fn preload() {
    let folder = |path: &Path| [path.join("libnvrtc.so.12"), path.join("libnvrtc.so")];
    let mut places: Vec<PathBuf> = Vec::new();
    if let Some(named) = std::env::var_os("NVRTC_DYLIB_PATH").filter(|path| !path.is_empty()) {
        let named = PathBuf::from(named);
        places.extend(if named.is_dir() { folder(&named).to_vec() } else { vec![named] });
    }
    places.extend(folder(Path::new(".nvrtc")));
    for home in ["CUDA_HOME", "CUDA_PATH"] {
        places.extend(
            std::env::var_os(home).into_iter().flat_map(|home| folder(&PathBuf::from(home).join("lib64"))),
        );
    }
    places.extend(folder(Path::new("/usr/local/cuda/lib64")));
    for place in places.iter().filter(|place| place.is_file()) {
        // SAFETY: loads a library that the user or the system names as NVRTC.
        match unsafe { Library::load(place, SeenBy::All) } {
            Ok(_) => {
                tracing::debug!(path = %place.display(), "NVRTC");
                return;
            }
            Err(why) => tracing::warn!(path = %place.display(), %why, "NVRTC does not load"),
        }
    }
}
