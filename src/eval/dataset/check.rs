//! The truth check: what the masks hold, and why a data set is refused before anything is scored.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{Dataset, DatasetError, Sample};
use crate::collect::LabelMask;
use crate::digest::{digest_of, hex};
use crate::eval::truth::{Share, ValueMap, values_seen};
use crate::pool::Pool;
use crate::source::images;

/// At most so many names stand in a message; `--json` has them all.
const SHOWN: usize = 8;

/// What is wrong with one image or its mask.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "fault", content = "why")]
pub enum Fault {
    /// There is no mask.
    NoMask,
    /// The picture cannot be decoded.
    Image(String),
    /// The mask cannot be read as values.
    Mask(String),
    /// The mask holds values that mean nothing.
    UnknownValues(BTreeMap<u16, u64>),
    /// Picture and mask show different shapes.
    Sizes(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::NoMask => write!(f, "no mask"),
            Fault::Image(why) => write!(f, "the image {why}"),
            Fault::Mask(why) => write!(f, "the mask: {why}"),
            Fault::UnknownValues(values) => {
                let listed: Vec<_> =
                    values.iter().take(SHOWN).map(|(v, n)| format!("{v} ({n} pixels)")).collect();
                write!(f, "unknown values {}", listed.join(", "))
            }
            Fault::Sizes(why) => write!(f, "{why}"),
        }
    }
}

/// What one image and its mask hold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FileCheck {
    /// The image's name in the data set.
    pub name: String,
    /// Width and height of the picture.
    pub size: Option<(usize, usize)>,
    /// Width and height of the mask.
    pub mask_size: Option<(usize, usize)>,
    /// Values of the mask and their pixels.
    pub values: BTreeMap<u16, u64>,
    /// What these values mean; absent if some mean nothing.
    pub share: Option<Share>,
    /// What is wrong.
    pub fault: Option<Fault>,
}

/// What a whole data set holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// `KIND:PATH`.
    pub dataset: String,
    /// What its values mean.
    pub value_map: ValueMap,
    /// One entry per image, in order.
    pub files: Vec<FileCheck>,
    /// What was left out on purpose.
    pub notes: Vec<String>,
    /// SHA-256 over the name, image and mask of each sample in order: what was judged, exactly.
    pub sha256: String,
    /// All masks together.
    pub share: Share,
    /// Why it must not be scored; empty if it may.
    pub refused: Vec<String>,
}

impl Check {
    /// Reads every image and mask; `done` is told after each. Images without a mask are no reason
    /// to refuse with `allow_missing`.
    ///
    /// # Errors
    /// None of its own: what is wrong stands in [`Check::refused`].
    pub fn run(dataset: &Dataset, allow_missing: bool, done: &(dyn Fn() + Sync)) -> Check {
        let looked_at: Vec<(FileCheck, [u8; 32])> = dataset
            .samples
            .par_iter()
            .map_init(Pool::new, |pool, sample| {
                let looked = look(sample, &dataset.values, pool);
                done();
                looked
            })
            .collect();
        let digests: Vec<&[u8]> = looked_at.iter().map(|(_, digest)| &digest[..]).collect();
        let sha256 = hex(&digest_of(&digests));
        let files: Vec<FileCheck> = looked_at.into_iter().map(|(file, _)| file).collect();
        let mut share = Share::default();
        for one in files.iter().filter_map(|file| file.share) {
            share.normal += one.normal;
            share.anomaly += one.anomaly;
            share.void += one.void;
        }
        let refused = reasons(&files, share, allow_missing);
        Check {
            dataset: dataset.spec.to_string(),
            value_map: dataset.values.clone(),
            files,
            notes: dataset.notes.clone(),
            sha256,
            share,
            refused,
        }
    }

    /// The check itself if the data set may be scored.
    ///
    /// # Errors
    /// [`DatasetError::Refused`] with the list.
    pub fn passed(self) -> Result<Check, DatasetError> {
        if self.refused.is_empty() { Ok(self) } else { Err(DatasetError::Refused(self.refusal())) }
    }

    /// Why it is refused, in one text.
    pub fn refusal(&self) -> String {
        let hint = "see everything with: farout dataset check";
        format!("{} must not be scored: {}; {hint} {}", self.dataset, self.refused.join("; "), self.dataset)
    }
}

/// Why a data set with these files must not be scored.
fn reasons(files: &[FileCheck], share: Share, allow_missing: bool) -> Vec<String> {
    type Wanted = fn(&Fault) -> bool;
    let groups: [(&str, Wanted); 5] = [
        ("images have no mask", |f| matches!(f, Fault::NoMask)),
        ("images cannot be read", |f| matches!(f, Fault::Image(_))),
        ("masks cannot be read", |f| matches!(f, Fault::Mask(_))),
        ("masks hold values that mean nothing", |f| matches!(f, Fault::UnknownValues(_))),
        ("masks are not as their images", |f| matches!(f, Fault::Sizes(_))),
    ];
    let mut reasons = Vec::new();
    for (what, wanted) in groups {
        let hit: Vec<&FileCheck> =
            files.iter().filter(|file| file.fault.as_ref().is_some_and(wanted)).collect();
        if hit.is_empty() || (allow_missing && hit[0].fault == Some(Fault::NoMask)) {
            continue;
        }
        let names: Vec<String> = hit
            .iter()
            .take(SHOWN)
            .map(|file| match &file.fault {
                Some(Fault::NoMask) | None => file.name.clone(),
                Some(fault) => format!("{} ({fault})", file.name),
            })
            .collect();
        let more = if hit.len() > SHOWN { ", ..." } else { "" };
        let remedy =
            if hit[0].fault == Some(Fault::NoMask) { " (--allow-missing leaves them out)" } else { "" };
        reasons.push(format!("{} of {} {what}{remedy}: {}{more}", hit.len(), files.len(), names.join(", ")));
    }
    if share.anomaly == 0 {
        let why = "not one anomalous pixel in any mask: hidden test labels, or another encoding";
        reasons.push(why.to_owned());
    }
    reasons
}

/// Looks at one image and its mask; the digest stands for name and contents of both.
fn look(sample: &Sample, values: &ValueMap, pool: &Pool<Vec<u8>>) -> (FileCheck, [u8; 32]) {
    let mut file = FileCheck {
        name: sample.name.clone(),
        size: None,
        mask_size: None,
        values: BTreeMap::new(),
        share: None,
        fault: None,
    };
    let mut hasher = Sha256::new();
    hasher.update(sample.name.as_bytes());
    // The first fault is told; a file that cannot be read counts as empty in the digest.
    let mut read = |path: &Path| {
        let bytes = std::fs::read(path);
        hasher.update(Sha256::digest(bytes.as_deref().unwrap_or_default()));
        bytes.map_err(|e| format!("{} cannot be read: {e}", path.display()))
    };
    match read(&sample.image) {
        Err(why) => file.fault = Some(Fault::Image(why)),
        Ok(bytes) => match images::decode(&bytes, pool) {
            Ok(frame) => file.size = Some((frame.width, frame.height)),
            Err(why) => file.fault = Some(Fault::Image(format!("{}: {why}", sample.image.display()))),
        },
    }
    let Some(path) = &sample.truth else {
        file.fault.get_or_insert(Fault::NoMask);
        return (file, hasher.finalize().into());
    };
    match read(path)
        .and_then(|bytes| LabelMask::decode(&bytes).map_err(|why| format!("{}: {why}", path.display())))
    {
        Err(why) => {
            file.fault.get_or_insert(Fault::Mask(why));
        }
        Ok(raw) => {
            file.mask_size = Some((raw.width, raw.height));
            file.values = values_seen(&raw);
            match values.apply(&raw) {
                Ok(truth) => file.share = Some(truth.share()),
                Err(unknown) => {
                    file.fault.get_or_insert(Fault::UnknownValues(unknown.values));
                }
            }
            if let Some((width, height)) = file.size.filter(|&size| !raw.fits(size)) {
                let why = format!("image {width}x{height}, mask {}x{}", raw.width, raw.height);
                file.fault.get_or_insert(Fault::Sizes(why));
            }
        }
    }
    (file, hasher.finalize().into())
}

impl fmt::Display for Check {
    /// One screen for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let masks = self.files.iter().filter(|file| file.mask_size.is_some()).count();
        writeln!(f, "{}", self.dataset)?;
        writeln!(f, "  images       {}, {masks} masks", self.files.len())?;
        for note in &self.notes {
            writeln!(f, "  note         {note}")?;
        }
        for (size, count) in counted(self.files.iter().map(|file| file.size)) {
            if let Some((w, h)) = size {
                writeln!(f, "  size         {w}x{h}: {count} images")?;
            }
        }
        let seen = counted(
            self.files
                .iter()
                .filter(|f| f.mask_size.is_some())
                .map(|file| file.values.keys().map(ToString::to_string).collect::<Vec<_>>().join(" ")),
        );
        for (values, count) in seen.iter().take(SHOWN) {
            writeln!(f, "  values       {{{values}}}: {count} masks")?;
        }
        if seen.len() > SHOWN {
            writeln!(f, "  values       {} more sets of values, all in --json", seen.len() - SHOWN)?;
        }
        let Share { normal, anomaly, void } = self.share;
        let all = (normal + anomaly + void).max(1) as f64 / 100.0;
        let with = self.files.iter().filter(|f| f.share.is_some_and(|share| share.anomaly > 0)).count();
        writeln!(f, "  normal       {:6.2} % of the pixels", normal as f64 / all)?;
        writeln!(
            f,
            "  anomaly      {:6.2} % of the pixels, in {with} of {masks} masks",
            anomaly as f64 / all
        )?;
        writeln!(f, "  void         {:6.2} % of the pixels", void as f64 / all)?;
        writeln!(f, "  sha256       {}", self.sha256)?;
        for why in &self.refused {
            writeln!(f, "  refused      {why}")?;
        }
        if self.refused.is_empty() {
            writeln!(f, "  may be scored")?;
        }
        Ok(())
    }
}

/// Each value and how often it occurs, the most frequent first.
fn counted<T: Ord>(values: impl Iterator<Item = T>) -> Vec<(T, usize)> {
    let mut counts = BTreeMap::new();
    values.for_each(|value| *counts.entry(value).or_insert(0) += 1);
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    counts
}
