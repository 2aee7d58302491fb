//! Which score map belongs to which truth: by stem, or stem and one of the usual endings of labels.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{MapError, Part, Place, parts};
use crate::collect::label_stems;

/// Names shown of those that are at fault.
const SHOWN: usize = 8;
/// A link that leads back up would go on for ever.
const DEEPEST: usize = 16;
/// Endings of score maps.
const MAPS: [&str; 8] = ["npy", "npz", "png", "tif", "tiff", "safetensors", "hdf5", "h5"];
/// Endings of masks.
const MASKS: [&str; 5] = ["png", "webp", "bmp", "jpg", "jpeg"];

/// Whether a file is called as score maps are.
pub fn is_of_maps(path: &Path) -> bool {
    path.extension().is_some_and(|ending| MAPS.iter().any(|known| ending.eq_ignore_ascii_case(known)))
}

/// A score map and its truth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// The stem of the score map, with the folders above it in the folder given.
    pub name: String,
    /// The score map.
    pub scores: Place,
    /// The truth mask.
    pub truth: PathBuf,
}

/// Why files cannot be paired.
#[derive(Debug, thiserror::Error)]
pub enum PairError {
    /// A folder cannot be read.
    #[error("cannot read the folder {path}: {source}", path = path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Nothing there.
    #[error("{path} holds no {what}", path = path.display())]
    Empty {
        /// The folder.
        path: PathBuf,
        /// What was looked for.
        what: &'static str,
    },
    /// Some files stand alone.
    #[error("{}", alone(scores, truth))]
    Alone {
        /// Score maps without truth.
        scores: Vec<String>,
        /// Truth without a score map.
        truth: Vec<String>,
    },
    /// A file of several maps cannot be read.
    #[error(transparent)]
    Map(#[from] MapError),
    /// A stack of another number of maps than there are masks.
    #[error("{stack} holds {maps} maps, {truth} {masks} masks: a stack's maps belong to the masks one by one, in the order of \
             their names as text", stack = stack.display(), truth = truth.display())]
    Stack {
        /// The file.
        stack: PathBuf,
        /// Its maps.
        maps: usize,
        /// The folder of masks.
        truth: PathBuf,
        /// Those in it.
        masks: usize,
    },
    /// Two files of one name.
    #[error("{a} and {b} are both called {name}; keep one", a = a.display(), b = b.display())]
    Twice {
        /// The stem.
        name: String,
        /// One.
        a: PathBuf,
        /// The other.
        b: PathBuf,
    },
}

/// Pairs all score maps below the folder `scores`, or in the file `scores`, with the masks below `truth`. Masks that show the truth of a map once more, in
/// colours or as instances, are no partners that are missed.
///
/// # Errors
/// [`PairError`]; partners that are missing are listed, both ways.
pub fn pairs(scores: &Path, truth: &Path) -> Result<Vec<Pair>, PairError> {
    let maps = if scores.is_file() {
        let parts = parts(scores)?;
        if let [Part::Number(_), ..] = parts[..] {
            return in_turn(scores, parts, truth);
        }
        if let [part] = &parts[..] {
            return alone_in_file(scores, part, truth);
        }
        let named = parts.into_iter().filter_map(|part| match &part {
            Part::Name(name) => Some((name.clone(), Place { file: scores.to_owned(), part })),
            _ => None,
        });
        named.collect()
    } else {
        let files = files(scores, &MAPS, "score map")?;
        files.into_iter().map(|(name, path)| (name, Place::from(path))).collect::<BTreeMap<_, _>>()
    };
    let mut masks = masks(truth)?;
    let (mut found, mut lonely) = (Vec::new(), Vec::new());
    for (name, place) in maps {
        let mask = label_stems(&name).find_map(|stem| masks.remove_entry(&stem));
        match mask {
            Some((_, mask)) => found.push(Pair { name, scores: place, truth: mask }),
            None => lonely.push(name),
        }
    }
    let companion = |mask: &String| found.iter().any(|pair| is_companion(mask, &pair.name));
    let unused: Vec<String> = masks.into_keys().filter(|mask| !companion(mask)).collect();
    if !lonely.is_empty() || !unused.is_empty() {
        return Err(PairError::Alone { scores: lonely, truth: unused });
    }
    Ok(found)
}

/// The only map of a file: its mask is the only one there is, or that of the map's or the file's name.
fn alone_in_file(file: &Path, part: &Part, truth: &Path) -> Result<Vec<Pair>, PairError> {
    let mut masks = plain_masks(truth)?;
    let stem = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let names = if let Part::Name(name) = part { vec![name.clone(), stem] } else { vec![stem] };
    let only = if masks.len() == 1 { masks.pop_first() } else { None };
    let by_name =
        || names.iter().find_map(|name| label_stems(name).find_map(|stem| masks.remove_entry(&stem)));
    let Some((name, truth)) = only.or_else(by_name) else {
        return Err(PairError::Alone { scores: names, truth: masks.into_keys().collect() });
    };
    if !masks.is_empty() {
        return Err(PairError::Alone { scores: Vec::new(), truth: masks.into_keys().collect() });
    }
    Ok(vec![Pair { name, scores: Place { file: file.to_owned(), part: part.clone() }, truth }])
}

/// The masks below `truth` without those that show the truth of another one once more.
fn plain_masks(truth: &Path) -> Result<BTreeMap<String, PathBuf>, PairError> {
    let mut masks = masks(truth)?;
    let again: Vec<String> = masks
        .keys()
        .filter(|mask| {
            let Some((plain, name)) = plain_form(mask) else { return false };
            masks.contains_key(plain) || label_stems(name).any(|label| masks.contains_key(&label))
        })
        .cloned()
        .collect();
    again.iter().for_each(|mask| drop(masks.remove(mask)));
    Ok(masks)
}

/// The maps of a stack, each with the mask of its turn: masks have the order of their paths, as `sorted` in Python has it.
fn in_turn(stack: &Path, parts: Vec<Part>, truth: &Path) -> Result<Vec<Pair>, PairError> {
    let masks = plain_masks(truth)?;
    if parts.len() != masks.len() {
        let (stack, truth) = (stack.to_owned(), truth.to_owned());
        return Err(PairError::Stack { stack, maps: parts.len(), truth, masks: masks.len() });
    }
    let mut masks: Vec<(String, PathBuf)> = masks.into_iter().collect();
    masks.sort_by_cached_key(|(_, path)| path.to_string_lossy().into_owned());
    let pair = |((name, truth), part)| Pair { name, scores: Place { file: stack.to_owned(), part }, truth };
    Ok(masks.into_iter().zip(parts).map(pair).collect())
}

/// All masks below `truth`, by their path without the ending.
///
/// # Errors
/// As [`pairs`].
pub fn masks(truth: &Path) -> Result<BTreeMap<String, PathBuf>, PairError> {
    files(truth, &MASKS, "truth mask")
}

/// All lists of predicted instances below `scores`, by their path without the ending; none is no error.
///
/// # Errors
/// As [`pairs`].
pub fn lists(scores: &Path) -> Result<BTreeMap<String, PathBuf>, PairError> {
    if scores.is_file() {
        return Ok(BTreeMap::new());
    }
    match files(scores, &["txt"], "list") {
        Err(PairError::Empty { .. }) => Ok(BTreeMap::new()),
        found => found,
    }
}

/// What data sets put at the end of a mask's name for another form of the same truth.
const OTHER_FORMS: [&str; 6] = ["_color", "_colors", "_colour", "_instanceIds", "_instances", "_vis"];

/// Whether the mask `stem` belongs to the picture called `name` as one more form of its truth: by one of the usual endings
/// of labels, or by one of them and what other forms are called. `img_1` beside `img` is another picture's.
fn is_companion(stem: &str, name: &str) -> bool {
    let plain = plain_form(stem).map_or(stem, |(_, name)| name);
    label_stems(name).any(|label| label == plain)
}

/// The stem of a mask that is another form of the truth, without what says so, and the same without the ending of a set; `None`
/// if it is none.
fn plain_form(stem: &str) -> Option<(&str, &str)> {
    let plain = OTHER_FORMS.iter().find_map(|ending| stem.strip_suffix(ending))?;
    // `_gtFine_color` stands beside `_gtFine_labelIds`.
    let name = ["_gtFine", "_gtCoarse"].iter().find_map(|ending| plain.strip_suffix(ending));
    Some((plain, name.unwrap_or(plain)))
}

/// Files below `root` with one of `endings`, by their path without the ending.
fn files(root: &Path, endings: &[&str], what: &'static str) -> Result<BTreeMap<String, PathBuf>, PairError> {
    let mut found = BTreeMap::new();
    let mut folders = vec![(root.to_owned(), String::new(), 0)];
    while let Some((folder, above, depth)) = folders.pop() {
        let wrong = |source| PairError::Folder { path: folder.clone(), source };
        for entry in std::fs::read_dir(&folder).map_err(wrong)? {
            let path = entry.map_err(wrong)?.path();
            let text =
                |part: Option<&std::ffi::OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
            let stem = text(path.file_stem());
            if stem.starts_with('.') {
                continue;
            }
            if path.is_dir() {
                if depth < DEEPEST {
                    folders.push((path.clone(), format!("{above}{}/", text(path.file_name())), depth + 1));
                }
            } else if endings.contains(&text(path.extension()).to_ascii_lowercase().as_str()) {
                let name = format!("{above}{stem}");
                if let Some(other) = found.insert(name.clone(), path.clone()) {
                    return Err(PairError::Twice { name, a: other, b: path });
                }
            }
        }
    }
    if found.is_empty() {
        return Err(PairError::Empty { path: root.to_owned(), what });
    }
    Ok(found)
}

fn alone(scores: &[String], truth: &[String]) -> String {
    let listed = |names: &[String]| {
        let more = names.len().saturating_sub(SHOWN);
        let shown = names[..names.len() - more].join(", ");
        if more > 0 { format!("{shown} and {more} more") } else { shown }
    };
    let mut parts = Vec::new();
    if !scores.is_empty() {
        parts.push(format!("{} score maps have no truth: {}", scores.len(), listed(scores)));
    }
    if !truth.is_empty() {
        parts.push(format!("{} truth masks have no score map: {}", truth.len(), listed(truth)));
    }
    format!("{}; partners have the same stem (or stem + _labels_semantic, _labelIds ...)", parts.join("; "))
}
