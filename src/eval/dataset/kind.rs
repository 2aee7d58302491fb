//! The kinds of data sets: names, layouts in a line, what the values of their masks mean.

use serde::{Deserialize, Serialize};

/// A public data set's layout and encoding, or a folder described by hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// EPFL RoadAnomaly.
    #[serde(rename = "roadanomaly")]
    RoadAnomaly,
    /// SegmentMeIfYouCan, anomaly track: its validation frames.
    SmiycAnomaly,
    /// SegmentMeIfYouCan, obstacle track: its validation frames.
    SmiycObstacle,
    /// LostAndFound, test split.
    #[serde(rename = "lostandfound")]
    LostAndFound,
    /// LostAndFound, test split without the drives that show pedestrians and bicycles.
    #[serde(rename = "lostandfound-testnoknown")]
    LostAndFoundNoKnown,
    /// Fishyscapes Lost & Found: its labels over LostAndFound's images.
    FishyscapesLaf,
    /// StreetHazards, test split.
    #[serde(rename = "streethazards")]
    StreetHazards,
    /// SOS, WOS or CARLA-WildLife: sequences of video.
    VideoOod,
    /// Images, masks and a map of values, told by a TOML file.
    Folder,
}

impl Kind {
    /// All kinds, in the order of the help.
    pub const ALL: [Kind; 9] = [
        Kind::RoadAnomaly,
        Kind::SmiycAnomaly,
        Kind::SmiycObstacle,
        Kind::LostAndFound,
        Kind::LostAndFoundNoKnown,
        Kind::FishyscapesLaf,
        Kind::StreetHazards,
        Kind::VideoOod,
        Kind::Folder,
    ];

    /// Its name in `--dataset KIND:PATH`.
    pub fn name(self) -> &'static str {
        match self {
            Kind::RoadAnomaly => "roadanomaly",
            Kind::SmiycAnomaly => "smiyc-anomaly",
            Kind::SmiycObstacle => "smiyc-obstacle",
            Kind::LostAndFound => "lostandfound",
            Kind::LostAndFoundNoKnown => "lostandfound-testnoknown",
            Kind::FishyscapesLaf => "fishyscapes-laf",
            Kind::StreetHazards => "streethazards",
            Kind::VideoOod => "video-ood",
            Kind::Folder => "folder",
        }
    }

    /// What lies where below PATH, for messages.
    pub fn layout(self) -> &'static str {
        match self {
            Kind::RoadAnomaly => {
                "frame_list.json, frames/NAME.jpg and frames/NAME.labels/labels_semantic.png"
            }
            Kind::SmiycAnomaly | Kind::SmiycObstacle => {
                "images/ID.jpg (or .webp) and labels_masks/ID_labels_semantic.png"
            }
            Kind::LostAndFound | Kind::LostAndFoundNoKnown => {
                "leftImg8bit/test/SCENE/ID_leftImg8bit.png and gtCoarse/test/SCENE/ID_gtCoarse_labelIds.png"
            }
            Kind::FishyscapesLaf => {
                "labels NNNN_ID_labels.png and, below the same folder, LostAndFound's leftImg8bit/"
            }
            Kind::StreetHazards => "test/images/test/TOWN/*.png and test/annotations/test/TOWN/*.png",
            Kind::VideoOod => {
                "raw_data/sequence_NNN/NAME_raw_data.jpg and semantic_ood/sequence_NNN/NAME_semantic_ood.png"
            }
            Kind::Folder => "a TOML file (or a folder with dataset.toml) that names images, masks and values",
        }
    }
}
