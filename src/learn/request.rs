//! What is asked for.

use std::path::PathBuf;

use super::recipe::Recipe;
use crate::config::Config;

/// What to learn.
#[derive(Debug, Clone)]
pub struct Request {
    /// Folders, globs, pictures and videos of normal driving.
    pub footage: Vec<String>,
    /// Folder of label masks of the pictures, and the values in them that are left out.
    pub labels: Option<(PathBuf, Vec<u8>)>,
    /// Folder of labelled pictures whose objects become known outliers, too.
    pub objects: Option<PathBuf>,
    /// Add the footage to the detector that is in the folder.
    pub more: bool,
    /// The folder of the detector.
    pub output: PathBuf,
    /// The recipe, and what it was called.
    pub recipe: (String, Recipe),
    /// Most pictures to learn from.
    pub pictures: usize,
    /// Neighbours, if somebody named them.
    pub k: Option<usize>,
    /// The model (none: the recipe's), devices and threads.
    pub config: Config,
}
