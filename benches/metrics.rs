//! Time of the pooled metrics per pixel, beside scikit-learn on the same pixels in the same run:
//! `cargo bench --bench metrics`, which writes `target/bench/metrics.json`.
//!
//! farout: sorting, average precision, AUROC, both FPR95, best F1, the curve and a histogram.
//! scikit-learn: `average_precision_score` and `roc_curve`, without loading the file.
//!
//! `-- --pixels N` takes another number of pixels than 10^8; `-- --large` instead pools 2 x 10^9 pixels of
//! the worst kind (nearly all scores differ) and tells the peak of memory. `FAROUT_PYTHON` names the Python.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use farout::eval::metrics::{Limits, Overview, Pooled};
use rayon::prelude::*;
use serde_json::{Value, json};

const IMAGE: usize = 1 << 21;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let after = |flag: &str| args.iter().position(|a| a == flag).and_then(|i| args.get(i + 1));
    // `cargo test --benches` only wants to know that this runs.
    let real = args.iter().any(|a| a == "--bench");
    if real && args.iter().any(|a| a == "--large") {
        return large(after("--pixels").and_then(|n| n.parse().ok()).unwrap_or(2_000_000_000));
    }
    let most = after("--pixels").and_then(|n| n.parse().ok()).unwrap_or(100_000_000);
    let sizes = if real { vec![most / 10, most] } else { vec![10_000] };
    let mut rows = Vec::new();
    for pixels in sizes {
        for (name, step) in [("f32", 0.0), ("f16", 1.0 / 256.0)] {
            // The largest run takes scikit-learn minutes: one kind of scores will do.
            if real && pixels == most && name == "f16" {
                continue;
            }
            rows.push(row(name, step, pixels, real));
        }
    }
    if real {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench");
        let text = format!("{:#}\n", json!({ "cores": cores(), "runs": rows }));
        let path = folder.join("metrics.json");
        match std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(&path, text)) {
            Ok(()) => println!("{}", path.display()),
            Err(e) => eprintln!("{}: {e}", path.display()),
        }
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Scores of one image; `step` rounds them to multiples of it.
fn image(seed: u64, pixels: usize, step: f32) -> (Vec<f32>, Vec<u8>) {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let pixel = |i: usize| {
        // Anomalies are blocks, as in pictures: 3 % of the pixels.
        let label = u8::from(i / 3000 % 33 == 7);
        let bits = next();
        let unit = |shift: u32| (bits >> shift & 0xffff) as f32 / 65536.0;
        let fine = (next() >> 40) as f32 / 16_777_216.0;
        let score = 8.0 + unit(0) + unit(16) + unit(32) + unit(48) + fine + 0.8 * f32::from(label);
        (if step > 0.0 { (score / step).round() * step } else { score }, label)
    };
    (0..pixels).map(pixel).unzip()
}

fn row(name: &str, step: f32, pixels: usize, real: bool) -> Value {
    let parts: Vec<(usize, usize)> =
        (0..pixels.div_ceil(IMAGE)).map(|i| (i, IMAGE.min(pixels - i * IMAGE))).collect();
    let images: Vec<(Vec<f32>, Vec<u8>)> =
        parts.into_par_iter().map(|(i, count)| image(i as u64 + 1, count, step)).collect();
    let (scores, labels): (Vec<Vec<f32>>, Vec<Vec<u8>>) = images.into_iter().unzip();
    let (scores, labels) = (scores.concat(), labels.concat());
    let mut seconds = f64::INFINITY;
    let mut all = None;
    for _ in 0..if real { 3 } else { 1 } {
        let start = Instant::now();
        all = overview(&scores, &labels);
        seconds = seconds.min(start.elapsed().as_secs_f64());
    }
    let Some(Overview { detection, .. }) = all else { return Value::Null };
    let per_pixel = |seconds: f64| seconds * 1e9 / pixels as f64;
    print!("{name} {pixels:>11} pixels: farout {seconds:8.3} s, {:6.2} ns per pixel", per_pixel(seconds));
    let mut row = json!({
        "scores": name, "pixels": pixels,
        "farout": { "seconds": seconds, "ns_per_pixel": per_pixel(seconds), "ap": detection.ap, "fpr95": detection.fpr95_first },
    });
    match if real { scikit_learn(&scores, &labels) } else { Err("not asked".to_owned()) } {
        Ok(peer) => {
            let theirs = peer["seconds"].as_f64().unwrap_or(f64::NAN);
            let apart = |key: &str, ours: f64| (peer[key].as_f64().unwrap_or(f64::NAN) - ours).abs();
            let (ap, fpr) = (apart("ap", detection.ap), apart("fpr95", detection.fpr95_first));
            let ratio = theirs / seconds;
            println!(
                "; scikit-learn {theirs:8.3} s: {ratio:.1} times as fast, AP differs by {ap:.1e}, FPR95 by {fpr:.1e}"
            );
            row["scikit_learn"] = peer;
            row["ratio"] = json!(ratio);
            row["difference"] = json!({ "ap": ap, "fpr95": fpr });
        }
        Err(why) => println!("; scikit-learn: {why}"),
    }
    row
}

fn overview(scores: &[f32], labels: &[u8]) -> Option<Overview> {
    let mut pooled = Pooled::new(Limits::default());
    let done = pooled.add(scores, labels).and_then(|()| pooled.overview(200));
    done.unwrap_or_else(|e| {
        eprintln!("{e}");
        None
    })
}

/// Times scikit-learn on the same pixels, handed over as files.
fn scikit_learn(scores: &[f32], labels: &[u8]) -> Result<Value, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let local = root.join(".venv/bin/python");
    let python = std::env::var_os("FAROUT_PYTHON").map_or(local, PathBuf::from);
    let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
    let bytes: &[u8] = bytemuck::cast_slice(scores);
    std::fs::write(folder.path().join("scores"), bytes).map_err(|e| e.to_string())?;
    std::fs::write(folder.path().join("labels"), labels).map_err(|e| e.to_string())?;
    let script = root.join("tools/metrics_reference.py");
    let output = Command::new(&python).arg(script).arg("time").arg(folder.path()).output();
    let output = output.map_err(|e| format!("{}: {e}", python.display()))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    serde_json::from_slice(&output.stdout).map_err(|e| e.to_string())
}

/// Pools pixels whose scores nearly all differ: every bit pattern of a positive f32.
fn large(pixels: usize) {
    let start = Instant::now();
    let limits = Limits { expected_pixels: Some(pixels as u64), ..Limits::default() };
    let mut pooled = Pooled::new(limits);
    let mut generating = 0.0;
    for i in 0..pixels.div_ceil(4 * IMAGE) {
        let count = (4 * IMAGE).min(pixels - i * 4 * IMAGE);
        let begun = Instant::now();
        let mix = |n: u64| {
            let z = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        };
        let pixel = |j: usize| {
            let bits = mix(((i * 4 * IMAGE + j) as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let label = u8::from(bits & 31 == 0);
            (f32::from_bits((bits >> 33) as u32 % 0x7f80_0000), label)
        };
        let (scores, labels): (Vec<f32>, Vec<u8>) = (0..count).into_par_iter().map(pixel).unzip();
        generating += begun.elapsed().as_secs_f64();
        if let Err(e) = pooled.add(&scores, &labels) {
            return eprintln!("{e}");
        }
    }
    match pooled.detection() {
        Ok(Some(detection)) => {
            let seconds = start.elapsed().as_secs_f64() - generating;
            let peak = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
            let peak =
                peak.lines().find(|line| line.starts_with("VmHWM")).unwrap_or("VmHWM unknown").to_owned();
            println!(
                "{pixels} pixels in {seconds:.1} s, {:.1} ns per pixel, {} MiB spilled, {peak}, AP {}",
                seconds * 1e9 / pixels as f64,
                pooled.spilled_bytes() >> 20,
                detection.ap
            );
        }
        Ok(None) => eprintln!("one class alone"),
        Err(e) => eprintln!("{e}"),
    }
}
