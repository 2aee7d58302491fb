//! Results side by side: differences with intervals, gains and losses per image, time.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use serde::Serialize;

use super::metrics::{Interval, paired_difference, quantile};
use super::region::Region;
use super::result::{EvalResult, MethodResult};

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

/// One method of one result.
#[derive(Debug, Clone, Serialize)]
pub struct Entry {
    /// The file.
    pub file: PathBuf,
    /// The method.
    pub method: String,
    /// The model.
    pub model: String,
    /// The headline numbers, by name; pooled, or else means per image.
    pub numbers: Vec<Number>,
    /// Whether they are pooled.
    pub pooled: bool,
    /// Seconds per image from image to score maps of all its methods.
    pub seconds_per_image: Option<f64>,
    /// Provider and search engine.
    pub device: String,
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

/// Compares all methods of `results` with the first method of the first result.
///
/// # Errors
/// Results on different data sets; nothing to compare.
pub fn compare(results: &[(PathBuf, EvalResult)]) -> Result<Comparison> {
    let Some(((path, first), base)) =
        results.first().and_then(|first| Some((first, first.1.methods.first()?)))
    else {
        bail!("give at least one result with numbers");
    };
    let mut others = Vec::new();
    for (other_path, result) in results {
        if result.dataset.sha256 != first.dataset.sha256 {
            bail!(
                "{} judged {} ({} images), {} judged {} ({} images): the images or masks differ, so do not compare",
                path.display(),
                first.settings.dataset,
                first.dataset.images,
                other_path.display(),
                result.settings.dataset,
                result.dataset.images
            );
        }
        if !same_region(first, result) {
            bail!(
                "{} judged the region {}, {} the region {}: {}numbers of different regions do not compare",
                path.display(),
                first.settings.region,
                other_path.display(),
                result.settings.region,
                if first.settings.region == result.settings.region {
                    "what lies in it differs, "
                } else {
                    ""
                }
            );
        }
        for method in &result.methods {
            if !std::ptr::eq(method, base) {
                others.push(difference((path, first, base), (other_path, result, method)));
            }
        }
    }
    if others.is_empty() {
        bail!("{} has one method; give another result to compare it with", path.display());
    }
    let region = first.settings.region.clone();
    Ok(Comparison {
        dataset: first.settings.dataset.to_string(),
        region,
        base: entry(path, first, base),
        others,
    })
}

/// Whether both judged the same pixels, as far as the results tell.
fn same_region(one: &EvalResult, other: &EvalResult) -> bool {
    let (a, b) = (&one.settings.region, &other.settings.region);
    // Two models see two roads; two masks of one name may differ.
    let pixels =
        |result: &EvalResult| result.region.as_ref().map(|region| (region.sha256.clone(), region.share));
    a == b && (*a == Region::All || pixels(one) == pixels(other))
}

type One<'a> = (&'a Path, &'a EvalResult, &'a MethodResult);

fn entry(path: &Path, result: &EvalResult, method: &MethodResult) -> Entry {
    let mean = method.per_image.mean.as_ref();
    let numbers = match &method.pooled {
        Some(pooled) => Some(pooled.headline()),
        None => mean.map(|m| [m.ap, m.auroc, m.fpr95_first, m.fpr95_closest, m.best_f1]),
    };
    let machine = &result.machine;
    let images = result.time.stages.iter().map(|stage| stage.images).max().unwrap_or(0);
    Entry {
        file: path.to_owned(),
        method: method.method.name().to_owned(),
        model: result.model.identity.name.clone(),
        numbers: HEADLINE
            .iter()
            .zip(numbers.into_iter().flatten())
            .map(|(&name, value)| Number { name, value })
            .collect(),
        pooled: method.pooled.is_some(),
        seconds_per_image: (images > 0).then(|| result.time.measuring_seconds / images as f64),
        device: match &machine.search {
            Some(search) => format!("{}, {search}", machine.provider),
            None => machine.provider.clone(),
        },
    }
}

fn difference((path, first, base): One<'_>, (other_path, result, method): One<'_>) -> Difference {
    let (from, to) = (entry(path, first, base), entry(other_path, result, method));
    let drawn = drawn_together((first, base), (result, method));
    let comparable = from.pooled == to.pooled;
    let differences = from.numbers.iter().zip(&to.numbers).enumerate().filter(|_| comparable);
    let differences = differences
        .map(|(i, (a, b))| Change {
            name: a.name,
            value: b.value - a.value,
            interval: drawn.as_ref().ok().map(|draws| {
                let column: Vec<f64> = draws.iter().map(|draw| draw[i]).collect();
                around(column, b.value - a.value, first.settings.bootstrap.level)
            }),
        })
        .collect();
    let pairs = paired(base, method);
    let (a, b): (Vec<f64>, Vec<f64>) = pairs.iter().map(|change| (change.from, change.to)).unzip();
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
    let mean_ap_per_image = (!pairs.is_empty()).then(|| Change {
        name: "AP",
        value: mean(&b) - mean(&a),
        interval: paired_difference(&a, &b, &first.settings.bootstrap),
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

/// Per draw the difference of the headline numbers: the r-th draw of both holds the same images.
fn drawn_together(
    (first, base): (&EvalResult, &MethodResult),
    (result, method): (&EvalResult, &MethodResult),
) -> Result<Vec<[f64; 5]>, String> {
    let (a, b) = (&first.settings.bootstrap, &result.settings.bootstrap);
    if a != b {
        return Err(format!(
            "they were drawn differently (seed {} and {}, {} and {} draws): repeat one with --seed and --replicates of the other",
            a.seed, b.seed, a.replicates, b.replicates
        ));
    }
    let draws = |method: &MethodResult| method.pooled.as_ref().map(|pooled| pooled.draws.clone());
    match (draws(base), draws(method)) {
        (Some(a), Some(b)) if !a.is_empty() && a.len() == b.len() => {
            Ok(a.iter().zip(&b).map(|(a, b)| std::array::from_fn(|i| b[i] - a[i])).collect())
        }
        (None, _) | (_, None) => Err("not both have pooled numbers".to_owned()),
        _ => Err("no draws were made (--replicates 0, or fewer than two images)".to_owned()),
    }
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
fn paired(base: &MethodResult, method: &MethodResult) -> Vec<ImageChange> {
    let known: HashMap<&str, f64> = base
        .per_image
        .rows
        .iter()
        .filter_map(|row| Some((row.name.as_str(), row.detection.as_ref()?.ap)))
        .collect();
    method
        .per_image
        .rows
        .iter()
        .filter_map(|row| {
            let from = *known.get(row.name.as_str())?;
            Some(ImageChange { image: row.name.clone(), from, to: row.detection.as_ref()?.ap })
        })
        .collect()
}

impl fmt::Display for Comparison {
    /// One block per method.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}, region {}", self.dataset, self.region)?;
        head(f, &self.base)?;
        for number in &self.base.numbers {
            writeln!(f, "  {:<16} {:7.2}", number.name, 100.0 * number.value)?;
        }
        for other in &self.others {
            writeln!(f)?;
            head(f, &other.entry)?;
            for (number, change) in other.entry.numbers.iter().zip(&other.differences) {
                let value = 100.0 * number.value;
                writeln!(f, "  {:<16} {value:7.2}  {}", number.name, points(change))?;
            }
            if let Some(change) = &other.mean_ap_per_image {
                writeln!(f, "  {:<16} {:>7}  {}", "AP per image", "", points(change))?;
            }
            writeln!(f, "  {} images gain, {} lose", other.better, other.worse)?;
            for (sign, list) in [("+", &other.gains), ("-", &other.losses)] {
                for change in list {
                    let (from, to) = (100.0 * change.from, 100.0 * change.to);
                    writeln!(f, "    {sign} {:<32} {from:6.2} -> {to:6.2}", change.image)?;
                }
            }
            if let Some(why) = &other.no_intervals {
                writeln!(f, "  no intervals of the pooled numbers: {why}")?;
            }
            if let Some(ratio) = other.time_ratio {
                writeln!(f, "  time per image: {ratio:.2} times that of the base")?;
            }
        }
        Ok(())
    }
}

fn head(f: &mut fmt::Formatter<'_>, entry: &Entry) -> fmt::Result {
    let how = if entry.pooled { "pooled" } else { "mean per image" };
    let time = entry.seconds_per_image.map(|s| format!(", {:.0} ms per image", 1e3 * s)).unwrap_or_default();
    writeln!(
        f,
        "{}: {} of {} ({how}; {}{time})",
        entry.file.display(),
        entry.method,
        entry.model,
        entry.device
    )
}

/// A change in percentage points.
fn points(change: &Change) -> String {
    let value = 100.0 * change.value;
    match change.interval {
        Some(Interval { low, high }) => format!("{value:+7.2} [{:+.2}, {:+.2}]", 100.0 * low, 100.0 * high),
        None => format!("{value:+7.2}"),
    }
}
