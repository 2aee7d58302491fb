//! Finding files below a data set's root, in natural order.

use std::path::{Path, PathBuf};

use super::DatasetError;
use crate::source::natural_order;

/// A link that leads back up would go on for ever.
const DEEPEST: usize = 32;

/// The files below `folder` for which `wanted` holds, hidden ones left out, links followed.
///
/// # Errors
/// [`DatasetError::Unreadable`] names the folder.
pub fn files(folder: &Path, wanted: impl Fn(&Path) -> bool) -> Result<Vec<PathBuf>, DatasetError> {
    let mut found = Vec::new();
    let mut folders = vec![(folder.to_owned(), 0)];
    while let Some((at, depth)) = folders.pop() {
        let unreadable = |source| DatasetError::Unreadable { path: at.clone(), source };
        for entry in std::fs::read_dir(&at).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            if path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b".")) {
                continue;
            }
            if path.is_dir() {
                if depth < DEEPEST {
                    folders.push((path, depth + 1));
                }
            } else if wanted(&path) {
                found.push(path);
            }
        }
    }
    found.sort_by(|a, b| natural_order::compare(&a.to_string_lossy(), &b.to_string_lossy()));
    Ok(found)
}

/// The first of `candidates` below `root` that is there (`""` is the root itself).
pub fn first_that_has(root: &Path, candidates: &[&str], inside: &str) -> Option<PathBuf> {
    candidates.iter().map(|name| root.join(name)).find(|folder| folder.join(inside).exists())
}

/// The file stem as text.
pub fn stem(path: &Path) -> String {
    path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default()
}

/// `path` below `root` without its ending, with `/` between the parts.
pub fn name_below(root: &Path, path: &Path) -> String {
    let below = path.strip_prefix(root).unwrap_or(path).with_extension("");
    below.to_string_lossy().replace(std::path::MAIN_SEPARATOR, "/")
}

/// True if the ending is one that pictures go by; what they hold is told from their content.
pub fn is_named_as_picture(path: &Path) -> bool {
    let ending = path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase();
    ["jpg", "jpeg", "png", "webp", "bmp"].contains(&ending.as_str())
}
