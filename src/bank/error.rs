//! Why a bank cannot be used, and what to do about it.

use std::path::PathBuf;

use super::ShardNumber;
use crate::identity::ModelIdentity;

/// A bank that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BankError {
    /// The file cannot be opened or read.
    #[error("cannot open bank {path}: {source}; build one with: farout bank build --model MODEL --images DIR -o {path}", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file ends before its contents do.
    #[error("bank {path} is cut short: it has {have} bytes{want}; copy it again or rebuild it with: farout bank build", path = path.display())]
    CutShort {
        /// The file.
        path: PathBuf,
        /// Bytes there are.
        have: u64,
        /// " and needs N", where that is known.
        want: String,
    },
    /// The file is something else.
    #[error("{path} is not a bank of farout: {why}; make one with: farout bank build", path = path.display())]
    NotABank {
        /// The file.
        path: PathBuf,
        /// What gave it away.
        why: String,
    },
    /// A newer or older farout wrote it.
    #[error("bank {path} has format {found}, this farout reads formats up to {known}; rebuild it with: farout bank build", path = path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// Its format version.
        found: u32,
        /// The one that is understood.
        known: u32,
    },
    /// It was built with another model, or the same one fed differently.
    #[error("bank {path} holds {bw}-wide features of model {bn}, model {mn} gives {mw}-wide ones and they do not fit ({differences}); rebuild it with: farout bank build --model MODEL --images DIR -o {path}",
        path = path.display(), bw = bank.width, bn = bank.name, mw = model.width, mn = model.name,
        differences = bank.differences(model).join("; "))]
    OtherModel {
        /// The file.
        path: PathBuf,
        /// The model the bank was built with.
        bank: Box<ModelIdentity>,
        /// The model that runs.
        model: Box<ModelIdentity>,
    },
    /// It holds what was marked as normal, beside a bank.
    #[error("{path} is no bank, but a supplement of one: name its folder in supplement.folder, or join it to a bank with: farout bank merge BANK {path} -o NEW", path = path.display())]
    Supplement {
        /// The file.
        path: PathBuf,
    },
    /// It is a bank, where a supplement was wanted.
    #[error("{path} is no supplement: nothing in it was marked as normal; farout run and farout bank add make supplements", path = path.display())]
    NoSupplement {
        /// The file.
        path: PathBuf,
    },
    /// It is a part of a bank.
    #[error("{path} is shard {shard} of a bank, with neither all features nor a calibration; join all shards with: farout bank merge SHARDS... -o BANK", path = path.display())]
    Shard {
        /// The file.
        path: PathBuf,
        /// Which one.
        shard: ShardNumber,
    },
    /// A feature with NaN or infinity would poison every distance.
    #[error("bank {path}: the feature in row {row} has NaN or infinite numbers; the file is damaged or its model broken: rebuild it with: farout bank build", path = path.display())]
    NotFinite {
        /// The file.
        path: PathBuf,
        /// The first such row, from 0.
        row: usize,
    },
    /// There are fewer features than neighbours to look for.
    #[error("bank {path} holds {rows} features, the search needs {k} neighbours; lower k or build a larger bank (--size)", path = path.display())]
    TooFew {
        /// The file.
        path: PathBuf,
        /// Features there are.
        rows: usize,
        /// Neighbours asked for.
        k: usize,
    },
    /// The bank cannot say what normal scores are for this method.
    #[error("{why}; give a number for the threshold (--threshold), or rebuild the bank from more images")]
    NotCalibrated {
        /// What is missing.
        why: String,
    },
}
