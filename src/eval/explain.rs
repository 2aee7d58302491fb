//! The same maps under the conventions that are known to differ between papers: why somebody has another number.

use std::fmt;

use half::f16;
use serde::Serialize;

use super::folder::{FoldersError, Request, in_order, one_class};
use super::maps::{self, Pair, Scores};
use super::metrics::{Counts, Limits, PerImage, Pooled};
use super::truth::{NORMAL, Share, VOID, ValueMap};
use crate::collect::LabelMask;
use crate::grid::{Grid, PixelScores, ScoreMap};
use crate::pool::Pooled as Buffer;
use crate::score::Upsampler;

/// What of the picture is judged where only the road is: what lies below this share of the height.
const HORIZON: f64 = 0.45;

/// One convention and its numbers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// What is done otherwise.
    pub convention: &'static str,
    /// Average precision; `None` where it is as in the first row.
    pub ap: Option<f64>,
    /// Area under the ROC curve.
    pub auroc: Option<f64>,
    /// False positive rate at a true positive rate of 0.95.
    pub fpr95: Option<f64>,
}

/// All conventions, the first row being what `farout metrics --protocol pooled` tells.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Explanation {
    /// Maps judged.
    pub files: usize,
    /// Pixels of all masks.
    pub pixels: Share,
    /// Maps of another size than their masks.
    pub resized: usize,
    /// Whether scores had 64 bits, which are taken as 32 here.
    pub narrowed: bool,
    /// The conventions.
    pub rows: Vec<Row>,
}

/// A map and its mask.
struct Case {
    scores: Vec<f32>,
    width: usize,
    height: usize,
    mask: LabelMask,
}

/// Pixels under a convention.
type Pixels = (Vec<f32>, Vec<u8>);

/// What is judged otherwise.
struct Convention {
    name: &'static str,
    pixels: fn(&Case, &ValueMap) -> Pixels,
    /// Makes a difference only where maps have another size than masks.
    of_size: bool,
}

const fn of(name: &'static str, pixels: fn(&Case, &ValueMap) -> Pixels) -> Convention {
    Convention { name, pixels, of_size: false }
}

/// Conventions that change the pixels, the first being the plain one.
const CONVENTIONS: [Convention; 11] = [
    of("as asked: void left out, maps brought to the mask's size bilinearly", plain),
    of("scores rounded to float16", |case, values| changed(case, values, half)),
    of("scores of each image stretched to 0 .. 1", |case, values| changed(case, values, stretched)),
    of("the same in 256 steps, as an 8-bit picture holds them", |case, values| {
        changed(case, values, in_bytes)
    }),
    of("void taken as normal", |case, values| with_void(case, values, |map| &mut map.normal)),
    of("void taken as anomaly (all labels that are not 0)", |case, values| {
        with_void(case, values, |map| &mut map.anomaly)
    }),
    of("the lower 55 % of the picture alone", lower),
    of("every second pixel of every second line", halved),
    of("the sign turned: higher is more normal", |case, values| changed(case, values, turned)),
    Convention { of_size: true, ..of("maps brought to the mask's size by the nearest cell", nearest) },
    Convention { of_size: true, ..of("masks brought to the map's size, nearest", at_map) },
];

/// Judges all maps under each convention; `progress` is told how many of how many files are done.
///
/// # Errors
/// As [`super::folders::judge`]; but maps may have another size than their masks.
pub fn explain(request: &Request, progress: impl Fn(usize, usize)) -> Result<Explanation, FoldersError> {
    let pairs = maps::pairs(&request.scores, &request.truth)?;
    let limits =
        Limits { memory_bytes: request.limits.memory_bytes / CONVENTIONS.len(), ..request.limits.clone() };
    let mut pooled: Vec<Pooled> = CONVENTIONS.iter().map(|_| Pooled::new(limits.clone())).collect();
    let (mut per_image, mut share) = (PerImage::new(), Share::default());
    let (mut resized, mut narrowed) = (0, false);
    let work = |pair: &Pair| -> Result<_, String> {
        let mask = LabelMask::read(&pair.truth).map_err(|e| e.to_string())?;
        let image = maps::read(&pair.scores).map_err(|e| e.to_string())?;
        let wide = matches!(image.scores, Scores::F64(_));
        let scores = match image.scores {
            Scores::F32(scores) => scores,
            Scores::F64(scores) => scores.into_iter().map(|score| score as f32).collect(),
        };
        let truth = request.values.apply(&mask).map_err(|e| format!("{}: {e}", pair.truth.display()))?;
        let differs = (image.width, image.height) != (mask.width, mask.height);
        if !mask.fits((image.width, image.height)) {
            return Err(format!(
                "{} is {}x{}, its truth {} is {}x{}, which is another shape",
                pair.scores,
                image.width,
                image.height,
                pair.truth.display(),
                mask.width,
                mask.height
            ));
        }
        let case = Case { scores, width: image.width, height: image.height, mask };
        let counted = CONVENTIONS.iter().map(|convention| {
            let (scores, labels) = (convention.pixels)(&case, &request.values);
            Counts::of(&scores, &labels).map_err(|e| format!("{}: {e}", pair.scores))
        });
        Ok((counted.collect::<Result<Vec<Counts>, String>>()?, truth.share(), differs, wide))
    };
    in_order(&pairs, work, progress, |pair, (counts, of, differs, wide)| {
        share += of;
        resized += usize::from(differs);
        narrowed |= wide;
        per_image.push(pair.name.clone(), &counts[0]);
        pooled.iter_mut().zip(counts).try_for_each(|(pooled, counts)| Ok(pooled.push(counts)?))
    })?;
    let mut rows = Vec::new();
    let own = pooled[0].detection()?.ok_or_else(|| one_class(request, share, pairs.len()))?;
    for (convention, pooled) in CONVENTIONS.iter().zip(&pooled) {
        if convention.of_size && resized == 0 {
            continue;
        }
        let Some(detection) = pooled.detection()? else { continue };
        let (ap, auroc, fpr95) = (Some(detection.ap), Some(detection.auroc), Some(detection.fpr95_first));
        rows.push(Row { convention: convention.name, ap, auroc, fpr95 });
    }
    let other = |convention, ap, fpr95| Row { convention, ap, auroc: None, fpr95 };
    let mut curves = vec![other("FPR95 at the TPR closest to 95 %", None, Some(own.fpr95_closest))];
    if let Some(conventions) = pooled[0].conventions()? {
        curves.push(other("FPR95 on the line between two thresholds", None, Some(conventions.fpr95_between)));
        curves.push(other("AP as area under lines between the points", Some(conventions.ap_by_lines), None));
    }
    if let Some(mean) = per_image.finish(&request.bootstrap).mean {
        let (ap, auroc, fpr95) = (Some(mean.ap), Some(mean.auroc), Some(mean.fpr95_first));
        curves.push(Row {
            convention: "mean over images with an anomaly, each judged alone",
            ap,
            auroc,
            fpr95,
        });
    }
    rows.splice(1..1, curves);
    Ok(Explanation { files: pairs.len(), pixels: share, resized, narrowed, rows })
}

/// Labels of the mask; values were looked at before.
fn labels(mask: &LabelMask, values: &ValueMap) -> Vec<u8> {
    values.apply(mask).map(|truth| truth.labels).unwrap_or_else(|_| vec![VOID; mask.values.len()])
}

fn at_mask(case: &Case) -> Vec<f32> {
    let (width, height) = (case.mask.width, case.mask.height);
    if (case.width, case.height) == (width, height) {
        return case.scores.clone();
    }
    let grid = Grid { rows: case.height, cols: case.width };
    let map = ScoreMap { grid, data: Buffer::unpooled(case.scores.clone()) };
    let mut out = PixelScores::default();
    Upsampler::new().step(&map, width, height, &mut out);
    out.data.to_vec()
}

fn plain(case: &Case, values: &ValueMap) -> Pixels {
    (at_mask(case), labels(&case.mask, values))
}

fn changed(case: &Case, values: &ValueMap, change: fn(&mut [f32])) -> Pixels {
    let (mut scores, labels) = plain(case, values);
    change(&mut scores);
    (scores, labels)
}

fn half(scores: &mut [f32]) {
    for score in scores {
        let rounded = f16::from_f32(*score);
        // What it cannot hold stays at its ends, as saturating conversions leave it.
        let held = if rounded.is_finite() { rounded } else { f16::MAX * f16::from_f32(score.signum()) };
        *score = if score.is_nan() { *score } else { held.to_f32() };
    }
}

fn stretched(scores: &mut [f32]) {
    // Void may hold what is no number.
    let finite = scores.iter().filter(|score| score.is_finite());
    let (low, high) = finite.fold((f32::INFINITY, f32::NEG_INFINITY), |(l, h), s| (l.min(*s), h.max(*s)));
    let range = high - low;
    scores.iter_mut().for_each(|score| *score = if range > 0.0 { (*score - low) / range } else { 0.0 });
}

fn in_bytes(scores: &mut [f32]) {
    stretched(scores);
    scores.iter_mut().for_each(|score| *score = (*score * 255.0).floor());
}

fn turned(scores: &mut [f32]) {
    scores.iter_mut().for_each(|score| *score = -*score);
}

fn with_void(case: &Case, values: &ValueMap, to: fn(&mut ValueMap) -> &mut Vec<u16>) -> Pixels {
    let mut other = values.clone();
    let void = std::mem::take(&mut other.void);
    to(&mut other).extend(void);
    let (scores, mut labels) = (at_mask(case), labels(&case.mask, &other));
    // What is no number was never meant to be judged, by whichever convention.
    let own = self::labels(&case.mask, values);
    for ((label, own), score) in labels.iter_mut().zip(own).zip(&scores) {
        if own == VOID && !score.is_finite() {
            *label = VOID;
        }
    }
    (scores, labels)
}

fn lower(case: &Case, values: &ValueMap) -> Pixels {
    let (scores, mut labels) = plain(case, values);
    let above = (HORIZON * case.mask.height as f64) as usize * case.mask.width;
    labels[..above].fill(VOID);
    (scores, labels)
}

fn halved(case: &Case, values: &ValueMap) -> Pixels {
    let (scores, labels) = plain(case, values);
    let width = case.mask.width;
    let kept = (0..labels.len()).filter(|i| (i % width).is_multiple_of(2) && (i / width).is_multiple_of(2));
    kept.map(|i| (scores[i], labels[i])).unzip()
}

/// For each cell of a grid of `to` the cell of one of `from` that its centre lies in.
fn nearest_cells(from: (usize, usize), to: (usize, usize)) -> impl Iterator<Item = usize> {
    let centre = |at: usize, to: usize, from: usize| (2 * at + 1) * from / (2 * to);
    (0..to.0 * to.1).map(move |i| centre(i / to.0, to.1, from.1) * from.0 + centre(i % to.0, to.0, from.0))
}

fn nearest(case: &Case, values: &ValueMap) -> Pixels {
    let cells = nearest_cells((case.width, case.height), (case.mask.width, case.mask.height));
    (cells.map(|cell| case.scores[cell]).collect(), labels(&case.mask, values))
}

fn at_map(case: &Case, values: &ValueMap) -> Pixels {
    let all = labels(&case.mask, values);
    let cells = nearest_cells((case.mask.width, case.mask.height), (case.width, case.height));
    (case.scores.clone(), cells.map(|cell| all.get(cell).copied().unwrap_or(NORMAL)).collect())
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (share, count) = (self.pixels, |of: u64| of as f64);
        let all = count(share.normal + share.anomaly + share.void).max(1.0);
        write!(
            f,
            "{} maps, {:.2} % anomaly, {:.2} % void",
            self.files,
            100.0 * count(share.anomaly) / all,
            100.0 * count(share.void) / all
        )?;
        if self.resized > 0 {
            write!(f, "; {} maps have another size than their masks", self.resized)?;
        }
        if self.narrowed {
            write!(f, "; scores of 64 bits are taken as 32")?;
        }
        writeln!(f, "\n{:68} {:>18} {:>18} {:>18}", "", "AP", "AUROC", "FPR95")?;
        for row in &self.rows {
            write!(f, "{:68}", row.convention)?;
            let first = &self.rows[0];
            for (value, own) in [(row.ap, first.ap), (row.auroc, first.auroc), (row.fpr95, first.fpr95)] {
                let text = match (value, own) {
                    (Some(value), Some(own)) if !std::ptr::eq(row, first) => {
                        format!("{:.2} ({:+.2})", 100.0 * value, 100.0 * (value - own))
                    }
                    (Some(value), _) => format!("{:.2}", 100.0 * value),
                    (None, _) => "=".to_owned(),
                };
                write!(f, " {text:>18}")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}
