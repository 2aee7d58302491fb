//! Execution providers of ONNX Runtime: which are built in, and why one cannot be had.

use ort::ep::{CUDA, ExecutionProvider, TensorRT};
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};

use super::config::Provider;
use super::runtime::Runtime;

/// Whether the library was built with `provider`; otherwise the reason why it cannot be used.
///
/// # Errors
/// The reason, and what to try.
pub fn built_in(runtime: &Runtime, provider: Provider) -> Result<(), String> {
    let available = match provider {
        Provider::Cpu => return Ok(()),
        Provider::Cuda => CUDA::is_available(),
        Provider::TensorRt => TensorRT::is_available(),
    };
    match available {
        Ok(true) => Ok(()),
        Ok(false) => Err(format!(
            "ONNX Runtime {} in {} is built without it; {}",
            runtime.version,
            runtime.path.display(),
            remedy(provider)
        )),
        Err(e) => Err(format!("ONNX Runtime does not tell its providers: {e}")),
    }
}

/// What to do where `provider` is missing.
pub fn remedy(provider: Provider) -> &'static str {
    match provider {
        Provider::Cpu => "any build of ONNX Runtime has it",
        Provider::Cuda => {
            "take the library of the PyPI package onnxruntime-gpu (on a Jetson: NVIDIA's wheel) with the CUDA and cuDNN that it names"
        }
        Provider::TensorRt => {
            "take the library of the PyPI package onnxruntime-gpu (on a Jetson: NVIDIA's wheel) and install the TensorRT that it names"
        }
    }
}

/// A session builder on which `provider` is registered, with `threads` CPU threads for what
/// remains on the CPU.
///
/// # Errors
/// The reason why the provider does not load.
pub fn builder(runtime: &Runtime, provider: Provider, threads: usize) -> Result<SessionBuilder, String> {
    built_in(runtime, provider)?;
    let text = |e: &dyn std::fmt::Display| e.to_string();
    let mut builder = SessionBuilder::new(&runtime.environment)
        .map_err(|e| text(&e))?
        .with_log_level(ort::logging::LogLevel::Warning)
        .map_err(|e| text(&e))?
        .with_optimization_level(GraphOptimizationLevel::All)
        .map_err(|e| text(&e))?
        .with_intra_threads(threads)
        .map_err(|e| text(&e))?
        .with_inter_threads(1)
        .map_err(|e| text(&e))?
        // Idle threads that spin take the core that decoder, search and encoder need.
        .with_intra_op_spinning(false)
        .map_err(|e| text(&e))?;
    let register =
        |provider: &str, done: ort::Result<()>| done.map_err(|e| format!("{provider} does not load: {e}"));
    match provider {
        Provider::Cpu => {}
        Provider::Cuda => register("CUDA", CUDA::default().register(&mut builder))?,
        Provider::TensorRt => {
            register("TensorRT", TensorRT::default().register(&mut builder))?;
            // Nodes that TensorRT does not take are better off on CUDA than on the CPU.
            if let Err(why) = CUDA::default().register(&mut builder) {
                tracing::warn!(%why, "nodes that TensorRT does not take run on the CPU");
            }
        }
    }
    Ok(builder)
}
