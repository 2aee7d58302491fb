//! Where each public data set keeps images and masks, as its authors distribute it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::walk::{files, first_that_has, is_named_as_picture, name_below, stem};
use super::{DatasetError, Kind, Sample};

/// What was found below the root.
#[derive(Debug, Default)]
pub struct Listing {
    /// Images with their masks, in order.
    pub samples: Vec<Sample>,
    /// What was left out on purpose, in words.
    pub notes: Vec<String>,
}

/// Drives of LostAndFound's test split that show pedestrians or bicycles, by the start of their
/// images' names: what the testNoKnown subset leaves out (after the SegmentMeIfYouCan benchmark).
const KNOWN_OBJECTS: [&str; 4] = [
    "15_Rechbergstr_Deckenpfronn",
    "01_Hanns_Klemm_Str_45_000006",
    "01_Hanns_Klemm_Str_45_000007",
    "10_Schlossberg_9_000004",
];

/// Lists the images and masks of a data set of `kind` at `root`.
///
/// # Errors
/// [`DatasetError::Layout`] if nothing of the kind lies there; what cannot be read.
pub fn list(kind: Kind, root: &Path) -> Result<Listing, DatasetError> {
    let found = match kind {
        Kind::RoadAnomaly => road_anomaly(root),
        Kind::SmiycAnomaly => smiyc(root, "dataset_AnomalyTrack"),
        Kind::SmiycObstacle => smiyc(root, "dataset_ObstacleTrack"),
        Kind::LostAndFound => lost_and_found(root, &[]),
        Kind::LostAndFoundNoKnown => lost_and_found(root, &KNOWN_OBJECTS),
        Kind::FishyscapesLaf => fishyscapes(root),
        Kind::StreetHazards => street_hazards(root),
        Kind::VideoOod => video(root),
        Kind::Folder => Ok(None),
    }?;
    let listing =
        found.ok_or_else(|| DatasetError::Layout { kind, root: root.to_owned(), why: String::new() })?;
    if listing.samples.is_empty() {
        let why = listing.notes.first().map(|note| format!(" ({note})")).unwrap_or_default();
        return Err(DatasetError::Layout { kind, root: root.to_owned(), why });
    }
    Ok(listing)
}

/// `path` if there is such a file.
fn existing(path: PathBuf) -> Option<PathBuf> {
    path.is_file().then_some(path)
}

fn road_anomaly(root: &Path) -> Result<Option<Listing>, DatasetError> {
    let Some(base) = first_that_has(root, &["", "RoadAnomaly_jpg"], "frames") else { return Ok(None) };
    let frames = base.join("frames");
    let list = base.join("frame_list.json");
    let images: Vec<PathBuf> = match list.is_file() {
        true => {
            let malformed = |why: String| DatasetError::Malformed { path: list.clone(), why };
            let text = std::fs::read(&list)
                .map_err(|source| DatasetError::Unreadable { path: list.clone(), source })?;
            let names: Vec<String> =
                serde_json::from_slice(&text).map_err(|e| malformed(format!("no list of names: {e}")))?;
            let mut images: Vec<_> = names.iter().map(|name| frames.join(name)).collect();
            if let Some(absent) = images.iter().find(|image| !image.is_file()) {
                return Err(malformed(format!("it names {}, which is not there", absent.display())));
            }
            images.sort_by(|a, b| {
                crate::source::natural_order::compare(&a.to_string_lossy(), &b.to_string_lossy())
            });
            images
        }
        // Masks lie in folders of their own beside the images.
        false => files(&frames, |path| is_named_as_picture(path) && path.parent() == Some(frames.as_path()))?,
    };
    let samples = images
        .into_iter()
        .map(|image| {
            let name = stem(&image);
            let truth = existing(image.with_file_name(format!("{name}.labels")).join("labels_semantic.png"));
            Sample { name, image, truth, sequence: None }
        })
        .collect();
    Ok(Some(Listing { samples, notes: Vec::new() }))
}

fn smiyc(root: &Path, track: &str) -> Result<Option<Listing>, DatasetError> {
    let Some(base) = first_that_has(root, &["", track], "images") else { return Ok(None) };
    let masks = base.join("labels_masks");
    let all = files(&base.join("images"), is_named_as_picture)?;
    let count = all.len();
    let samples: Vec<Sample> = all
        .into_iter()
        .filter(|image| stem(image).starts_with("validation"))
        .map(|image| {
            let name = stem(&image);
            let truth = existing(masks.join(format!("{name}_labels_semantic.png")));
            Sample { name, image, truth, sequence: None }
        })
        .collect();
    let hidden = count - samples.len();
    let notes = match hidden {
        0 => Vec::new(),
        n => vec![format!("{n} images not called validation* are left out: their labels are hidden")],
    };
    Ok(Some(Listing { samples, notes }))
}

fn lost_and_found(root: &Path, without: &[&str]) -> Result<Option<Listing>, DatasetError> {
    let images = root.join("leftImg8bit/test");
    if !images.is_dir() {
        return Ok(None);
    }
    let masks = root.join("gtCoarse/test");
    let all = files(&images, |path| is_named_as_picture(path) && stem(path).ends_with("_leftImg8bit"))?;
    let count = all.len();
    let samples: Vec<Sample> = all
        .into_iter()
        .filter_map(|image| {
            let stem = stem(&image);
            let name = stem.strip_suffix("_leftImg8bit")?.to_owned();
            if without.iter().any(|start| name.starts_with(start)) {
                return None;
            }
            let scene = image.parent()?.strip_prefix(&images).ok()?.to_owned();
            let truth = existing(masks.join(scene).join(format!("{name}_gtCoarse_labelIds.png")));
            Some(Sample { name, image, truth, sequence: None })
        })
        .collect();
    let known = count - samples.len();
    let notes = match known {
        0 => Vec::new(),
        n => vec![format!("{n} images of drives with pedestrians or bicycles are left out")],
    };
    Ok(Some(Listing { samples, notes }))
}

fn fishyscapes(root: &Path) -> Result<Option<Listing>, DatasetError> {
    // Called 0000_ID_labels.png, where ID is LostAndFound's: number and ending are cut off.
    let id_of = |path: &Path| -> Option<String> {
        let stem = stem(path);
        let (number, rest) = stem.split_once('_')?;
        let named = number.len() == 4 && number.bytes().all(|b| b.is_ascii_digit());
        named.then_some(rest)?.strip_suffix("_labels").map(str::to_owned)
    };
    let labels = files(root, |path| id_of(path).is_some())?;
    let images: HashMap<String, PathBuf> = files(root, |path| stem(path).ends_with("_leftImg8bit"))?
        .into_iter()
        .filter_map(|path| Some((stem(&path).strip_suffix("_leftImg8bit")?.to_owned(), path)))
        .collect();
    if labels.is_empty() || images.is_empty() {
        return Ok(None);
    }
    let mut samples = Vec::with_capacity(labels.len());
    for label in labels {
        let Some(name) = id_of(&label) else { continue };
        let Some(image) = images.get(&name) else {
            let why = format!(" (no {name}_leftImg8bit.png for {})", label.display());
            return Err(DatasetError::Layout { kind: Kind::FishyscapesLaf, root: root.to_owned(), why });
        };
        samples.push(Sample { name, image: image.clone(), truth: Some(label), sequence: None });
    }
    Ok(Some(Listing { samples, notes: Vec::new() }))
}

fn street_hazards(root: &Path) -> Result<Option<Listing>, DatasetError> {
    let Some(base) = first_that_has(root, &["", "test", "streethazards_test/test"], "images/test") else {
        return Ok(None);
    };
    let (images, masks) = (base.join("images/test"), base.join("annotations/test"));
    let samples = files(&images, is_named_as_picture)?
        .into_iter()
        .map(|image| {
            let name = name_below(&images, &image);
            let truth = existing(masks.join(format!("{name}.png")));
            Sample { name, image, truth, sequence: None }
        })
        .collect();
    Ok(Some(Listing { samples, notes: Vec::new() }))
}

fn video(root: &Path) -> Result<Option<Listing>, DatasetError> {
    let (images, masks) = (root.join("raw_data"), root.join("semantic_ood"));
    if !images.is_dir() {
        return Ok(None);
    }
    let named = |path: &Path| is_named_as_picture(path) && stem(path).ends_with("_raw_data");
    let samples = files(&images, named)?
        .into_iter()
        .filter_map(|image| {
            let below = name_below(&images, &image);
            let name = below.strip_suffix("_raw_data")?.to_owned();
            let sequence = name.rsplit_once('/').map(|(folder, _)| folder.to_owned());
            let truth = existing(masks.join(format!("{name}_semantic_ood.png")));
            Some(Sample { name, image, truth, sequence })
        })
        .collect();
    Ok(Some(Listing { samples, notes: Vec::new() }))
}
