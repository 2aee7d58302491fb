//! Runs that the capture of a CUDA graph has spoiled: known by what ONNX Runtime says, and tried again.

use std::time::Duration;

/// How often a run is tried that the capture of a graph in another thread has spoiled, and the pause between.
const TRIES: usize = 4;
const PAUSE: Duration = Duration::from_millis(50);

/// Does `run`, some times more while what `text` finds in its error is that of a capture.
///
/// # Errors
/// What the last try gives.
pub(super) fn tried_again<T, E>(
    mut run: impl FnMut() -> Result<T, E>,
    text: impl Fn(&E) -> &str,
) -> Result<T, E> {
    for _ in 1..TRIES {
        match run() {
            Err(why) if is_of_capture(text(&why)) => std::thread::sleep(PAUSE),
            done => return done,
        }
    }
    run()
}

/// Whether ONNX Runtime tells an error of a call that the capture of a graph did not allow, or of a capture that such a call
/// has spoiled: cudaErrorStreamCaptureUnsupported (900) to cudaErrorStreamCaptureWrongThread (908) of driver_types.h.
pub(super) fn is_of_capture(why: &str) -> bool {
    let number = |rest: &str| {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).map_or(rest, |end| &rest[..end]);
        digits.parse::<u32>().is_ok_and(|code| (900..=908).contains(&code))
    };
    why.split("CUDA failure ").skip(1).any(number)
        || why.contains("cudaErrorStreamCapture")
        || why.contains("CUDA_ERROR_STREAM_CAPTURE")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_captures_are_tried_again_and_others_are_not() {
        let said = "Non-zero status code: CUDA failure 900: operation not permitted when stream is capturing ; GPU=0";
        assert!(is_of_capture(said) && is_of_capture("cudaErrorStreamCaptureInvalidated"));
        for other in [
            "CUDA failure 700: an illegal memory access",
            "CUDA failure 2: out of memory",
            "900",
            "CUDA failure 9001",
        ] {
            assert!(!is_of_capture(other), "{other}");
        }
        let tries = |refused: usize, why: &'static str| {
            let mut count = 0;
            let run = || {
                count += 1;
                if count > refused { Ok(count) } else { Err(why) }
            };
            match tried_again(run, |why| why) {
                Ok(done) => Ok(done),
                Err(_) => Err(count),
            }
        };
        assert_eq!(tries(2, said), Ok(3));
        assert_eq!(tries(99, said), Err(TRIES));
        assert_eq!(tries(1, "CUDA failure 700: an illegal memory access"), Err(1));
    }
}
