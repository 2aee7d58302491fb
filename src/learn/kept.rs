//! What stays of the footage beside a detector: features as they come from the model, so that more footage can be added
//! without the old one. A vehicle does not need it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::recipe::Recipe;
use super::work::Footage;
use crate::config::{ConfigError, DetectorFile};
use crate::file::{also_at, write_whole};

/// In the detector's folder.
const FOLDER: &str = "footage";
/// The recipe, in it.
const RECIPE: &str = "recipe.toml";

/// What one call has learnt from.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Set {
    /// Version of farout.
    pub farout: String,
    /// The files.
    pub files: Footage,
    /// How many pictures each sequence has.
    pub series: BTreeMap<String, usize>,
    /// Whether there is a picture of the night.
    pub has_night: bool,
    /// Whether there is a shard of known outliers.
    pub has_outliers: bool,
    /// Label values that were left out, if there were labels.
    pub void: Option<Vec<u8>>,
    /// Neighbours of its calibration.
    pub k: usize,
}

/// All sets of a detector.
#[derive(Debug, Clone)]
pub struct Kept {
    folder: PathBuf,
    /// The recipe, and what it was called.
    pub recipe: (String, Recipe),
    /// The sets.
    pub sets: Vec<Set>,
}

impl Kept {
    /// What the detector in `folder` has learnt from.
    ///
    /// # Errors
    /// [`ConfigError`]: no detector, or one without its footage; another version of farout.
    pub fn of(detector: &Path, file: &DetectorFile) -> Result<Kept> {
        let folder = detector.join(FOLDER);
        let missing = |path: &Path, why: &std::io::Error| {
            ConfigError::Invalid(format!(
                "cannot add to {}: {} cannot be read ({why}). The folder {FOLDER} of a detector holds the features of its \
                     footage: copy it, too, or learn anew from all footage",
                detector.display(),
                path.display()
            ))
        };
        let read = |path: PathBuf| std::fs::read_to_string(&path).map_err(|why| missing(&path, &why));
        let (here, there) = (env!("CARGO_PKG_VERSION"), &file.detector.farout);
        if there != here {
            return Err(ConfigError::Invalid(format!(
                "{} was learnt by farout {there}, and this is {here}: features of both do not fit together, learn anew from all footage",
                detector.display()
            ))
            .into());
        }
        let recipe = folder.join(RECIPE);
        let recipe = toml::from_str(&read(recipe.clone())?).with_context(|| recipe.display().to_string())?;
        let mut sets = Vec::new();
        for number in 1..=file.detector.sets {
            let path = folder.join(format!("{number}.json"));
            let set: Set =
                serde_json::from_str(&read(path.clone())?).with_context(|| path.display().to_string())?;
            for ending in [Some(SHARD), set.has_outliers.then_some(OUTLIERS)].into_iter().flatten() {
                let path = folder.join(format!("{number}.{ending}"));
                std::fs::metadata(&path).map_err(|why| missing(&path, &why))?;
            }
            sets.push(set);
        }
        Ok(Kept { folder, recipe: (file.detector.recipe.clone(), recipe), sets })
    }

    /// Nothing yet, for the detector in `folder`.
    pub fn none(detector: &Path, recipe: (String, Recipe)) -> Kept {
        Kept { folder: detector.join(FOLDER), recipe, sets: Vec::new() }
    }

    /// The files that were learnt from.
    pub fn files(&self) -> BTreeSet<&(PathBuf, u64)> {
        self.sets.iter().flat_map(|set| &set.files).collect()
    }

    /// The shards of all sets.
    pub fn shards(&self) -> Vec<PathBuf> {
        (1..=self.sets.len()).map(|number| self.path(number, SHARD)).collect()
    }

    /// The shards of their outliers.
    pub fn outliers(&self) -> Vec<PathBuf> {
        let all = self.sets.iter().enumerate().filter(|(_, set)| set.has_outliers);
        all.map(|(before, _)| self.path(before + 1, OUTLIERS)).collect()
    }

    /// Whether one of them has outliers.
    pub fn has_outliers(&self) -> bool {
        self.sets.iter().any(|set| set.has_outliers)
    }

    /// Adds a set: puts its shards here and notes where they come from. It counts once the detector's file says so.
    ///
    /// # Errors
    /// What cannot be written.
    pub fn add(&mut self, set: Set, (shard, outliers): (&Path, Option<&Path>)) -> Result<()> {
        std::fs::create_dir_all(&self.folder).with_context(|| self.folder.display().to_string())?;
        self.sets.push(set);
        let number = self.sets.len();
        for (from, ending) in [(Some(shard), SHARD), (outliers, OUTLIERS)] {
            let Some(from) = from else { continue };
            also_at(from, &self.path(number, ending))?;
        }
        let told = serde_json::to_vec(self.sets.last().unwrap_or(&Set::default()))?;
        write_whole(&self.path(number, "json"), |out| out.write_all(&told))?;
        let recipe = toml::to_string(&self.recipe.1)?;
        write_whole(&self.folder.join(RECIPE), |out| out.write_all(recipe.as_bytes()))?;
        Ok(())
    }

    fn path(&self, number: usize, ending: &str) -> PathBuf {
        self.folder.join(format!("{number}.{ending}"))
    }
}

const SHARD: &str = "shard";
const OUTLIERS: &str = "outliers";
