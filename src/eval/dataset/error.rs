//! Why a data set cannot be used.

use std::path::PathBuf;

use super::kind::Kind;
use crate::eval::truth::ValueMapError;

/// Why a data set cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    /// Not `KIND:PATH`.
    #[error("data set {text:?} is not KIND:PATH with a KIND of {kinds}", kinds = Kind::ALL.map(Kind::name).join(", "))]
    UnknownKind {
        /// What was given.
        text: String,
    },
    /// Something of it cannot be read.
    #[error("cannot read {path}: {source}", path = path.display())]
    Unreadable {
        /// What.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The folder is laid out otherwise.
    #[error("{root} is no {kind} data set{why}: there should be {layout}", root = root.display(), kind = kind.name(), layout = kind.layout())]
    Layout {
        /// The kind asked for.
        kind: Kind,
        /// Where it was looked for.
        root: PathBuf,
        /// More, in brackets, or nothing.
        why: String,
    },
    /// Its list or description is wrong.
    #[error("{path}: {why}", path = path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong, where.
        why: String,
    },
    /// Its value map makes no sense.
    #[error("{path}: {why}", path = path.display())]
    Values {
        /// The description.
        path: PathBuf,
        /// What is wrong.
        why: ValueMapError,
    },
    /// The truth check found faults.
    #[error("{0}")]
    Refused(String),
}
