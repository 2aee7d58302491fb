//! Any graph, run as it is: every output with its name, shape and numbers. For questions to a model;
//! [`super::Session`] is what detection runs.

use anyhow::{Context, anyhow, bail};
use ort::session::SessionInputValue;
use ort::session::builder::GraphOptimizationLevel;
use ort::value::{DynValue, TensorElementType, TensorRef, ValueType};

use super::config::RuntimeConfig;
use super::refusal::Refusal;
use super::runtime::Runtime;
use super::{byte_products, provider};
use crate::model::onnx::{TensorProto, data_type};

/// A graph that is open on the CPU.
#[derive(Debug)]
pub struct BareSession {
    inner: ort::session::Session,
    /// Version of the library.
    version: String,
    /// Bytes of the model.
    bytes: usize,
}

impl BareSession {
    /// Opens the model in `bytes`. `optimised` as for detection, else node by node as it is written.
    ///
    /// # Errors
    /// [`super::RuntimeError`] by downcast, or [`Refusal`]: what ONNX Runtime finds wrong with the model.
    pub fn open(bytes: &[u8], config: &RuntimeConfig, optimised: bool) -> anyhow::Result<BareSession> {
        let runtime = Runtime::load(config.library.as_deref())?;
        let builder = provider::builder(&runtime, config.cpu_threads());
        let mut builder = builder.map_err(|why| anyhow!(why))?;
        if !optimised {
            builder = builder
                .with_optimization_level(GraphOptimizationLevel::Disable)
                .map_err(|e| anyhow!(e.to_string()))?;
        }
        let refused = |e: ort::Error| Refusal::new(&runtime.version, &e.to_string(), bytes.len());
        let exact = byte_products::exact(&runtime, bytes);
        let inner = builder.commit_from_memory(&exact).map_err(|e| refused(e.into()))?;
        Ok(BareSession { inner, version: runtime.version, bytes: bytes.len() })
    }

    /// Runs on one input and gives all outputs in the order of the graph; those in number formats that
    /// cannot be read here (brain floats and rarer ones) come without type and numbers. `image` names the input with
    /// its dimensions and numbers; without it the graph has no inputs.
    ///
    /// # Errors
    /// [`Refusal`] by downcast: what ONNX Runtime says; else outputs that are no tensors of numbers.
    pub fn run(&mut self, image: Option<(&str, [usize; 4], &[f32])>) -> anyhow::Result<Vec<TensorProto>> {
        let outputs = match image {
            Some((name, dims, data)) => {
                let tensor =
                    TensorRef::from_array_view((dims, data)).context("the input has the wrong length")?;
                self.inner.run(ort::inputs![name => tensor])
            }
            None => self.inner.run(Vec::<(&str, SessionInputValue)>::new()),
        };
        let outputs = outputs.map_err(|e| Refusal::new(&self.version, &e.to_string(), self.bytes))?;
        outputs.iter().map(|(name, value)| tensor(name, &value)).collect()
    }
}

fn tensor(name: &str, value: &DynValue) -> anyhow::Result<TensorProto> {
    let ValueType::Tensor { ty, .. } = value.dtype() else {
        bail!("the output {name} is no tensor");
    };
    let (kind, dims, raw) = match ty {
        TensorElementType::Float32 => bytes::<f32>(value, data_type::FLOAT)?,
        TensorElementType::Float16 => bytes::<half::f16>(value, data_type::FLOAT16)?,
        TensorElementType::Float64 => bytes::<f64>(value, data_type::DOUBLE)?,
        TensorElementType::Int64 => bytes::<i64>(value, data_type::INT64)?,
        TensorElementType::Int32 => bytes::<i32>(value, data_type::INT32)?,
        TensorElementType::Int8 => bytes::<i8>(value, data_type::INT8)?,
        TensorElementType::Uint8 => bytes::<u8>(value, data_type::UINT8)?,
        TensorElementType::Bool => {
            let (shape, data) = value.try_extract_tensor::<bool>()?;
            (data_type::BOOL, shape.to_vec(), data.iter().map(|&yes| u8::from(yes)).collect())
        }
        // Rarer formats are told by their absence.
        _ => return Ok(TensorProto { name: Some(name.to_owned()), ..Default::default() }),
    };
    Ok(TensorProto {
        name: Some(name.to_owned()),
        dims,
        data_type: Some(kind),
        raw_data: Some(raw),
        ..Default::default()
    })
}

fn bytes<T: ort::value::PrimitiveTensorElementType + bytemuck::Pod>(
    value: &DynValue,
    kind: i32,
) -> anyhow::Result<(i32, Vec<i64>, Vec<u8>)> {
    let (shape, data) = value.try_extract_tensor::<T>()?;
    Ok((kind, shape.to_vec(), bytemuck::cast_slice(data).to_vec()))
}
