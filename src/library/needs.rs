//! What a library needs of others, and where that is: with the system's loader, in other folders, or nowhere.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};

use object::Endianness;
use object::elf::{DT_NEEDED, DT_RPATH, DT_RUNPATH, FileHeader64};
use object::read::elf::{Dyn, FileHeader};

use super::{Library, SeenBy};

/// A library that another needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// Its name, e.g. `libcudart.so.12`.
    pub name: String,
    /// Where it is.
    pub at: At,
}

/// Where a needed library is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum At {
    /// The system's loader finds it, or it is loaded already.
    Loader,
    /// This file was loaded.
    File(PathBuf),
    /// Nowhere, or it does not load.
    Nowhere(String),
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.at {
            At::Loader => write!(f, "{} with the system's loader", self.name),
            At::File(path) => write!(f, "{}", path.display()),
            At::Nowhere(why) if why.is_empty() => write!(f, "no {}", self.name),
            At::Nowhere(why) => write!(f, "no {} ({why})", self.name),
        }
    }
}

/// The names of the libraries that the file `library` says it needs; nothing is loaded.
///
/// # Errors
/// If it cannot be read, or is no library of a 64-bit system.
pub fn needed(library: &Path) -> Result<Vec<String>, String> {
    entries_of(library, &[DT_NEEDED])
}

/// The texts of these entries in the dynamic section of the file `library`.
///
/// # Errors
/// As [`needed`].
fn entries_of(library: &Path, tags: &[u32]) -> Result<Vec<String>, String> {
    let told = |e: &dyn fmt::Display| format!("{}: {e}", library.display());
    let file = File::open(library).map_err(|e| told(&e))?;
    // SAFETY: as for the loader, which maps the same file next: whoever cuts an installed library short while it is in use
    // breaks its users.
    let file = unsafe { memmap2::Mmap::map(&file) }.map_err(|e| told(&e))?;
    let file = &file[..];
    let read = || -> object::Result<Vec<String>> {
        let header = FileHeader64::<Endianness>::parse(file)?;
        let endian = header.endian()?;
        let sections = header.sections(endian, file)?;
        let Some((entries, strings)) = sections.dynamic(endian, file)? else { return Ok(Vec::new()) };
        let strings = sections.strings(endian, file, strings)?;
        let wanted =
            entries.iter().filter(|entry| entry.tag32(endian).is_some_and(|tag| tags.contains(&tag)));
        wanted.map(|entry| Ok(String::from_utf8_lossy(entry.string(endian, strings)?).into_owned())).collect()
    };
    read().map_err(|e| told(&e))
}

/// Loads what the file `library` needs and the system's loader does not find from its own folder or from `folders`, and what
/// that needs in turn. The loader then takes what is loaded already. Gives all that is needed, that of other libraries only
/// where it is not with the loader.
///
/// # Errors
/// As [`needed`].
///
/// # Safety
/// Loading runs the initialisers of what is needed.
pub unsafe fn supply(library: &Path, folders: &[PathBuf]) -> Result<Vec<Need>, String> {
    let beside = library.parent().map(Path::to_owned);
    let folders: Vec<PathBuf> = beside.into_iter().chain(folders.iter().cloned()).collect();
    // SAFETY: passed on.
    Ok(unsafe { supply_names(needed(library)?, &folders) })
}

/// As [`supply`], of libraries with these `names`.
///
/// # Safety
/// As [`supply`].
pub unsafe fn supply_names(names: Vec<String>, folders: &[PathBuf]) -> Vec<Need> {
    let mut needs = Vec::new();
    // SAFETY: passed on.
    unsafe { find_all(names, folders, &mut BTreeSet::new(), &mut needs, true) };
    needs
}

/// Finds `names`, each once.
///
/// # Safety
/// As [`supply`].
unsafe fn find_all(
    names: Vec<String>,
    folders: &[PathBuf],
    seen: &mut BTreeSet<String>,
    needs: &mut Vec<Need>,
    all: bool,
) {
    for name in names {
        if !seen.insert(name.clone()) {
            // Another needed it, too, and it was with the loader.
            if all && needs.iter().all(|need| need.name != name) {
                needs.push(Need { name, at: At::Loader });
            }
            continue;
        }
        // SAFETY: passed on.
        let at = match unsafe { Library::load(&name, SeenBy::Owner) } {
            Ok(_) => At::Loader,
            // SAFETY: passed on.
            Err(_) => unsafe { find(&name, folders, seen, needs) },
        };
        if all || at != At::Loader {
            needs.push(Need { name, at });
        }
    }
}

/// Loads the first file of this name that loads, after what it needs.
///
/// # Safety
/// As [`supply`].
unsafe fn find(name: &str, folders: &[PathBuf], seen: &mut BTreeSet<String>, needs: &mut Vec<Need>) -> At {
    let mut faults = Vec::new();
    for path in folders.iter().filter_map(|folder| named_in(folder, name)) {
        // SAFETY: passed on.
        unsafe { find_all(needed(&path).unwrap_or_default(), folders, seen, needs, false) };
        // SAFETY: passed on.
        match unsafe { Library::load(&path, SeenBy::Owner) } {
            Ok(_) => {
                // SAFETY: passed on.
                unsafe { load_siblings(&path) };
                return At::File(path);
            }
            Err(why) => faults.push(why),
        }
    }
    At::Nowhere(faults.join("; "))
}

/// The library in `folder` that is called `name`, else one whose version has more digits: wheels bring no links.
fn named_in(folder: &Path, name: &str) -> Option<PathBuf> {
    let exact = folder.join(name);
    if exact.is_file() {
        return Some(exact);
    }
    let longer = format!("{name}.");
    let files = std::fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path());
    let begins =
        |file: &PathBuf| file.file_name().is_some_and(|own| own.to_string_lossy().starts_with(&longer));
    files.filter(begins).max()
}

/// Loads the libraries beside `path` that are named after it, `libnvinfer_plugin.so.10` after `libnvinfer.so.10`, unless it
/// says itself where its own are: it opens them by name when it needs them.
///
/// # Safety
/// As [`supply`].
unsafe fn load_siblings(path: &Path) {
    if entries_of(path, &[DT_RPATH, DT_RUNPATH]).is_ok_and(|places| !places.is_empty()) {
        return;
    }
    let text = path.to_string_lossy();
    let Some((stem, _)) = text.split_once(".so") else { return };
    for sibling in
        glob::glob(&format!("{}_*.so*", glob::Pattern::escape(stem))).into_iter().flatten().flatten()
    {
        // SAFETY: passed on.
        if let Err(why) = unsafe { Library::load(&sibling, SeenBy::Owner) } {
            tracing::debug!(path = %sibling.display(), %why, "a library beside one that is needed does not load");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    /// Makes a library with this name that needs others.
    fn make(folder: &Path, name: &str, source: &str, needs: &[&Path]) -> PathBuf {
        std::fs::create_dir_all(folder).unwrap();
        let (path, unit) = (folder.join(name), folder.join("unit.c"));
        std::fs::write(&unit, source).unwrap();
        let compiler = std::env::var("CXX").unwrap_or_else(|_| "g++".to_owned());
        let done = Command::new(compiler)
            .args(["-shared", "-fPIC", "-x", "c"])
            .arg(&unit)
            .args(["-x", "none", "-Wl,--no-as-needed", "-Wl,--allow-shlib-undefined"])
            .arg(format!("-Wl,-soname,{name}"))
            .args(needs)
            .arg("-o")
            .arg(&path)
            .output()
            .unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        path
    }

    #[test]
    fn what_the_loader_does_not_find_is_loaded_from_other_folders() {
        let root = tempfile::tempdir().unwrap();
        let (one, two) = (root.path().join("one/lib"), root.path().join("two/lib"));
        let deep = make(&two, "libfarout_deep.so.3", "int farout_deep(void) { return 40; }", &[]);
        let middle = "int farout_deep(void); int farout_middle(void) { return farout_deep() + 2; }";
        let middle = make(&one, "libfarout_middle.so.12", middle, &[&deep]);
        // Its file's name has more digits than its own.
        let more = two.join("libfarout_deep.so.3.1.4");
        std::fs::rename(deep, &more).unwrap();
        let deep = more;
        let gone = make(root.path(), "libfarout_gone.so.9", "", &[]);
        let top = "int farout_middle(void); int farout_top(void) { return farout_middle(); }";
        let top_folder = root.path().join("top");
        let lacking = make(&top_folder, "liblacking.so", "", &[&middle, &gone]);
        let top = make(&top_folder, "libtop.so", top, &[&middle]);
        make(&one, "libfarout_middle_more.so.12", "", &[]);
        std::fs::remove_file(gone).unwrap();
        assert!(needed(&top).unwrap().contains(&"libfarout_middle.so.12".to_owned()));
        // SAFETY: libraries without initialisers.
        unsafe {
            let why = Library::load(&top, SeenBy::Owner).err().unwrap();
            assert!(why.contains("libfarout_middle.so.12"), "{why}");
            let needs = supply(&lacking, &[one.clone(), two.clone()]).unwrap();
            let at = |name: &str| needs.iter().find(|need| need.name == name).map(Need::to_string).unwrap();
            assert_eq!(at("libfarout_middle.so.12"), middle.display().to_string());
            assert_eq!(at("libfarout_deep.so.3"), deep.display().to_string());
            assert_eq!(at("libfarout_gone.so.9"), "no libfarout_gone.so.9");
            assert_eq!(at("libc.so.6"), "libc.so.6 with the system's loader");
            assert!(Library::loaded("libfarout_middle_more.so.12").is_some(), "it is named after one");
            assert!(Library::loaded("libfarout_gone.so.9").is_none());
            let top = Library::load(&top, SeenBy::Owner).unwrap();
            assert_eq!(
                top.function::<unsafe extern "C" fn() -> std::ffi::c_int>(c"farout_top").unwrap()(),
                42
            );
        }
    }

    #[test]
    fn what_is_no_library_needs_nothing_and_says_so() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "no library".repeat(50)).unwrap();
        assert!(needed(file.path()).unwrap_err().contains(&file.path().display().to_string()));
        assert!(needed(Path::new("/no/such/library.so")).is_err());
    }
}
