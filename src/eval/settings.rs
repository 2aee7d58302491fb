//! Everything that a run is told; it stands in the result, and `farout eval --from` runs it again.

use serde::{Deserialize, Serialize};

use super::dataset::DatasetSpec;
use super::metrics::BootstrapSettings;
use super::protocol::Protocol;
use super::region::Region;
use crate::config::Config;
use crate::score::Method;

/// What `farout eval` was told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The data set.
    pub dataset: DatasetSpec,
    /// Whether images without a mask are left out instead of refused.
    pub allow_missing: bool,
    /// The methods; what is judged is one score map per image and method.
    pub methods: Vec<Method>,
    /// How they are judged, the headline first.
    pub protocols: Vec<Protocol>,
    /// Which pixels are judged: all others are void.
    #[serde(default)]
    pub region: Region,
    /// How confidence intervals are found.
    pub bootstrap: BootstrapSettings,
    /// Model, runtime, bank, search, score: as for every other command.
    pub config: Config,
}

/// What the map of the road is called among the methods' maps.
const ROAD: &str = "road";

impl Settings {
    /// Whether a map of the road is wanted of each image: for the region of judging, or for the alarms of sequences.
    pub fn wants_road(&self) -> bool {
        let tells = self.config.roi.has_model() || !self.config.score.roi_classes.is_empty();
        self.region == Region::Road || tells && self.protocols.contains(&Protocol::Video)
    }

    /// What the maps of an image are called, in their order.
    pub fn map_names(&self) -> Vec<&'static str> {
        let road = self.wants_road().then_some(ROAD);
        self.methods.iter().map(|method| method.name()).chain(road).collect()
    }
}

/// One part of a run that is spread over machines: images `index`, `index + of`, ... counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shard {
    /// Which part, from 1.
    pub index: usize,
    /// Of how many.
    pub of: usize,
}

impl Shard {
    /// The images of this part, by number from 0.
    pub fn indices(self, images: usize) -> Vec<usize> {
        (self.index - 1..images).step_by(self.of).collect()
    }
}

impl std::fmt::Display for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.index, self.of)
    }
}

impl std::str::FromStr for Shard {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('/').and_then(|(i, n)| Some((i.parse().ok()?, n.parse().ok()?)));
        match parts {
            Some((index, of)) if (1..=of).contains(&index) => Ok(Shard { index, of }),
            _ => Err(format!("{text:?} is no part i/n with 1 <= i <= n, such as 2/4")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_share_the_images_without_gap_or_overlap() {
        let shards = ["1/3", "2/3", "3/3"].map(|text| text.parse::<Shard>().unwrap());
        let mut all: Vec<usize> = shards.iter().flat_map(|shard| shard.indices(10)).collect();
        assert_eq!(shards[0].indices(10), [0, 3, 6, 9]);
        all.sort_unstable();
        assert_eq!(all, (0..10).collect::<Vec<_>>());
        assert_eq!(shards[2].indices(2), Vec::<usize>::new());
        for wrong in ["0/3", "4/3", "1", "a/b", "1/0", "-1/2"] {
            assert!(wrong.parse::<Shard>().is_err(), "{wrong}");
        }
    }
}
