//! A card through NVIDIA's driver: the sole place that calls it.

use std::ffi::{CString, c_void};

use cudarc::driver::sys::{self, CUdevice_attribute as Attribute};
use cudarc::driver::{DriverError, result};

use super::super::device::NoCuda;
use super::card::{Card, Memory};
use super::code::Code;
use super::fault::{failed, words};
use super::geometry::{Arch, THREADS};
use super::moments::{Moments, event};
use super::pinned::Pinned;
use super::problem::{Kernel, Problem};

/// The oldest driver that loads what CUDA 12 compiles, as `cuDriverGetVersion` counts.
const OLDEST_DRIVER: i32 = 12_000;
/// Bytes that are copied to the card at once.
const STAGE: usize = 16 << 20;

/// A device that the driver gave.
#[derive(Debug, Clone)]
pub(in super::super) struct Found {
    pub(super) device: sys::CUdevice,
    /// What NVIDIA calls it.
    pub name: String,
    /// Its compute capability.
    pub arch: Arch,
    processors: usize,
    /// Bytes of shared memory that a block may have if it asks for them.
    shared: usize,
    /// The version of CUDA that the driver supports.
    pub driver: i32,
}

/// The CUDA device with this number.
///
/// # Errors
/// [`NoCuda`]: no driver, one that is too old, or no such device.
pub(super) fn find_number(number: usize) -> Result<Found, NoCuda> {
    // SAFETY: loads libcuda by its usual names and drops it again; its initialisers are NVIDIA's.
    if !unsafe { sys::is_culib_present() } {
        return Err(NoCuda::NoDriver);
    }
    let told = |e: DriverError| NoCuda::NoDevice(words(e));
    let mut driver = 0;
    // SAFETY: the place lives through the call.
    unsafe { sys::cuDriverGetVersion(&raw mut driver) }.result().map_err(told)?;
    if driver < OLDEST_DRIVER {
        return Err(NoCuda::OldDriver { found: driver, oldest: OLDEST_DRIVER });
    }
    result::init().map_err(told)?;
    let count = result::device::get_count().map_err(told)?;
    let device = match i32::try_from(number) {
        Ok(number) if number < count => result::device::get(number).map_err(told)?,
        _ if number == 0 => return Err(NoCuda::NoDevice("it counts 0 of them".to_owned())),
        _ => {
            return Err(NoCuda::NoDevice(format!("it counts {count} of them, number {number} is not there")));
        }
    };
    let name = result::device::get_name(device).map_err(told)?;
    let attribute = |which| {
        // SAFETY: `device` was given by the driver.
        unsafe { result::device::get_attribute(device, which) }.map_err(told).map(|n| n.max(0) as u32)
    };
    let arch = Arch {
        major: attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
        minor: attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
    };
    let processors = attribute(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)? as usize;
    let shared = attribute(Attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)? as usize;
    Ok(Found { device, name, arch, processors, shared, driver })
}

impl Found {
    /// Name, architecture and driver, for people.
    pub(in super::super) fn describe(&self) -> String {
        let (major, minor) = (self.driver / 1000, self.driver % 1000 / 10);
        format!(
            "{}, {}, {} processors, driver for CUDA {major}.{minor}",
            self.name, self.arch, self.processors
        )
    }
}

/// The primary context of a device, which its user releases. Who waits for the device in it sleeps, unless another has
/// chosen otherwise: the driver's own choice may be to keep a processor busy.
///
/// # Errors
/// [`NoCuda`] if the driver refuses.
pub(super) fn context_of(device: sys::CUdevice) -> Result<sys::CUcontext, NoCuda> {
    let (mut flags, mut active) = (0, 0);
    let chosen = sys::CUctx_flags::CU_CTX_SCHED_MASK as u32;
    let sleep = sys::CUctx_flags::CU_CTX_SCHED_BLOCKING_SYNC as u32;
    // SAFETY: the driver gave the device; both places live through the call.
    let known = unsafe { sys::cuDevicePrimaryCtxGetState(device, &raw mut flags, &raw mut active) }.result();
    if known.is_ok() && flags & chosen == 0 {
        // SAFETY: as above.
        if let Err(e) = unsafe { sys::cuDevicePrimaryCtxSetFlags_v2(device, flags | sleep) }.result() {
            tracing::debug!(why = words(e), "waiting for the GPU may keep a core busy");
        }
    }
    // SAFETY: as above.
    unsafe { result::primary_ctx::retain(device) }.map_err(failed("opening the device"))
}

/// A device with the kernels loaded, and a stream.
pub(super) struct DriverCard {
    found: Found,
    context: sys::CUcontext,
    stream: sys::CUstream,
    owns_stream: bool,
    module: sys::CUmodule,
    functions: Vec<sys::CUfunction>,
    allocated: Vec<Memory>,
    outgoing: Pinned,
    incoming: Pinned,
    /// Marks where another stream is.
    event: sys::CUevent,
    moments: Moments,
    /// The last copies to and from the card are done.
    gone: sys::CUevent,
    come: sys::CUevent,
    code: Arch,
    origin: String,
}

// SAFETY: the driver's handles may be used by any thread in whose context they are, and every
// method makes the context current first; the page-locked memory is reached through `&mut self` only.
unsafe impl Send for DriverCard {}

impl DriverCard {
    /// Opens `found` with `code`. Work goes to `stream`, or to a stream of its own.
    ///
    /// # Errors
    /// [`NoCuda`] if the driver refuses.
    ///
    /// # Safety
    /// `stream` is a stream of this device's primary context (which is ONNX Runtime's too) and outlives
    /// the card.
    pub(super) unsafe fn open(
        found: Found,
        code: &Code,
        stream: Option<*mut c_void>,
    ) -> Result<DriverCard, NoCuda> {
        let context = context_of(found.device)?;
        let mut card = DriverCard {
            found,
            context,
            stream: stream.map_or(std::ptr::null_mut(), |stream| stream.cast()),
            owns_stream: false,
            module: std::ptr::null_mut(),
            functions: Vec::new(),
            allocated: Vec::new(),
            outgoing: Pinned::NONE,
            incoming: Pinned::NONE,
            event: std::ptr::null_mut(),
            moments: Moments::NONE,
            gone: std::ptr::null_mut(),
            come: std::ptr::null_mut(),
            code: code.target.arch(),
            origin: code.origin.clone(),
        };
        card.enter()?;
        if stream.is_none() {
            let kind = result::stream::StreamKind::NonBlocking;
            card.stream = result::stream::create(kind).map_err(failed("making a stream"))?;
            card.owns_stream = true;
        }
        (card.event, card.gone, card.come) = (event()?, event()?, event()?);
        // SAFETY: the code is a whole cubin, or PTX that ends with a zero, and was checked against its digest
        // or just compiled.
        card.module = unsafe { result::module::load_data(code.bytes.as_ptr().cast()) }.map_err(|e| {
            match failed("loading the kernels")(e) {
                NoCuda::Failed { what, why } => NoCuda::Failed { what, why: card.refused(&why) },
                other => other,
            }
        })?;
        for kernel in Kernel::of(card.code) {
            let name = CString::new(kernel.name()).unwrap_or_default();
            // SAFETY: the module is loaded.
            let function = unsafe { result::module::get_function(card.module, name) }
                .map_err(failed("finding a kernel"))?;
            card.functions.push(function);
        }
        let geometry = card.code.geometry();
        for (kernel, bytes) in [
            (Kernel::Propose, geometry.propose_bytes()),
            (Kernel::Sift, geometry.most_sift_bytes(card.found.shared)),
            (Kernel::SiftWide, geometry.most_sift_bytes(card.found.shared)),
        ] {
            if bytes <= 48 << 10 || !Kernel::of(card.code).contains(&kernel) {
                continue;
            }
            let attribute = sys::CUfunction_attribute_enum::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
            let function = card.functions[kernel as usize];
            // SAFETY: the function belongs to the loaded module.
            unsafe { result::function::set_function_attribute(function, attribute, bytes as i32) }
                .map_err(failed("reserving shared memory"))?;
        }
        Ok(card)
    }

    /// Makes the context current in this thread.
    fn enter(&self) -> Result<(), NoCuda> {
        // SAFETY: the context is retained until `drop`.
        unsafe { result::ctx::set_current(self.context) }.map_err(failed("entering the context"))
    }

    /// Why the driver may not load the code, and what to try.
    fn refused(&self, why: &str) -> String {
        let (major, minor) = (self.found.driver / 1000, self.found.driver % 1000 / 10);
        format!(
            "{why}; the code is from {}, the driver for CUDA {major}.{minor}: install NVRTC of CUDA {major} \
             (libnvrtc.so.{major}) or a newer driver",
            self.origin
        )
    }

    /// Marks with `event` where the stream is now.
    fn signal(&self, event: sys::CUevent) -> Result<(), NoCuda> {
        // SAFETY: both are alive.
        unsafe { result::event::record(event, self.stream) }.map_err(failed("marking a stream"))
    }

    /// Waits until the stream has come to the last mark of `event`; without one it has.
    fn reach(&self, event: sys::CUevent) -> Result<(), NoCuda> {
        // SAFETY: the event is alive.
        unsafe { result::event::synchronize(event) }.map_err(failed("searching"))
    }
}

impl Card for DriverCard {
    fn arch(&self) -> Arch {
        self.code
    }

    fn processors(&self) -> usize {
        self.found.processors
    }

    fn shared_limit(&self) -> usize {
        self.found.shared
    }

    fn describe(&self) -> String {
        format!("cuda-{} ({}, code from {})", self.found.arch, self.found.describe(), self.origin)
    }

    fn allocate(&mut self, what: &'static str, bytes: usize) -> Result<Memory, NoCuda> {
        self.enter()?;
        // SAFETY: freed by `free` or `drop`, once.
        let address = unsafe { result::malloc_sync(bytes.max(16)) }.map_err(|e| match failed(what)(e) {
            NoCuda::OutOfMemory { what, free, .. } => NoCuda::OutOfMemory { what, bytes, free },
            other => other,
        })?;
        let memory = Memory { address, bytes };
        self.allocated.push(memory);
        Ok(memory)
    }

    fn free(&mut self, memory: Memory) {
        if let Some(at) = self.allocated.iter().position(|known| *known == memory) {
            self.allocated.swap_remove(at);
            if self.enter().is_ok() {
                // SAFETY: allocated by this card and freed once; cuMemFree waits for kernels that use it.
                let _ = unsafe { result::free_sync(memory.address) };
            }
        }
    }

    fn upload(&mut self, to: Memory, offset: usize, bytes: &[u8]) -> Result<(), NoCuda> {
        self.enter()?;
        if offset + bytes.len() > to.bytes {
            return Err(NoCuda::Failed { what: "copying to the device", why: "it does not fit".to_owned() });
        }
        for (number, part) in bytes.chunks(STAGE).enumerate() {
            // What was copied before may still be on its way; what others gave the stream since is theirs.
            self.reach(self.gone)?;
            let staged = self.outgoing.grow(part.len())?;
            staged.copy_from_slice(part);
            let address = to.address + (offset + number * STAGE) as u64;
            // SAFETY: the destination holds the bytes (checked above); the source is only written to again
            // after a wait.
            unsafe { result::memcpy_htod_async(address, staged, self.stream) }
                .map_err(failed("copying to the device"))?;
            self.signal(self.gone)?;
        }
        Ok(())
    }

    fn zero(&mut self, memory: Memory, bytes: usize) -> Result<(), NoCuda> {
        self.enter()?;
        // SAFETY: within the memory.
        unsafe { result::memset_d8_async(memory.address, 0, bytes.min(memory.bytes), self.stream) }
            .map_err(failed("clearing memory"))
    }

    unsafe fn launch(
        &mut self,
        kernel: Kernel,
        grid: (usize, usize),
        shared_bytes: usize,
        problem: &Problem,
    ) -> Result<(), NoCuda> {
        self.enter()?;
        let mut problem = *problem;
        let function = self.functions[kernel as usize];
        let (grid, block) = ((grid.0 as u32, grid.1 as u32, 1), (THREADS as u32, 1, 1));
        let arguments = &mut [(&raw mut problem).cast::<c_void>()];
        // SAFETY: the kernels take one Problem by value, which the driver copies before it returns; the
        // caller vouches for what it points to.
        unsafe { result::launch_kernel(function, grid, block, shared_bytes as u32, self.stream, arguments) }
            .map_err(failed("starting a kernel"))
    }

    fn fetch(&mut self, from: Memory, bytes: usize) -> Result<(), NoCuda> {
        self.enter()?;
        if bytes > from.bytes {
            return Err(NoCuda::Failed { what: "copying from the device", why: "there is less".to_owned() });
        }
        let staged = self.incoming.grow(bytes)?;
        // SAFETY: the source holds the bytes, and the destination is left alone until `fetched`.
        unsafe { result::memcpy_dtoh_async(staged, from.address, self.stream) }
            .map_err(failed("copying from the device"))?;
        self.signal(self.come)
    }

    fn fetched(&mut self, to: &mut [u8]) -> Result<(), NoCuda> {
        self.enter()?;
        self.reach(self.come)?;
        to.copy_from_slice(self.incoming.grow(to.len())?);
        Ok(())
    }

    unsafe fn follow(&mut self, stream: *mut c_void) -> Result<(), NoCuda> {
        let other: sys::CUstream = stream.cast();
        if other == self.stream {
            return Ok(());
        }
        self.enter()?;
        // SAFETY: the caller vouches for the other stream; event and own stream are alive.
        unsafe {
            result::event::record(self.event, other).map_err(failed("marking a stream"))?;
            result::stream::wait_event(
                self.stream,
                self.event,
                sys::CUevent_wait_flags::CU_EVENT_WAIT_DEFAULT,
            )
            .map_err(failed("following a stream"))
        }
    }

    fn mark(&mut self, moment: usize) -> Result<(), NoCuda> {
        self.enter()?;
        // SAFETY: the context was entered above, and the stream is alive.
        unsafe { self.moments.mark(moment, self.stream) }
    }

    fn between(&mut self, from: usize, to: usize) -> Result<f32, NoCuda> {
        self.enter()?;
        self.moments.between(from, to)
    }
}

impl Drop for DriverCard {
    fn drop(&mut self) {
        if self.enter().is_err() {
            return;
        }
        // SAFETY: the stream is alive, or the default one if it could not be made.
        let _ = unsafe { result::stream::synchronize(self.stream) };
        for memory in std::mem::take(&mut self.allocated) {
            self.allocated.push(memory);
            self.free(memory);
        }
        self.outgoing.free();
        self.incoming.free();
        self.moments.free();
        // SAFETY: each was made by `open` and is destroyed once; after a loss of the device there is nobody
        // to tell of failures.
        unsafe {
            for event in [self.event, self.gone, self.come] {
                if !event.is_null() {
                    let _ = result::event::destroy(event);
                }
            }
            if !self.module.is_null() {
                let _ = result::module::unload(self.module);
            }
            if self.owns_stream {
                let _ = result::stream::destroy(self.stream);
            }
            let _ = result::primary_ctx::release(self.found.device);
        }
    }
}
