//! A card that is emulated on the CPU: the kernels' source compiled as C++ with tests/emulation/.

use std::collections::HashMap;
use std::ffi::{CStr, CString, c_char, c_void};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use super::super::card::{Card, Memory};
use super::super::geometry::{Arch, THREADS};
use super::super::problem::{Kernel, Problem};
use super::super::source;
use crate::host_stream::HostMemory;
use crate::nearest::NoCuda;

type Entry = unsafe extern "C" fn(*const c_void);
type Allocate = unsafe extern "C" fn(usize) -> *mut c_void;
type Free = unsafe extern "C" fn(*mut c_void);
type Defined = unsafe extern "C" fn(*mut c_void, usize);
type Run = unsafe extern "C" fn(Entry, u32, u32, u32, usize, *const c_void, u64, *mut c_char, usize) -> bool;

/// The kernels of one architecture, compiled as C++ and loaded.
pub(super) struct Machine {
    arch: Arch,
    library: Mutex<libloading::Library>,
}

/// A change of the source: file, what to replace (it must be there once), by what.
pub(super) type Edit<'a> = (&'a str, &'a str, &'a str);

fn compile(arguments: &[&str]) {
    let compiler = std::env::var("CXX").unwrap_or_else(|_| "g++".to_owned());
    let done = Command::new(&compiler).args(arguments).output();
    let done =
        done.unwrap_or_else(|e| panic!("{compiler} does not start: {e}; install g++ or name another in CXX"));
    assert!(done.status.success(), "{compiler}:\n{}", String::from_utf8_lossy(&done.stderr));
}

/// The emulator itself, compiled once.
fn emulator() -> &'static Path {
    static DONE: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, object) = DONE.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let object = folder.path().join("machine.o");
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/emulation/machine.cpp");
        compile(&[
            "-std=c++17",
            "-O2",
            "-fPIC",
            "-Wall",
            "-Wextra",
            "-Werror",
            "-c",
            source,
            "-o",
            object.to_str().unwrap(),
        ]);
        (folder, object)
    });
    object
}

impl Machine {
    /// Compiles the kernels, changed by `edits`.
    pub(super) fn build(arch: Arch, edits: &[Edit<'_>]) -> Arc<Machine> {
        let folder = tempfile::tempdir().unwrap();
        let mut files: HashMap<&str, String> =
            source::FILES.iter().map(|(n, text)| (*n, (*text).to_owned())).collect();
        for (file, from, to) in edits {
            let text = files.get_mut(file).unwrap();
            assert_eq!(text.matches(from).count(), 1, "{file} does not hold this once: {from}");
            *text = text.replace(from, to);
        }
        // The emulation has its own.
        files.remove("ptx.cuh");
        for (name, text) in &files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let emulation = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/emulation");
        let (object, library) = (folder.path().join("kernels.o"), folder.path().join("kernels.so"));
        let (here, unit) = (format!("-I{}", folder.path().display()), format!("{emulation}/kernels.cpp"));
        let own = format!("-I{emulation}");
        let macros = arch.macros();
        let mut arguments = vec!["-std=c++17", "-O1", "-fPIC", "-fsanitize=thread", "-ffp-contract=off"];
        arguments.extend(["-Wall", "-Wno-unknown-pragmas", "-Werror", &own, &here, "-c", &unit, "-o"]);
        arguments.push(object.to_str().unwrap());
        arguments.extend(macros.iter().map(String::as_str));
        compile(&arguments);
        let (object, target) = (object.to_str().unwrap(), library.to_str().unwrap());
        compile(&["-shared", emulator().to_str().unwrap(), object, "-o", target]);
        // SAFETY: the library was made from this project's source just now.
        let library = unsafe { libloading::Library::new(&library) }.unwrap();
        Arc::new(Machine { arch, library: Mutex::new(library) })
    }

    /// The unchanged kernels, compiled once per architecture.
    pub(super) fn of(arch: Arch) -> Arc<Machine> {
        static BUILT: Mutex<Vec<(Arch, Arc<Machine>)>> = Mutex::new(Vec::new());
        let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, machine)) = built.iter().find(|(known, _)| *known == arch) {
            return Arc::clone(machine);
        }
        let machine = Machine::build(arch, &[]);
        built.push((arch, Arc::clone(&machine)));
        machine
    }

    fn with<T>(&self, name: &str, call: impl FnOnce(&libloading::Library, &[u8]) -> T) -> T {
        let library = self.library.lock().unwrap_or_else(PoisonError::into_inner);
        call(&library, name.as_bytes())
    }
}

/// What kernels may use; the emulator knows which of it is defined.
impl HostMemory for Arc<Machine> {
    fn allocate(&self, bytes: usize) -> u64 {
        // SAFETY: the function has this signature.
        self.with("emulation_alloc", |l, name| unsafe { l.get::<Allocate>(name).unwrap()(bytes) }) as u64
    }

    fn free(&self, address: u64) {
        // SAFETY: the function has this signature; an address that is not known is left alone.
        self.with("emulation_free", |l, name| unsafe {
            l.get::<Free>(name).unwrap()(address as *mut c_void);
        });
    }

    fn written(&self, address: u64, bytes: usize) {
        // SAFETY: the function has this signature, and looks the memory up.
        self.with("emulation_defined", |l, name| unsafe {
            l.get::<Defined>(name).unwrap()(address as *mut c_void, bytes);
        });
    }
}

impl std::fmt::Debug for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "emulated {}", self.arch)
    }
}

/// A card of such a machine.
pub(super) struct EmulatedCard {
    machine: Arc<Machine>,
    processors: usize,
    /// Draws the order in which threads take turns.
    seed: u64,
    allocated: Vec<Memory>,
    fetched: Vec<u8>,
    moments: Vec<Instant>,
    /// Bytes that it has, and whether it still answers.
    pub(super) room: usize,
    pub(super) lost: Arc<AtomicBool>,
    /// So many launches are refused, as while a graph is captured.
    pub(super) busy: Arc<AtomicUsize>,
}

impl EmulatedCard {
    pub(super) fn new(machine: &Arc<Machine>, processors: usize, seed: u64) -> EmulatedCard {
        EmulatedCard {
            machine: Arc::clone(machine),
            processors,
            seed,
            allocated: vec![],
            fetched: vec![],
            moments: vec![],
            room: 1 << 30,
            lost: Arc::default(),
            busy: Arc::default(),
        }
    }
}

// SAFETY: addresses are those of memory that this card owns.
unsafe impl Send for EmulatedCard {}

impl Card for EmulatedCard {
    fn arch(&self) -> Arch {
        self.machine.arch
    }

    fn processors(&self) -> usize {
        self.processors
    }

    fn shared_limit(&self) -> usize {
        usize::MAX
    }

    fn describe(&self) -> String {
        format!("emulated-{}", self.machine.arch)
    }

    fn allocate(&mut self, what: &'static str, bytes: usize) -> Result<Memory, NoCuda> {
        let used: usize = self.allocated.iter().map(|memory| memory.bytes).sum();
        if used + bytes > self.room {
            return Err(NoCuda::OutOfMemory { what: what.to_owned(), bytes, free: self.room - used });
        }
        let memory = Memory { address: self.machine.allocate(bytes), bytes };
        self.allocated.push(memory);
        Ok(memory)
    }

    fn free(&mut self, memory: Memory) {
        if let Some(at) = self.allocated.iter().position(|known| *known == memory) {
            self.allocated.swap_remove(at);
            self.machine.free(memory.address);
        }
    }

    fn upload(&mut self, to: Memory, offset: usize, bytes: &[u8]) -> Result<(), NoCuda> {
        assert!(offset + bytes.len() <= to.bytes);
        let address = to.address + offset as u64;
        // SAFETY: within memory that this card owns.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), address as *mut u8, bytes.len()) };
        self.machine.written(address, bytes.len());
        Ok(())
    }

    fn zero(&mut self, memory: Memory, bytes: usize) -> Result<(), NoCuda> {
        self.upload(memory, 0, &vec![0; bytes])
    }

    unsafe fn launch(
        &mut self,
        kernel: Kernel,
        grid: (usize, usize),
        shared_bytes: usize,
        problem: &Problem,
    ) -> Result<(), NoCuda> {
        if self.lost.load(SeqCst) {
            return Err(NoCuda::Lost { what: "searching", why: "unplugged".to_owned() });
        }
        if self.busy.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok() {
            return Err(NoCuda::Busy { what: "searching", why: "capturing".to_owned() });
        }
        self.seed += 1;
        let mut message = [0 as c_char; 600];
        let name = CString::new(format!("emulated_{}", kernel.name())).unwrap();
        // SAFETY: both functions have these signatures; the message has the room that is told.
        let fine = self.machine.with("emulation_run", |l, run| unsafe {
            let entry = *l.get::<Entry>(name.as_bytes()).unwrap();
            let problem = (&raw const *problem).cast();
            let (x, y) = (grid.0 as u32, grid.1 as u32);
            let room = message.len();
            l.get::<Run>(run).unwrap()(
                entry,
                x,
                y,
                THREADS as u32,
                shared_bytes,
                problem,
                self.seed,
                message.as_mut_ptr(),
                room,
            )
        });
        if fine {
            return Ok(());
        }
        // SAFETY: the machine ends its message with a zero.
        let why = unsafe { CStr::from_ptr(message.as_ptr()) }.to_string_lossy().into_owned();
        Err(NoCuda::Failed { what: kernel.name(), why })
    }

    fn fetch(&mut self, from: Memory, bytes: usize) -> Result<(), NoCuda> {
        assert!(bytes <= from.bytes);
        // SAFETY: within memory that this card owns.
        self.fetched = unsafe { std::slice::from_raw_parts(from.address as *const u8, bytes) }.to_vec();
        Ok(())
    }

    fn fetched(&mut self, to: &mut [u8]) -> Result<(), NoCuda> {
        to.copy_from_slice(&self.fetched);
        Ok(())
    }

    unsafe fn follow(&mut self, _: *mut c_void) -> Result<(), NoCuda> {
        Ok(())
    }

    fn mark(&mut self, moment: usize) -> Result<(), NoCuda> {
        self.moments.truncate(moment);
        assert_eq!(self.moments.len(), moment, "moments are marked one after another");
        self.moments.push(Instant::now());
        Ok(())
    }

    fn between(&mut self, from: usize, to: usize) -> Result<f32, NoCuda> {
        Ok((self.moments[to] - self.moments[from]).as_secs_f32() * 1e3)
    }
}

impl Drop for EmulatedCard {
    fn drop(&mut self) {
        for memory in self.allocated.clone() {
            self.free(memory);
        }
    }
}
