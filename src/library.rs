//! Libraries that are loaded while the program runs, and stay loaded.

use std::collections::HashSet;
use std::ffi::{CStr, OsStr};
use std::mem::ManuallyDrop;
use std::path::{Path, PathBuf};

use libloading::Error;
use libloading::os::unix::{self, RTLD_GLOBAL, RTLD_LOCAL, RTLD_NOW};

/// Who finds the functions of a library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SeenBy {
    /// Who asks the library.
    Owner,
    /// Every library that is loaded later, too.
    All,
}

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

    /// Loads the file `path` with the libraries that it needs and the system's loader does not find, from the same folder:
    /// what wheels bring side by side says nothing of where it lies.
    ///
    /// # Errors
    /// What the loader said of the first library that is nowhere.
    ///
    /// # Safety
    /// Loading runs the libraries' initialisers.
    pub unsafe fn load_beside(path: &Path) -> Result<Library, String> {
        let mut known = HashSet::new();
        // SAFETY: the caller vouches for the initialisers.
        unsafe { Library::load_after(path, &mut known) }
    }

    /// As [`Library::load_beside`]; `known` are the names that were looked for already.
    ///
    /// # Safety
    /// As there.
    unsafe fn load_after(path: &Path, known: &mut HashSet<String>) -> Result<Library, String> {
        loop {
            // SAFETY: the caller vouches for the initialisers.
            let why = match unsafe { Library::load(path, SeenBy::Owner) } {
                Ok(library) => return Ok(library),
                Err(why) => why,
            };
            let missing = why.split_once(": cannot open shared object file").map(|(name, _)| name.to_owned());
            // Each name is looked for once: then it is loaded, or nowhere.
            let beside =
                missing.filter(|name| known.insert(name.clone())).and_then(|name| named_in(path, &name));
            match beside {
                // SAFETY: as above.
                Some(file) => unsafe { Library::load_after(&file, known) }?,
                None => return Err(why),
            };
        }
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

/// The library that asks for `name`, beside `path`: called so, or with more digits of its version.
fn named_in(path: &Path, name: &str) -> Option<PathBuf> {
    let folder = path.parent()?;
    let exact = folder.join(name);
    if exact.is_file() {
        return Some(exact);
    }
    let longer = format!("{name}.");
    let files = std::fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path());
    files.filter(|file| file.file_name().is_some_and(|own| own.to_string_lossy().starts_with(&longer))).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_library_needs_is_found_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str| dir.path().join(name);
        let build = |text: &str, to: &Path, more: &[&str]| {
            let source = dir.path().join("source.c");
            std::fs::write(&source, text).unwrap();
            let mut compiler = std::process::Command::new("cc");
            compiler
                .args(["-shared", "-fPIC", "-o"])
                .arg(to)
                .arg(&source)
                .arg("-L")
                .arg(dir.path())
                .args(more);
            compiler.status().is_ok_and(|status| status.success())
        };
        // outer needs middle.so.2, which is there with more digits, and that needs inner.
        let (inner, middle, outer) = (file("libinner.so"), file("libmiddle.so"), file("libouter.so"));
        let built = build("int inner(void) { return 7; }", &inner, &["-Wl,-soname,libinner.so"])
            && build(
                "int inner(void); int middle(void) { return inner(); }",
                &middle,
                &["-linner", "-Wl,-soname,libmiddle.so.2"],
            )
            && build("int middle(void); int outer(void) { return middle() + 1; }", &outer, &["-lmiddle"]);
        if !built {
            return crate::skipped::skipped("libraries beside a library", "there is no C compiler (cc)");
        }
        std::fs::rename(&middle, file("libmiddle.so.2.13")).unwrap();
        // SAFETY: they have no initialisers; the function's type is as written above.
        unsafe {
            let library = Library::load_beside(&outer).unwrap();
            assert_eq!(library.function::<extern "C" fn() -> std::ffi::c_int>(c"outer").unwrap()(), 8);
        }
        let alone = tempfile::tempdir().unwrap();
        let copy = alone.path().join("libalone.so");
        assert!(build("int gone(void); int outer(void) { return gone(); }", &file("libgone.so"), &[]));
        assert!(build("int outer(void); int lone(void) { return outer(); }", &copy, &["-lgone"]));
        // SAFETY: it cannot be loaded.
        let why = unsafe { Library::load_beside(&copy) }.err().unwrap();
        assert!(why.contains("libgone.so"), "{why}");
    }

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
