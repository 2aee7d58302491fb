//! The fuzzer's saved corpus, and a short run of changes to it, as an ordinary test.

use std::path::{Path, PathBuf};

use farout::eval::fuzzed;
use farout::steer;

use crate::support::read_files;

/// Changed copies of each file, if `FAROUT_CHANGES` does not tell how many; the fuzzer itself goes on for ever.
const CHANGES: u64 = 400;

fn corpus(folder: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut files: Vec<PathBuf> = folder.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.into_iter().map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
}

/// A repeatable change: bytes replaced, cut off, doubled or exchanged with those of another file.
pub fn changed(bytes: &[u8], other: &[u8], seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut below = |bound: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % bound.max(1) as u64) as usize
    };
    let mut out = bytes.to_vec();
    for _ in 0..1 + below(4) {
        let at = below(out.len());
        match below(6) {
            0 => out.truncate(at),
            1 if !out.is_empty() => out[at] = [0, 1, 0x7f, 0x80, 0xff, b'9'][below(6)],
            2 if !out.is_empty() => out[at] ^= 1 << below(8),
            3 => out.extend_from_within(at..),
            4 if !other.is_empty() => {
                let from = below(other.len());
                let count = below(16).min(other.len() - from);
                out.splice(at..at, other[from..from + count].iter().copied());
            }
            _ if !out.is_empty() => out[at] = below(256) as u8,
            _ => {}
        }
    }
    out
}

/// How many changed copies of each file are asked for, or `usual`.
pub fn changes(usual: u64) -> u64 {
    std::env::var("FAROUT_CHANGES").map_or(usual, |count| count.parse().unwrap())
}

fn run(name: &str, read: fn(&[u8])) {
    run_on(name, &format!("fuzz/corpus/{name}"), CHANGES, read);
}

/// The same of a reader that makes a session for each: a hundred times as slow as the others.
#[cfg(feature = "media")]
fn run_few(name: &str, read: fn(&[u8])) {
    run_on(name, &format!("fuzz/corpus/{name}"), CHANGES / 8, read);
}

fn run_on(name: &str, folder: &str, usual: u64, read: fn(&[u8])) {
    let files = corpus(folder);
    assert!(files.len() > 10, "the corpus of {name} is gone");
    let changes = changes(usual);
    for (i, (path, bytes)) in files.iter().enumerate() {
        let (_, other) = &files[(i + 1) % files.len()];
        read(bytes);
        for seed in 0..changes {
            let changed = changed(bytes, other, seed + changes.max(1000) * i as u64);
            if std::panic::catch_unwind(|| read(&changed)).is_err() {
                let kept = std::env::temp_dir().join(format!("farout-{name}-{i}-{seed}"));
                std::fs::write(&kept, &changed).unwrap();
                panic!(
                    "{}: change {seed} makes the reader of {name} panic; kept as {}",
                    path.display(),
                    kept.display()
                );
            }
        }
    }
}

#[test]
fn score_maps_of_any_bytes_are_read_or_refused() {
    run("scores", fuzzed::scores);
}

#[test]
fn truth_of_any_bytes_is_read_or_refused() {
    run("truth", fuzzed::truth);
}

#[test]
fn changes_of_any_bytes_are_made_or_refused() {
    run("patch", steer::fuzzed::patch);
}

#[test]
fn configurations_of_any_bytes_are_read_or_refused() {
    run("config", read_files::config);
}

#[test]
fn banks_of_any_bytes_are_read_or_refused() {
    run("bank", read_files::bank);
}

#[test]
fn models_of_any_bytes_are_read_or_refused() {
    run_on("model", "tests/models", 20, read_files::model);
}

#[cfg(feature = "media")]
#[test]
fn offers_of_any_bytes_are_answered_or_refused() {
    run_few("offer", farout::sink::fuzzed::offer);
}

#[cfg(feature = "media")]
#[test]
fn datagrams_of_any_bytes_are_taken_or_not() {
    run_few("datagrams", farout::sink::fuzzed::datagrams);
}
