//! Where results go: video encoded once for RTSP and HTTP clients and a file; score maps, pictures
//! and events as files.

pub mod access;
#[cfg(feature = "media")]
mod capture_times;
pub mod config;
#[cfg(feature = "media")]
mod descriptors;
#[cfg(feature = "media")]
mod encoder;
#[cfg(feature = "media")]
mod encoding;
mod event_queue;
pub mod events;
#[cfg(feature = "media")]
mod fan_out;
#[cfg(feature = "media")]
mod feed;
pub mod folder;
#[cfg(feature = "media")]
mod h264;
#[cfg(feature = "media")]
mod http;
#[cfg(feature = "media")]
mod mp4;
#[cfg(feature = "media")]
mod ntp;
#[cfg(feature = "media")]
mod outlet;
#[cfg(feature = "media")]
mod picture;
mod picture_log;
pub mod pictures;
#[cfg(feature = "media")]
mod precision_time;
mod presence;
#[cfg(feature = "media")]
mod recorder;
#[cfg(feature = "media")]
mod rtsp;
#[cfg(feature = "media")]
mod rtsp_guard;
#[cfg(feature = "media")]
mod rtsp_stream;
pub mod score_maps;
#[cfg(feature = "media")]
mod servers;
mod state;
pub mod store;
#[cfg(feature = "media")]
mod video;

use std::path::PathBuf;

pub use access::{Access, AccessConfig, Anyone};
pub use config::{Address, OutputConfig, ShownPictures, is_stream_name};
pub use event_queue::EventQueue;
pub use events::{EventLog, EventPicture, EventSink, EventSinks, MakeFile};
#[cfg(feature = "media")]
pub use fan_out::EncodedHook;
pub use folder::{FileError, Naming, OutputFolder};
#[cfg(feature = "media")]
pub use http::problem::Problem;
#[cfg(feature = "media")]
#[doc(hidden)]
pub use http::whep::fuzzed;
pub use picture_log::{EncodedPicture, PictureLog};
pub use pictures::{PictureFormat, PictureWriter, TruthWriter};
pub use presence::{findings, planned};
pub use score_maps::{ScoreFormat, ScoreMapWriter};
#[cfg(feature = "media")]
pub use servers::{Audience, Mount, Servers, Viewers, WatchedAt};
pub use state::StateHook;
pub use store::EventStore;
#[cfg(feature = "media")]
pub use store::clips::ClipControl;
pub use store::config::EventsConfig;
pub use store::record::{FEATURES, Record as EventRecord, is_id as is_event_id};
#[cfg(feature = "media")]
pub use video::{Haste, VideoControl, VideoOut};

/// Why video cannot be encoded, served or written.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// An address of the config is none.
    #[error("{key} = \"{value}\": {why}")]
    Address {
        /// The key of the config.
        key: &'static str,
        /// Its value.
        value: String,
        /// What is wrong and how it is written.
        why: String,
    },
    /// A server cannot listen.
    #[error("cannot listen on {address}: {why}; set {key} to another port or to \"off\"")]
    Listen {
        /// The key of the config.
        key: &'static str,
        /// Host and port.
        address: String,
        /// What the system said.
        why: String,
    },
    /// A file that says who may watch and steer is none.
    #[error("{key}: {why}")]
    Access {
        /// The key of the config.
        key: &'static str,
        /// The file and what is wrong with it.
        why: String,
    },
    /// Everybody on the network could watch and steer.
    #[error(
        "{key}: other machines reach {address}, and nobody is asked who they are; set {what}, or access.anyone = \"watch\" if \
         everybody may watch, or listen at 127.0.0.1"
    )]
    Open {
        /// The key of the config.
        key: &'static str,
        /// Host and port.
        address: String,
        /// The keys to set.
        what: &'static str,
    },
    /// Another stream is served at the address.
    #[error("{url} is the address of another stream; give each [[stream]] a name of its own")]
    Mounted {
        /// The address.
        url: String,
    },
    /// A stream's name cannot be a part of an address.
    #[error(
        "stream name \"{name}\": write 1 to 64 letters, digits, \"_\" and \"-\", a letter or digit first"
    )]
    Name {
        /// The name.
        name: String,
    },
    /// There is no encoder that starts.
    #[error(
        "no H.264 encoder starts ({tried}); install gstreamer1.0-plugins-ugly (x264enc) or -bad (openh264enc)"
    )]
    NoEncoder {
        /// Which were tried and why each failed.
        tried: String,
    },
    /// A file cannot be written.
    #[error("cannot write {path}: {why}", path = path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// What the system said.
        why: String,
    },
    /// A part of the encoding pipeline failed.
    #[error("{stage} failed: {why}")]
    Stage {
        /// `encoding`, `MP4`, `MPEG-TS` or `RTSP`.
        stage: &'static str,
        /// The element and what it said.
        why: String,
    },
}
