//! From a file's bytes to an ONNX message, with a reason for everything that is not one.

use std::collections::HashSet;
use std::path::Path;

use prost::Message;
use sha2::{Digest, Sha256};

use super::onnx::{EXTERNAL, ModelProto, NodeProto, TensorProto, in_utf8};
use super::{ModelError, external, order, sparse};
use crate::digest::hex;

/// ONNX files are one protobuf message, which cannot be larger.
const LARGEST: usize = (1 << 31) - 1;

/// The model in `path`, external data taken in, nodes in order, and the SHA-256 of all that was read.
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
    let not_onnx = |why: String| ModelError::NotOnnx { path: path.to_owned(), why };
    let mut model = decode(&bytes).map_err(not_onnx)?;
    drop(bytes);
    external::take_in(&mut model, path, &mut hash).map_err(not_onnx)?;
    plain(&mut model);
    order::sort(&mut model).map_err(not_onnx)?;
    Ok((model, hex(&hash.finalize())))
}

/// The bytes of the model in `path` as one file, if its weights lie in others beside it.
///
/// # Errors
/// As [`read`].
pub fn in_one_file(path: &Path) -> Result<Option<Vec<u8>>, ModelError> {
    let bytes =
        std::fs::read(path).map_err(|source| ModelError::Unreadable { path: path.to_owned(), source })?;
    let mut model = decode(&bytes).map_err(|why| ModelError::NotOnnx { path: path.to_owned(), why })?;
    let mut beside = false;
    let look = |tensor: &mut TensorProto| -> Result<(), std::convert::Infallible> {
        beside |= tensor.data_location == Some(EXTERNAL);
        Ok(())
    };
    let Ok(()) = model.each_tensor(&mut { look });
    if !beside {
        return Ok(None);
    }
    drop(model);
    let (whole, _) = read(path)?;
    let bytes = encode(&whole).map_err(|why| ModelError::NotOnnx { path: path.to_owned(), why })?;
    Ok(Some(bytes))
}

/// The bytes of a model as one file.
///
/// # Errors
/// If they are too many for one.
pub fn encode(model: &ModelProto) -> Result<Vec<u8>, String> {
    match model.encoded_len() {
        0..=LARGEST => Ok(model.encode_to_vec()),
        bytes => Err(format!(
            "as one file it would have {bytes} bytes, and an ONNX file holds at most {LARGEST}: take a smaller model, or \
             16-bit weights"
        )),
    }
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
    let decoded = ModelProto::decode(bytes).or_else(|fault| match in_utf8(bytes) {
        Some(mended) => ModelProto::decode(&mended[..]),
        None => Err(fault),
    });
    let model = decoded.map_err(|e| {
        if like_onnx {
            format!("it is cut off or damaged after {} bytes ({e}); fetch or export it again", bytes.len())
        } else {
            format!("it is something else ({e}); [model] path wants an .onnx file")
        }
    })?;
    match &model.graph {
        Some(graph) if graph.node.is_empty() => Err("its graph holds no nodes; export it again".to_owned()),
        Some(_) if model.opset_import.is_empty() => {
            Err("it names no operator sets: it is cut off, or older than ONNX 1.0; fetch or export it again"
                .to_owned())
        }
        Some(_) => Ok(model),
        None if like_onnx => {
            Err("it holds no graph: cut off, or exported wrongly; export it again".to_owned())
        }
        None => Err("it is something else; [model] path wants an .onnx file".to_owned()),
    }
}

/// The oldest version of the format in which constants need not be inputs, too.
const OLDEST_IR: i64 = 4;
/// The newest version that every ONNX Runtime in use takes.
const PLAIN_IR: i64 = 10;
/// The newest version whose every field is known here. What came after [`PLAIN_IR`] are rarer number formats, which
/// ONNX Runtime knows or names itself, and hints for devices.
const KNOWN_IR: i64 = 14;

/// Makes one form of what files say in several: constants are whole and no inputs, the standard operators have the domain
/// `""`, and the version of the format is one that ONNX Runtime takes.
fn plain(model: &mut ModelProto) {
    let version = model.ir_version();
    if version <= KNOWN_IR {
        model.ir_version = Some(version.clamp(OLDEST_IR, PLAIN_IR));
    }
    let own = |domain: &mut Option<String>| {
        domain.take_if(|name| name == "ai.onnx");
    };
    model.opset_import.iter_mut().for_each(|set| own(&mut set.domain));
    for function in &mut model.functions {
        function.node.iter_mut().for_each(|one| each_node(one, &mut |one| own(&mut one.domain)));
    }
    let Some(graph) = &mut model.graph else { return };
    graph.node.iter_mut().for_each(|one| each_node(one, &mut |one| own(&mut one.domain)));
    sparse::make_whole(graph);
    let sparse = graph.sparse_initializer.iter().filter_map(|sparse| sparse.values.as_ref());
    let constants: HashSet<&str> = graph.initializer.iter().chain(sparse).map(TensorProto::name).collect();
    graph.input.retain(|value| !constants.contains(value.name()));
}

fn each_node(one: &mut NodeProto, visit: &mut dyn FnMut(&mut NodeProto)) {
    visit(one);
    for inner in one.bodies_mut().flat_map(|body| &mut body.node) {
        each_node(inner, visit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::onnx::{GraphProto, OperatorSetIdProto, node};

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

    /// One file may write what another writes otherwise.
    #[test]
    fn every_form_of_a_file_is_read_as_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m.onnx");
        let again = |model: &ModelProto| {
            std::fs::write(&path, model.encode_to_vec()).unwrap();
            read(&path).map(|(model, _)| model)
        };
        let value = |name: &str| crate::model::onnx::tensor_value(name, 1, None);
        for (version, want) in [(3, 4), (7, 7), (12, 10), (14, 10), (15, 15)] {
            let mut model = tiny();
            model.ir_version = Some(version);
            model.opset_import[0].domain = Some("ai.onnx".into());
            let graph = model.graph.as_mut().unwrap();
            graph.node = vec![
                NodeProto { domain: Some("ai.onnx".into()), ..node("Relu", &["a"], "y", vec![]) },
                node("Add", &["x", "w"], "a", vec![]),
            ];
            graph.input = vec![value("x"), value("w")];
            graph.initializer = vec![TensorProto { name: Some("w".into()), ..Default::default() }];
            let model = again(&model).unwrap();
            assert_eq!((model.ir_version(), model.opset_import[0].domain()), (want, ""));
            let graph = model.graph.unwrap();
            assert_eq!(graph.input, [value("x")]);
            assert_eq!(
                graph.node.iter().map(|one| (one.domain(), one.out(0))).collect::<Vec<_>>(),
                [("", "a"), ("", "y")]
            );
        }
        let mut model = tiny();
        model.graph.as_mut().unwrap().node = vec![node("Add", &["x", "y"], "y", vec![])];
        let why = again(&model).unwrap_err().to_string();
        assert!(why.contains("m.onnx") && why.contains("circle"), "{why}");
    }

    #[test]
    fn a_text_in_latin1_is_no_damage() {
        let mut model = tiny();
        model.doc_string = Some("Stra\u{7f}e".into());
        let bytes: Vec<u8> =
            model.encode_to_vec().into_iter().map(|byte| if byte == 0x7f { 0xdf } else { byte }).collect();
        let read = decode(&bytes).unwrap();
        assert_eq!((read.doc_string(), &read.graph), ("Stra\u{df}e", &model.graph));
        for cut in 0..bytes.len() {
            assert!(decode(&bytes[..cut]).is_err(), "cut at {cut}");
        }
    }
}
