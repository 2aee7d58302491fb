//! Libraries that are loaded while the program runs, and stay loaded.

mod needs;
mod wheels;

use std::ffi::{CStr, OsStr};
use std::mem::ManuallyDrop;

use libloading::Error;
use libloading::os::unix::{self, RTLD_GLOBAL, RTLD_LOCAL, RTLD_NOW};

pub use needs::{At, Need, needed, supply, supply_names};
pub use wheels::folders as wheel_folders;

/// Who finds the functions of a library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SeenBy {
    /// Who asks the library.
    Owner,
    /// Every library that is loaded later, too.
    All,
}

const RTLD_NOLOAD: std::ffi::c_int = libc::RTLD_NOLOAD;

/// A loaded library.
pub struct Library(ManuallyDrop<unix::Library>);

impl Library {
    /// Loads `name`: a path, or a name that the system's loader looks for.
    ///
    /// # Errors
    /// What the loader said.
    ///
    /// # Safety
    /// Loading runs the library's initialisers.
    pub unsafe fn load(name: impl AsRef<OsStr>, seen_by: SeenBy) -> Result<Library, String> {
        let seen = if seen_by == SeenBy::All { RTLD_GLOBAL } else { RTLD_LOCAL };
        // SAFETY: the caller vouches for the initialisers; finalisers never run.
        let loaded = unsafe { unix::Library::open(Some(name.as_ref()), RTLD_NOW | seen) };
        match loaded {
            Ok(library) => Ok(Library(ManuallyDrop::new(library))),
            Err(Error::DlOpen { source }) => Err(source.to_string()),
            Err(other) => Err(other.to_string()),
        }
    }

    /// Loads `name` only as far as it is loaded already, by its own name.
    pub fn loaded(name: impl AsRef<OsStr>) -> Option<Library> {
        // SAFETY: nothing is loaded, and no initialiser runs; finalisers never run.
        let found = unsafe { unix::Library::open(Some(name.as_ref()), RTLD_NOW | RTLD_NOLOAD) };
        found.ok().map(|library| Library(ManuallyDrop::new(library)))
    }

    /// The function `name`, if there is one.
    ///
    /// # Safety
    /// `F` must be the type of a pointer to that function.
    pub unsafe fn function<F: Copy>(&self, name: &CStr) -> Option<F> {
        // SAFETY: the caller vouches for the type; the library stays loaded, and with it the function.
        unsafe { self.0.get::<F>(name) }.ok().map(|function| *function)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_found_in_a_library() {
        // SAFETY: libc is loaded already; getpid takes nothing and gives a pid_t, which is an int.
        unsafe {
            let libc = Library::load("libc.so.6", SeenBy::Owner).unwrap();
            let getpid = libc.function::<unsafe extern "C" fn() -> std::ffi::c_int>(c"getpid").unwrap();
            assert_eq!(getpid() as u32, std::process::id());
            assert!(libc.function::<unsafe extern "C" fn()>(c"no_such_function").is_none());
            let why = Library::load("no-such-library.so", SeenBy::All).err().unwrap();
            assert!(why.contains("no-such-library.so"), "{why}");
        }
    }
}
