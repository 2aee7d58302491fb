//! Score maps and truth -> numbers. Two passes: one that counts every pixel, and one at the thresholds
//! that came out of it.

mod pixels;
mod video;

use std::path::Path;

use anyhow::{Context, Result, bail};
use rayon::prelude::*;

use super::breakdown::{Breakdown, Tally};
use super::dataset::Dataset;
use super::metrics::smiyc::{self, Track};
use super::metrics::{Bootstrap, Calibration, Counts, Curve, Drawn, Limits, PerImage, Pooled};
use super::partial::Maps;
use super::protocol::Protocol;
use super::region::{Region, Restriction};
use super::result::{MethodResult, PooledResult, ThresholdRecord};
use super::settings::Settings;
use super::truth::Share;
use crate::score::Method;
use crate::sink::{Naming, ScoreFormat, ScoreMapWriter};
use pixels::Image;

/// Bins of the histograms of scores.
const BINS: usize = 120;
/// At most so many images are in memory at once.
const AT_ONCE: usize = 8;

/// What there is to judge.
pub struct Case<'a> {
    /// The data set.
    pub dataset: &'a Dataset,
    /// The images that are scored, by number; all of them have a mask.
    pub indices: &'a [usize],
    /// How they are judged.
    pub settings: &'a Settings,
    /// The daemon's threshold of each method, if there is one.
    pub thresholds: &'a [ThresholdRecord],
    /// What makes void all that is not judged.
    pub restriction: &'a Restriction,
    /// The score maps of an image, in the order of the methods, and after them that of the road if there is one.
    pub load: &'a (dyn Fn(usize) -> Result<Maps> + Sync),
    /// Folder for the maps at the truth's size, if they are wanted.
    pub scores: Option<&'a Path>,
    /// Told after each image of each pass.
    pub done: &'a (dyn Fn() + Sync),
}

/// How many passes over the images [`judge`] makes, for progress.
pub const PASSES: u64 = 2;

/// One method's numbers while they are collected.
struct Collector {
    method: Method,
    pooled: Option<Pooled>,
    bootstrap: Bootstrap,
    per_image: PerImage,
    calibration: Option<Calibration>,
    smiyc: Vec<smiyc::Judge>,
}

/// The pixels that were judged.
#[derive(Debug, Clone, Copy, Default)]
pub struct Seen {
    /// Of all images.
    pub share: Share,
    /// Images with an anomalous pixel.
    pub with_anomaly: usize,
}

/// Judges every method, and counts what is judged.
///
/// # Errors
/// The first image whose mask or maps cannot be used, by name; no room for what is spilled.
pub fn judge(case: &Case<'_>) -> Result<(Vec<MethodResult>, Seen)> {
    let mut seen = Seen::default();
    let methods = &case.settings.methods;
    let mut collectors: Vec<Collector> =
        methods.iter().enumerate().map(|(i, method)| Collector::new(case, i, *method)).collect();
    let mut writer = case.scores.map(|folder| MapFolder { root: folder }).map(|w| (w, methods));
    let keeps_maps = writer.is_some() || collectors.iter().any(|collector| !collector.smiyc.is_empty());
    let at_once = rayon::current_num_threads().clamp(1, AT_ONCE);
    for chunk in case.indices.chunks(at_once) {
        let judged: Vec<(Image, Vec<Counts>)> = chunk
            .par_iter()
            .map(|index| {
                let mut image = Image::read(case, *index)?;
                let counts = image.counts()?;
                if !keeps_maps {
                    image.maps.clear();
                }
                (case.done)();
                Ok((image, counts))
            })
            .collect::<Result<_>>()?;
        for (image, counts) in judged {
            let share = image.truth.share();
            seen.share += share;
            seen.with_anomaly += usize::from(share.anomaly > 0);
            if let Some((writer, methods)) = &mut writer {
                writer.write(methods, &image)?;
            }
            for (i, (collector, counts)) in collectors.iter_mut().zip(counts).enumerate() {
                collector.push(&image, i, counts).with_context(|| image.name.clone())?;
            }
        }
    }
    if case.settings.region != Region::All && (seen.share.normal == 0 || seen.share.anomaly == 0) {
        let lacks = if seen.share.normal == 0 { "normal" } else { "anomalous" };
        bail!("--region {} leaves no {lacks} pixel to judge: choose another region", case.settings.region);
    }
    let mut results: Vec<MethodResult> =
        collectors.into_iter().map(|collector| collector.finish(case)).collect::<Result<_>>()?;
    second_pass(case, &mut results)?;
    if case.settings.protocols.contains(&Protocol::Video) {
        for (i, result) in results.iter_mut().enumerate() {
            result.video = video::judge(case, i, result)?;
        }
    }
    Ok((results, seen))
}

/// What needs the thresholds that the first pass found.
fn second_pass(case: &Case<'_>, results: &mut [MethodResult]) -> Result<()> {
    let curves: Vec<Option<&Curve>> =
        results.iter().map(|result| result.pooled.as_ref().map(|pooled| &pooled.curve)).collect();
    if curves.iter().all(Option::is_none) {
        return Ok(());
    }
    let empty = || curves.iter().map(|curve| curve.map(Tally::new)).collect::<Vec<_>>();
    let tallies = case
        .indices
        .par_iter()
        .with_min_len(case.indices.len().div_ceil(AT_ONCE).max(1))
        .try_fold(empty, |mut tallies, index| -> Result<_> {
            let image = Image::read(case, *index)?;
            for (tally, scores) in tallies.iter_mut().zip(&image.maps) {
                if let Some(tally) = tally {
                    tally.count(&scores.data, &image.truth);
                }
            }
            (case.done)();
            Ok(tallies)
        })
        .try_reduce(empty, |mut a, b| {
            for (a, b) in a.iter_mut().zip(&b) {
                if let (Some(a), Some(b)) = (a, b) {
                    a.add(b);
                }
            }
            Ok(a)
        })?;
    let breakdowns: Vec<Option<Breakdown>> =
        tallies.iter().map(|tally| tally.as_ref().map(Tally::finish)).collect();
    for (result, breakdown) in results.iter_mut().zip(breakdowns) {
        result.breakdown = breakdown;
    }
    Ok(())
}

impl Collector {
    fn new(case: &Case<'_>, index: usize, method: Method) -> Collector {
        let protocols = &case.settings.protocols;
        let tracks = [(Protocol::SmiycAnomaly, Track::Anomaly), (Protocol::SmiycObstacle, Track::Obstacle)];
        let smiyc = tracks
            .into_iter()
            .filter(|(protocol, _)| protocols.contains(protocol))
            .map(|(_, track)| smiyc::Judge::new(track, Limits::default()))
            .collect();
        let threshold = case.thresholds.get(index).and_then(|known| known.value);
        Collector {
            method,
            pooled: protocols.contains(&Protocol::Pooled).then(|| Pooled::new(Limits::default())),
            bootstrap: Bootstrap::new(case.settings.bootstrap),
            per_image: PerImage::new(),
            calibration: threshold.map(|threshold| Calibration::new(f64::from(threshold))),
            smiyc,
        }
    }

    fn push(&mut self, image: &Image, method: usize, counts: Counts) -> Result<()> {
        for judge in &mut self.smiyc {
            let map = &image.maps[method];
            judge.push(&image.name, (map.width, map.height), &map.data, &image.truth)?;
        }
        self.per_image.push(image.name.clone(), &counts);
        if let Some(calibration) = &mut self.calibration {
            calibration.push(&counts);
        }
        if let Some(pooled) = &mut self.pooled {
            self.bootstrap.push(&counts);
            pooled.push(counts)?;
        }
        Ok(())
    }

    fn finish(self, case: &Case<'_>) -> Result<MethodResult> {
        let bootstrap = &case.settings.bootstrap;
        let overview = self.pooled.as_ref().map(|pooled| pooled.overview(BINS)).transpose()?.flatten();
        let drawn = overview.as_ref().and_then(|_| Drawn::of(&self.bootstrap));
        let pooled = overview.map(|overview| PooledResult {
            intervals: drawn.as_ref().and_then(|drawn| drawn.intervals(&overview.detection)),
            draws: drawn.map(|drawn| drawn.numbers).unwrap_or_default(),
            detection: overview.detection,
            curve: overview.curve,
            histogram: overview.histogram,
        });
        let mut reports = Vec::new();
        for judge in self.smiyc {
            reports.extend(judge.finish(bootstrap)?);
        }
        Ok(MethodResult {
            method: self.method,
            pooled,
            per_image: self.per_image.finish(bootstrap),
            smiyc: reports,
            video: Vec::new(),
            calibration: self.calibration.map(|calibration| calibration.finish(bootstrap)),
            breakdown: None,
        })
    }
}

/// Score maps as files: `ROOT/METHOD/NAME.npy`.
struct MapFolder<'a> {
    root: &'a Path,
}

impl MapFolder<'_> {
    fn write(&self, methods: &[Method], image: &Image) -> Result<()> {
        for (method, map) in methods.iter().zip(&image.maps) {
            let below = Path::new(&image.name).parent().unwrap_or(Path::new(""));
            let folder = self.root.join(method.name()).join(below);
            // One writer per file: names repeat only in other folders.
            let mut writer = ScoreMapWriter::new(&folder, ScoreFormat::Npy, Naming::Name)?;
            writer.write(0, &image.name, map)?;
        }
        Ok(())
    }
}
