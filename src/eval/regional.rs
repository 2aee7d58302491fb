//! Score maps of a folder judged region by region and instance by instance, and by what a threshold lets pass.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::folder::{
    FoldersError, FoldersReport, InstancesBy, Request, any_wide, in_order, located, one_class, scores_of,
    widened,
};
use super::maps::Scores;
use super::metrics::instances::{InstanceImage, judge as judge_instances};
use super::metrics::{Components, CountError, Counts, Pimo, Pooled, PooledError, Pro, ProImage, Score};
use super::protocol::Protocol;
use super::streaming::Shown;
use super::truth::{ANOMALY, Share, Truth, VOID, ValueMap};
use crate::collect::{LabelMask, label_stems};

/// What the name of a mask of instances may have at its end.
const INSTANCE_ENDINGS: [&str; 3] = ["_gtFine_instanceIds", "_instanceIds", "_instances"];

/// Judges `pairs` by one of the protocols `pro`, `pimo`, `risk` and `instances` into `report`.
///
/// # Errors
/// As [`super::folders::judge`].
pub(super) fn judge(
    request: &Request,
    pairs: &[Shown],
    report: &mut FoldersReport,
    progress: impl Fn(usize, usize),
) -> Result<(), FoldersError> {
    if request.protocol == Protocol::Instances {
        return by_instances(request, pairs, report, progress);
    }
    let wide = any_wide(pairs)?;
    let count = |shown: &Shown| {
        let truth = Truth::read(&shown.pair.truth, &request.values).map_err(|e| e.to_string())?;
        let image = scores_of(shown, (truth.width, truth.height), true)?;
        let wrong = |e| located(shown.place(), image.width, &e);
        let (labels, width, by_region) = (&truth.labels, truth.width, request.protocol == Protocol::Pro);
        let counted = match widened(image.scores, wide) {
            Scores::F32(scores) => counted(&scores, labels, by_region.then_some(width)),
            Scores::F64(scores) => counted(&scores, labels, by_region.then_some(width)),
        };
        Ok((counted.map_err(wrong)?, truth.share()))
    };
    let (mut pro, mut pimo) = (Pro::new(request.limits.clone()), Pimo::new());
    let mut pooled = Pooled::new(request.limits.clone());
    in_order(pairs, count, progress, |shown, (image, share)| {
        report.pixels += share;
        match image {
            Counted::ByRegion(image) => pro.push(image)?,
            Counted::Plain(counts) if request.protocol == Protocol::Pimo => {
                pimo.push(shown.pair.name.clone(), counts);
            }
            Counted::Plain(counts) => pooled.push(counts)?,
        }
        Ok(())
    })?;
    let nothing = || one_class(request, report.pixels, pairs.len());
    match request.protocol {
        Protocol::Pro => report.pro = Some(pro.finish(request.fpr_limit)?.ok_or_else(nothing)?),
        Protocol::Pimo => {
            let (normal, anomalous) = pimo.images();
            let judged = pimo.finish(request.fpr_range, &request.bootstrap);
            let judged = judged
                .map_err(|source| PooledError::ReadBack { folder: request.limits.scratch.clone(), source })?;
            let truth = request.truth.clone();
            report.pimo = Some(judged.ok_or(FoldersError::NoNormalImages { truth, normal, anomalous })?);
        }
        _ => report.risk = Some(pooled.risk()?.ok_or_else(nothing)?),
    }
    Ok(())
}

/// The pixels of an image.
enum Counted {
    Plain(Counts),
    ByRegion(ProImage),
}

/// Counts pixels; by region, if the width of the image is given.
fn counted<S: Score + Into<f64>>(
    scores: &[S],
    labels: &[u8],
    width: Option<usize>,
) -> Result<Counted, CountError> {
    let counts = Counts::of(scores, labels)?;
    Ok(match width {
        Some(width) => Counted::ByRegion(ProImage::of(counts, scores, labels, width)),
        None => Counted::Plain(counts),
    })
}

fn by_instances(
    request: &Request,
    pairs: &[Shown],
    report: &mut FoldersReport,
    progress: impl Fn(usize, usize),
) -> Result<(), FoldersError> {
    let threshold = request.threshold.ok_or(FoldersError::NoThreshold)?;
    let match_one = |shown: &Shown| {
        let (truth, numbers) = true_instances(&shown.pair.truth, &request.values, request.instances)?;
        let scores: Vec<f64> = match scores_of(shown, (truth.width, truth.height), true)?.scores {
            Scores::F32(scores) => scores.into_iter().map(f64::from).collect(),
            Scores::F64(scores) => scores,
        };
        let void: Vec<bool> = truth.labels.iter().map(|label| *label == VOID).collect();
        // As for all other protocols: a score that is none is an error.
        Counts::of(&scores, &truth.labels).map_err(|e| located(shown.place(), truth.width, &e))?;
        Ok((InstanceImage::of_scores(&scores, threshold, &numbers, &void, truth.width), truth.share()))
    };
    instances_of(request, pairs, match_one, report, progress)
}

/// Judges the instances that `match_one` finds for each of `pairs`.
fn instances_of<P: Sync>(
    request: &Request,
    pairs: &[P],
    match_one: impl Fn(&P) -> Result<(InstanceImage, Share), String> + Sync,
    report: &mut FoldersReport,
    progress: impl Fn(usize, usize),
) -> Result<(), FoldersError> {
    let mut images = Vec::new();
    in_order(pairs, match_one, progress, |_, (image, share)| {
        report.pixels += share;
        images.push(image);
        Ok(())
    })?;
    report.instances =
        Some(judge_instances(&images).ok_or_else(|| one_class(request, report.pixels, pairs.len()))?);
    Ok(())
}

/// The truth of a mask, and the number of the instance that each pixel is of, from 1, or 0.
fn true_instances(path: &Path, values: &ValueMap, by: InstancesBy) -> Result<(Truth, Vec<u32>), String> {
    let mask = LabelMask::read(path).map_err(|e| e.to_string())?;
    let truth = values.apply(&mask).map_err(|e| format!("the truth {} holds {e}", path.display()))?;
    let numbers = match by {
        InstancesBy::Components => {
            let anomalous: Vec<bool> = truth.labels.iter().map(|label| *label == ANOMALY).collect();
            Components::of(&anomalous, truth.width).of_pixel
        }
        InstancesBy::Values => {
            let mut known = BTreeMap::new();
            let number = |(label, value): (&u8, &u16)| match *label {
                ANOMALY => {
                    let next = known.len() as u32 + 1;
                    *known.entry(*value).or_insert(next)
                }
                _ => 0,
            };
            truth.labels.iter().zip(&mask.values).map(number).collect()
        }
    };
    Ok((truth, numbers))
}

/// Judges predicted instances: of each mask NAME in the folder of truth, NAME.txt in the folder of scores has lines with a mask's
/// file, a class that is not looked at, and how sure the method is, as for Cityscapes.
///
/// # Errors
/// As [`super::folders::judge`].
pub fn judge_predicted(
    request: &Request,
    lists: &BTreeMap<String, PathBuf>,
    progress: impl Fn(usize, usize),
) -> Result<FoldersReport, FoldersError> {
    let mut masks = super::maps::masks(&request.truth)?;
    let of_instances = |name: &String| INSTANCE_ENDINGS.iter().any(|ending| name.ends_with(ending));
    if masks.keys().any(of_instances) {
        // Beside them lie the same truth's colours and classes.
        masks.retain(|name, _| of_instances(name));
    }
    let (mut pairs, mut lonely) = (Vec::new(), Vec::new());
    for (name, list) in lists {
        let of_instances = INSTANCE_ENDINGS.iter().map(|ending| format!("{name}{ending}"));
        match of_instances.chain(label_stems(name)).find_map(|stem| masks.remove(&stem)) {
            Some(mask) => pairs.push((name.clone(), list.clone(), mask)),
            None => lonely.push(name.clone()),
        }
    }
    // An image without a prediction has an empty list.
    if !lonely.is_empty() || !masks.is_empty() {
        return Err(
            super::maps::PairError::Alone { scores: lonely, truth: masks.into_keys().collect() }.into()
        );
    }
    let mut report = FoldersReport::new(request, pairs.len());
    let match_one = |(_, list, mask): &(String, PathBuf, PathBuf)| {
        let (truth, numbers) = true_instances(mask, &request.values, request.instances)?;
        let void: Vec<bool> = truth.labels.iter().map(|label| *label == VOID).collect();
        let mut image = InstanceImage::new(&numbers);
        for (file, confidence) in predictions(list)? {
            let predicted = LabelMask::read(&file).map_err(|e| e.to_string())?;
            if (predicted.width, predicted.height) != (truth.width, truth.height) {
                return Err(format!(
                    "{} is {}x{}, the truth {} is {}x{}",
                    file.display(),
                    predicted.width,
                    predicted.height,
                    mask.display(),
                    truth.width,
                    truth.height
                ));
            }
            let inside: Vec<bool> = predicted.values.iter().map(|value| *value != 0).collect();
            image.add(&inside, confidence, &numbers, &void);
        }
        Ok((image, truth.share()))
    };
    instances_of(request, &pairs, match_one, &mut report, progress)?;
    Ok(report)
}

/// The masks of a list and how sure the method is of each.
fn predictions(list: &Path) -> Result<Vec<(PathBuf, f64)>, String> {
    let wrong = |why: String| format!("{}: {why}", list.display());
    let text = std::fs::read_to_string(list).map_err(|e| wrong(e.to_string()))?;
    let mut all = Vec::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let mut words = line.split_whitespace();
        let (Some(file), Some(_), Some(sure), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(wrong(format!("line {}: {line:?} is not MASK CLASS CONFIDENCE", number + 1)));
        };
        let sure: f64 = sure.parse().map_err(|e| wrong(format!("line {}: {sure:?}: {e}", number + 1)))?;
        if !sure.is_finite() {
            return Err(wrong(format!("line {}: the confidence is {sure}", number + 1)));
        }
        all.push((list.with_file_name(file), sure));
    }
    Ok(all)
}
