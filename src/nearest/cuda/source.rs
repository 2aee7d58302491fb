//! The kernels' source, built into the program.

use sha2::{Digest, Sha256};

use crate::digest::hex;

/// A file of kernels/ and what it holds.
macro_rules! files {
    ($($name:literal),* $(,)?) => { [$(($name, include_str!(concat!("../../../kernels/", $name)))),*] };
}

/// All files, by the names under which they include each other.
pub(super) const FILES: [(&str, &str); 16] = files![
    "ptx.cuh",
    "problem.cuh",
    "lists.cuh",
    "distance.cuh",
    "product.cuh",
    "candidates.cuh",
    "tiles.cuh",
    "codes.cuh",
    "bank.cu",
    "queries.cu",
    "propose.cu",
    "refine.cu",
    "rescan.cu",
    "codes.cu",
    "sift.cu",
    "survivors.cu",
];

/// The translation unit: every kernel.
pub(super) fn unit() -> String {
    FILES
        .iter()
        .filter(|(name, _)| name.ends_with(".cu"))
        .map(|(name, _)| format!("#include <{name}>\n"))
        .collect()
}

/// SHA-256 of the source, in hexadecimal digits.
pub(super) fn digest() -> String {
    let mut hash = Sha256::new();
    for (name, text) in FILES {
        hash.update(format!("{name} {}\n", text.len()));
        hash.update(text);
    }
    hex(&hash.finalize())
}
