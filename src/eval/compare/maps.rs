//! Score maps of several methods side by side, on the same truth.

use std::path::PathBuf;

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
    let (mut judged, mut first) = (Vec::new(), Vec::<Shown>::new());
    for (number, own) in scores.iter().enumerate() {
        let request = Request { scores: own.clone(), ..request.clone() };
        let mut pairs = maps::pairs(&request.scores, &request.truth)?;
        // The r-th draw has to hold the same images for all.
        pairs.sort_by(|a, b| a.truth.cmp(&b.truth));
        let pairs: Vec<Shown> = pairs.into_iter().map(Shown::from).collect();
        let truths = |pairs: &[Shown]| pairs.iter().map(|shown| shown.pair.truth.clone()).collect::<Vec<_>>();
        if number == 0 {
            first = pairs.clone();
        } else if truths(&pairs) != truths(&first) {
            let base = judged.first().map_or(own, |base: &Judged| &base.entry.file);
            bail!(
                "{} and {} are paired with different masks of {}; name the maps of both in the same way",
                base.display(),
                own.display(),
                request.truth.display()
            );
        }
        let shown = |done, all| progress(number * all + done, scores.len() * all);
        judged.push(of_maps(&request, &pairs, &first, shown)?);
    }
    if judged.is_empty() {
        bail!("give folders or files of score maps");
    }
    let base = judged.remove(0);
    compare(request.truth.display().to_string(), Region::All, base, &judged)
}

/// The numbers of one method; images have the names that they have `first`.
fn of_maps(
    request: &Request,
    pairs: &[Shown],
    first: &[Shown],
    progress: impl Fn(usize, usize),
) -> Result<Judged> {
    let (mut pooled, mut bootstrap) =
        (Pooled::new(request.limits.clone()), Bootstrap::new(request.bootstrap));
    let (mut pixels, mut images, mut names) = (Share::default(), Vec::new(), first.iter());
    count_all(request, pairs, progress, |_, counts, share| {
        pixels += share;
        let name = names.next().map(|shown| shown.pair.name.clone()).unwrap_or_default();
        images.extend(counts.detection().map(|detection| (name, detection.ap)));
        bootstrap.push(&counts);
        Ok(pooled.push(counts)?)
    })?;
    let Some(detection) = pooled.detection()? else {
        return Err(one_class(request, pixels, pairs.len()).into());
    };
    let drawn = Drawn::of(&bootstrap).map(|drawn| drawn.numbers).unwrap_or_default();
    let name = request.scores.file_stem().unwrap_or_default().to_string_lossy().into_owned();
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
