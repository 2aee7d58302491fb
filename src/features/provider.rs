//! Execution providers of ONNX Runtime: which are built in, and why one cannot be had.

use std::path::Path;

use ort::ep::{ArbitrarilyConfigurableExecutionProvider, CUDA, ExecutionProvider, OpenVINO, TensorRT};
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};

use super::attempt::{Attempt, OnStream};
use super::config::RuntimeConfig;
use super::device::{Options, Provider};
use super::runtime::Runtime;
use super::{plugin, supplies};
use crate::file::cache_folder;

/// Whether the library was built with `provider`; otherwise the reason why it cannot be used.
///
/// # Errors
/// The reason; [`remedy`] tells what to try.
pub fn built_in(runtime: &Runtime, provider: Provider) -> Result<(), String> {
    let available = match provider {
        Provider::Cpu | Provider::PlugIn(_) => return Ok(()),
        Provider::OpenVino => OpenVINO::is_available(),
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
        Provider::OpenVino => {
            "take the library of the PyPI package onnxruntime-openvino: scripts/fetch-onnxruntime openvino (of the package: farout-fetch-onnxruntime openvino)"
        }
        Provider::PlugIn(_) => {
            "name its library in [runtime.provider.NAME], a build for this machine and this ONNX Runtime, and its hardware"
        }
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
    let mut builder = builder(runtime, config.cpu_threads())?;
    if let Some((library, own)) = config.plugin(attempt.provider) {
        let name = attempt.provider.name();
        return plugin::register(runtime, builder, (name, library), own, config.gpu);
    }
    built_in(runtime, attempt.provider)?;
    let told = |mut options: Options| {
        let own = config.provider.get(attempt.provider.name());
        options.extend(own.into_iter().flat_map(|own| own.options.clone()));
        options
    };
    let missing = supplies::of(runtime, attempt.provider).missing();
    let register = |provider: Provider, done: ort::Result<()>| {
        done.map_err(|e| match &missing {
            Some(missing) => format!("{provider} does not load: {missing} ({e})"),
            None => format!("{provider} does not load: {e}"),
        })
    };
    let cuda = |options: Options| configured(CUDA::default(), options);
    match attempt.provider {
        Provider::Cpu => {}
        Provider::PlugIn(_) => {
            return Err(format!("no library is named in [runtime.provider.{}]", attempt.provider));
        }
        Provider::OpenVino => {
            let cache =
                config.engines.clone().or_else(|| cache_folder().map(|folder| folder.join("openvino")));
            let options = told(config.openvino_options(attempt.precision, cache.as_deref()));
            let openvino = configured(OpenVINO::default(), options);
            register(Provider::OpenVino, openvino.register(&mut builder))?;
        }
        Provider::Cuda => register(
            Provider::Cuda,
            cuda(told(config.cuda_options(attempt.precision, on))).register(&mut builder),
        )?,
        Provider::TensorRt => {
            let options = told(config.tensorrt_options(attempt.precision, engines, on));
            let tensorrt = configured(TensorRT::default(), options);
            register(Provider::TensorRt, tensorrt.register(&mut builder))?;
            // Nodes that TensorRT does not take are better off on CUDA than on the CPU.
            let on = on.map(|on| OnStream { graph: false, ..on });
            supplies::of(runtime, Provider::Cuda);
            if let Err(why) = cuda(config.cuda_options(attempt.precision, on)).register(&mut builder) {
                tracing::warn!(%why, "nodes that TensorRT does not take run on the CPU");
            }
        }
    }
    Ok(builder)
}

fn configured<E: ArbitrarilyConfigurableExecutionProvider>(provider: E, options: Options) -> E {
    options.into_iter().fold(provider, |provider, (key, value)| provider.with_arbitrary_config(key, value))
}

/// Whether the provider of `attempt` loads.
///
/// # Errors
/// The reason why not.
pub fn loads(runtime: &Runtime, attempt: Attempt, config: &RuntimeConfig) -> Result<(), String> {
    builder_for(runtime, attempt, config, None, None).map(drop)
}
