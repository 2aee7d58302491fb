//! What any bytes must do when they come over the network as a change of the configuration; for the fuzzer (`fuzz/`) and for
//! the test that replays its corpus.

use super::keys::{Failed, Keys, Section, as_json, patched};
use crate::config::Config;

/// What is changed.
const HELD: &str = r#"
    [[stream]]
    name = "front"
    source = "rtsp://driver:secret@camera/1"
    [[stream]]
    name = "rear"
    [stream.score]
    threshold = 3.0
"#;

/// Takes `bytes` for a change, and puts it in force as far as that can be.
///
/// # Panics
/// If what holds then is none, or a password is shown: that is what a fuzzer looks for.
pub fn patch(bytes: &[u8]) {
    let Ok(change) = serde_json::from_slice(bytes) else { return };
    let held: Config = toml::from_str(HELD).expect("this is a configuration");
    let Ok(wanted) = patched(&held, &change) else { return };
    let keys = Keys::between(&held, &wanted);
    let _ = keys.delicate();
    let none = Failed::new();
    assert_eq!(keys.in_force(&held, &wanted, &none).score, wanted.score);
    // Whatever fails, what then holds is a configuration, and differs from what was wanted in nothing else.
    for section in [Section::Detector, Section::Source, Section::Score, Section::Overlay, Section::Output] {
        let failed = [None, Some("front".to_owned())].map(|stream| ((stream, section), "no".to_owned()));
        let then = keys.in_force(&held, &wanted, &Failed::from(failed));
        assert!(!as_json(&then).to_string().contains("secret"));
        let outcome = keys.judged(&none);
        assert!(outcome.changes.iter().all(|one| one.why.is_none() || one.why.as_deref().is_some_and(|why| why.contains("restart"))));
    }
}
