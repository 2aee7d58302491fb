//! Runs spread over machines: each part writes its maps and what made them; together they are judged as
//! if one machine had done it all.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};

use super::dataset::DatasetSpec;
use super::finished::{Finished, MapStore};
use super::partial::write_maps;
use super::progress::Progress;
use super::result::{EvalResult, ShardRecord};
use super::run::{checked, judge_all};
use super::settings::Shard;
use super::shard_files::{ShardFiles, key_of};
use crate::digest::{hex, sha256_of_file};

/// Key of the metadata that names what the maps depend on.
const KEY: &str = "key";

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
        for (map_name, map) in finished.result.settings.map_names().into_iter().zip(of_image) {
            all.push((key_of(name, map_name), map));
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
    let mut files = ShardFiles::new(result.settings.map_names());
    for (path, part, shard) in &parts {
        files.add(&path.with_file_name(&shard.maps), shard)?;
        if path != &parts[0].0 {
            result.time.add(&part.time);
        }
    }
    let indices: Vec<usize> =
        (0..dataset.samples.len()).filter(|i| dataset.samples[*i].truth.is_some()).collect();
    let absent = indices.iter().find(|i| !files.has(&dataset.samples[**i].name));
    if let Some(index) = absent {
        bail!("no part has maps of {}; are all parts of this run there?", dataset.samples[*index].name);
    }
    result.shard = None;
    result.made = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let maps = MapStore::Shards(files);
    judge_all(&mut result, &dataset, &indices, &maps, scores, progress)?;
    Ok(Finished { result, dataset, indices, maps })
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
    let region = |part: &EvalResult| part.region.as_ref().and_then(|region| region.sha256.clone());
    for (path, part, _) in parts {
        if part.settings.region != first.settings.region || region(part) != region(first) {
            bail!(
                "{} was judged in --region {} and {} in --region {}: parts of one run have one region",
                first_path.display(),
                first.settings.region,
                path.display(),
                part.settings.region
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
