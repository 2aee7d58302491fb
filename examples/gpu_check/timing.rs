//! Searches of made-up features timed: per kernel, per frame, and the tables of a recipe together.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use farout::bank::{
    Bank, Baseline, Combine, FORMAT_WITH_RECIPE, OutlierRows, OutlierUse, Recipe, RecipePart, RowsBuf,
};
use farout::grid::{Distances, Features};
use farout::nearest::{self as search, Device, SearchConfig};
use half::f16;
use rayon::prelude::*;
use serde_json::json;

use crate::engine::{On, Opener};
use crate::nearest::made_up::{Noise, bank_of, error, features, mean, nearest};
use crate::nearest::{Nearest, on_card, tell_sifted};
use crate::tell;

/// Patches that are compared with double precision, spread over the frame.
const CHECKED: usize = 48;
/// What a distance may be off.
const TOLERANCE: f64 = 1e-4;
/// Weight of the distance to known outliers, and how many of them count, as in the default recipe.
const OUTLIERS: (f64, usize) = (0.7, 3);
const PARTS: usize = 3;

fn halves(rows: usize, width: usize, seed: u64) -> Vec<f16> {
    let mut parts: Vec<Vec<f16>> = vec![Vec::new(); rows.div_ceil(1024)];
    parts.par_iter_mut().enumerate().for_each(|(number, part)| {
        let mut noise = Noise::new(seed.wrapping_mul(1 << 32) + number as u64);
        let count = (rows - number * 1024).min(1024) * width;
        part.extend((0..count).map(|_| f16::from_f32(noise.number())));
    });
    parts.concat()
}

/// The patches that are compared: about [`CHECKED`], among them the first and the last.
fn checked(patches: usize) -> Vec<usize> {
    let many = patches.min(CHECKED);
    (0..many).map(|i| i * (patches - 1) / many.saturating_sub(1).max(1)).collect()
}

/// The largest error of `got` at the patches where `want` gives the truth.
fn worst(got: &[f32], frame: &Features, at: &[usize], want: impl Fn(usize) -> f64 + Sync) -> f64 {
    let patch = |p: usize| &frame.data[p * frame.width..][..frame.width];
    at.par_iter().map(|&p| error(got[p], want(p), patch(p))).reduce(|| 0.0, f64::max)
}

/// Median milliseconds of `work`, done again and again for about as many milliseconds as given.
pub fn median(patience: f64, mut work: impl FnMut() -> Result<()>) -> Result<f64> {
    // Who has no time wants to see it work, not to know how fast.
    let least = if patience < 1000.0 { 1 } else { 5 };
    for _ in 0..least.min(3) {
        work()?;
    }
    let mut times = Vec::new();
    while times.len() < least || (times.len() < 50 && times.iter().sum::<f64>() < patience) {
        let started = Instant::now();
        work()?;
        times.push(started.elapsed().as_secs_f64() * 1e3);
    }
    Ok(middle(&mut times))
}

fn middle(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Times the search of one table and prints it; returns whether anything was wrong.
///
/// # Errors
/// What the search or the disk says.
pub fn search(on: &Opener, [t, n, c, k]: [usize; 4], folder: &Path) -> Result<usize> {
    ensure!(t > 0 && n >= k && c > 0 && k > 0, "a shape of patches, rows, width, k, all above 0");
    std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let (rows, queries) = (halves(n, c, 1), halves(t, c, 2));
    let mut files = Vec::new();
    for (name, count, numbers) in [("bank", n, &rows), ("patches", t, &queries)] {
        let path = folder.join(format!("{name}-{count}x{c}.f16"));
        std::fs::write(&path, bytemuck::cast_slice::<f16, u8>(numbers))
            .with_context(|| path.display().to_string())?;
        files.push(path);
    }
    let frame = features(c, queries.iter().map(|x| x.to_f32()).collect());
    let bank = bank_of(RowsBuf::F16(rows), c);
    let started = Instant::now();
    let mut engine = on.open(&bank, k)?;
    let opened = started.elapsed().as_secs_f64();
    let mut out = Distances::default();
    engine.distances(&frame, &mut out)?;
    let at = checked(t);
    let patch = |p: usize| &frame.data[p * c..][..c];
    let off = worst(&out.data, &frame, &at, |p| mean(&nearest(&bank, patch(p), k)));
    let host = median(on.patience, || engine.distances(&frame, &mut out))?;
    let mut answer = json!({
        "engine": engine.name(), "t": t, "n": n, "c": c, "k": k, "open_seconds": opened,
        "ms_from_host": host, "checked": at.len(), "max_rel_error": off, "files": files,
        "wrong": if off > TOLERANCE { vec![format!("a distance is off by {off:.1e}")] } else { vec![] },
    });
    if let Some(there) = on_card(&mut engine, &frame) {
        let there = there.map_err(anyhow::Error::msg)?;
        answer["ms_from_card"] = json!(median(on.patience, || engine.distances(&there, &mut out))?);
        if let Some((gpu, _)) = engine.on_gpu() {
            gpu.time_kernels();
            let (mut frames, before) = (0, gpu.rescans());
            let mut kernels: Vec<(&str, Vec<f64>)> = Vec::new();
            median(on.patience, || {
                gpu.distances(&there, &mut out)?;
                frames += 1;
                for (name, ms) in gpu.kernel_ms()? {
                    match kernels.iter_mut().find(|(known, _)| *known == name) {
                        Some((_, times)) => times.push(f64::from(ms)),
                        None => kernels.push((name, vec![f64::from(ms)])),
                    }
                }
                Ok(())
            })?;
            answer["rescans_per_frame"] = json!((gpu.rescans() - before) as f64 / f64::from(frames));
            tell_sifted(&mut answer, gpu.sifted());
            let kernels: Vec<_> = kernels.iter_mut().map(|(name, times)| (*name, middle(times))).collect();
            answer["ms_kernels"] = json!(kernels.iter().map(|(_, ms)| ms).sum::<f64>());
            answer["ms_per_kernel"] =
                json!(kernels.into_iter().collect::<std::collections::BTreeMap<_, _>>());
        }
    }
    tell(&answer);
    Ok(usize::from(off > TOLERANCE))
}

/// Times the searches of the default recipe's tables, with what makes one distance of theirs.
///
/// # Errors
/// What the search says.
pub fn recipe(on: &Opener, [t, n, c, k]: [usize; 4]) -> Result<usize> {
    ensure!(t > 0 && n >= k && c > 0 && k > 0, "a shape of patches, rows, width, k, all above 0");
    let width = PARTS * c;
    // Table by table, as a bank keeps them.
    let made = |rows: usize, seed: u64| -> Vec<Vec<f16>> {
        (0..PARTS as u64).map(|part| halves(rows, c, seed + part)).collect()
    };
    let (rows, strange, queries) = (made(n, 10), made(n, 20), made(t, 30));
    let part = |number: usize| RecipePart {
        name: format!("part {number}"),
        from: number * c,
        width: c,
        stored: c,
        steps: Vec::new(),
        baseline: Some(Baseline { mean: 0.0, deviation: 1.0 }),
    };
    let (weight, outlier_k) = (OUTLIERS.0, OUTLIERS.1.min(n));
    let mut contents = Arc::into_inner(bank_of(RowsBuf::F16(rows.concat()), width))
        .context("nobody else has the bank")?
        .into_contents()
        .context("the bank is in memory")?;
    contents.metadata.recipe = Some(Recipe {
        outliers: OutlierUse::Difference(weight),
        outlier_k,
        ..Recipe::of((0..PARTS).map(part).collect(), Combine::Sum)
    });
    contents.metadata.format = FORMAT_WITH_RECIPE;
    contents.extras.transforms.clear();
    contents.extras.outliers = Some(OutlierRows { rows: RowsBuf::F16(strange.concat()), means: None });
    let bank = Arc::new(Bank::from_contents(contents, k)?);
    let device = match on.on {
        On::Cpu => Device::Cpu,
        On::Cuda => Device::Cuda,
    };
    let config = SearchConfig { k, device, kernels: on.kernels.clone(), ..SearchConfig::default() };
    let mut gauge = search::open(&config, &bank)?.engine;
    let tables: Vec<Features> =
        queries.iter().map(|numbers| features(c, numbers.iter().map(|x| x.to_f32()).collect())).collect();
    let mut out = Distances::default();
    gauge.distances_of_rows(&tables, &[], &mut out)?;
    if on.falsify
        && let Some(last) = out.data.last_mut()
    {
        *last += 1.0;
    }
    // The same in double precision, table by table.
    let alone = |numbers: Vec<f16>| bank_of(RowsBuf::F16(numbers), c);
    let banks: Vec<_> = rows.into_iter().map(alone).zip(strange.into_iter().map(alone)).collect();
    let at = checked(t);
    let truth = |p: usize| -> f64 {
        let tables = banks.iter().zip(&tables);
        tables
            .map(|((plain, strange), table)| {
                let patch = &table.data[p * c..][..c];
                mean(&nearest(plain, patch, k)) - weight * mean(&nearest(strange, patch, outlier_k))
            })
            .sum()
    };
    let off = worst(&out.data, &tables[0], &at, truth);
    let ms = median(on.patience, || gauge.distances_of_rows(&tables, &[], &mut out))?;
    tell(&json!({
        "engine": gauge.name(), "t": t, "n": n, "c": c, "k": k, "tables": 2 * PARTS,
        "ms_from_host": ms, "checked": at.len(), "max_rel_error": off,
        "wrong": if off > TOLERANCE { vec![format!("a distance is off by {off:.1e}")] } else { vec![] },
    }));
    Ok(usize::from(off > TOLERANCE))
}
