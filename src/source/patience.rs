//! Waiting for what a decoder gives.

use std::time::{Duration, Instant};

use super::decode::{Decode, Pulled};
use crate::stop::Stop;

/// How often a waiting reader looks at bus and stop token.
const POLL: Duration = Duration::from_millis(50);

/// The next thing that happens, or `Nothing` if stopping is asked or nothing comes for so long. Damaged pictures are
/// something, where `damage_counts`.
pub(super) fn wait(decode: &mut Decode, stop: &Stop, patience: Duration, damage_counts: bool) -> Pulled {
    let (mut since, mut left_out) = (Instant::now(), decode.left_out());
    loop {
        match decode.pull(POLL) {
            Pulled::Nothing if stop.asked() => return Pulled::Nothing,
            Pulled::Nothing if damage_counts && decode.left_out() > left_out => {
                (since, left_out) = (Instant::now(), decode.left_out());
            }
            Pulled::Nothing if since.elapsed() < patience => {}
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::SourceConfig;
    use crate::source::pipeline::Input;

    #[test]
    fn damaged_pictures_are_signs_of_life() {
        let dir = tempfile::tempdir().unwrap();
        let pixels: Vec<u8> = (0..64 * 64 * 3).map(|i| (i * i % 251) as u8).collect();
        let jpeg = crate::jpeg::encode(&pixels, 64, 64, 90).unwrap();
        let path = dir.path().join("0.jpg");
        std::fs::write(&path, &jpeg[..jpeg.len() * 9 / 10]).unwrap();
        // 25 of them, in 2.5 s.
        let text = format!(
            "multifilesrc location=\"{}\" num-buffers=25 caps=image/jpeg,framerate=10/1 ! identity sleep-time=100000",
            path.display()
        );
        let patience = Duration::from_millis(700);
        for (counts, ended) in [(true, true), (false, false)] {
            let (input, config) = (Input::Launch(text.clone()), SourceConfig::default());
            let mut decode = Decode::start(&input, &config, false).unwrap();
            let pulled = wait(&mut decode, &Stop::new(), patience, counts);
            assert_eq!(matches!(pulled, Pulled::End | Pulled::Broken(_)), ended, "{}", decode.left_out());
            assert!(
                decode.left_out() > 2 && (!ended || decode.left_out() == 25),
                "{} of {counts}",
                decode.left_out()
            );
        }
    }
}
