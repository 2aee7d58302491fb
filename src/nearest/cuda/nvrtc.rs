//! The NVRTC libraries of this machine, of CUDA 13 and 12: found, loaded, and their functions.
//!
//! Looked for: the file or folder that `NVRTC_DYLIB_PATH` names, and nothing else if that loads; `.nvrtc` in the working
//! folder; the system's loader; `CUDA_HOME`, `CUDA_PATH` and `/usr/local/cuda*`; PyPI's wheels in Python environments
//! ([`crate::library::wheel_folders`]). cudarc's own binding is not used: it knows one library per process, and the names of
//! CUDA 12.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::path::{Path, PathBuf};

use crate::library::{Library, SeenBy, wheel_folders};

/// The names of the library, newest first.
const NAMES: [&str; 3] = ["libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"];

/// A program under compilation, `nvrtcProgram`.
pub(super) type Handle = *mut c_void;

/// `nvrtcResult`: 0 is success.
type Outcome = c_int;

/// A function that writes a size, and one that writes so many bytes.
type Size = unsafe extern "C" fn(Handle, *mut usize) -> Outcome;
type Bytes = unsafe extern "C" fn(Handle, *mut c_char) -> Outcome;

/// A library, and its functions by their names in nvrtc.h, which are the same in CUDA 12 and 13.
#[derive(Debug, Clone)]
pub(super) struct Nvrtc {
    /// Where it was found, for people.
    pub path: String,
    pub version: (c_int, c_int),
    error_string: unsafe extern "C" fn(Outcome) -> *const c_char,
    arch_count: unsafe extern "C" fn(*mut c_int) -> Outcome,
    archs: unsafe extern "C" fn(*mut c_int) -> Outcome,
    pub create: Create,
    pub compile: unsafe extern "C" fn(Handle, c_int, *const *const c_char) -> Outcome,
    pub log: (Size, Bytes),
    pub cubin: (Size, Bytes),
    pub ptx: (Size, Bytes),
    pub destroy: unsafe extern "C" fn(*mut Handle) -> Outcome,
}

/// Program, source, its name, how many headers, their texts, their names.
type Create = unsafe extern "C" fn(
    *mut Handle,
    *const c_char,
    *const c_char,
    c_int,
    *const *const c_char,
    *const *const c_char,
) -> Outcome;

/// Loads the built-in functions beside NVRTC, which opens them by their name alone when it compiles: CUDA 13's wheels do not
/// tell it where they lie.
fn load_builtins(nvrtc: &Path) {
    let Some(folder) = nvrtc.parent().filter(|folder| !folder.as_os_str().is_empty()) else { return };
    for file in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if !file.file_name().as_encoded_bytes().starts_with(b"libnvrtc-builtins.so.") {
            continue;
        }
        // SAFETY: NVRTC loads the same library when it compiles.
        if let Err(why) = unsafe { Library::load(file.path(), SeenBy::Owner) } {
            tracing::debug!(file = %file.path().display(), why, "not loaded before NVRTC loads it");
        }
    }
}

impl Nvrtc {
    /// Loads the library `name`: a path, or a name for the system's loader.
    ///
    /// # Errors
    /// What the loader says, or what it lacks.
    fn load(name: &Path) -> Result<Nvrtc, String> {
        // SAFETY: loads a library that the user or the system names as NVRTC.
        let library = unsafe { Library::load(name, SeenBy::Owner) }?;
        load_builtins(name);
        let absent = |function: &CStr| format!("it has no {}", function.to_string_lossy());
        macro_rules! function {
            ($name:literal) => {
                // SAFETY: the function's type in nvrtc.h is that of the field that it is for.
                unsafe { library.function($name) }.ok_or_else(|| absent($name))?
            };
        }
        let version: unsafe extern "C" fn(*mut c_int, *mut c_int) -> Outcome = function!(c"nvrtcVersion");
        let mut nvrtc = Nvrtc {
            path: name.display().to_string(),
            version: (0, 0),
            error_string: function!(c"nvrtcGetErrorString"),
            arch_count: function!(c"nvrtcGetNumSupportedArchs"),
            archs: function!(c"nvrtcGetSupportedArchs"),
            create: function!(c"nvrtcCreateProgram"),
            compile: function!(c"nvrtcCompileProgram"),
            log: (function!(c"nvrtcGetProgramLogSize"), function!(c"nvrtcGetProgramLog")),
            cubin: (function!(c"nvrtcGetCUBINSize"), function!(c"nvrtcGetCUBIN")),
            ptx: (function!(c"nvrtcGetPTXSize"), function!(c"nvrtcGetPTX")),
            destroy: function!(c"nvrtcDestroyProgram"),
        };
        let (major, minor) = (&raw mut nvrtc.version.0, &raw mut nvrtc.version.1);
        // SAFETY: both places live through the call.
        let outcome = unsafe { version(major, minor) };
        nvrtc.check(outcome).map_err(|why| format!("it does not tell its version: {why}"))?;
        Ok(nvrtc)
    }

    /// Success, or what the library calls the failure.
    ///
    /// # Errors
    /// That.
    pub(super) fn check(&self, outcome: Outcome) -> Result<(), String> {
        if outcome == 0 {
            return Ok(());
        }
        // SAFETY: it takes any number, and gives a constant string or nothing.
        let text = unsafe { (self.error_string)(outcome).as_ref() };
        match text {
            // SAFETY: a constant string that ends in NUL.
            Some(text) => Err(unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()),
            None => Err(format!("error {outcome}")),
        }
    }

    /// The architectures that it compiles for, 10 x major + minor.
    ///
    /// # Errors
    /// What it says.
    pub(super) fn known(&self) -> Result<Vec<u32>, String> {
        let mut count = 0;
        // SAFETY: the place lives through the call.
        self.check(unsafe { (self.arch_count)(&raw mut count) })?;
        let mut known: Vec<c_int> = vec![0; usize::try_from(count).unwrap_or(0)];
        // SAFETY: there is room for as many as it told.
        self.check(unsafe { (self.archs)(known.as_mut_ptr()) })?;
        Ok(known.into_iter().filter_map(|number| u32::try_from(number).ok()).collect())
    }

    /// What the program holds: log, cubin or PTX.
    ///
    /// # Errors
    /// What the library says.
    ///
    /// # Safety
    /// The program was made by this library and is alive.
    pub(super) unsafe fn take(
        &self,
        program: Handle,
        (size, bytes): (Size, Bytes),
    ) -> Result<Vec<u8>, String> {
        let mut count = 0;
        // SAFETY: the caller vouches for the program; the place lives through the call.
        self.check(unsafe { size(program, &raw mut count) })?;
        let mut taken = vec![0u8; count];
        // SAFETY: as above; there is room for as much as it told.
        self.check(unsafe { bytes(program, taken.as_mut_ptr().cast()) })?;
        Ok(taken)
    }
}

/// All libraries that load, newest first, one of each version; and what was wrong with the others.
pub(super) fn find() -> (Vec<Nvrtc>, Vec<String>) {
    if let Some(named) = std::env::var_os("NVRTC_DYLIB_PATH").filter(|path| !path.is_empty()) {
        let named = PathBuf::from(named);
        let files = if named.is_dir() { in_folder(&named) } else { vec![named] };
        let (found, mut faults) = load_all(files);
        if !found.is_empty() {
            return (found, faults);
        }
        if faults.is_empty() {
            faults.push("NVRTC_DYLIB_PATH names a folder without libnvrtc.so".to_owned());
        }
        let (found, more) = load_all(places());
        faults.extend(more);
        return (found, faults);
    }
    load_all(places())
}

/// Where to look, first those that are to be preferred among equal versions.
fn places() -> Vec<PathBuf> {
    let mut places = in_folder(Path::new(".nvrtc"));
    places.extend(NAMES.map(PathBuf::from));
    let homes = ["CUDA_HOME", "CUDA_PATH"].into_iter().filter_map(std::env::var_os).map(PathBuf::from);
    let installed = glob::glob("/usr/local/cuda*").into_iter().flatten().flatten();
    let toolkits = homes.chain(installed).map(|home| home.join("lib64"));
    places.extend(toolkits.chain(wheel_folders()).flat_map(|folder| in_folder(&folder)));
    places
}

/// The libraries in a folder.
fn in_folder(folder: &Path) -> Vec<PathBuf> {
    NAMES.map(|name| folder.join(name)).into_iter().filter(|path| path.is_file()).collect()
}

/// Loads files, and names that the system's loader may know.
fn load_all(places: Vec<PathBuf>) -> (Vec<Nvrtc>, Vec<String>) {
    let (mut found, mut faults) = (Vec::<Nvrtc>::new(), Vec::new());
    for place in places {
        match Nvrtc::load(&place) {
            Ok(one) if found.iter().all(|known| known.version != one.version) => found.push(one),
            Ok(_) => {}
            // Names are a try.
            Err(_) if place.components().count() == 1 => {}
            Err(why) => {
                tracing::warn!(path = %place.display(), %why, "NVRTC does not load");
                faults.push(format!("{}: {why}", place.display()));
            }
        }
    }
    found.sort_by_key(|one| std::cmp::Reverse(one.version));
    (found, faults)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    /// A library of this version that knows these architectures, and compiles nothing.
    fn stand_in(folder: &Path, name: &str, (major, minor): (u32, u32), archs: &str) -> PathBuf {
        let count = archs.split(',').count();
        let source = format!(
            r#"#include <stddef.h>
            int nvrtcVersion(int* a, int* b) {{ *a = {major}; *b = {minor}; return 0; }}
            const char* nvrtcGetErrorString(int e) {{ return e == 7 ? "no input" : 0; }}
            int nvrtcGetNumSupportedArchs(int* n) {{ *n = {count}; return 0; }}
            int nvrtcGetSupportedArchs(int* a) {{ int all[] = {{ {archs} }}; for (int i = 0; i < {count}; i++) a[i] = all[i]; return 0; }}
            int nvrtcCreateProgram() {{ return 7; }} int nvrtcCompileProgram() {{ return 7; }}
            int nvrtcGetProgramLogSize() {{ return 7; }} int nvrtcGetProgramLog() {{ return 7; }}
            int nvrtcGetCUBINSize() {{ return 7; }} int nvrtcGetCUBIN() {{ return 7; }}
            int nvrtcGetPTXSize() {{ return 7; }} int nvrtcGetPTX() {{ return 8; }}
            int nvrtcDestroyProgram() {{ return 0; }}"#
        );
        std::fs::create_dir_all(folder).unwrap();
        let (path, unit) = (folder.join(name), folder.join("nvrtc.c"));
        std::fs::write(&unit, source).unwrap();
        let compiler = std::env::var("CXX").unwrap_or_else(|_| "g++".to_owned());
        let done = Command::new(compiler)
            .args(["-shared", "-fPIC", "-x", "c"])
            .arg(&unit)
            .arg("-o")
            .arg(&path)
            .output()
            .unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        path
    }

    #[test]
    fn both_generations_are_found_newest_first_and_once() {
        let root = tempfile::tempdir().unwrap();
        let (old, new) = (root.path().join("cuda_nvrtc/lib"), root.path().join("cu13/lib"));
        stand_in(&old, "libnvrtc.so.12", (12, 9), "75, 87, 90");
        stand_in(&old, "libnvrtc.so", (12, 9), "75, 87, 90");
        let thirteen = stand_in(&new, "libnvrtc.so.13", (13, 0), "75, 87, 90, 110");
        std::fs::write(root.path().join("libnvrtc.so.13"), "damaged").unwrap();
        let places = [root.path(), &old, &new].into_iter().flat_map(in_folder).collect();
        let (found, faults) = load_all(places);
        let versions: Vec<_> = found.iter().map(|one| one.version).collect();
        assert_eq!(versions, [(13, 0), (12, 9)]);
        assert_eq!(found[0].path, thirteen.display().to_string());
        assert_eq!(found[0].known().unwrap(), [75, 87, 90, 110]);
        assert!(faults.len() == 1 && faults[0].contains("libnvrtc.so.13"), "{faults:?}");
        assert_eq!(found[0].check(7).unwrap_err(), "no input");
        assert_eq!(found[0].check(8).unwrap_err(), "error 8");
    }

    #[test]
    fn what_is_no_nvrtc_is_named() {
        let why = Nvrtc::load(Path::new("libc.so.6")).err().unwrap();
        assert_eq!(why, "it has no nvrtcVersion");
    }
}
