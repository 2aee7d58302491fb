//! Methods side by side: differences with intervals, gains and losses per image, time.

mod maps;
mod results;
mod text;

use std::collections::HashMap;
use std::path::PathBuf;

use serde::Serialize;

use super::metrics::{BootstrapSettings, Interval, paired_difference, quantile};
use super::region::Region;

pub use maps::compare_maps;
pub use results::compare_results;

/// So many gains and losses are listed.
const LISTED: usize = 5;
/// The headline numbers, in the order in which draws hold them.
const HEADLINE: [&str; 5] = ["AP", "AUROC", "FPR95 first", "FPR95 closest", "best F1"];

/// The comparison of some methods with one.
#[derive(Debug, Clone, Serialize)]
pub struct Comparison {
    /// The data set that all judged.
    pub dataset: String,
    /// The region that all judged.
    pub region: Region,
    /// What the others are compared with.
    pub base: Entry,
    /// The others.
    pub others: Vec<Difference>,
}

/// One method.
#[derive(Debug, Clone, Serialize)]
pub struct Entry {
    /// The result, or the folder or file of score maps.
    pub file: PathBuf,
    /// The method.
    pub method: String,
    /// The model, as far as it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The headline numbers, by name; pooled, or else means per image.
    pub numbers: Vec<Number>,
    /// Whether they are pooled.
    pub pooled: bool,
    /// Seconds per image from image to score maps of all its methods.
    pub seconds_per_image: Option<f64>,
    /// Provider and search engine, as far as they are known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
}

/// A number and its name.
#[derive(Debug, Clone, Serialize)]
pub struct Number {
    /// `AP`, `AUROC` ...
    pub name: &'static str,
    /// A fraction.
    pub value: f64,
}

/// A method against the base.
#[derive(Debug, Clone, Serialize)]
pub struct Difference {
    /// The method.
    #[serde(flatten)]
    pub entry: Entry,
    /// Its headline numbers less those of the base.
    pub differences: Vec<Change>,
    /// Why there are no intervals, if there are none.
    pub no_intervals: Option<String>,
    /// Mean over the images of the difference of their AP.
    pub mean_ap_per_image: Option<Change>,
    /// Images with a higher and with a lower AP.
    pub better: usize,
    /// Images with a lower AP.
    pub worse: usize,
    /// The largest gains in AP, largest first.
    pub gains: Vec<ImageChange>,
    /// The largest losses in AP, largest first.
    pub losses: Vec<ImageChange>,
    /// Seconds per image as a multiple of the base's.
    pub time_ratio: Option<f64>,
}

/// How a number changes.
#[derive(Debug, Clone, Serialize)]
pub struct Change {
    /// Its name.
    pub name: &'static str,
    /// The difference.
    pub value: f64,
    /// Where it lies, images drawn anew, the same ones for both.
    pub interval: Option<Interval>,
}

/// How one image changes.
#[derive(Debug, Clone, Serialize)]
pub struct ImageChange {
    /// The image.
    pub image: String,
    /// Its AP with the base.
    pub from: f64,
    /// Its AP with the other.
    pub to: f64,
}

/// One method with what a comparison needs.
struct Judged {
    entry: Entry,
    /// The headline numbers of each draw, in the order of [`HEADLINE`]; the r-th draw of all methods holds the same images.
    draws: Vec<[f64; 5]>,
    /// How they were drawn.
    bootstrap: BootstrapSettings,
    /// Images and their AP.
    images: Vec<(String, f64)>,
}

/// The headline numbers by name.
fn headline(values: [f64; 5]) -> Vec<Number> {
    HEADLINE.iter().zip(values).map(|(&name, value)| Number { name, value }).collect()
}

/// Compares `others` with `base`.
fn compare(dataset: String, region: Region, base: Judged, others: &[Judged]) -> Comparison {
    let others = others.iter().map(|other| difference(&base, other)).collect();
    Comparison { dataset, region, base: base.entry, others }
}

fn difference(base: &Judged, other: &Judged) -> Difference {
    let (from, to) = (&base.entry, other.entry.clone());
    let drawn = drawn_together(base, other);
    let comparable = from.pooled == to.pooled;
    let differences = from.numbers.iter().zip(&to.numbers).enumerate().filter(|_| comparable);
    let differences = differences
        .map(|(i, (a, b))| Change {
            name: a.name,
            value: b.value - a.value,
            interval: drawn.as_ref().ok().map(|draws| {
                let column: Vec<f64> = draws.iter().map(|draw| draw[i]).collect();
                around(column, b.value - a.value, base.bootstrap.level)
            }),
        })
        .collect();
    let pairs = paired(base, other);
    let (a, b): (Vec<f64>, Vec<f64>) = pairs.iter().map(|change| (change.from, change.to)).unzip();
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
    let mean_ap_per_image = (!pairs.is_empty()).then(|| Change {
        name: "AP",
        value: mean(&b) - mean(&a),
        interval: paired_difference(&a, &b, &base.bootstrap),
    });
    let mut ranked = pairs.clone();
    ranked.sort_by(|x, y| (y.to - y.from).total_cmp(&(x.to - x.from)));
    let gains: Vec<_> = ranked.iter().filter(|c| c.to > c.from).take(LISTED).cloned().collect();
    let losses: Vec<_> = ranked.iter().rev().filter(|c| c.to < c.from).take(LISTED).cloned().collect();
    Difference {
        differences,
        no_intervals: drawn.err(),
        mean_ap_per_image,
        better: pairs.iter().filter(|c| c.to > c.from).count(),
        worse: pairs.iter().filter(|c| c.to < c.from).count(),
        gains,
        losses,
        time_ratio: from.seconds_per_image.zip(to.seconds_per_image).map(|(a, b)| b / a.max(1e-12)),
        entry: to,
    }
}

/// Per draw the difference of the headline numbers.
fn drawn_together(base: &Judged, other: &Judged) -> Result<Vec<[f64; 5]>, String> {
    let (a, b) = (&base.bootstrap, &other.bootstrap);
    if a != b {
        return Err(format!(
            "they were drawn differently (seed {} and {}, {} and {} draws): repeat one with --seed and --replicates of the other",
            a.seed, b.seed, a.replicates, b.replicates
        ));
    }
    if !(base.entry.pooled && other.entry.pooled) {
        return Err("not both have pooled numbers".to_owned());
    }
    if base.draws.is_empty() || base.draws.len() != other.draws.len() {
        return Err("no draws were made (--replicates 0, or fewer than two images)".to_owned());
    }
    let pairs = base.draws.iter().zip(&other.draws);
    Ok(pairs.map(|(a, b)| std::array::from_fn(|i| b[i] - a[i])).collect())
}

/// The interval of draws, whose mean is laid at the exact difference: draws stand on sketches.
fn around(mut draws: Vec<f64>, exact: f64, level: f64) -> Interval {
    let centre = draws.iter().sum::<f64>() / draws.len().max(1) as f64;
    draws.iter_mut().for_each(|value| *value += exact - centre);
    draws.sort_unstable_by(f64::total_cmp);
    let tail = (1.0 - level.clamp(0.0, 1.0)) / 2.0;
    Interval { low: quantile(&draws, tail), high: quantile(&draws, 1.0 - tail) }
}

/// Images that both have an AP of.
fn paired(base: &Judged, other: &Judged) -> Vec<ImageChange> {
    let known: HashMap<&str, f64> = base.images.iter().map(|(name, ap)| (name.as_str(), *ap)).collect();
    let change = |(name, to): &(String, f64)| {
        let from = *known.get(name.as_str())?;
        Some(ImageChange { image: name.clone(), from, to: *to })
    };
    other.images.iter().filter_map(change).collect()
}
