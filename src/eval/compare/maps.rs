//! Score maps of several methods side by side, on the same truth.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use super::{Comparison, Entry, Judged, compare, headline};
use crate::eval::folder::{Request, one_class};
use crate::eval::folders::count_all;
use crate::eval::maps;
use crate::eval::metrics::{Bootstrap, Drawn, Pooled};
use crate::eval::region::Region;
use crate::eval::streaming::Shown;
use crate::eval::truth::Share;

/// Judges the maps at each of `scores` by all pixels in one list and image by image, and compares them with the first. Of `request`,
/// truth, values, bootstrap and limits count. `progress` is told how many of how many maps are done.
///
/// # Errors
/// As [`crate::eval::folders::judge`]; methods that are paired with different masks.
pub fn compare_maps(
    request: &Request,
    scores: &[PathBuf],
    progress: impl Fn(usize, usize),
) -> Result<Comparison> {
    let all: Vec<Vec<Shown>> =
        scores.iter().map(|scores| in_order_of_masks(request, scores)).collect::<Result<_>>()?;
    let Some(first) = all.first() else { bail!("give folders or files of score maps") };
    let truths = |pairs: &[Shown]| pairs.iter().map(|shown| shown.pair.truth.clone()).collect::<Vec<_>>();
    if let Some(other) = all.iter().position(|pairs| truths(pairs) != truths(first)) {
        bail!(
            "{} and {} belong to different masks of {}: both need a map for each of the same masks",
            scores[0].display(),
            scores[other].display(),
            request.truth.display()
        );
    }
    if all.len() < 2 {
        bail!("{} is one method; give another one to compare it with", scores[0].display());
    }
    let names: Vec<&str> = first.iter().map(|shown| shown.pair.name.as_str()).collect();
    let mut judged = Vec::new();
    for (number, (scores, pairs)) in scores.iter().zip(&all).enumerate() {
        let request = Request { scores: scores.clone(), ..request.clone() };
        let shown = |done, maps| progress(number * maps + done, all.len() * maps);
        judged.push(of_maps(&request, pairs, &names, shown)?);
    }
    let base = judged.remove(0);
    Ok(compare(request.truth.display().to_string(), Region::All, base, &judged))
}

/// The maps at `scores` by their masks: the r-th draw has to hold the same images for all methods.
fn in_order_of_masks(request: &Request, scores: &Path) -> Result<Vec<Shown>> {
    let mut pairs = maps::pairs(scores, &request.truth)?;
    pairs.sort_by(|a, b| a.truth.cmp(&b.truth));
    Ok(pairs.into_iter().map(Shown::from).collect())
}

/// The numbers of one method; `names` are those of the images.
fn of_maps(
    request: &Request,
    pairs: &[Shown],
    names: &[&str],
    progress: impl Fn(usize, usize),
) -> Result<Judged> {
    let (mut pooled, mut bootstrap) =
        (Pooled::new(request.limits.clone()), Bootstrap::new(request.bootstrap));
    let (mut pixels, mut images, mut names) = (Share::default(), Vec::new(), names.iter());
    count_all(request, pairs, progress, |_, counts, share| {
        pixels += share;
        let named = names.next().zip(counts.detection());
        images.extend(named.map(|(name, detection)| ((*name).to_owned(), detection.ap)));
        bootstrap.push(&counts);
        Ok(pooled.push(counts)?)
    })?;
    let Some(detection) = pooled.detection()? else {
        return Err(one_class(request, pixels, pairs.len()).into());
    };
    let drawn = Drawn::of(&bootstrap).map(|drawn| drawn.numbers).unwrap_or_default();
    let scores = &request.scores;
    let name = if scores.is_dir() { scores.file_name() } else { scores.file_stem() };
    let name = name.unwrap_or(scores.as_os_str()).to_string_lossy().into_owned();
    Ok(Judged {
        entry: Entry {
            file: request.scores.clone(),
            method: name,
            model: None,
            numbers: headline(detection.headline()),
            pooled: true,
            seconds_per_image: None,
            device: None,
        },
        draws: drawn,
        bootstrap: request.bootstrap,
        images,
    })
}
