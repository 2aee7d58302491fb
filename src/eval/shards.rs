//! Runs spread over machines: each part writes its maps and what made them; together they are judged as
//! if one machine had done it all.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use memmap2::Mmap;
use safetensors::SafeTensors;

use super::dataset::DatasetSpec;
use super::partial::{Maps, PartialError, map_of, write_maps};
use super::result::{EvalResult, ShardRecord};
use super::run::{Finished, MapStore, Progress, checked, judge_all};
use super::settings::Shard;
use crate::digest::{hex, sha256_of_file};
use crate::score::Method;

/// Key of the metadata that names what the maps depend on.
const KEY: &str = "key";

/// The score maps of all parts of a run, read as they are needed.
#[derive(Debug)]
pub struct ShardFiles {
    methods: Vec<Method>,
    files: Vec<(PathBuf, Mmap)>,
    /// In which file an image's maps lie.
    of_image: HashMap<String, usize>,
}

impl ShardFiles {
    /// The maps of the image called `name`.
    ///
    /// # Errors
    /// If no part has them, or its file is damaged.
    pub fn load(&self, name: &str) -> Result<Maps, PartialError> {
        let Some((path, bytes)) = self.of_image.get(name).map(|i| &self.files[*i]) else {
            let why = format!("no part has maps of {name}");
            return Err(PartialError::Malformed { path: PathBuf::from("the parts of the run"), why });
        };
        let malformed = |why: String| PartialError::Malformed { path: path.clone(), why };
        let tensors = SafeTensors::deserialize(bytes).map_err(|e| malformed(e.to_string()))?;
        self.methods
            .iter()
            .map(|method| map_of(&tensors, &key_of(name, *method)).map_err(malformed))
            .collect()
    }
}

/// What a map is called in a part's file.
fn key_of(image: &str, method: Method) -> String {
    format!("{}:{image}", method.name())
}

/// Writes the maps of a part beside `json` and tells of them in the result.
///
/// # Errors
/// If they cannot be written.
pub fn write_part(finished: &mut Finished, shard: Shard, json: &Path) -> Result<()> {
    let maps = json.with_extension("maps");
    let mut all = Vec::new();
    for index in &finished.indices {
        let name = &finished.dataset.samples[*index].name;
        let of_image = finished.maps.load(*index, name)?;
        for (method, map) in finished.result.settings.methods.iter().zip(of_image) {
            all.push((key_of(name, *method), map));
        }
    }
    let lent: Vec<_> = all.iter().map(|(name, map)| (name.clone(), map)).collect();
    let about = HashMap::from([(KEY.to_owned(), finished.result.maps_key.clone())]);
    write_maps(&maps, &lent, about)?;
    let maps_sha256 = hex(&sha256_of_file(&maps).with_context(|| format!("cannot read {}", maps.display()))?);
    let file = maps.file_name().map(PathBuf::from).unwrap_or_default();
    finished.result.shard = Some(ShardRecord { shard, maps: file, maps_sha256 });
    Ok(())
}

/// Puts the parts of a run together and judges them; `dataset` says where the data set lies if it has
/// moved.
///
/// # Errors
/// Parts that are missing, doubled, damaged or of different runs; a data set that is not what they saw.
pub fn merge(
    parts: &[PathBuf],
    dataset: Option<DatasetSpec>,
    scores: Option<&Path>,
    progress: &Arc<dyn Progress>,
) -> Result<Finished> {
    let read = |path: &PathBuf| -> Result<(PathBuf, EvalResult, ShardRecord)> {
        let result = EvalResult::read(path)?;
        let Some(shard) = result.shard.clone() else {
            bail!("{} is a whole result, not a part of one; give parts made with --shard", path.display());
        };
        Ok((path.clone(), result, shard))
    };
    let mut parts: Vec<_> = parts.iter().map(read).collect::<Result<_>>()?;
    parts.sort_by_key(|(_, _, part)| part.shard.index);
    complete(&parts)?;
    let mut result = parts[0].1.clone();
    if let Some(dataset) = dataset {
        result.settings.dataset = dataset;
    }
    let (dataset, check) = checked(&result.settings, progress)?;
    if check.sha256 != result.dataset.sha256 {
        bail!(
            "{} is not the data set that the parts were made from: SHA-256 {}, not {}",
            dataset.spec,
            check.sha256,
            result.dataset.sha256
        );
    }
    let mut files =
        ShardFiles { methods: result.settings.methods.clone(), files: Vec::new(), of_image: HashMap::new() };
    for (path, part, shard) in &parts {
        files.add(&path.with_file_name(&shard.maps), shard)?;
        if path != &parts[0].0 {
            result.time.add(&part.time);
        }
    }
    let indices: Vec<usize> =
        (0..dataset.samples.len()).filter(|i| dataset.samples[*i].truth.is_some()).collect();
    let absent = indices.iter().find(|i| !files.of_image.contains_key(&dataset.samples[**i].name));
    if let Some(index) = absent {
        bail!("no part has maps of {}; are all parts of this run there?", dataset.samples[*index].name);
    }
    result.shard = None;
    result.made = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let maps = MapStore::Shards(files);
    judge_all(&mut result, &dataset, &indices, &maps, scores, progress)?;
    Ok(Finished { result, dataset, indices, maps })
}

impl ShardFiles {
    fn add(&mut self, path: &Path, shard: &ShardRecord) -> Result<(), PartialError> {
        let unusable = |source| PartialError::Unusable { path: path.to_owned(), source };
        let malformed = |why: String| PartialError::Malformed { path: path.to_owned(), why };
        let found = hex(&sha256_of_file(path).map_err(unusable)?);
        if found != shard.maps_sha256 {
            return Err(malformed(format!("its SHA-256 is {found}, the JSON says {}", shard.maps_sha256)));
        }
        let file = std::fs::File::open(path).map_err(unusable)?;
        // SAFETY: the mapping is only read; a file that somebody cuts short meanwhile is beyond what a
        // reader can guard against, as with every mapped file.
        let bytes = unsafe { Mmap::map(&file) }.map_err(unusable)?;
        let tensors = SafeTensors::deserialize(&bytes).map_err(|e| malformed(e.to_string()))?;
        let number = self.files.len();
        for name in tensors.names() {
            if let Some((_, image)) = name.split_once(':') {
                self.of_image.insert(image.to_owned(), number);
            }
        }
        self.files.push((path.to_owned(), bytes));
        Ok(())
    }
}

/// Checks that `parts`, in order, are one run, each part once.
fn complete(parts: &[(PathBuf, EvalResult, ShardRecord)]) -> Result<()> {
    let Some((first_path, first, one)) = parts.first() else { bail!("give the parts' JSON files") };
    let of = one.shard.of;
    for (path, part, record) in parts {
        if record.shard.of != of || part.maps_key != first.maps_key {
            bail!(
                "{} and {} are parts of different runs (data set, model, bank, methods, device or version differ)",
                first_path.display(),
                path.display()
            );
        }
    }
    let seen: Vec<usize> = parts.iter().map(|(_, _, record)| record.shard.index).collect();
    let missing: Vec<String> = (1..=of).filter(|i| !seen.contains(i)).map(|i| format!("{i}/{of}")).collect();
    if !missing.is_empty() {
        bail!("parts are missing: {}", missing.join(", "));
    }
    if let Some(pair) = seen.windows(2).find(|pair| pair[0] == pair[1]) {
        bail!("part {}/{of} is given twice", pair[0]);
    }
    Ok(())
}
