//! What the driver's errors mean for the search.

use std::time::Duration;

use cudarc::driver::sys::CUresult;
use cudarc::driver::{DriverError, result};

use super::super::device::NoCuda;

/// Errors of calls that the capture of a CUDA graph does not allow, in this thread or another
/// (`CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED` to `CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD` in cuda.h): nothing was done, and
/// nothing is lost.
const OF_CAPTURES: std::ops::RangeInclusive<u32> = 900..=908;
/// How often work is tried that a capture does not allow, and how long the first pause is; each is twice the one before,
/// about a second in all.
const TRIES: u32 = 11;
const FIRST_PAUSE: Duration = Duration::from_millis(1);

/// Does `work`, again and again while the driver is [`NoCuda::Busy`] in what `fault` finds in its error, but not for ever.
///
/// # Errors
/// What the last try gives.
pub(super) fn patiently<T, E>(
    mut work: impl FnMut() -> Result<T, E>,
    fault: impl Fn(&E) -> Option<&NoCuda>,
) -> Result<T, E> {
    let mut pause = FIRST_PAUSE;
    for _ in 1..TRIES {
        match work() {
            Err(why) if matches!(fault(&why), Some(NoCuda::Busy { .. })) => std::thread::sleep(pause),
            done => return done,
        }
        pause *= 2;
    }
    work()
}

/// What the driver says of an error.
pub(super) fn words(e: DriverError) -> String {
    match e.error_string() {
        Ok(text) => text.to_string_lossy().into_owned(),
        Err(_) => format!("error {:?}", e.0),
    }
}

/// An error of a call that does `what`.
pub(super) fn failed(what: &'static str) -> impl Fn(DriverError) -> NoCuda {
    move |e| match e.0 {
        CUresult::CUDA_ERROR_OUT_OF_MEMORY => NoCuda::OutOfMemory {
            what: what.to_owned(),
            bytes: 0,
            free: result::mem_get_info().map_or(0, |m| m.0),
        },
        CUresult::CUDA_ERROR_INVALID_VALUE
        | CUresult::CUDA_ERROR_NO_BINARY_FOR_GPU
        | CUresult::CUDA_ERROR_INVALID_PTX
        | CUresult::CUDA_ERROR_UNSUPPORTED_PTX_VERSION
        | CUresult::CUDA_ERROR_JIT_COMPILER_NOT_FOUND
        | CUresult::CUDA_ERROR_JIT_COMPILATION_DISABLED
        | CUresult::CUDA_ERROR_INVALID_IMAGE
        | CUresult::CUDA_ERROR_NOT_FOUND
        | CUresult::CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES
        | CUresult::CUDA_ERROR_INVALID_HANDLE => NoCuda::Failed { what, why: words(e) },
        capture if OF_CAPTURES.contains(&(capture as u32)) => NoCuda::Busy { what, why: words(e) },
        // All else leaves a context that no call works in any more.
        _ => NoCuda::Lost { what, why: words(e) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_tried_again_while_a_capture_is_under_way_and_not_for_ever() {
        let busy = || NoCuda::Busy { what: "searching", why: "capturing".to_owned() };
        let tried = |refused: u32, error: NoCuda| {
            let mut tries = 0;
            let work = || {
                tries += 1;
                if tries > refused { Ok(tries) } else { Err(error.clone()) }
            };
            match patiently(work, |why: &NoCuda| Some(why)) {
                Ok(done) => Ok(done),
                Err(_) => Err(tries),
            }
        };
        assert_eq!(tried(0, busy()), Ok(1));
        assert_eq!(tried(4, busy()), Ok(5));
        assert_eq!(tried(1000, busy()), Err(TRIES));
        assert_eq!(tried(1, NoCuda::Lost { what: "searching", why: "gone".to_owned() }), Err(1));
    }
}
