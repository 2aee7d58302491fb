//! Finding and loading the ONNX Runtime library, once per process.
//!
//! Looked for in this order: `library` in `[runtime]`; the environment variable
//! `ORT_DYLIB_PATH`; beside the program and in `../lib`; where `farout-fetch-onnxruntime` of the package puts it; `.onnxruntime`
//! and `.venv` in the working folder; `.onnxruntime` in the folders above the program; the system's loader.
//! The first two are orders: what they name is taken or is an error.

use std::ffi::{CStr, c_char, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use ort::environment::Environment;

use crate::library::{Library, SeenBy};

/// The oldest ONNX Runtime that will do is 1.this.
pub const OLDEST_MINOR: u32 = ort::MINOR_VERSION;

/// How to come by the library, for error messages.
pub const REMEDY: &str = "get it with `sudo farout-fetch-onnxruntime` (package) or `scripts/fetch-onnxruntime` (project), or \
     `pip download --no-deps onnxruntime` and unzip the wheel, then name the file onnxruntime/capi/libonnxruntime.so.* in [runtime] library or ORT_DYLIB_PATH";

/// Why there is no ONNX Runtime.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RuntimeError {
    /// It is nowhere.
    #[error("ONNX Runtime (libonnxruntime.so, 1.{OLDEST_MINOR} or newer) is not installed; {REMEDY}. Looked in: {}", tried.join("; "))]
    Missing {
        /// Where it was looked for, and what was wrong with what was there.
        tried: Vec<String>,
    },
    /// The file named by the configuration or the environment is no such library.
    #[error("ONNX Runtime cannot be loaded from {path} (named by {by}): {why}; {REMEDY}", path = path.display())]
    Unusable {
        /// What was named.
        path: PathBuf,
        /// What named it.
        by: &'static str,
        /// What the loader said.
        why: String,
    },
    /// The library does not start.
    #[error("ONNX Runtime {version} from {path} does not start: {why}", path = path.display())]
    Broken {
        /// The library.
        path: PathBuf,
        /// Its version.
        version: String,
        /// What it said.
        why: String,
    },
    /// Another library is loaded already; a process has one.
    #[error("ONNX Runtime is already loaded from {loaded}, it cannot be changed to {asked}; restart", loaded = loaded.display(), asked = asked.display())]
    AlreadyLoaded {
        /// What is loaded.
        loaded: PathBuf,
        /// What was asked for now.
        asked: PathBuf,
    },
}

/// The loaded library. Cloning shares it.
#[derive(Debug, Clone)]
pub struct Runtime {
    /// Where it was found.
    pub path: PathBuf,
    /// Its version, e.g. `1.23.2`.
    pub version: String,
    pub(super) environment: Environment,
}

static LOADED: Mutex<Option<(Runtime, Option<PathBuf>)>> = Mutex::new(None);

impl Runtime {
    /// Loads the library, or gives the one loaded before. `library` is the configured file or folder.
    ///
    /// # Errors
    /// [`RuntimeError`] at once if it is missing, too old or broken; a later call tries again.
    pub fn load(library: Option<&Path>) -> Result<Runtime, RuntimeError> {
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((runtime, asked_before)) = loaded.as_ref() {
            return match library {
                Some(asked)
                    if Some(asked) != asked_before.as_deref() && !same_library(asked, &runtime.path) =>
                {
                    Err(RuntimeError::AlreadyLoaded { loaded: runtime.path.clone(), asked: asked.to_owned() })
                }
                _ => Ok(runtime.clone()),
            };
        }
        let found = find(library)?;
        let broken = |why: String| RuntimeError::Broken {
            path: found.path.clone(),
            version: found.version.clone(),
            why,
        };
        let environment = ort::init_from(&found.path)
            .map_err(|e| broken(e.to_string()))?
            .with_name("farout")
            .with_telemetry(false)
            .with_logger(std::sync::Arc::new(log))
            .build()
            .map_err(|e| broken(e.to_string()))?;
        environment.set_log_level(ort::logging::LogLevel::Warning);
        let runtime = Runtime { path: found.path, version: found.version, environment };
        *loaded = Some((runtime.clone(), library.map(Path::to_owned)));
        Ok(runtime)
    }
}

fn same_library(asked: &Path, loaded: &Path) -> bool {
    let real = |path: &Path| path.canonicalize().ok();
    in_folder_or_itself(asked).iter().any(|path| real(path) == real(loaded))
}

/// ONNX Runtime warns of much that needs no action; only its errors are worth a warning.
fn log(level: ort::logging::LogLevel, category: &str, _id: &str, location: &str, message: &str) {
    use ort::logging::LogLevel;
    match level {
        LogLevel::Error | LogLevel::Fatal => {
            tracing::warn!(target: "onnxruntime", category, location, "{message}")
        }
        LogLevel::Warning => {
            tracing::debug!(target: "onnxruntime", category, location, "{message}")
        }
        LogLevel::Info | LogLevel::Verbose => {
            tracing::trace!(target: "onnxruntime", category, location, "{message}")
        }
    }
}

struct Found {
    path: PathBuf,
    version: String,
}

fn find(library: Option<&Path>) -> Result<Found, RuntimeError> {
    let ordered = match library {
        Some(path) => Some((path.to_owned(), "[runtime] library")),
        None => std::env::var_os("ORT_DYLIB_PATH")
            .filter(|path| !path.is_empty())
            .map(|path| (path.into(), "ORT_DYLIB_PATH")),
    };
    if let Some((path, by)) = ordered {
        let unusable = |why| RuntimeError::Unusable { path: path.clone(), by, why };
        let files = in_folder_or_itself(&path);
        let file =
            files.last().ok_or_else(|| unusable("the folder holds no libonnxruntime.so".to_owned()))?;
        if !file.exists() {
            return Err(unusable("there is no such file".to_owned()));
        }
        return probe(file).map_err(unusable);
    }
    let mut tried = Vec::new();
    for folder in folders() {
        let files = if folder.is_dir() { in_folder_or_itself(&folder) } else { Vec::new() };
        if files.is_empty() {
            tried.push(folder.display().to_string());
        }
        for file in files.iter().rev() {
            match probe(file) {
                Ok(found) => return Ok(found),
                Err(why) => tried.push(format!("{} ({why})", file.display())),
            }
        }
    }
    for name in ["libonnxruntime.so.1", "libonnxruntime.so"] {
        match probe(Path::new(name)) {
            Ok(found) => return Ok(found),
            Err(why) => tried.push(format!("the system's loader ({why})")),
        }
    }
    Err(RuntimeError::Missing { tried })
}

/// The folders to look in, best first.
fn folders() -> Vec<PathBuf> {
    let mut folders = Vec::new();
    let program = std::env::current_exe().ok();
    let beside = program.as_deref().and_then(Path::parent);
    if let Some(folder) = beside {
        folders.extend([folder.to_owned(), folder.join("../lib")]);
        // Not for a build in a project, which brings its own.
        if folder.starts_with("/usr") {
            folders.push("/usr/local/lib/farout".into());
        }
    }
    if let Ok(here) = std::env::current_dir() {
        folders.push(here.join(".onnxruntime"));
        let versions = std::fs::read_dir(here.join(".venv/lib")).into_iter().flatten().flatten();
        folders.extend(versions.map(|entry| entry.path().join("site-packages/onnxruntime/capi")));
    }
    // target/release/farout and target/debug/deps/test-123 belong to the project around them.
    folders.extend(
        beside
            .into_iter()
            .flat_map(|folder| folder.ancestors().skip(1).take(3))
            .map(|folder| folder.join(".onnxruntime")),
    );
    folders
}

/// The libraries in a folder, newest last by name; a file is itself.
fn in_folder_or_itself(path: &Path) -> Vec<PathBuf> {
    if !path.is_dir() {
        return vec![path.to_owned()];
    }
    let is_library = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.as_bytes().starts_with(b"libonnxruntime.so"))
            && path.is_file()
    };
    let mut files: Vec<PathBuf> = std::fs::read_dir(path)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(is_library)
        .collect();
    files.sort();
    files
}

/// Loads the library `name` and asks its version. It stays loaded: ONNX Runtime does not
/// survive being unloaded. A link is followed: its providers lie beside the library itself, and it looks for them where it was
/// loaded from.
///
/// `ort` checks the same, but asserts where a stranger's library has odd answers.
fn probe(name: &Path) -> Result<Found, String> {
    let real = name.canonicalize().ok().filter(|_| name.is_absolute());
    let name = real.as_deref().unwrap_or(name);
    // SAFETY: loading runs the library's initialisers: that is what was asked for.
    let library = unsafe { Library::load(name, SeenBy::Owner) }?;
    // SAFETY: every ONNX Runtime exports OrtGetApiBase with this signature.
    let get_base =
        unsafe { library.function::<extern "C" fn() -> *const ort::sys::OrtApiBase>(c"OrtGetApiBase") }
            .ok_or_else(|| "it is not ONNX Runtime (no OrtGetApiBase)".to_owned())?;
    // SAFETY: OrtGetApiBase gives NULL or a pointer to a constant that lives as long as the library.
    let base = unsafe { get_base().as_ref() }.ok_or_else(|| "OrtGetApiBase gives nothing".to_owned())?;
    // SAFETY: the function of a live OrtApiBase; it gives NULL or a constant string.
    let version: *const c_char = unsafe { (base.GetVersionString)() };
    if version.is_null() {
        return Err("it has no version".to_owned());
    }
    // SAFETY: not NULL, hence a constant string ending in NUL.
    let version = unsafe { CStr::from_ptr(version) }.to_string_lossy().into_owned();
    let mut numbers = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    if (numbers.next(), numbers.next()) < (Some(1), Some(OLDEST_MINOR)) {
        return Err(format!("it is version {version}, too old: 1.{OLDEST_MINOR} or newer is needed"));
    }
    Ok(Found { path: path_of(get_base as *const c_void).unwrap_or_else(|| name.to_owned()), version })
}

/// The file that the loader mapped `symbol` from: names without a folder are found by it alone.
fn path_of(symbol: *const c_void) -> Option<PathBuf> {
    // SAFETY: Dl_info is plain data for which zero is valid; dladdr fills it.
    let mut info: libc::Dl_info = unsafe { std::mem::zeroed() };
    // SAFETY: dladdr accepts any address and a valid place for its answer.
    if unsafe { libc::dladdr(symbol, &raw mut info) } == 0 || info.dli_fname.is_null() {
        return None;
    }
    // SAFETY: after success dli_fname is a string that lives as long as the library.
    let name = unsafe { CStr::from_ptr(info.dli_fname) };
    Some(PathBuf::from(std::ffi::OsStr::from_bytes(name.to_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_library_is_an_error_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let text = dir.path().join("libonnxruntime.so");
        let missing = find(Some(&text)).map(|f| f.version).unwrap_err().to_string();
        assert!(missing.contains("no such file") && missing.contains("pip download"), "{missing}");
        let empty = find(Some(dir.path())).map(|f| f.version).unwrap_err().to_string();
        assert!(empty.contains("holds no libonnxruntime.so"), "{empty}");
        std::fs::write(&text, "not a library".repeat(100)).unwrap();
        for path in [dir.path(), &text] {
            let fault = find(Some(path)).map(|f| f.version).unwrap_err().to_string();
            assert!(fault.contains("[runtime] library") && fault.contains("invalid ELF header"), "{fault}");
        }
        // A real library, but not this one.
        assert!(probe(Path::new("libc.so.6")).map(|f| f.version).unwrap_err().contains("OrtGetApiBase"));
    }

    #[test]
    fn the_newest_library_of_a_folder_is_last() {
        let dir = tempfile::tempdir().unwrap();
        for name in [
            "libonnxruntime.so.1.23.2",
            "libonnxruntime.so.1.32.0",
            "libonnxruntime_providers_shared.so",
            "x",
        ] {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        let files = in_folder_or_itself(dir.path());
        assert_eq!(files.len(), 2);
        assert_eq!(files[1], dir.path().join("libonnxruntime.so.1.32.0"));
    }
}
