//! From a file's bytes to an ONNX message, with a reason for everything that is not one.

use std::collections::HashMap;
use std::fmt::Write;
use std::path::{Component, Path, PathBuf};

use prost::Message;
use sha2::{Digest, Sha256};

use super::ModelError;
use super::onnx::{EXTERNAL, ModelProto, TensorProto};

/// The model in `path`, external data taken in, and the SHA-256 of all that was read.
///
/// # Errors
/// [`ModelError::Unreadable`] or [`ModelError::NotOnnx`].
pub fn read(path: &Path) -> Result<(ModelProto, String), ModelError> {
    if path.as_os_str().is_empty() {
        return Err(ModelError::NoPath);
    }
    let bytes =
        std::fs::read(path).map_err(|source| ModelError::Unreadable { path: path.to_owned(), source })?;
    let mut hash = Sha256::new();
    hash.update(&bytes);
    let mut model = decode(&bytes).map_err(|why| ModelError::NotOnnx { path: path.to_owned(), why })?;
    drop(bytes);
    take_in_external_data(&mut model, path, &mut hash)?;
    let sha256 = hash.finalize().iter().fold(String::new(), |mut text, byte| {
        // Writing to a String does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    });
    Ok((model, sha256))
}

/// The message in `bytes`, or what they are instead.
///
/// # Errors
/// What the bytes are instead, and what to try.
pub fn decode(bytes: &[u8]) -> Result<ModelProto, String> {
    if bytes.is_empty() {
        return Err("the file is empty (0 bytes); fetch or export it again".to_owned());
    }
    if bytes.starts_with(b"version https://git-lfs") {
        return Err("it is a Git LFS pointer, not the model itself; fetch it with `git lfs pull`".to_owned());
    }
    let head = &bytes[..bytes.len().min(512)];
    if head.iter().all(|byte| matches!(byte, b'\t' | b'\n' | b'\r' | b' '..=b'~' | 0x80..)) {
        return Err("it is a text file; [model] path wants an .onnx file".to_owned());
    }
    // Field 1, ir_version, comes first in every file that known exporters write.
    let like_onnx = bytes.first() == Some(&0x08);
    let model = ModelProto::decode(bytes).map_err(|e| {
        if like_onnx {
            format!("it is cut off or damaged after {} bytes ({e}); fetch or export it again", bytes.len())
        } else {
            format!("it is something else ({e}); [model] path wants an .onnx file")
        }
    })?;
    match &model.graph {
        Some(graph) if graph.node.is_empty() => Err("its graph holds no nodes; export it again".to_owned()),
        Some(_) if model.opset_import.is_empty() => {
            Err("it ends before the list of operator sets: cut off; fetch or export it again".to_owned())
        }
        Some(_) => Ok(model),
        None if like_onnx => {
            Err("it holds no graph: cut off, or exported wrongly; export it again".to_owned())
        }
        None => Err("it is something else; [model] path wants an .onnx file".to_owned()),
    }
}

/// Initialisers whose numbers lie in files beside the model are read into it: the rewritten
/// model has no folder that their relative paths could start from.
fn take_in_external_data(model: &mut ModelProto, path: &Path, hash: &mut Sha256) -> Result<(), ModelError> {
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut files: HashMap<PathBuf, Vec<u8>> = HashMap::new();
    let Some(graph) = &mut model.graph else {
        return Ok(());
    };
    for tensor in graph.initializer.iter_mut().filter(|tensor| tensor.data_location == Some(EXTERNAL)) {
        let not_onnx = |why: String| ModelError::NotOnnx { path: path.to_owned(), why };
        let (location, offset, length) = place(tensor).map_err(not_onnx)?;
        let file = folder.join(&location);
        if !files.contains_key(&file) {
            let bytes = std::fs::read(&file).map_err(|source| {
                not_onnx(format!(
                    "its weights lie in {}, which cannot be read: {source}; copy that file along",
                    file.display()
                ))
            })?;
            hash.update(&bytes);
            files.insert(file.clone(), bytes);
        }
        let bytes = files.get(&file).map_or(&[][..], Vec::as_slice);
        let end = length.map_or(Some(bytes.len()), |length| offset.checked_add(length));
        let part = end.and_then(|end| bytes.get(offset..end)).ok_or_else(|| {
            not_onnx(format!(
                "its weights in {} are cut off: {} ends beyond {} bytes",
                file.display(),
                tensor.name(),
                bytes.len()
            ))
        })?;
        tensor.raw_data = Some(part.to_vec());
        tensor.external_data.clear();
        tensor.data_location = None;
    }
    Ok(())
}

/// File, offset and length of a tensor's external data.
fn place(tensor: &TensorProto) -> Result<(PathBuf, usize, Option<usize>), String> {
    let entry =
        |key: &str| tensor.external_data.iter().find(|entry| entry.key() == key).map(|entry| entry.value());
    let number = |key: &str| {
        let parse = |text: &str| {
            text.parse().map_err(|e| {
                format!("the external data of {} has a bad {key} ({text:?}: {e})", tensor.name())
            })
        };
        entry(key).map(parse).transpose()
    };
    let location = PathBuf::from(entry("location").unwrap_or_default());
    // The ONNX standard forbids leaving the model's folder; a model must not read any file it likes.
    let inside = location.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    if location.as_os_str().is_empty() || !inside {
        return Err(format!(
            "the external data of {} has the forbidden location {location:?}",
            tensor.name()
        ));
    }
    Ok((location, number("offset")?.unwrap_or(0), number("length")?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::onnx::{GraphProto, NodeProto, OperatorSetIdProto, StringStringEntryProto};

    fn tiny() -> ModelProto {
        ModelProto {
            ir_version: Some(8),
            opset_import: vec![OperatorSetIdProto { domain: None, version: Some(17) }],
            graph: Some(GraphProto {
                node: vec![NodeProto { op_type: Some("Identity".into()), ..Default::default() }],
                name: Some("a graph of some length".into()),
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    #[test]
    fn what_is_no_model_is_called_by_its_name() {
        let whole = tiny().encode_to_vec();
        assert!(decode(&whole).is_ok());
        let no_opset = ModelProto { opset_import: vec![], ..tiny() }.encode_to_vec();
        let cases: [(&[u8], &str); 7] = [
            (b"", "empty"),
            (b"hello\nworld, this is a note", "text file"),
            (b"version https://git-lfs.github.com/spec/v1\noid", "git lfs pull"),
            (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "something else"),
            (&whole[..whole.len() / 2], "cut off"),
            (&no_opset, "cut off"),
            (b"\x08\x08", "no graph"),
        ];
        for (bytes, word) in cases {
            let why = decode(bytes).unwrap_err();
            assert!(why.contains(word), "{bytes:?}: {why}");
        }
        // Wherever it is cut, nothing panics and nothing passes for whole.
        for cut in 0..whole.len() {
            assert!(decode(&whole[..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn external_data_is_taken_in_and_hashed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m.onnx");
        let entry = |key: &str, value: &str| StringStringEntryProto {
            key: Some(key.into()),
            value: Some(value.into()),
        };
        let write = |location: &str, length: &str| {
            let mut model = tiny();
            model.graph.as_mut().unwrap().initializer.push(TensorProto {
                name: Some("w".into()),
                data_location: Some(EXTERNAL),
                external_data: vec![
                    entry("location", location),
                    entry("offset", "2"),
                    entry("length", length),
                ],
                ..Default::default()
            });
            std::fs::write(&path, model.encode_to_vec()).unwrap();
        };
        write("w.bin", "4");
        assert!(read(&path).unwrap_err().to_string().contains("copy that file along"));
        std::fs::write(dir.path().join("w.bin"), [0, 1, 2, 3, 4, 5, 6]).unwrap();
        let (model, first) = read(&path).unwrap();
        let tensor = &model.graph.unwrap().initializer[0];
        assert_eq!((tensor.raw_data(), tensor.data_location), (&[2, 3, 4, 5][..], None));
        std::fs::write(dir.path().join("w.bin"), [0, 1, 2, 3, 4, 5, 7]).unwrap();
        assert_ne!(read(&path).unwrap().1, first);
        for (location, length, word) in
            [("w.bin", "40", "cut off"), ("../w.bin", "4", "forbidden"), ("w.bin", "x", "bad length")]
        {
            write(location, length);
            let fault = read(&path).unwrap_err().to_string();
            assert!(fault.contains(word), "{fault}");
        }
    }
}
