//! Why a bank cannot be built.

use std::path::PathBuf;

use super::labels::LabelError;
use crate::source::SourceError;

/// Why a bank cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A file cannot be read.
    #[error("cannot read {path}: {source}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Its label mask cannot.
    #[error(transparent)]
    Label(#[from] LabelError),
    /// A frame could not be decoded.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A file could not be opened, or the model or search failed on it.
    #[error("{name}: {source:#}")]
    Frame {
        /// The input.
        name: String,
        /// The reason.
        source: anyhow::Error,
    },
    /// Numbers that f16 cannot hold.
    #[error("{name}: features reach {largest:e}, more than f16 holds (65504); build with --dtype f32")]
    Overflow {
        /// The input.
        name: String,
        /// The largest magnitude.
        largest: f32,
    },
    /// Nothing to put into the bank.
    #[error("no patch is left for the bank: {why}; give more images")]
    Empty {
        /// What became of them.
        why: String,
    },
    /// A part, a transform or a class that cannot be had.
    #[error("{why}")]
    Recipe {
        /// What, and what there is instead.
        why: String,
    },
    /// The stop token was asked.
    #[error("stopped before the bank was complete; nothing was written")]
    Stopped,
}
