//! Where frames come from. One trait; whether a stream is live changes what is done when the
//! reader is late, not how it is read.
//!
//! [`open()`] turns a location into a [`Source`]: recordings and live streams through GStreamer
//! (feature `media`), still images without it.

mod address;
#[cfg(feature = "media")]
mod bitstream;
#[cfg(feature = "media")]
mod cameras;
#[cfg(feature = "media")]
mod capture;
#[cfg(feature = "media")]
mod colorimetry;
pub mod config;
#[cfg(feature = "media")]
mod container;
mod contents;
#[cfg(feature = "media")]
mod damage;
#[cfg(feature = "media")]
mod decode;
#[cfg(feature = "media")]
mod decoder_log;
mod drive;
#[cfg(feature = "media")]
mod ebml;
#[cfg(feature = "media")]
mod ending;
#[cfg(feature = "media")]
mod entry;
mod escapes;
#[cfg(feature = "media")]
mod facts;
#[cfg(feature = "media")]
mod http;
pub mod images;
#[cfg(feature = "media")]
mod jetson;
#[cfg(feature = "media")]
mod jpeg_decoder;
#[cfg(feature = "media")]
mod jpegs;
#[cfg(feature = "media")]
mod live;
pub mod location;
mod look;
mod looped;
pub mod natural_order;
mod open;
mod paced;
mod password;
#[cfg(feature = "media")]
mod patience;
#[cfg(feature = "media")]
mod picture;
#[cfg(feature = "media")]
mod pipeline;
pub mod places;
mod presence;
#[cfg(feature = "media")]
mod recording;
#[cfg(feature = "media")]
mod refused;
#[cfg(feature = "media")]
mod sdp;
pub mod status;
mod steady;
#[cfg(feature = "media")]
mod streams;
pub mod synthetic;
#[cfg(feature = "media")]
mod turn;

use std::sync::Arc;

pub use address::{Address, masked};
pub use config::{Deinterlace, Pace, SourceConfig, Transport};
pub use location::Location;
pub use look::look;
pub use looped::Looped;
pub use open::{Purpose, open};
pub use paced::Paced;
pub use presence::findings;
pub use status::{SourceState, SourceStatus};
pub use steady::{Steady, Switch};

use crate::frame::Frame;

/// A stream of frames.
pub trait Source: Send {
    /// The next frame, in order; `None` at the end of the stream or once stopping was asked.
    /// Blocks until there is one.
    ///
    /// # Errors
    /// [`SourceError::CutOff`] after the last whole frame of a damaged recording was
    /// given out; anything else means that no frame can be had. A folder of images goes on
    /// after the picture it could not read.
    fn next(&mut self) -> Result<Option<Frame>, SourceError>;

    /// Frames per second as far as known; `None` for variable or unknown rates.
    fn rate(&self) -> Option<f64>;

    /// How many frames there will be, if known (for progress bars).
    fn frames(&self) -> Option<u64> {
        None
    }

    /// What this is, for logs and status: location, decoder chosen, size.
    fn describe(&self) -> String;

    /// True if frames come in their own time (cameras, RTSP): late readers lose frames then.
    fn is_live(&self) -> bool;

    /// True if every frame has a name of its own: still images.
    fn has_names(&self) -> bool {
        false
    }

    /// How a source that can be lost and found again stands; `None` if it cannot.
    fn status(&self) -> Option<Arc<SourceStatus>> {
        None
    }
}

/// Why a source gives no (further) frames.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The recording ends in the middle, or has damage there; all that could be decoded whole was given out.
    #[error("{location} is damaged or cut off after frame {last_frame} ({last_secs:.3} s): {why}")]
    CutOff {
        /// What was read.
        location: String,
        /// The last good frame before that.
        last_frame: u64,
        /// Its presentation time in seconds.
        last_secs: f64,
        /// What is missing, and what the decoder said.
        why: String,
    },
    /// It could not be opened or read at all.
    #[error("cannot read {location}: {why}")]
    Unreadable {
        /// What was asked for.
        location: String,
        /// The reason and what to try.
        why: String,
    },
}

impl SourceError {
    /// Nothing can be read from `location`, because of `why` (reason and remedy). Passwords in either are
    /// hidden.
    pub fn unreadable(location: impl Into<String>, why: impl AsRef<str>) -> Self {
        let address = Address::from(location.into());
        SourceError::Unreadable { why: address.hide(why.as_ref()), location: address.to_string() }
    }
}
