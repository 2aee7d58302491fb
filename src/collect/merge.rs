//! `farout bank merge`: shards become the bank that one run would have built, byte for byte.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::calibrate::HeldOut;
use super::complete::Gathered;
use super::digest::frame_digest;
use super::merge_error::MergeError;
use super::outliers::Outliers;
use super::part::{Built, Part, Terms};
use super::progress::Progress;
use super::recipe::RecipeConfig;
use super::sample::{Offer, PatchKey, Sampler};
use crate::bank::{Bank, BuildRecord, ClassSource, DataType, OutlierRows, ShardNumber};
use crate::digest::{Digest, digest_of, hex, undigest};
use crate::identity::ModelIdentity;

/// What is the same in all files.
#[derive(PartialEq)]
struct Common {
    model: ModelIdentity,
    data_type: DataType,
    /// Version of farout, parameters and calibration, by name.
    rest: BTreeMap<&'static str, String>,
}

/// How shards are joined.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MergeConfig {
    /// Keep the held-out frames in the bank too.
    pub keep_held_out: bool,
    /// Threads, 0 for one per processor.
    pub threads: usize,
    /// Another recipe than that which the shards were built with.
    pub recipe: Option<RecipeConfig>,
    /// Fewer features than the shards were built for.
    pub size: Option<usize>,
    /// Another number of neighbours for the calibration.
    pub k: Option<usize>,
    /// These known outliers in place of those of the shards.
    pub outliers: Option<Outliers>,
}

/// Joins `paths`: all shards of one list of inputs, or several such sets. The order does not matter. Memory is
/// bounded by the sample and the held-out frames, whatever the number of shards.
///
/// # Errors
/// [`MergeError`]: a file that is no shard, that does not fit the others, or one too many or too few.
pub fn merge(
    paths: &[PathBuf],
    config: &MergeConfig,
    progress: &mut dyn Progress,
) -> Result<Built, MergeError> {
    let (mut gathered, given) = gathered(paths, config, progress)?;
    complete(&given)?;
    // A bank that keeps its held-out frames is as of one run: that had no plan.
    if let Some(why) = gathered.terms.planned.take().and_then(|planned| planned.fault()) {
        return Err(MergeError::Unplanned { why });
    }
    Ok(gathered.bank(config.threads, config.keep_held_out, progress)?)
}

/// Joins `paths`, some shards of one list of inputs, to one that stands for them: a merge gives the same bank with it as with
/// them. Many shards are merged so in a tree.
///
/// # Errors
/// As [`merge`], but for shards that are missing.
pub fn merge_some(paths: &[PathBuf], progress: &mut dyn Progress) -> Result<Built, MergeError> {
    let (mut gathered, given) = gathered(paths, &MergeConfig::default(), progress)?;
    let ((inputs, first), path) = given.first_key_value().ok_or_else(nothing)?;
    for ((other, shard), second) in &given {
        let differences = if other != inputs {
            "each is of other inputs".to_owned()
        } else if shard.of != first.of {
            number_of_shards(*shard, *first)
        } else {
            continue;
        };
        let (first, second) = (path.clone(), second.clone());
        return Err(MergeError::Different { first, second, differences });
    }
    gathered.terms.shard = *first;
    gathered.record.shard = Some(*first);
    gathered.record.joined = given.keys().map(|(_, shard)| shard.number).collect();
    Ok(gathered.shard())
}

/// Joins `paths`, as [`merge`] does, to one shard, known by the files that it was made of: nothing is measured.
///
/// # Errors
/// As [`merge`].
pub fn join(paths: &[PathBuf], progress: &mut dyn Progress) -> Result<Built, MergeError> {
    let (gathered, given) = gathered(paths, &MergeConfig::default(), progress)?;
    complete(&given)?;
    Ok(gathered.shard().known_by_its_files())
}

/// Which shards of which inputs lie in which file.
type Given = BTreeMap<(String, ShardNumber), PathBuf>;

/// All that `paths` hold.
fn gathered(
    paths: &[PathBuf],
    config: &MergeConfig,
    progress: &mut dyn Progress,
) -> Result<(Gathered, Given), MergeError> {
    let (mut joined, mut given) = (None, Given::new());
    progress.begin(paths.len() as u64);
    for (done, path) in paths.iter().enumerate() {
        let bank = Bank::open_any(path)?;
        let no_part = |why: String| MergeError::NoPart { path: path.clone(), why };
        if bank.metadata().build.pruned.is_some() {
            return Err(no_part("it was pruned; merge first, then prune".to_owned()));
        }
        if bank.metadata().recipe.is_some() {
            let why = "its features are transformed for good; merge the shards that it was made of";
            return Err(no_part(why.to_owned()));
        }
        let part = Part::of(&bank).map_err(|why| no_part(format!("{why}; copy or build it again")))?;
        let part = part.ok_or_else(|| {
            no_part("it has no held-out frames; build it with --shard I/N or --keep-held-out".to_owned())
        })?;
        let terms = &part.terms;
        let own = [terms.shard.number];
        let numbers = match &bank.metadata().build.joined[..] {
            [] => &own[..],
            several => several,
        };
        for number in numbers {
            let shard = ShardNumber { number: *number, of: terms.shard.of };
            if let Some(first) = given.insert((terms.inputs.clone(), shard), path.clone()) {
                return Err(MergeError::Twice { first, second: path.clone(), shard });
            }
        }
        if let Some(size) = config.size.filter(|size| *size > bank.metadata().build.size) {
            let of = bank.metadata().build.size;
            return Err(no_part(format!(
                "it was built for {of} features, not for {size}; give at most {of}"
            )));
        }
        let joined = joined.get_or_insert_with(|| Joined::new(path, &bank, &part, config.size));
        joined.add(path, &bank, part)?;
        progress.frames(done as u64 + 1);
    }
    let joined: Joined = joined.ok_or_else(nothing)?;
    let Joined { sampler, held_out, mut record, common, splits, mut terms, inputs, outliers, .. } = joined;
    terms.k = config.k.unwrap_or(terms.k);
    if let Some(recipe) = &config.recipe {
        recipe.smoothing(&recipe.resolve(&common.model)?)?;
        terms.recipe = recipe.clone();
    }
    terms.shard = ShardNumber { number: 1, of: 1 };
    terms.split = splits.into_iter().collect::<Vec<_>>().join("; ");
    // Of several lists of inputs, the digest of their digests; of one, its own, as one run has it.
    if inputs.len() > 1 {
        let all: Vec<&[u8]> = inputs.iter().map(String::as_bytes).collect();
        terms.inputs = hex(&digest_of(&all));
    }
    let mut outliers = outliers.map(|(_, rows)| rows);
    if let Some(given) = &config.outliers {
        record.outliers = Some(given.record.clone());
        outliers = Some(given.rows.clone());
    }
    Ok((Gathered { sampler, held_out, record, model: common.model, terms, outliers }, given))
}

fn nothing() -> MergeError {
    MergeError::NoPart { path: PathBuf::new(), why: "no file was given".to_owned() }
}

/// How the one differs from the other.
fn number_of_shards(one: ShardNumber, other: ShardNumber) -> String {
    format!("number of shards: {}, not {}", one.of, other.of)
}

/// Checks that of each list of inputs all shards are there, dealt out in one way.
fn complete(given: &Given) -> Result<(), MergeError> {
    let mut lists: BTreeMap<&str, Vec<(ShardNumber, &Path)>> = BTreeMap::new();
    for ((inputs, shard), path) in given {
        lists.entry(inputs).or_default().push((*shard, path));
    }
    for shards in lists.values() {
        let (first, beside) = shards[0];
        if let Some((other, second)) = shards.iter().find(|(shard, _)| shard.of != first.of) {
            return Err(MergeError::Different {
                first: beside.to_owned(),
                second: (*second).to_owned(),
                differences: number_of_shards(*other, first),
            });
        }
        let numbers: BTreeSet<u32> = shards.iter().map(|(shard, _)| shard.number).collect();
        let missing: Vec<String> =
            (1..=first.of).filter(|n| !numbers.contains(n)).map(|n| n.to_string()).collect();
        if !missing.is_empty() {
            let missing = missing.join(", ");
            return Err(MergeError::Missing { missing, of: first.of, beside: beside.to_owned() });
        }
    }
    Ok(())
}

/// What the files so far give.
struct Joined {
    first: PathBuf,
    common: Common,
    terms: Terms,
    sampler: Sampler,
    held_out: HeldOut,
    record: BuildRecord,
    outliers: Option<(PathBuf, OutlierRows)>,
    splits: BTreeSet<String>,
    inputs: BTreeSet<String>,
}

impl Joined {
    fn new(path: &Path, bank: &Bank, part: &Part, size: Option<usize>) -> Joined {
        let (build, terms) = (&bank.metadata().build, &part.terms);
        let size = size.unwrap_or(build.size);
        Joined {
            first: path.to_owned(),
            common: Common::of(bank, part),
            terms: terms.clone(),
            sampler: Sampler::new(size, bank.width(), bank.features().data_type()),
            held_out: HeldOut::new(build.seed, terms),
            record: BuildRecord {
                seed: build.seed,
                size,
                void: build.void.clone(),
                video_step: build.video_step,
                ..BuildRecord::default()
            },
            outliers: None,
            splits: BTreeSet::new(),
            inputs: BTreeSet::new(),
        }
    }

    fn add(&mut self, path: &Path, bank: &Bank, part: Part) -> Result<(), MergeError> {
        let differences = self.common.differences(&Common::of(bank, &part));
        if !differences.is_empty() {
            return Err(MergeError::Different {
                first: self.first.clone(),
                second: path.to_owned(),
                differences: differences.join("; "),
            });
        }
        match (bank.outliers(), &self.outliers) {
            (None, _) => {}
            (Some(outliers), None) => {
                self.outliers = Some((path.to_owned(), outliers.clone()));
                self.record.outliers.clone_from(&bank.metadata().build.outliers);
            }
            (Some(outliers), Some((_, known))) if outliers == known => {}
            (Some(_), Some((first, _))) => {
                return Err(MergeError::Different {
                    first: first.clone(),
                    second: path.to_owned(),
                    differences: "each has known outliers of its own".to_owned(),
                });
            }
        }
        // Without a plan nobody knows what a shard was built from.
        self.terms.planned = match (self.terms.planned, part.terms.planned, self.inputs.is_empty()) {
            (_, own, true) => own,
            (Some(mut known), Some(own), false) if known.all == own.all => {
                known.own.join(own.own);
                Some(known)
            }
            _ => None,
        };
        self.inputs.insert(part.terms.inputs);
        self.splits.insert(part.terms.split);
        part.frames.into_iter().for_each(|frame| self.held_out.add(frame));
        let (record, build) = (&mut self.record, &bank.metadata().build);
        record.labels |= build.labels;
        record.frames += build.frames;
        record.held_out_frames += build.held_out_frames;
        record.guard_frames += build.guard_frames;
        record.patches += build.patches;
        record.void_patches += build.void_patches;
        record.faulty_patches += build.faulty_patches;
        if let Some(reference) = &build.reference {
            record.reference.get_or_insert_default().join(reference);
        }
        let broken = |row: usize| MergeError::NoPart {
            path: path.to_owned(),
            why: format!("row {row} names no file that it came from; copy or build it again"),
        };
        let files: Vec<Option<Digest>> =
            bank.metadata().sources.iter().map(|source| undigest(&source.sha256)).collect();
        let mut feature = vec![0.0; bank.width()];
        for row in 0..bank.rows() {
            let origin = bank.provenance(row).ok_or_else(|| broken(row))?;
            let source = bank.source(&origin).ok_or_else(|| broken(row))?;
            let file = files.get(origin.source as usize).copied().flatten().ok_or_else(|| broken(row))?;
            let image = match part.videos.binary_search(&origin.source) {
                Ok(_) => frame_digest(&file, u64::from(origin.frame)),
                Err(_) => file,
            };
            bank.features().copy_to(row * bank.width(), &mut feature);
            let class = bank.classes().get(row).copied();
            let key = PatchKey::new(self.record.seed, &image, origin.row, origin.col);
            let mean = bank.means().and_then(|all| {
                all.means.get(*all.own.get(row)? as usize * bank.width()..)?.get(..bank.width())
            });
            let (file, name, feature) = (&file, source.name.as_str(), &feature[..]);
            let thumbnail = bank.thumbnails().of(origin.source, origin.frame);
            let frame = origin.frame;
            self.sampler.offer(&Offer { key, file, name, frame, feature, class, mean, thumbnail });
        }
        Ok(())
    }
}

impl Common {
    fn of(bank: &Bank, part: &Part) -> Common {
        let (metadata, terms) = (bank.metadata(), &part.terms);
        let build = &metadata.build;
        let rest = BTreeMap::from([
            ("version of farout", metadata.farout.clone()),
            ("seed", build.seed.to_string()),
            ("size", build.size.to_string()),
            ("void labels", format!("{:?}", build.void)),
            ("step through videos", build.video_step.to_string()),
            ("k", terms.k.to_string()),
            ("held-out frames", terms.held_out_frames.to_string()),
            ("smallest region", terms.min_region_px.to_string()),
            ("recipe", serde_json::to_string(&terms.recipe).unwrap_or_default()),
            ("classes", terms.classes.map_or("none", ClassSource::name).to_owned()),
            ("scores of the logits", format!("{:?}", terms.parametric)),
            ("partner of fused scores", terms.maps.partner.name().to_owned()),
            ("normalisation of distances", terms.maps.normalise.name().to_owned()),
            ("smoothing of maps", terms.maps.smooth.to_string()),
            ("hysteresis of maps", terms.maps.hysteresis.to_string()),
            ("[views]", toml::to_string(&terms.views).unwrap_or_default().trim().replace('\n', " ")),
        ]);
        Common { model: metadata.model.clone(), data_type: bank.features().data_type(), rest }
    }

    /// One line per difference, values of `other` first.
    fn differences(&self, other: &Common) -> Vec<String> {
        let mut lines = other.model.differences(&self.model);
        let (these, those) = (self.data_type.name(), other.data_type.name());
        if these != those {
            lines.push(format!("number format: {those}, not {these}"));
        }
        for (what, this) in &self.rest {
            let that = other.rest.get(what).map_or("", String::as_str);
            if this != that {
                lines.push(format!("{what}: {that}, not {this}"));
            }
        }
        lines
    }
}
