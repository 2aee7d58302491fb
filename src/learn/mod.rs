//! Footage of normal driving -> a detector in a folder: `farout learn`.
//!
//! Pictures that differ are chosen of the footage, scraps of them become known outliers, features of both are gathered
//! part by part (so that what is interrupted goes on), and a bank, its thresholds and a report come of them.

mod asked;
mod cutout;
mod frames;
mod horizon;
mod kept;
mod learnt;
mod model;
mod objects;
mod outliers;
mod parts;
mod paste;
mod picture;
mod place;
mod progress;
mod recipe;
mod report;
mod request;
mod scraps;
mod steps;
mod work;

use std::path::PathBuf;

use crate::collect::{self, Input};

pub use learnt::Learnt;
pub use progress::Progress;
pub use recipe::{DEFAULT_RECIPE, HorizonConfig, OutlierConfig, Recipe, RecipeBank, RecipeModel};
pub use request::Request;
pub use steps::learn;

/// Pictures as inputs.
fn listed(paths: &[PathBuf]) -> anyhow::Result<Vec<Input>> {
    let paths: Vec<String> = paths.iter().map(|path| path.to_string_lossy().into_owned()).collect();
    Ok(collect::list(&paths)?)
}

/// Learning was asked to stop; what is done is kept.
#[derive(Debug, thiserror::Error)]
#[error("stopped; the same command again goes on from here")]
pub struct Stopped;
