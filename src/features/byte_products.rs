//! Products of 8-bit integers on the CPU: whether ONNX Runtime's kernels for this processor saturate, and models that
//! are right on those that do.

use std::borrow::Cow;
use std::sync::OnceLock;

use ort::value::TensorRef;
use prost::Message;

use super::runtime::Runtime;
use crate::model::onnx::{
    GraphProto, ModelProto, OperatorSetIdProto, TensorProto, data_type, node, tensor_value,
};
use crate::model::unsigned::unsigned_weights;

/// Rows, inner length and columns of the trial.
const TRIAL: [usize; 3] = [4, 64, 32];

/// Whether products of unsigned and signed bytes saturate here. x86 processors without VNNI add neighbouring products
/// in 16 bits (`vpmaddubsw`), which overflows for large weights; ONNX Runtime uses them all the same.
/// Found by one product of the largest numbers, once in a process.
///
/// # Errors
/// What ONNX Runtime says if it cannot compute one.
pub fn saturate(runtime: &Runtime) -> Result<bool, String> {
    static KNOWN: OnceLock<Result<bool, String>> = OnceLock::new();
    KNOWN.get_or_init(|| trial(runtime)).clone()
}

fn trial(runtime: &Runtime) -> Result<bool, String> {
    let [rows, inner, cols] = TRIAL;
    let text = |e: &dyn std::fmt::Display| e.to_string();
    let weights = TensorProto {
        name: Some("weights".to_owned()),
        dims: vec![inner as i64, cols as i64],
        data_type: Some(data_type::INT8),
        raw_data: Some(vec![i8::MAX as u8; inner * cols]),
        ..Default::default()
    };
    let graph = GraphProto {
        name: Some("trial".to_owned()),
        input: vec![tensor_value("numbers", data_type::UINT8, None)],
        output: vec![tensor_value("sums", data_type::INT32, None)],
        node: vec![node("MatMulInteger", &["numbers", "weights"], "sums", Vec::new())],
        initializer: vec![weights],
        ..Default::default()
    };
    let opset = OperatorSetIdProto { domain: Some(String::new()), version: Some(13) };
    let model = ModelProto {
        ir_version: Some(7),
        opset_import: vec![opset],
        graph: Some(graph),
        ..Default::default()
    };
    let mut session = super::provider::builder(runtime, 1)?
        .commit_from_memory(&model.encode_to_vec())
        .map_err(|e| text(&e))?;
    let numbers = vec![u8::MAX; rows * inner];
    let input = TensorRef::from_array_view(([rows, inner], &numbers[..])).map_err(|e| text(&e))?;
    let outputs = session.run(ort::inputs!["numbers" => input]).map_err(|e| text(&e))?;
    let (_, sums) = outputs["sums"].try_extract_tensor::<i32>().map_err(|e| text(&e))?;
    let right = i32::from(u8::MAX) * i32::from(i8::MAX) * inner as i32;
    Ok(sums.iter().any(|&sum| sum != right))
}

/// The model in `bytes` as the CPU computes it rightly: as it is, or with unsigned weights where products with signed
/// ones would saturate. Bytes that are no model come back as they are, for ONNX Runtime to refuse.
pub(super) fn exact<'a>(runtime: &Runtime, bytes: &'a [u8]) -> Cow<'a, [u8]> {
    match saturate(runtime) {
        Ok(false) => return Cow::Borrowed(bytes),
        Ok(true) => {}
        Err(why) => {
            tracing::debug!(why, "not known whether products of bytes saturate");
            return Cow::Borrowed(bytes);
        }
    }
    let Ok(mut model) = ModelProto::decode(bytes) else { return Cow::Borrowed(bytes) };
    let turned = unsigned_weights(&mut model);
    if turned == 0 {
        return Cow::Borrowed(bytes);
    }
    tracing::debug!(operators = turned, "signed 8-bit weights are taken as unsigned ones");
    Cow::Owned(model.encode_to_vec())
}
