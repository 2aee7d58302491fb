//! Writes the features of consecutive frames as plain numbers, for benches and for looking at them in Python:
//! `cargo run --release --example features -- CONFIG SOURCE FRAMES OUT [FIRST]` makes `OUT.f32`
//! (frames x patches x width, little-endian) and `OUT.json` (shape, grid, model, milliseconds per frame).

use std::io::Write;
use std::ops::Range;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use farout::collect::Extract;
use farout::collect::FeatureExtractor;
use farout::config::Config;
use farout::file::write_whole;
use farout::grid::{Features, Grid};
use farout::source::{Purpose, Source, SourceConfig, open};
use farout::stop::Stop;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let usage = "usage: features CONFIG.toml SOURCE FRAMES OUT [FIRST]";
    ensure!(args.len() == 4 || args.len() == 5, "{usage}");
    let count = |text: &String| text.parse::<usize>().with_context(|| format!("{text}: no number; {usage}"));
    let (frames, first) = (count(&args[2])?, args.get(4).map_or(Ok(0), count)?);
    let mut extractor = FeatureExtractor::open(&Config::read(Path::new(&args[0]))?)?;
    let mut source = open(&args[1], &SourceConfig::default(), Purpose::Offline, Stop::new())?;
    let numbers = format!("{}.f32", args[3]);
    let (mut times, mut grid) = (Vec::new(), Grid::default());
    let mut failed = Ok(());
    let written = write_whole(Path::new(&numbers), |out| {
        failed =
            write_frames(out, source.as_mut(), &mut extractor, first..first + frames, &mut times, &mut grid);
        failed.as_ref().map_err(|e| std::io::Error::other(format!("{e:#}"))).copied()
    });
    failed?;
    written?;
    let made = times.len();
    times.sort_unstable_by(f64::total_cmp);
    let width = extractor.identity().width;
    let about = serde_json::json!({
        "shape": [made, grid.len(), width], "grid": [grid.rows, grid.cols], "type": "f32",
        "source": Path::new(&args[1]).file_name().map(|n| n.to_string_lossy()), "first": first,
        "model": extractor.identity(), "median_ms_per_frame": times[made / 2],
    });
    let json = format!("{}.json", args[3]);
    write_whole(Path::new(&json), |out| writeln!(out, "{about:#}"))?;
    println!(
        "{numbers}: {made} frames x {} patches x {}, {:.1} ms per frame",
        grid.len(),
        width,
        times[made / 2]
    );
    Ok(())
}

/// Writes the features of the frames `wanted` and notes the milliseconds of each and their grid.
fn write_frames(
    out: &mut impl Write,
    source: &mut dyn Source,
    extractor: &mut FeatureExtractor,
    wanted: Range<usize>,
    times: &mut Vec<f64>,
    grid: &mut Grid,
) -> Result<()> {
    let mut features = Features::default();
    for number in 0..wanted.end {
        let Some(frame) = source.next()? else { break };
        if number < wanted.start {
            continue;
        }
        let start = Instant::now();
        extractor.extract(&frame, &mut features, None)?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
        if times.len() == 1 {
            *grid = features.grid;
        }
        ensure!(*grid == features.grid, "frame {number} has another size than the first");
        out.write_all(bytemuck::cast_slice(&features.data))?;
    }
    ensure!(!times.is_empty(), "the source has no more than {} frames", wanted.start);
    Ok(())
}
