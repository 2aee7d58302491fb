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
use cudarc::driver::{CudaContext, result};
use farout::bank::{Bank, BankContents, BuildRecord, DataType, FORMAT, Metadata, Origin, RowsBuf};
use farout::grid::{Distances, Features, Grid};
use farout::identity::ModelIdentity;
use farout::nearest::cuda::{CudaSearch, DeviceFeatures};
use farout::nearest::{self, Device, Nearest, SearchConfig};
use farout::pool::Pooled;
use half::f16;

/// T, N, C, k.
const SHAPES: [(usize, usize, usize, usize); 4] =
    [(3600, 100_000, 768, 3), (1200, 100_000, 384, 3), (1200, 100_000, 192, 3), (600, 1_000_000, 384, 10)];
/// Patches that are checked against the CPU.
const CHECKED: usize = 200;

fn main() -> Result<()> {
    // `cargo test --benches` and `cargo bench` without a GPU have nothing to time.
    let mut arguments = std::env::args().skip(1).filter(|a| a != "--bench");
    let Some(out) = arguments.next().map(PathBuf::from) else {
        eprintln!("SKIPPED: the GPU is timed by benches/gpu.sh");
        return Ok(());
    };
    // The copy above was given to the default stream.
    let stream = Some(std::ptr::null_mut());
    let grid = Grid { rows: 1, cols: t };
    let given = DeviceFeatures { grid, width: c, data_type: DataType::F16, address, stream };
    // SAFETY: the memory lives until after the last call.
    let device = median(|| unsafe { search.distances_on_device(&given, &mut out) });
    // SAFETY: allocated above, freed once.
    unsafe { result::free_sync(address) }?;
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
