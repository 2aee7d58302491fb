//! Execution providers of ONNX Runtime: which are built in, and why one cannot be had.

use std::path::Path;

use ort::ep::{ArbitrarilyConfigurableExecutionProvider, CUDA, ExecutionProvider, TensorRT};
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};

use super::attempt::{Attempt, OnStream, Options};
use super::config::{Precision, Provider, RuntimeConfig};
use super::runtime::Runtime;
use super::supplies;

/// Whether the library was built with `provider`; otherwise the reason why it cannot be used.
///
/// # Errors
/// The reason; [`remedy`] tells what to try.
pub fn built_in(runtime: &Runtime, provider: Provider) -> Result<(), String> {
    let available = match provider {
        Provider::Cpu => return Ok(()),
        Provider::Cuda => CUDA::is_available(),
        Provider::TensorRt => TensorRT::is_available(),
    };
    match available {
        Ok(true) => Ok(()),
        Ok(false) => Err(format!("not built into ONNX Runtime {}", runtime.version)),
        Err(e) => Err(format!("ONNX Runtime does not tell its providers: {e}")),
    }
}

/// What to do where `provider` is missing.
pub fn remedy(provider: Provider) -> &'static str {
    match provider {
        Provider::Cpu => "any build of ONNX Runtime has it",
        Provider::Cuda => {
            "take the library of the PyPI package onnxruntime-gpu (on a Jetson: NVIDIA's wheel, docs/jetson.md) with the CUDA (12 or 13) and cuDNN that it is built for, from the system or from PyPI's wheels in the same Python environment"
        }
        Provider::TensorRt => {
            "take the library of the PyPI package onnxruntime-gpu (on a Jetson: NVIDIA's wheel, docs/jetson.md) and install the TensorRT that it is built for (libnvinfer.so.10 or .11), on the system or as PyPI's tensorrt-cu12 or tensorrt-cu13 in the same Python environment"
        }
    }
}

/// A session builder for the CPU, with `threads` threads.
///
/// # Errors
/// What ONNX Runtime says.
pub fn builder(runtime: &Runtime, threads: usize) -> Result<SessionBuilder, String> {
    let text = |e: &dyn std::fmt::Display| e.to_string();
    SessionBuilder::new(&runtime.environment)
        .map_err(|e| text(&e))?
        .with_log_level(ort::logging::LogLevel::Warning)
        .map_err(|e| text(&e))?
        .with_optimization_level(GraphOptimizationLevel::All)
        .map_err(|e| text(&e))?
        .with_intra_threads(threads)
        .map_err(|e| text(&e))?
        .with_inter_threads(1)
        .map_err(|e| text(&e))?
        // Idle threads that spin take the core that decoder, search and encoder need: on two cores they gain 3 % on an idle
        // machine (2.80 to 2.72 frames per second) and lose about a quarter beside one other busy program.
        .with_intra_op_spinning(false)
        .map_err(|e| text(&e))
}

/// A session builder on which the provider of `attempt` is registered; what remains on the CPU has the
/// configured threads. TensorRT keeps its engines in `engines`. On a GPU, work goes to the stream of `on`.
///
/// # Errors
/// The reason why the provider does not load; [`remedy`] tells what to try.
pub fn builder_for(
    runtime: &Runtime,
    attempt: Attempt,
    config: &RuntimeConfig,
    engines: Option<&Path>,
    on: Option<OnStream>,
) -> Result<SessionBuilder, String> {
    built_in(runtime, attempt.provider)?;
    let mut builder = builder(runtime, config.cpu_threads())?;
    let missing = supplies::of(runtime, attempt.provider).missing();
    let register = |provider: Provider, done: ort::Result<()>| {
        done.map_err(|e| match &missing {
            Some(missing) => format!("{provider} does not load: {missing} ({e})"),
            None => format!("{provider} does not load: {e}"),
        })
    };
    let cuda = |on| configured(CUDA::default(), config.cuda_options(attempt.precision, on));
    match attempt.provider {
        Provider::Cpu => {}
        Provider::Cuda => register(Provider::Cuda, cuda(on).register(&mut builder))?,
        Provider::TensorRt => {
            let options = config.tensorrt_options(attempt.precision, engines, on);
            let tensorrt = configured(TensorRT::default(), options);
            register(Provider::TensorRt, tensorrt.register(&mut builder))?;
            // Nodes that TensorRT does not take are better off on CUDA than on the CPU.
            let on = on.map(|on| OnStream { graph: false, ..on });
            supplies::of(runtime, Provider::Cuda);
            if let Err(why) = cuda(on).register(&mut builder) {
                tracing::warn!(%why, "nodes that TensorRT does not take run on the CPU");
            }
        }
    }
    Ok(builder)
}

fn configured<E: ArbitrarilyConfigurableExecutionProvider>(provider: E, options: Options) -> E {
    options.into_iter().fold(provider, |provider, (key, value)| provider.with_arbitrary_config(key, value))
}

/// Whether `provider` loads.
///
/// # Errors
/// The reason why not.
pub fn loads(runtime: &Runtime, provider: Provider, config: &RuntimeConfig) -> Result<(), String> {
    let attempt = Attempt { provider, precision: Precision::Fp32 };
    builder_for(runtime, attempt, config, None, None).map(drop)
}
