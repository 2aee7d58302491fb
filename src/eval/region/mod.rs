//! The region of judging: what lies outside is void for all metrics. It is part of the protocol, and named with every number.

mod masks;

use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::dataset::{Dataset, Sample};
use super::truth::{ANOMALY, Share, Truth, VOID};
use crate::grid::{Logits, ScoreMap};
use crate::pool::Pooled;
use crate::score::Roi;
use crate::written::stored_as_written;
use masks::Masks;

/// Share of the height down to which [`Region::BelowHorizon`] leaves pixels out if nothing else is said.
const HORIZON: f64 = 0.45;

/// Which pixels are judged.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Region {
    /// All that are not void.
    #[default]
    All,
    /// The road, and what the truth calls anomaly: it stands there, whatever the model of the road makes of it.
    Road,
    /// What lies below this share of the height.
    BelowHorizon(f64),
    /// What is not zero in a mask: one for all pictures, or a folder of one per picture.
    Masks(PathBuf),
}

impl std::str::FromStr for Region {
    type Err = String;

    fn from_str(text: &str) -> Result<Region, String> {
        Ok(match text {
            "" => return Err("give all, road, below-horizon[:SHARE], or a mask or a folder of masks".into()),
            "all" => Region::All,
            "road" => Region::Road,
            "below-horizon" => Region::BelowHorizon(HORIZON),
            other => {
                match other.strip_prefix("below-horizon:") {
                    None => Region::Masks(other.into()),
                    Some(share) => {
                        let share = share.parse().ok().filter(|share: &f64| (0.0..1.0).contains(share));
                        Region::BelowHorizon(share.ok_or_else(|| {
                        format!("{text:?}: the horizon is a share of the height, from 0 to below 1, such as 0.45")
                    })?)
                    }
                }
            }
        })
    }
}

impl std::fmt::Display for Region {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Region::All => f.write_str("all"),
            Region::Road => f.write_str("road"),
            Region::BelowHorizon(share) => write!(f, "below-horizon:{share}"),
            Region::Masks(path) => write!(f, "{}", path.display()),
        }
    }
}

stored_as_written!(Region);

impl Region {
    /// With a path that does not depend on the working folder.
    pub fn absolute(self) -> Region {
        match self {
            Region::Masks(path) => Region::Masks(std::path::absolute(&path).unwrap_or(path)),
            other => other,
        }
    }
}

/// A region of judging as it came out, in the result.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct RegionRecord {
    /// SHA-256 over all its masks, if it is made of masks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Name and SHA-256 of the model that tells the road, if one of its own does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub road_model: Option<(String, String)>,
    /// The pixels of all images; void is what lies outside, too.
    pub share: Share,
    /// Images with an anomalous pixel in it.
    pub with_anomaly: usize,
}

/// Makes void what lies outside of a region.
#[derive(Debug)]
pub struct Restriction {
    region: Region,
    masks: Option<Masks>,
}

impl Restriction {
    /// Looks for all the masks that `dataset` needs.
    ///
    /// # Errors
    /// Masks that are missing or cannot be read, by name.
    pub fn open(region: &Region, dataset: &Dataset) -> Result<Restriction> {
        let masks = match region {
            Region::Masks(path) => {
                Some(Masks::open(path, dataset).with_context(|| format!("--region {}", path.display()))?)
            }
            _ => None,
        };
        Ok(Restriction { region: region.clone(), masks })
    }

    /// SHA-256 over the masks, if there are any.
    pub fn sha256(&self) -> Option<String> {
        self.masks.as_ref().map(Masks::sha256)
    }

    /// Makes void what lies outside. `road` is the map of the road, where the region is that.
    ///
    /// # Errors
    /// A mask that does not fit; no map of the road.
    pub fn apply(&self, truth: &mut Truth, sample: &Sample, road: Option<&ScoreMap>) -> Result<()> {
        match (&self.region, &self.masks) {
            (Region::All, _) | (Region::Masks(_), None) => {}
            (Region::BelowHorizon(share), _) => {
                let first = (share * truth.height as f64).round() as usize;
                truth.labels.iter_mut().take(first * truth.width).for_each(|label| *label = VOID);
            }
            (Region::Masks(_), Some(masks)) => masks.apply(truth, sample)?,
            (Region::Road, _) => {
                let road =
                    road.with_context(|| format!("the map of the road of {} is missing", sample.name))?;
                let mut roi = Roi::new(&[], Some((vec![1], 0.0)));
                let inside = roi.step(Some(&two_classes(road)), truth.width, truth.height);
                for (label, _) in truth.labels.iter_mut().zip(inside).filter(|(_, inside)| !**inside) {
                    if *label != ANOMALY {
                        *label = VOID;
                    }
                }
            }
        }
        Ok(())
    }
}

/// A map of the road as logits of two classes, of which 1 is the road.
pub fn two_classes(road: &ScoreMap) -> Logits {
    let data = road.data.iter().map(|road| 1.0 - road).chain(road.data.iter().copied()).collect();
    Logits { classes: 2, grid: road.grid, data: Pooled::unpooled(data) }
}

#[cfg(test)]
mod tests;
