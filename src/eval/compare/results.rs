//! Results of `farout eval` side by side.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use super::{Comparison, Entry, Judged, compare, headline};
use crate::eval::region::Region;
use crate::eval::result::{EvalResult, MethodResult};

/// Compares all methods of `results` with the first method of the first result.
///
/// # Errors
/// Results on different data sets; nothing to compare.
pub fn compare_results(results: &[(PathBuf, EvalResult)]) -> Result<Comparison> {
    let Some((path, first)) = results.first() else {
        bail!("give at least one result with numbers");
    };
    let mut judged = Vec::new();
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
        judged.extend(result.methods.iter().map(|method| of_method(other_path, result, method)));
    }
    if first.methods.is_empty() {
        bail!("{} has no numbers; give a result that has some", path.display());
    }
    if judged.len() < 2 {
        bail!("{} holds one method; give another result to compare it with", path.display());
    }
    let base = judged.remove(0);
    Ok(compare(first.settings.dataset.to_string(), first.settings.region.clone(), base, &judged))
}

/// Whether both judged the same pixels, as far as the results tell.
fn same_region(one: &EvalResult, other: &EvalResult) -> bool {
    let (a, b) = (&one.settings.region, &other.settings.region);
    // Two models see two roads; two masks of one name may differ.
    let pixels =
        |result: &EvalResult| result.region.as_ref().map(|region| (region.sha256.clone(), region.share));
    a == b && (*a == Region::All || pixels(one) == pixels(other))
}

fn of_method(path: &Path, result: &EvalResult, method: &MethodResult) -> Judged {
    let mean = method.per_image.mean.as_ref();
    let numbers = match &method.pooled {
        Some(pooled) => Some(pooled.headline()),
        None => mean.map(|m| [m.ap, m.auroc, m.fpr95_first, m.fpr95_closest, m.best_f1]),
    };
    let machine = &result.machine;
    let images = result.time.stages.iter().map(|stage| stage.images).max().unwrap_or(0);
    let rows = method.per_image.rows.iter();
    Judged {
        entry: Entry {
            file: path.to_owned(),
            method: method.method.name().to_owned(),
            model: Some(result.model.identity.name.clone()),
            numbers: numbers.map(headline).unwrap_or_default(),
            pooled: method.pooled.is_some(),
            seconds_per_image: (images > 0).then(|| result.time.measuring_seconds / images as f64),
            device: Some(match &machine.search {
                Some(search) => format!("{}, {search}", machine.provider),
                None => machine.provider.clone(),
            }),
        },
        draws: method.pooled.as_ref().map(|pooled| pooled.draws.clone()).unwrap_or_default(),
        bootstrap: result.settings.bootstrap,
        images: rows.filter_map(|row| Some((row.name.clone(), row.detection.as_ref()?.ap))).collect(),
    }
}
