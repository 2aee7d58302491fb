//! Why shards cannot be merged.

use std::path::PathBuf;

use super::error::BuildError;
use crate::bank::{BankError, ShardNumber};

/// Why files cannot be merged.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// One cannot be opened.
    #[error(transparent)]
    Bank(#[from] BankError),
    /// One lacks its held-out frames, or was pruned.
    #[error("{path} cannot be merged: {why}", path = path.display())]
    NoPart {
        /// The file.
        path: PathBuf,
        /// What it lacks and what to do.
        why: String,
    },
    /// Two were built in different ways.
    #[error("{first} and {second} do not fit together: {differences}; build all shards with the same program, model and options", first = first.display(), second = second.display())]
    Different {
        /// The file that came first.
        first: PathBuf,
        /// The one that does not fit it.
        second: PathBuf,
        /// What differs, values of the second file first.
        differences: String,
    },
    /// The same shard twice.
    #[error("{first} and {second} are both shard {shard} of the same inputs; give each shard once", first = first.display(), second = second.display())]
    Twice {
        /// One file.
        first: PathBuf,
        /// The other.
        second: PathBuf,
        /// Which shard.
        shard: ShardNumber,
    },
    /// By a plan, they are not of its inputs.
    #[error("the shards are not those of their plan: {why}")]
    Unplanned {
        /// What differs.
        why: String,
    },
    /// Not all shards were given.
    #[error("shards {missing} of {of} are missing beside {beside}; give all, or build them with: farout bank build --shard I/{of}", beside = beside.display())]
    Missing {
        /// Their numbers.
        missing: String,
        /// How many there are in all.
        of: u32,
        /// A file of the same inputs that was given.
        beside: PathBuf,
    },
    /// What came out is no bank.
    #[error(transparent)]
    Build(#[from] BuildError),
}
