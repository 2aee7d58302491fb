//! The CUDA search timed, and checked against the CPU search; `benches/gpu.sh` sets the peers beside it.
//!
//! For each shape: features from `features/NAME-ROWSxC.f16` (raw little-endian halves; two files whose
//! names begin with `bank` and `queries`) or random Gaussian ones, which are left in the output folder for the
//! peers, and a line of JSON in `ours.jsonl`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use farout::bank::{Bank, RowsBuf};
use farout::gpu_stream::{GpuStock, GpuStream};
use farout::grid::{Distances, Features};
use farout::nearest::cuda::{self, CudaSearch};
use farout::nearest::{self, Device, Nearest, SearchConfig};
use half::f16;

#[path = "../tests/support/made_up.rs"]
mod made_up;

use made_up::{Noise, bank_of, features};

/// T, N, C, k.
const SHAPES: [(usize, usize, usize, usize); 4] =
    [(3600, 100_000, 768, 3), (1200, 100_000, 384, 3), (1200, 100_000, 192, 3), (600, 1_000_000, 384, 10)];
/// Patches of a frame that are checked against the CPU.
const CHECKED: usize = 200;

fn main() -> Result<()> {
    // `cargo test --benches` and `cargo bench` without a GPU have nothing to time.
    let mut arguments = std::env::args().skip(1).filter(|a| a != "--bench");
    let Some(out) = arguments.next().map(PathBuf::from) else {
        eprintln!("SKIPPED: the GPU is timed by benches/gpu.sh");
        return Ok(());
    };
    let given = arguments.next().map(PathBuf::from);
    std::fs::create_dir_all(&out)?;
    let mut report = std::fs::File::create(out.join("ours.jsonl"))?;
    for (t, n, c, k) in SHAPES {
        let (bank, bank_file) = load(given.as_deref(), &out, "bank", n, c)?;
        let (queries, query_file) = load(given.as_deref(), &out, "queries", t, c)?;
        let (n, t) = (bank.len() / c, queries.len() / c);
        let bank = bank_of(RowsBuf::F16(bank), c);
        let started = Instant::now();
        let stream = cuda::stream(0)?;
        let mut search = CudaSearch::open_on(k, None, &bank, &stream)?;
        let opened = started.elapsed().as_secs_f64();
        let worst = check(&mut search, &bank, &queries, c, k)?;
        // All frames are the same patches: each of them is rescanned as often.
        let rescans = search.rescans();
        let (host, device) = time(&mut search, &stream, &queries, c)?;
        let line = serde_json::json!({
            "backend": search.name(), "bank": bank_file, "queries": query_file,
            "n": n, "c": c, "t": t, "k": k, "open_seconds": opened,
            "host_seconds": host, "device_seconds": device,
            "rescans_per_frame": rescans, "max_rel_error": worst,
        });
        eprintln!("{line}");
        writeln!(report, "{line}")?;
    }
    Ok(())
}

/// The features of a file of `given` with `width` numbers per row, at most `rows`, or random ones.
fn load(
    given: Option<&Path>,
    out: &Path,
    name: &str,
    rows: usize,
    width: usize,
) -> Result<(Vec<f16>, PathBuf)> {
    let suffix = format!("x{width}.f16");
    let mut found = None;
    for entry in given.map(std::fs::read_dir).transpose()?.into_iter().flatten() {
        let path = entry?.path();
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if file.starts_with(name) && file.ends_with(&suffix) {
            found = Some(path);
        }
    }
    if let Some(path) = found {
        let bytes = std::fs::read(&path).with_context(|| path.display().to_string())?;
        ensure!(bytes.len() % (2 * width) == 0, "{} holds no whole rows of {width} halves", path.display());
        let mut data: Vec<f16> = bytes.chunks_exact(2).map(|b| f16::from_le_bytes([b[0], b[1]])).collect();
        data.truncate(rows * width);
        return Ok((data, path));
    }
    let mut noise = Noise::new((rows * width) as u64);
    let data: Vec<f16> = (0..rows * width).map(|_| f16::from_f32(noise.number())).collect();
    let path = out.join(format!("{name}-{rows}{suffix}"));
    std::fs::write(&path, bytemuck::cast_slice::<f16, u8>(&data))?;
    Ok((data, path))
}

fn frame_of(width: usize, data: &[f16]) -> Features {
    features(width, data.iter().map(|x| x.to_f32()).collect())
}

/// The largest relative difference of mean distances from the CPU search's, in patches spread over one frame as it is timed:
/// fewer patches would be split otherwise.
fn check(search: &mut CudaSearch, bank: &Arc<Bank>, queries: &[f16], c: usize, k: usize) -> Result<f64> {
    let (mut got, mut want) = (Distances::default(), Distances::default());
    search.distances(&frame_of(c, queries), &mut got)?;
    let step = (queries.len() / c).div_ceil(CHECKED);
    let checked: Vec<f16> = queries.chunks_exact(c).step_by(step).flatten().copied().collect();
    let frame = frame_of(c, &checked);
    let config = SearchConfig { k, device: Device::Cpu, ..SearchConfig::default() };
    nearest::open(&config, bank)?.engine.distances(&frame, &mut want)?;
    let mut worst = 0.0f64;
    for (got, want) in got.data.iter().step_by(step).zip(want.data.iter()) {
        let error = f64::from((got - want).abs() / want.max(f32::MIN_POSITIVE));
        if error.is_nan() || error > 1e-4 {
            bail!("the GPU finds a mean distance of {got}, the CPU {want}");
        }
        worst = worst.max(error);
    }
    Ok(worst)
}

/// Median seconds per frame: features from the host, and features in the memory of the GPU, where the model leaves them.
fn time(
    search: &mut CudaSearch,
    stream: &Arc<dyn GpuStream>,
    queries: &[f16],
    c: usize,
) -> Result<(f64, f64)> {
    let (mut frame, mut out) = (frame_of(c, queries), Distances::default());
    let host = median(|| search.distances(&frame, &mut out))?;
    let failed = anyhow::Error::msg::<String>;
    let address = stream.allocate(size_of_val(&frame.data[..])).map_err(failed)?;
    // SAFETY: the memory has room for all numbers, which are there before they are copied.
    let numbers = unsafe {
        stream.upload(&frame.data, address).map_err(failed)?;
        GpuStock::new(Arc::clone(stream), frame.data.len()).copy_of(address).map_err(failed)?
    };
    frame.on_gpu = Some(Arc::new(numbers));
    let device = median(|| search.distances(&frame, &mut out));
    // SAFETY: allocated above, freed once, after its last use.
    unsafe { stream.free(address) };
    Ok((host, device?))
}

fn median(mut work: impl FnMut() -> Result<()>) -> Result<f64> {
    for _ in 0..5 {
        work()?;
    }
    let mut seconds = Vec::new();
    while seconds.len() < 50 && seconds.iter().sum::<f64>() < 5.0 {
        let started = Instant::now();
        work()?;
        seconds.push(started.elapsed().as_secs_f64());
    }
    seconds.sort_by(f64::total_cmp);
    Ok(seconds[seconds.len() / 2])
}
