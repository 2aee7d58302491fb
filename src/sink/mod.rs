//! Where results go: score maps, pictures, events.

pub mod events;
pub mod folder;
pub mod pictures;
pub mod score_maps;

pub use events::EventLog;
pub use folder::{Naming, OutputFolder, SinkError};
pub use pictures::{PictureFormat, PictureWriter, TruthWriter};
pub use score_maps::{ScoreFormat, ScoreMapWriter};
