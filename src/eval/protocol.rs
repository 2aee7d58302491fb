//! The published ways to judge score maps.

use serde::{Deserialize, Serialize};

use super::dataset::Kind;

/// How score maps are judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// All pixels that are not void in one list.
    Pooled,
    /// Each image by itself, then the mean over those with anomaly.
    PerImage,
    /// SegmentMeIfYouCan, anomaly track: pixels and components.
    SmiycAnomaly,
    /// SegmentMeIfYouCan, obstacle track.
    SmiycObstacle,
    /// Flicker, time to detection, tracking, false alarms: for sequences.
    Video,
    /// Per-region overlap, each anomalous region counting the same.
    Pro,
    /// Per-image overlap at the false positive rates of normal images.
    Pimo,
    /// What is missed among the pixels that a threshold lets pass.
    Risk,
    /// Average precision of anomalous instances.
    Instances,
}

impl Protocol {
    /// All protocols.
    pub const ALL: [Protocol; 9] = [
        Protocol::Pooled,
        Protocol::PerImage,
        Protocol::SmiycAnomaly,
        Protocol::SmiycObstacle,
        Protocol::Video,
        Protocol::Pro,
        Protocol::Pimo,
        Protocol::Risk,
        Protocol::Instances,
    ];

    /// Whether it judges a folder of score maps, without knowing of sequences.
    pub fn is_of_folders(self) -> bool {
        self != Protocol::Video
    }

    /// Whether it judges the runs of `farout eval`.
    pub fn is_of_runs(self) -> bool {
        !matches!(self, Protocol::Pro | Protocol::Pimo | Protocol::Risk | Protocol::Instances)
    }

    /// Its name on the command line and in results.
    pub fn name(self) -> &'static str {
        match self {
            Protocol::Pooled => "pooled",
            Protocol::PerImage => "per-image",
            Protocol::SmiycAnomaly => "smiyc-anomaly",
            Protocol::SmiycObstacle => "smiyc-obstacle",
            Protocol::Video => "video",
            Protocol::Pro => "pro",
            Protocol::Pimo => "pimo",
            Protocol::Risk => "risk",
            Protocol::Instances => "instances",
        }
    }

    /// What a kind of data set is published with, the headline first.
    pub fn of(kind: Kind) -> &'static [Protocol] {
        match kind {
            Kind::SmiycAnomaly => &[Protocol::SmiycAnomaly, Protocol::Pooled],
            Kind::SmiycObstacle => &[Protocol::SmiycObstacle, Protocol::Pooled],
            Kind::StreetHazards => &[Protocol::PerImage],
            Kind::VideoOod => &[Protocol::Pooled, Protocol::Video],
            Kind::RoadAnomaly
            | Kind::LostAndFound
            | Kind::LostAndFoundNoKnown
            | Kind::FishyscapesLaf
            | Kind::Folder => &[Protocol::Pooled],
        }
    }
}

impl std::str::FromStr for Protocol {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let names = || Protocol::ALL.map(Protocol::name).join(", ");
        Protocol::ALL
            .into_iter()
            .find(|protocol| protocol.name() == text)
            .ok_or_else(|| format!("unknown protocol {text:?}: choose from {}", names()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protocols_are_known_by_name_and_every_kind_has_one() {
        for protocol in Protocol::ALL {
            assert_eq!(protocol.name().parse(), Ok(protocol));
            assert_eq!(serde_json::to_value(protocol).unwrap(), protocol.name());
        }
        assert!("pool".parse::<Protocol>().unwrap_err().contains("per-image"));
        assert!(Kind::ALL.iter().all(|kind| !Protocol::of(*kind).is_empty()));
    }
}
