//! Inputs and outputs of a session at fixed places in a GPU's memory: made once per size of input, then every frame is
//! copied in, run, and copied out only as far as it is wanted on the host.
//!
//! ONNX Runtime is not asked to wait for the GPU: all work is given to one stream, and only a copy to the host waits. It
//! has been run on the host's memory only, not yet on a GPU.

use std::sync::Arc;

use ort::memory::{AllocationDevice, Allocator, AllocatorType, MemoryInfo, MemoryType};
use ort::session::{IoBinding, NoSelectedOutputs, RunOptions};
use ort::value::Tensor;

use super::device::Provider;
use super::preprocess::ModelInput;
use crate::gpu_stream::{GpuNumbers, GpuStock, GpuStream};

/// What is bound of one output.
#[derive(Debug)]
pub(super) struct Output {
    /// Its dimensions.
    shape: Vec<i64>,
    address: u64,
    numbers: usize,
    /// Where its numbers are read back to.
    read: Vec<f32>,
}

/// A session's places for inputs of one size. Fields are dropped in their order: the stream last.
pub(super) struct Binding {
    inner: IoBinding,
    /// They own the memory that is bound.
    _tensors: Vec<Tensor<f32>>,
    input: u64,
    size: (usize, usize),
    /// In the order in which they were named.
    outputs: Vec<Output>,
    options: RunOptions<NoSelectedOutputs>,
    /// Copies of the features that stay on the GPU, by how many numbers they have.
    stock: Option<(usize, GpuStock)>,
    stream: Arc<dyn GpuStream>,
}

impl std::fmt::Debug for Binding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Binding").field("size", &self.size).field("outputs", &self.outputs).finish()
    }
}

/// Where a provider computes.
fn memory(provider: Provider, stream: &dyn GpuStream) -> ort::Result<MemoryInfo<'static>> {
    let gpu = i32::try_from(stream.gpu()).unwrap_or(i32::MAX);
    match provider {
        Provider::Cpu | Provider::OpenVino | Provider::PlugIn(_) => {
            MemoryInfo::new(AllocationDevice::CPU, 0, AllocatorType::Device, MemoryType::Default)
        }
        Provider::Cuda | Provider::TensorRt => {
            MemoryInfo::new(AllocationDevice::CUDA, gpu, AllocatorType::Device, MemoryType::Default)
        }
    }
}

impl Binding {
    /// Binds the input of `session` for pictures of `size` (width, height), and the outputs, whose names and dimensions are
    /// those of a run on that size.
    ///
    /// # Errors
    /// What ONNX Runtime says.
    pub(super) fn new(
        session: &ort::session::Session,
        provider: Provider,
        (input, size): (&str, (usize, usize)),
        outputs: &[(&str, &[i64])],
        stream: &Arc<dyn GpuStream>,
    ) -> Result<Binding, String> {
        let bind = || -> ort::Result<Binding> {
            let allocator = Allocator::new(session, memory(provider, &**stream)?)?;
            let mut inner = session.create_binding()?;
            let image = Tensor::<f32>::new(&allocator, [1, 3, size.1, size.0])?;
            inner.bind_input(input, &image)?;
            let address = image.data_ptr() as u64;
            let mut tensors = vec![image];
            let mut bound = Vec::new();
            for (name, shape) in outputs {
                let mut tensor = Tensor::<f32>::new(&allocator, shape.to_vec())?;
                let address = tensor.data_ptr() as u64;
                inner.bind_output(*name, &mut tensor)?;
                let numbers = tensor.shape().num_elements();
                bound.push(Output { shape: shape.to_vec(), address, numbers, read: Vec::new() });
                tensors.push(tensor);
            }
            let mut options = RunOptions::new()?;
            options.disable_device_sync()?;
            Ok(Binding {
                inner,
                _tensors: tensors,
                input: address,
                size,
                outputs: bound,
                options,
                stock: None,
                stream: Arc::clone(stream),
            })
        };
        bind().map_err(|e| e.to_string())
    }

    /// Width and height of the pictures that it is for.
    pub(super) fn size(&self) -> (usize, usize) {
        self.size
    }

    /// Whether it is for this input.
    pub(super) fn fits(&self, input: &ModelInput) -> bool {
        self.size == (input.placement.width, input.placement.height)
    }

    /// Copies the input in and starts the run. `kept` says where the numbers begin in the first output that shall stay on
    /// the GPU, and how many there are: a copy of them is given back. The outputs are overwritten by the next run.
    ///
    /// # Errors
    /// What ONNX Runtime or the driver says.
    pub(super) fn run(
        &mut self,
        session: &mut ort::session::Session,
        input: &ModelInput,
        kept: Option<(usize, usize)>,
    ) -> Result<Option<GpuNumbers>, String> {
        let (width, height) = self.size;
        if input.data.len() != 3 * width * height {
            return Err("the input has the wrong length".to_owned());
        }
        let _turn = self.stream.turn();
        // SAFETY: the input's tensor has this many numbers.
        unsafe { self.stream.upload(&input.data, self.input) }?;
        session.run_binding_with_options(&self.inner, &self.options).map_err(|e| e.to_string())?;
        let (Some((from, count)), Some(output)) = (kept, self.outputs.first()) else { return Ok(None) };
        if from + count > output.numbers {
            return Err("there are fewer features than patches".to_owned());
        }
        if self.stock.as_ref().is_none_or(|(many, _)| *many != count) {
            self.stock = Some((count, GpuStock::new(Arc::clone(&self.stream), count)));
        }
        let Some((_, stock)) = &self.stock else { return Ok(None) };
        let address = output.address + (from * size_of::<f32>()) as u64;
        // SAFETY: the output holds them, as was checked.
        unsafe { stock.copy_of(address) }.map(Some)
    }

    /// Reads output number `output` of the last run back to the host: its dimensions and numbers.
    ///
    /// # Errors
    /// What the driver says of the copy, or of the run.
    pub(super) fn read(&mut self, output: usize) -> Result<(&[i64], &[f32]), String> {
        let Some(output) = self.outputs.get_mut(output) else { return Err("it is not bound".to_owned()) };
        output.read.resize(output.numbers, 0.0);
        // SAFETY: the output's tensor has this many numbers.
        unsafe { self.stream.download(output.address, &mut output.read) }?;
        Ok((&output.shape, &output.read))
    }
}
