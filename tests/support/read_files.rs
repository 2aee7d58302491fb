//! Any bytes as the files that farout reads: a configuration, a bank, a model. For the fuzzer (`fuzz/`) and for the test that replays its
//! corpus.

use std::path::Path;

use farout::bank::{self, Bank};
use farout::config::{Config, DetectorFile};
use farout::model::{self, ModelConfig};

/// Calls `read` with a file of this name that holds `bytes`, in memory where the system has such a folder.
fn as_file(name: &str, bytes: &[u8], read: impl FnOnce(&Path)) {
    thread_local! {
        static FOLDER: tempfile::TempDir = {
            let memory = Path::new("/dev/shm");
            let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
            made.expect("a folder")
        };
    }
    FOLDER.with(|folder| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).expect("a file");
        read(&path);
    });
}

/// As a configuration, and as a detector's file.
///
/// # Panics
/// If the reader breaks its promises: that is what a fuzzer looks for.
pub fn config(bytes: &[u8]) {
    as_file("detector.toml", bytes, |path| {
        if let Ok(config) = Config::read(path)
            && config.check().is_ok()
        {
            let streams = config.each_stream().expect("what was checked has streams");
            assert_eq!(streams.len(), config.streams.len());
            for stream in &streams {
                let _ = stream.output.rtsp_address();
                let shown = stream.source.source.to_string();
                let secret = stream.source.source.secret();
                assert!(shown == secret || shown.contains("***"), "{shown}");
            }
            // What holds can be said as JSON.
            serde_json::to_string(&config).expect("a configuration has a form");
        }
        let _ = DetectorFile::read(path.parent().expect("it lies in a folder"));
    });
}

/// As a bank: its rows, what it says of itself, and a threshold.
///
/// # Panics
/// As [`config`].
pub fn bank(bytes: &[u8]) {
    as_file("fuzzed.bank", bytes, |path| {
        let Ok(bank) = Bank::open_any(path) else { return };
        let told = bank::summary(&bank);
        assert_eq!((told.rows, told.width), (bank.rows(), bank.width()));
        let _ = told.to_string();
        let _ = bank.calibrated_k();
        let _ = Bank::open_in_memory(path, 3);
    });
}

/// As a model: rewritten into what ONNX Runtime is given.
///
/// # Panics
/// As [`config`].
pub fn model(bytes: &[u8]) {
    as_file("fuzzed.onnx", bytes, |path| {
        let named =
            |features: &str| ModelConfig { features: Some(features.into()), ..ModelConfig::default() };
        for config in [ModelConfig::default(), named("features")] {
            let config = ModelConfig { path: path.to_owned(), ..config };
            if let Ok(loaded) = model::load(&config) {
                assert!(
                    !loaded.bytes.is_empty() && loaded.nodes.0 <= loaded.nodes.1 + 8,
                    "{:?}",
                    loaded.nodes
                );
            }
        }
    });
}
