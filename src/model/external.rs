//! Constants whose numbers lie in files beside the model: read into it, for the rewritten model has no folder that
//! their relative paths could start from.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::FileExt;
use std::path::{Component, Path, PathBuf};

use sha2::{Digest, Sha256};

use super::onnx::{EXTERNAL, ModelProto, TensorProto, as_latin1};

/// Files that hold constants of one model.
struct Files<'a> {
    /// Where the model lies, and where it really lies if its path is a link.
    folders: Vec<PathBuf>,
    /// All that was read.
    hash: &'a mut Sha256,
    open: HashMap<PathBuf, Opened>,
}

struct Opened {
    file: File,
    path: PathBuf,
    bytes: u64,
}

/// Reads every constant of the model in `path` that lies in another file. Each such file is hashed whole when it is
/// first mentioned.
///
/// # Errors
/// Which file is missing, forbidden or too short, and what to try.
pub fn take_in(model: &mut ModelProto, path: &Path, hash: &mut Sha256) -> Result<(), String> {
    let folder = |path: &Path| path.parent().unwrap_or(Path::new("")).to_owned();
    let mut folders = vec![folder(path)];
    folders.extend(path.canonicalize().ok().map(|real| folder(&real)));
    let mut files = Files { folders, hash, open: HashMap::new() };
    model.each_tensor(&mut |tensor| match tensor.data_location {
        Some(EXTERNAL) => files.take_in(tensor),
        _ => Ok(()),
    })
}

impl Files<'_> {
    fn take_in(&mut self, tensor: &mut TensorProto) -> Result<(), String> {
        let place = Place::of(tensor)?;
        let opened = self.opened(&place.location)?;
        let length = place.length.unwrap_or(opened.bytes.saturating_sub(place.offset));
        let end = place.offset.checked_add(length).filter(|end| *end <= opened.bytes);
        let (Some(_), Ok(count)) = (end, usize::try_from(length)) else {
            return Err(format!(
                "its weights in {} are cut off: {} needs {length} bytes from byte {} on, the file has {}; fetch or export both files again",
                opened.path.display(),
                told(tensor),
                place.offset,
                opened.bytes
            ));
        };
        let mut numbers = vec![0; count];
        opened
            .file
            .read_exact_at(&mut numbers, place.offset)
            .map_err(|why| format!("its weights in {} cannot be read: {why}", opened.path.display()))?;
        tensor.raw_data = Some(numbers);
        tensor.external_data.clear();
        tensor.data_location = None;
        Ok(())
    }

    fn opened(&mut self, location: &Path) -> Result<&Opened, String> {
        if !self.open.contains_key(location) {
            let (mut file, path) = self.find(location)?;
            // Every byte of it belongs to what the model is.
            let bytes = hashed(&mut file, self.hash).map_err(|why| {
                format!("its weights lie in {}, which cannot be read: {why}", path.display())
            })?;
            self.open.insert(location.to_owned(), Opened { file, path, bytes });
        }
        self.open.get(location).ok_or_else(|| format!("{} is gone", location.display()))
    }

    /// The file beside the model; else beside the file that the model's path is a link to.
    fn find(&self, location: &Path) -> Result<(File, PathBuf), String> {
        let mut names = vec![location.to_owned()];
        let bytes = location.to_str().and_then(as_latin1);
        names.extend(bytes.map(|bytes| PathBuf::from(std::ffi::OsString::from_vec(bytes))));
        let paths = self.folders.iter().flat_map(|folder| names.iter().map(|name| folder.join(name)));
        let mut first = None;
        for path in paths {
            match File::open(&path) {
                Ok(file) => return Ok((file, path)),
                Err(why) => {
                    first.get_or_insert((path, why));
                }
            }
        }
        let (path, why) = first.unwrap_or_else(|| (location.to_owned(), io::ErrorKind::NotFound.into()));
        Err(format!(
            "its weights lie in {}, which cannot be read: {why}; copy that file along, under the name that it had when the model was exported",
            path.display()
        ))
    }
}

/// Hashes all of `file`; how many bytes it has.
fn hashed(file: &mut File, hash: &mut Sha256) -> io::Result<u64> {
    let mut part = vec![0; 1 << 20];
    let mut bytes = 0;
    loop {
        match file.read(&mut part) {
            Ok(0) => return Ok(bytes),
            Ok(count) => {
                hash.update(part.get(..count).unwrap_or_default());
                bytes += count as u64;
            }
            Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
            Err(why) => return Err(why),
        }
    }
}

/// Where the numbers of a tensor lie, in bytes.
struct Place {
    location: PathBuf,
    offset: u64,
    /// `None` if neither the file nor the number format tells it: up to the end.
    length: Option<u64>,
}

impl Place {
    fn of(tensor: &TensorProto) -> Result<Place, String> {
        let entry = |key: &str| {
            tensor.external_data.iter().find(|entry| entry.key() == key).map(|entry| entry.value())
        };
        let number = |key: &str| {
            let parse = |text: &str| {
                text.trim().parse().map_err(|e| {
                    format!("the external data of {} has a bad {key} ({text:?}: {e})", told(tensor))
                })
            };
            entry(key).map(parse).transpose()
        };
        let location = inside(entry("location").unwrap_or_default()).ok_or_else(|| {
            format!(
                "the external data of {} has the forbidden location {:?}: ONNX allows files in the model's folder only; save the model anew with its data beside it (onnx.save_model with save_as_external_data and a plain file name in location)",
                told(tensor),
                entry("location").unwrap_or_default()
            )
        })?;
        let needed = size(tensor);
        let given: Option<u64> = number("length")?.filter(|given| *given != 0);
        if let (Some(needed), Some(given)) = (needed, given)
            && needed != given
        {
            return Err(format!(
                "the external data of {} has {given} bytes, its {} numbers need {needed}; export it again",
                told(tensor),
                tensor.elements()
            ));
        }
        Ok(Place { location, offset: number("offset")?.unwrap_or(0), length: given.or(needed) })
    }
}

/// The path without its detours, if it does not leave the folder that it starts from: a model must not read any file
/// it likes. Links within the folder are followed, for download caches are made of them.
fn inside(location: &str) -> Option<PathBuf> {
    let mut path = PathBuf::new();
    for part in Path::new(OsStr::from_bytes(location.as_bytes())).components() {
        match part {
            Component::Normal(name) => path.push(name),
            Component::CurDir => {}
            Component::ParentDir => {
                if !path.pop() {
                    return None;
                }
            }
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    (!path.as_os_str().is_empty()).then_some(path)
}

/// Bytes of all numbers; `None` for formats that are not known here.
fn size(tensor: &TensorProto) -> Option<u64> {
    Some((tensor.elements() as u64).saturating_mul(tensor.bits()?).div_ceil(8))
}

/// The tensor's name; constants within nodes may have none.
fn told(tensor: &TensorProto) -> &str {
    if tensor.name().is_empty() { "a constant" } else { tensor.name() }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::model::onnx::{
        AttributeProto, GraphProto, NodeProto, SparseTensorProto, StringStringEntryProto, data_type,
    };

    /// Four bytes from the third on.
    fn tensor(location: &str, length: &str) -> TensorProto {
        let entry = |key: &str, value: &str| StringStringEntryProto {
            key: Some(key.into()),
            value: Some(value.into()),
        };
        TensorProto {
            name: Some("w".into()),
            dims: vec![4],
            data_type: Some(data_type::UINT8),
            data_location: Some(EXTERNAL),
            external_data: vec![entry("location", location), entry("offset", "2"), entry("length", length)],
            ..Default::default()
        }
    }

    fn model(tensor: TensorProto) -> ModelProto {
        let graph = GraphProto { initializer: vec![tensor], ..Default::default() };
        ModelProto { graph: Some(graph), ..Default::default() }
    }

    /// What was read, in order, and the hash of the files.
    fn taken(mut model: ModelProto, path: &Path) -> Result<(Vec<Vec<u8>>, Vec<u8>), String> {
        let mut hash = Sha256::new();
        take_in(&mut model, path, &mut hash)?;
        let mut all = Vec::new();
        let read: Result<(), String> = model.each_tensor(&mut |tensor| {
            assert!(tensor.data_location.is_none() && tensor.external_data.is_empty());
            all.extend(tensor.raw_data.clone());
            Ok(())
        });
        read.map(|()| (all, hash.finalize().to_vec()))
    }

    fn folder() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("m/sub")).unwrap();
        std::fs::write(dir.path().join("m/w.bin"), [0, 1, 2, 3, 4, 5, 6]).unwrap();
        let path = dir.path().join("m/m.onnx");
        std::fs::write(&path, "").unwrap();
        (dir, path)
    }

    #[test]
    fn constants_are_read_wherever_they_stand() {
        let (_dir, path) = folder();
        let constant = |tensor: TensorProto| NodeProto {
            attribute: vec![AttributeProto { t: Some(tensor), ..Default::default() }],
            ..Default::default()
        };
        let sparse = SparseTensorProto { values: Some(tensor("w.bin", "4")), ..Default::default() };
        let body = GraphProto {
            node: vec![constant(tensor("w.bin", "4"))],
            initializer: vec![tensor("w.bin", "4")],
            sparse_initializer: vec![sparse.clone()],
            ..Default::default()
        };
        let branch = AttributeProto { g: Some(body), sparse_tensor: Some(sparse), ..Default::default() };
        let mut model = model(tensor("w.bin", "4"));
        model.graph.as_mut().unwrap().node =
            vec![NodeProto { attribute: vec![branch], ..Default::default() }, constant(tensor("w.bin", "4"))];
        let function = crate::model::onnx::FunctionProto {
            node: vec![constant(tensor("w.bin", "4"))],
            ..Default::default()
        };
        model.functions = vec![function];
        assert_eq!(taken(model, &path).unwrap().0, vec![vec![2, 3, 4, 5]; 7]);
    }

    #[test]
    fn lengths_may_be_left_out_and_every_byte_is_hashed() {
        let (dir, path) = folder();
        let (bytes, first) = taken(model(tensor("w.bin", "4")), &path).unwrap();
        assert_eq!(bytes, [[2, 3, 4, 5]]);
        for (location, length) in [("w.bin", "0"), ("./w.bin", "4"), ("sub/../w.bin", "4")] {
            assert_eq!(
                taken(model(tensor(location, length)), &path).unwrap(),
                (bytes.clone(), first.clone())
            );
        }
        std::fs::write(dir.path().join("m/w.bin"), [0, 1, 2, 3, 4, 5, 7]).unwrap();
        assert_ne!(taken(model(tensor("w.bin", "4")), &path).unwrap().1, first);
    }

    #[test]
    fn links_and_names_in_latin1_are_followed() {
        let (dir, path) = folder();
        // As in the cache of Hugging Face: all that lies in the folder are links.
        std::os::unix::fs::symlink("../m/w.bin", dir.path().join("m/link.bin")).unwrap();
        assert!(taken(model(tensor("link.bin", "4")), &path).is_ok());
        // A link to the model alone: the data lie beside what it leads to.
        let link = dir.path().join("link.onnx");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(taken(model(tensor("w.bin", "4")), &link).is_ok());
        let name = OsStr::from_bytes(b"m/stra\xdfe.bin");
        std::fs::rename(dir.path().join("m/w.bin"), dir.path().join(name)).unwrap();
        assert!(taken(model(tensor("stra\u{df}e.bin", "4")), &path).is_ok());
    }

    #[test]
    fn what_is_missing_forbidden_or_short_is_named() {
        let (dir, path) = folder();
        std::fs::write(dir.path().join("w.bin"), [0; 9]).unwrap();
        let outside = dir.path().join("w.bin").display().to_string();
        for (location, length, words) in [
            ("none.bin", "4", &["m/none.bin", "copy that file along"][..]),
            ("sub", "4", &["m/sub", "cannot be read"]),
            ("../w.bin", "4", &["of w", "forbidden", "beside it"]),
            ("sub/../../w.bin", "4", &["forbidden"]),
            (&outside, "4", &["forbidden"]),
            ("", "4", &["forbidden"]),
            ("w.bin", "x", &["bad length"]),
            ("w.bin", "-4", &["bad length"]),
            ("w.bin", "6", &["has 6 bytes", "need 4"]),
        ] {
            let why = taken(model(tensor(location, length)), &path).unwrap_err();
            assert!(words.iter().all(|word| why.contains(word)), "{location}: {why}");
        }
        std::fs::write(dir.path().join("m/w.bin"), [0; 5]).unwrap();
        let why = taken(model(tensor("w.bin", "4")), &path).unwrap_err();
        assert!(why.contains("cut off") && why.contains("the file has 5"), "{why}");
        let huge = TensorProto { dims: vec![i64::MAX, i64::MAX], ..tensor("w.bin", "0") };
        assert!(taken(model(huge), &path).is_err());
    }
}
