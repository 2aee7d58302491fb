//! What `farout bank inspect` tells about a bank.

use std::fmt;

use serde::Serialize;

use super::calibration::GUESSED;
use super::{Bank, BuildRecord, Combine, DataType, MethodCalibration, Recipe, ViewRecord};
use crate::identity::ModelIdentity;

/// Marks that are listed for people.
const MARKS: usize = 12;

/// A bank at a glance; serialises for `--json`.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// The file.
    pub path: String,
    /// Size of the file in bytes.
    pub bytes: u64,
    /// Version of farout that wrote it.
    pub farout: String,
    /// Number of features.
    pub rows: usize,
    /// Numbers per feature of the model.
    pub width: usize,
    /// Numbers per stored row, of all parts together.
    pub stored_width: usize,
    /// How they are stored.
    pub data_type: DataType,
    /// The model it fits.
    pub model: ModelIdentity,
    /// How it was built.
    pub build: BuildRecord,
    /// What the rows are made of, and how they are compared.
    pub recipe: Recipe,
    /// How many rows each class has: pairs of class and rows; empty if they have none.
    pub classes: Vec<(u16, usize)>,
    /// Files that features came from.
    pub sources: usize,
    /// Whether all of it was marked as normal, beside a bank.
    pub is_supplement: bool,
    /// Small pictures of images that features came from.
    pub thumbnails: usize,
    /// Bytes of these.
    pub thumbnail_bytes: usize,
    /// How the held-out frames were chosen; absent without calibration.
    pub held_out: Option<String>,
    /// Held-out frames that were measured.
    pub held_out_frames: usize,
    /// Views that the distances were merged over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub views: Option<ViewRecord>,
    /// Statistics of each method.
    pub methods: Vec<MethodCalibration>,
    /// Thresholds for some rates of false frames.
    pub thresholds: Vec<ThresholdLine>,
}

/// The threshold of one method at one rate.
#[derive(Debug, Clone, Serialize)]
pub struct ThresholdLine {
    /// `knn`, `lse`.
    pub method: String,
    /// Share of normal frames with a false region.
    pub false_frame_rate: f64,
    /// Scores above it are anomalous.
    pub threshold: f32,
    /// How it was obtained, and how far it can be trusted.
    pub basis: String,
    /// True if held-out frames were counted; false if they are too few for the rate.
    pub counted: bool,
}

impl ThresholdLine {
    /// How it was obtained, in a word or two.
    pub fn trust(&self) -> &'static str {
        match (self.counted, self.is_guess()) {
            (true, _) => "counted",
            (false, true) => GUESSED,
            (false, false) => "extrapolated",
        }
    }

    /// Whether there were too few held-out frames even to extrapolate.
    pub fn is_guess(&self) -> bool {
        self.basis.starts_with(GUESSED)
    }
}

/// Sums up `bank`.
pub fn summary(bank: &Bank) -> Summary {
    let metadata = bank.metadata();
    let calibration = bank.calibration();
    let methods = calibration.map(|c| c.methods.clone()).unwrap_or_default();
    let thresholds = methods
        .iter()
        .flat_map(|m| [0.1, 0.01, 0.001].map(|rate| (m, rate)))
        .filter_map(|(m, rate)| {
            let found = calibration?.threshold(&m.method, rate).ok()?;
            Some(ThresholdLine {
                method: m.method.clone(),
                false_frame_rate: rate,
                threshold: found.value,
                basis: found.basis,
                counted: calibration?.counts(&m.method, rate),
            })
        })
        .collect();
    Summary {
        path: bank.path().display().to_string(),
        bytes: bank.bytes(),
        farout: metadata.farout.clone(),
        rows: bank.rows(),
        width: bank.width(),
        stored_width: bank.tables().iter().sum(),
        data_type: bank.features().data_type(),
        model: metadata.model.clone(),
        build: metadata.build.clone(),
        recipe: bank.recipe().clone(),
        classes: classes(bank),
        sources: metadata.sources.len(),
        is_supplement: bank.is_supplement(),
        thumbnails: bank.thumbnails().len(),
        thumbnail_bytes: bank.thumbnails().bytes(),
        held_out: calibration.map(|c| c.split.clone()),
        held_out_frames: calibration.map_or(0, |c| c.frames),
        views: calibration.and_then(|c| c.views.clone()),
        methods,
        thresholds,
    }
}

impl fmt::Display for Summary {
    /// One screen for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Summary { model, build, .. } = self;
        writeln!(f, "{}", self.path)?;
        writeln!(
            f,
            "  features     {} x {} ({}), {:.1} MB",
            self.rows,
            self.stored_width,
            self.data_type.name(),
            self.bytes as f64 / 1e6
        )?;
        writeln!(
            f,
            "  model        {} (SHA-256 {}), tensor {}",
            model.name,
            short(&model.sha256),
            model.features
        )?;
        writeln!(f, "  input        {}, patch {}, {}", model.input_size, model.patch, model.normalisation)?;
        self.write_marks(f)?;
        if self.is_supplement {
            return Ok(());
        }
        writeln!(
            f,
            "  built from   {} frames of {} files, {} patches, {} of them void, seed {}, farout {}",
            build.frames, self.sources, build.patches, build.void_patches, build.seed, self.farout
        )?;
        self.write_recipe(f)?;
        if self.thumbnails > 0 {
            let mb = self.thumbnail_bytes as f64 / 1e6;
            writeln!(f, "  thumbnails   {} small pictures, {mb:.1} MB", self.thumbnails)?;
        }
        if let Some(pruned) = &build.pruned {
            writeln!(
                f,
                "  pruned       from {} rows by {}, seed {}: covering radius {:.3}, mean distance {:.3}",
                pruned.from, pruned.method, pruned.seed, pruned.covering_radius, pruned.mean_distance
            )?;
        }
        if let Some(shard) = build.shard {
            let listed = |numbers: &[u32]| {
                let texts: Vec<String> = numbers.iter().take(MARKS).map(u32::to_string).collect();
                texts.join(", ")
            };
            let which = match &build.joined[..] {
                [] => shard.to_string(),
                few if few.len() <= MARKS => format!("{} of {}, joined", listed(few), shard.of),
                many => format!("{} and {} more of {}, joined", listed(many), many.len() - MARKS, shard.of),
            };
            return writeln!(f, "  shard        {which}: no bank before all are merged (farout bank merge)");
        }
        let Some(split) = &self.held_out else {
            let why = if build.pruned.is_some() {
                "pruned without held-out frames"
            } else {
                "no frames could be held out"
            };
            return writeln!(f, "  calibration  none: {why}");
        };
        writeln!(f, "  calibration  {} held-out frames; {split}", self.held_out_frames)?;
        if let Some(ViewRecord { views, .. }) = &self.views {
            writeln!(f, "  views        {views}")?;
        }
        self.write_methods(f)
    }
}

impl Summary {
    /// What was marked as normal, if anything was.
    fn write_marks(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let marks = &self.build.marks;
        if marks.is_empty() {
            return Ok(());
        }
        let what = if self.is_supplement { "supplement" } else { "with" };
        let rows: usize = marks.iter().map(|mark| mark.rows).sum();
        let (count, was) = match marks.len() {
            1 => ("1 thing".to_owned(), "was"),
            many => (format!("{many} things"), "were"),
        };
        writeln!(f, "  {what:<11}  {rows} features of {} that {} marked as normal", count, was)?;
        for mark in marks.iter().take(MARKS) {
            let seen = mark.seen.as_deref().unwrap_or("an unknown time");
            writeln!(f, "               {}, seen {seen}, {} features", mark.id, mark.rows)?;
        }
        match marks.len().saturating_sub(MARKS) {
            0 => Ok(()),
            more => writeln!(f, "               and {more} more (--json has all)"),
        }
    }

    /// One line a method: how its scores lie, and its thresholds.
    fn write_methods(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for m in &self.methods {
            let k = m.k.map_or(String::new(), |k| format!(", k = {k}"));
            write!(
                f,
                "  {:<11}  mean {:.3}, deviation {:.3}, {:.3} to {:.3}{k}; thresholds",
                m.method, m.mean, m.deviation, m.min, m.max
            )?;
            let own = self.thresholds.iter().filter(|line| line.method == m.method);
            for (n, line) in own.enumerate() {
                let (comma, about) = (if n == 0 { "" } else { "," }, if line.counted { "" } else { "~" });
                write!(f, "{comma} {about}{:.3} ({} %)", line.threshold, line.false_frame_rate * 100.0)?;
            }
            writeln!(f)?;
        }
        if self.methods.is_empty() {
            return Ok(());
        }
        let few = if self.thresholds.iter().all(|line| line.counted) {
            ""
        } else {
            "; ~ where too few were held out to count, so that the tail is extrapolated"
        };
        writeln!(
            f,
            "               (percent of normal frames with a false region{few}; --json tells each basis)"
        )
    }

    /// What the rows are, if they are more than features as they are.
    fn write_recipe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Recipe { parts, combine, outliers, outlier_k, discriminant, by_class, affinity } = &self.recipe;
        if !self.recipe.is_plain(self.width) {
            for part in parts {
                let columns = format!("{}..{}", part.from, part.from + part.width);
                let steps: Vec<String> = part.steps.iter().map(ToString::to_string).collect();
                let steps = if steps.is_empty() { "as it is".to_owned() } else { steps.join(", ") };
                write!(f, "  part         {} (columns {columns}): {steps}, {} wide", part.name, part.stored)?;
                match part.baseline {
                    Some(normal) => {
                        writeln!(f, ", normal distance {:.3} +- {:.3}", normal.mean, normal.deviation)?
                    }
                    None => writeln!(f)?,
                }
            }
            let how = match combine {
                Combine::Concat => "one search over all columns",
                Combine::Sum => "the sum of the parts' z-scores, moved so that 0 is a distance of 0",
                Combine::Max => "the largest z-score of the parts",
            };
            writeln!(f, "  distance     {how}")?;
            if !outliers.is_off() {
                writeln!(
                    f,
                    "               of each part: {outliers} with the {outlier_k} nearest known outliers"
                )?;
            }
        }
        if let Some(how) = discriminant {
            writeln!(
                f,
                "               plus {} times what the z-score of a linear discriminant between references and known outliers (ridge {}) has above 1",
                how.weight, how.ridge
            )?;
        }
        if let Some(how) = affinity {
            let part = parts.get(how.part).map_or("", |part| &part.name);
            writeln!(
                f,
                "  smoothed     among patches alike in {part}: temperature {}, radius {}, share {}",
                how.temperature, how.radius, how.share
            )?;
        }
        if let Some(known) = &self.build.outliers {
            writeln!(
                f,
                "  outliers     {} features of {} patches in {} pictures",
                known.rows, known.patches, known.frames
            )?;
        }
        if let Some(from) = self.build.classes {
            let how = if *by_class { "; each patch is searched in its own" } else { "" };
            writeln!(f, "  classes      {} with features, from {}{how}", self.classes.len(), from.name())?;
        }
        Ok(())
    }
}

/// Rows of each class that there is.
fn classes(bank: &Bank) -> Vec<(u16, usize)> {
    let mut counts = std::collections::BTreeMap::new();
    bank.classes().iter().for_each(|class| *counts.entry(*class).or_default() += 1);
    counts.into_iter().collect()
}

/// The first digits of a checksum, enough to tell models apart.
fn short(sha256: &str) -> &str {
    sha256.get(..12).unwrap_or(sha256)
}
