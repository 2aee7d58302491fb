//! Footage of normal driving -> a detector in a folder: `farout learn`.
//!
//! Pictures that differ are chosen of the footage, scraps of them become known outliers, features of both are gathered
//! part by part (so that what is interrupted goes on), and a bank, its thresholds and a report come of them.

mod frames;
mod model;
mod parts;
mod picture;
mod progress;
mod recipe;
mod report;
mod request;
mod scraps;
mod steps;
mod work;

pub use progress::Progress;
pub use recipe::{DEFAULT as DEFAULT_RECIPE, OutlierConfig, Recipe, RecipeBank, RecipeModel};
pub use request::Request;
pub use steps::{Learnt, learn};

/// Learning was asked to stop; what is done is kept.
#[derive(Debug, thiserror::Error)]
#[error("stopped; the same command again goes on from here")]
pub struct Stopped;
