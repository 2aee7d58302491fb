//! What is asked of the driver: a stand-in of it, in a process of its own, notes it.

use std::ffi::{CStr, c_int};
use std::process::Command;
use std::time::{Duration, Instant};

use super::super::card::Card;
use super::super::code::Code;
use super::super::compiler::Target;
use super::super::driver::{DriverCard, find_number};
use super::super::geometry::Arch;
use super::super::lane::stream;
use crate::nearest::NoCuda;

/// Tells a test that it runs with the stand-in.
const INSIDE: &str = "FAROUT_TEST_STAND_IN";

/// Runs the test `name` of this file once more with the stand-in as the driver; true there.
fn inside(name: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let folder = tempfile::tempdir().unwrap();
    let compiler = std::env::var("CXX").unwrap_or_else(|_| "g++".to_owned());
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/emulation/driver.c");
    let made = Command::new(compiler)
        .args(["-x", "c", "-shared", "-fPIC", "-O1", "-Wl,-soname,libcuda.so", source, "-o"])
        .arg(folder.path().join("libcuda.so"))
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let ran = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("nearest::cuda::tests::stand_in::{name}"), "--test-threads=1"])
        .env(INSIDE, "1")
        .env("LD_LIBRARY_PATH", folder.path())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&ran.stdout);
    assert!(
        ran.status.success() && told.contains("1 passed"),
        "{told}{}",
        String::from_utf8_lossy(&ran.stderr)
    );
    false
}

/// A number of the stand-in.
struct Noted(*mut c_int);

fn noted(name: &CStr) -> Noted {
    // SAFETY: the stand-in is loaded already.
    let driver = unsafe { libloading::Library::new("libcuda.so") }.unwrap();
    // SAFETY: a variable of this type.
    let place = unsafe { *driver.get::<*mut c_int>(name.to_bytes_with_nul()).unwrap() };
    std::mem::forget(driver);
    Noted(place)
}

impl Noted {
    fn get(&self) -> c_int {
        // SAFETY: a variable of a library that is never unloaded.
        unsafe { self.0.read_volatile() }
    }

    fn set(&self, value: c_int) {
        // SAFETY: as above.
        unsafe { self.0.write_volatile(value) };
    }
}

fn code(bytes: &[u8]) -> Code {
    Code { target: Target::Cubin(Arch::of(87)), bytes: bytes.to_vec(), origin: "NVRTC 13.0".to_owned() }
}

#[test]
fn who_waits_for_the_gpu_sleeps_and_only_for_its_own_work() {
    if !inside("who_waits_for_the_gpu_sleeps_and_only_for_its_own_work") {
        return;
    }
    let lane = stream(1).unwrap();
    assert_eq!(noted(c"farout_device").get(), 1);
    assert_eq!(noted(c"farout_context_flags").get(), 4, "CU_CTX_SCHED_BLOCKING_SYNC");
    // SAFETY: the lane outlives the card.
    let opened = unsafe { DriverCard::open(find_number(1).unwrap(), &code(b"working"), Some(lane.handle())) };
    let mut card = opened.map_err(|why| why.to_string()).unwrap();
    let memory = card.allocate("numbers", 64).unwrap();
    for _ in 0..3 {
        card.upload(memory, 0, &[7; 64]).unwrap();
    }
    let mut back = [0; 64];
    card.download(memory, &mut back).unwrap();
    assert_eq!(back, [7; 64]);
    assert_eq!(noted(c"farout_stream_waits").get(), 0, "the model's runs on the stream are not waited for");
    assert_eq!(noted(c"farout_event_flags").get(), 3, "CU_EVENT_BLOCKING_SYNC and CU_EVENT_DISABLE_TIMING");
    assert_eq!(noted(c"farout_all_sleep").get(), 1);
}

#[test]
fn a_choice_that_is_made_already_stays() {
    if !inside("a_choice_that_is_made_already_stays") {
        return;
    }
    drop(stream(0).unwrap());
    let flags = noted(c"farout_context_flags");
    flags.set(2);
    drop(stream(0).unwrap());
    assert_eq!(flags.get(), 2, "CU_CTX_SCHED_YIELD");
}

#[test]
fn inputs_go_in_while_outputs_are_waited_for() {
    if !inside("inputs_go_in_while_outputs_are_waited_for") {
        return;
    }
    let lane = stream(0).unwrap();
    let (there, other) = (lane.allocate(16).unwrap(), lane.allocate(16).unwrap());
    // SAFETY: there is room for four numbers in both places.
    unsafe {
        lane.upload(&[1.0, 2.0, 3.0, 4.0], there).unwrap();
        noted(c"farout_wait_ms").set(1000);
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let mut numbers = [0.0; 4];
                lane.download(there, &mut numbers).unwrap();
                numbers
            });
            std::thread::sleep(Duration::from_millis(200));
            let start = Instant::now();
            lane.upload(&[5.0; 4], other).unwrap();
            assert!(start.elapsed() < Duration::from_millis(500), "{:?}", start.elapsed());
            assert_eq!(reader.join().unwrap(), [1.0, 2.0, 3.0, 4.0]);
        });
        noted(c"farout_wait_ms").set(0);
        let mut numbers = [0.0; 4];
        lane.download(other, &mut numbers).unwrap();
        assert_eq!(numbers, [5.0; 4]);
        lane.free(there);
        lane.free(other);
    }
}

#[test]
fn calls_that_a_capture_refuses_are_made_again() {
    if !inside("calls_that_a_capture_refuses_are_made_again") {
        return;
    }
    let lane = stream(0).unwrap();
    let (refuse, refused) = (noted(c"farout_refuse"), noted(c"farout_refused"));
    refuse.set(3);
    let there = lane.allocate(16).unwrap();
    assert_eq!(refused.get(), 3);
    refuse.set(2);
    // SAFETY: there is room for four numbers.
    unsafe { lane.upload(&[1.0; 4], there) }.unwrap();
    refuse.set(1_000_000);
    let why = lane.allocate(16).unwrap_err();
    assert!(why.contains("capture of a graph"), "{why}");
    // The card tells it apart from a loss.
    // SAFETY: it has a stream of its own.
    let mut card =
        unsafe { DriverCard::open(find_number(0).unwrap(), &code(b"working"), None) }.ok().unwrap();
    let why = card.allocate("numbers", 16).unwrap_err();
    assert!(matches!(why, NoCuda::Busy { .. }), "{why}");
    refuse.set(0);
    assert!(card.allocate("numbers", 16).is_ok());
}

#[test]
fn code_that_the_driver_does_not_load_is_told_with_a_remedy() {
    if !inside("code_that_the_driver_does_not_load_is_told_with_a_remedy") {
        return;
    }
    // SAFETY: it has a stream of its own.
    let opened = unsafe { DriverCard::open(find_number(0).unwrap(), &code(b"refused"), None) };
    let why = opened.err().unwrap().to_string();
    assert!(
        why.contains("NVRTC 13.0") && why.contains("CUDA 12.6") && why.contains("libnvrtc.so.12"),
        "{why}"
    );
}
