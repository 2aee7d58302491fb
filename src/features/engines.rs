//! Engines that TensorRT built, kept in folders by everything that they depend on. A folder is complete or
//! not there: it is made under another name, listed with the SHA-256 of each file, synced and renamed.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::digest::{digest_of, hex, sha256_of_file};

/// The list of a complete folder.
const LIST: &str = "complete.json";
/// In the name of a folder that is being made, before the process that makes it.
const MAKING: &str = ".making-";

/// Everything that an engine depends on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineKey {
    /// SHA-256 of the model's file.
    pub model_sha256: String,
    /// SHA-256 of the graph that ONNX Runtime is given: the file, cut down and set to its size.
    pub graph_sha256: String,
    /// Width and height of the input.
    pub size: String,
    /// Number format.
    pub precision: String,
    /// Options that change what is built.
    pub workspace_mb: usize,
    /// Version of TensorRT.
    pub tensorrt: String,
    /// Version of CUDA: runtime and driver.
    pub cuda: String,
    /// Version of ONNX Runtime.
    pub onnxruntime: String,
    /// The GPU's name.
    pub gpu: String,
    /// Its architecture, e.g. `sm_87`.
    pub architecture: String,
}

impl EngineKey {
    /// Name of the folder.
    pub fn folder(&self) -> String {
        let text = serde_json::to_string(self).unwrap_or_default();
        format!("{}-{}-{}", self.architecture, self.precision, &hex(&digest_of(&[text.as_bytes()]))[..24])
    }
}

/// What a folder holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Kept {
    /// Engines, whole.
    Engines(PathBuf),
    /// An engine was built, but its features were off by this part of their length.
    Refused(f32),
    /// Nothing.
    Nothing,
    /// Something that is not whole; it was removed.
    Damaged(String),
}

#[derive(Serialize, Deserialize)]
struct List {
    key: EngineKey,
    /// Bytes and SHA-256 by name.
    files: BTreeMap<String, (u64, String)>,
    /// How far the features were off, if that was too much. The engines are not kept then.
    refused: Option<f32>,
}

/// The folder of all engines.
#[derive(Debug, Clone)]
pub struct Engines {
    root: PathBuf,
}

impl Engines {
    /// In this folder, which need not exist yet.
    pub fn at(root: &Path) -> Engines {
        Engines { root: root.to_owned() }
    }

    /// What is kept for `key`. What is damaged is removed.
    pub fn find(&self, key: &EngineKey) -> Kept {
        let folder = self.root.join(key.folder());
        if !folder.exists() {
            return Kept::Nothing;
        }
        match whole(&folder, key) {
            Ok(Some(off)) => Kept::Refused(off),
            Ok(None) => Kept::Engines(folder),
            Err(why) => {
                // What cannot be removed is built over under another name and stays damaged.
                let _ = fs::remove_dir_all(&folder);
                Kept::Damaged(format!("{}: {why}", folder.display()))
            }
        }
    }

    /// A folder to build the engines for `key` in. What processes that are no more have left is removed.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn make(&self, key: &EngineKey) -> io::Result<Making> {
        fs::create_dir_all(&self.root)?;
        for entry in fs::read_dir(&self.root)?.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let process = name.split_once(MAKING).and_then(|(_, process)| process.parse::<u32>().ok());
            if process.is_some_and(|process| !Path::new(&format!("/proc/{process}")).exists()) {
                // Another process may be at it, too.
                let _ = fs::remove_dir_all(entry.path());
            }
        }
        let name = key.folder();
        let folder = self.root.join(format!("{name}{MAKING}{}", std::process::id()));
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir(&folder)?;
        Ok(Making { folder, target: self.root.join(name), key: key.clone() })
    }
}

/// A folder that engines are built in; removed unless it is finished.
#[derive(Debug)]
pub struct Making {
    folder: PathBuf,
    target: PathBuf,
    key: EngineKey,
}

impl Making {
    /// Where to build.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Keeps what was built. Returns its folder.
    ///
    /// # Errors
    /// If nothing was built, or the folder cannot be written.
    pub fn keep(self) -> io::Result<PathBuf> {
        let files = listed(&self.folder)?;
        if files.is_empty() {
            return Err(io::Error::other("TensorRT left no engine"));
        }
        self.finish(files, None)
    }

    /// Remembers that what was built is off by this part of the features' length, so that it is not built
    /// again at every start.
    ///
    /// # Errors
    /// If the folder cannot be written.
    pub fn refuse(self, off: f32) -> io::Result<PathBuf> {
        for entry in fs::read_dir(&self.folder)? {
            fs::remove_file(entry?.path())?;
        }
        self.finish(BTreeMap::new(), Some(off))
    }

    fn finish(&self, files: BTreeMap<String, (u64, String)>, refused: Option<f32>) -> io::Result<PathBuf> {
        for name in files.keys() {
            File::open(self.folder.join(name))?.sync_all()?;
        }
        let list = List { key: self.key.clone(), files, refused };
        let path = self.folder.join(LIST);
        fs::write(&path, serde_json::to_vec_pretty(&list)?)?;
        File::open(&path)?.sync_all()?;
        File::open(&self.folder)?.sync_all()?;
        match fs::rename(&self.folder, &self.target) {
            // Another process was first: its engines are as good.
            Err(_) if whole(&self.target, &self.key).is_ok() => {}
            renamed => renamed?,
        }
        if let Some(parent) = self.target.parent() {
            File::open(parent)?.sync_all()?;
        }
        Ok(self.target.clone())
    }
}

impl Drop for Making {
    fn drop(&mut self) {
        // Gone already if it was finished.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Bytes and SHA-256 of the files in a folder.
fn listed(folder: &Path) -> io::Result<BTreeMap<String, (u64, String)>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.file_type()?.is_file() && name != LIST {
            files.insert(name, facts(&entry.path())?);
        }
    }
    Ok(files)
}

fn facts(path: &Path) -> io::Result<(u64, String)> {
    Ok((fs::metadata(path)?.len(), hex(&sha256_of_file(path)?)))
}

/// Whether a folder holds what its list says, and was made for `key`; how far it is off if it was refused.
fn whole(folder: &Path, key: &EngineKey) -> Result<Option<f32>, String> {
    let text = fs::read(folder.join(LIST)).map_err(|e| format!("{LIST}: {e}"))?;
    let list: List = serde_json::from_slice(&text).map_err(|e| format!("{LIST}: {e}"))?;
    if list.key != *key {
        return Err("it was made for something else".to_owned());
    }
    for (name, told) in &list.files {
        match facts(&folder.join(name)) {
            Ok(found) if found == *told => {}
            Ok((bytes, _)) if bytes != told.0 => {
                return Err(format!("{name} has {bytes} bytes, {} were written", told.0));
            }
            Ok(_) => return Err(format!("{name} is not what was written")),
            Err(e) => return Err(format!("{name}: {e}")),
        }
    }
    Ok(list.refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> EngineKey {
        let text = |text: &str| text.to_owned();
        EngineKey {
            model_sha256: text("aa"),
            graph_sha256: text("bb"),
            size: text("644x364"),
            precision: text("fp16"),
            workspace_mb: 0,
            tensorrt: text("100300"),
            cuda: text("12060 of driver 12080"),
            onnxruntime: text("1.23.2"),
            gpu: text("Orin"),
            architecture: text("sm_87"),
        }
    }

    #[test]
    fn everything_that_an_engine_depends_on_changes_its_folder() {
        let folders = |bent: &dyn Fn(&mut EngineKey)| {
            let mut other = key();
            bent(&mut other);
            other.folder()
        };
        assert!(key().folder().starts_with("sm_87-fp16-"));
        let bends: [&dyn Fn(&mut EngineKey); 10] = [
            &|k| k.model_sha256.push('x'),
            &|k| k.graph_sha256.push('x'),
            &|k| k.size.push('x'),
            &|k| k.precision.push('x'),
            &|k| k.workspace_mb += 1,
            &|k| k.tensorrt.push('x'),
            &|k| k.cuda.push('x'),
            &|k| k.onnxruntime.push('x'),
            &|k| k.gpu.push('x'),
            &|k| k.architecture.push('x'),
        ];
        for (n, bend) in bends.iter().enumerate() {
            assert_ne!(folders(bend), key().folder(), "field {n}");
        }
        assert_eq!(folders(&|_| {}), key().folder());
    }

    #[test]
    fn only_a_finished_folder_counts() {
        let dir = tempfile::tempdir().unwrap();
        let engines = Engines::at(&dir.path().join("engines"));
        assert_eq!(engines.find(&key()), Kept::Nothing);
        let making = engines.make(&key()).unwrap();
        fs::write(making.folder().join("farout.engine"), [7; 1000]).unwrap();
        assert_eq!(engines.find(&key()), Kept::Nothing, "not finished yet");
        let kept = making.keep().unwrap();
        assert_eq!(engines.find(&key()), Kept::Engines(kept.clone()));
        assert_eq!(fs::read_dir(&engines.root).unwrap().count(), 1);
        // A second process that built the same.
        let again = engines.make(&key()).unwrap();
        fs::write(again.folder().join("farout.engine"), [7; 1000]).unwrap();
        assert_eq!(again.keep().unwrap(), kept);
        let nothing = engines.make(&key()).unwrap();
        assert!(nothing.keep().unwrap_err().to_string().contains("no engine"));
    }

    #[test]
    fn what_a_power_cut_or_a_stranger_leaves_is_no_engine() {
        let dir = tempfile::tempdir().unwrap();
        let engines = Engines::at(dir.path());
        let make = || {
            let making = engines.make(&key()).unwrap();
            fs::write(making.folder().join("farout.engine"), [7; 1000]).unwrap();
            making
        };
        // A process that is no more: no process has this number.
        let left = dir.path().join(format!("{}{MAKING}{}", key().folder(), u32::MAX));
        fs::create_dir(&left).unwrap();
        drop(make());
        assert!(!left.exists(), "what was left is removed");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "and what is not finished, too");
        type Bend<'a> = (&'a str, &'a dyn Fn(&Path));
        let bends: [Bend; 5] = [
            ("999 bytes", &|at| fs::write(at.join("farout.engine"), [7; 999]).unwrap()),
            ("not what was written", &|at| fs::write(at.join("farout.engine"), [8; 1000]).unwrap()),
            ("No such file", &|at| fs::remove_file(at.join("farout.engine")).unwrap()),
            ("complete.json", &|at| fs::write(at.join(LIST), "{").unwrap()),
            ("complete.json", &|at| fs::remove_file(at.join(LIST)).unwrap()),
        ];
        for (word, bend) in bends {
            let folder = make().keep().unwrap();
            bend(&folder);
            let Kept::Damaged(why) = engines.find(&key()) else { panic!("{word}") };
            assert!(why.contains(word), "{why}");
            assert_eq!(engines.find(&key()), Kept::Nothing, "it was removed");
        }
        // A folder that has another one's name.
        let folder = make().keep().unwrap();
        let other = EngineKey { gpu: "another".to_owned(), ..key() };
        fs::rename(&folder, dir.path().join(other.folder())).unwrap();
        assert!(matches!(engines.find(&other), Kept::Damaged(why) if why.contains("something else")));
    }

    #[test]
    fn a_refused_engine_is_remembered_without_its_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let engines = Engines::at(dir.path());
        let making = engines.make(&key()).unwrap();
        fs::write(making.folder().join("farout.engine"), [7; 1000]).unwrap();
        let folder = making.refuse(0.25).unwrap();
        assert_eq!(engines.find(&key()), Kept::Refused(0.25));
        assert_eq!(fs::read_dir(folder).unwrap().count(), 1);
    }
}
