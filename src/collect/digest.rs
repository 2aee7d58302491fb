//! The hashes that decide: of files, of frames of videos, of patches.

use std::io::Read;
use std::path::Path;

use sha2::{Digest as _, Sha256};

/// A SHA-256.
pub type Digest = [u8; 32];

/// SHA-256 of a file's bytes.
///
/// # Errors
/// What the system said.
pub fn sha256_of_file(path: &Path) -> std::io::Result<Digest> {
    let mut file = std::fs::File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hasher.finalize().into()),
            n => hasher.update(&buffer[..n]),
        }
    }
}

/// What stands for the SHA-256 of an image that is frame `frame` of a video: SHA-256 of the
/// video's own and the frame number (8 bytes, little-endian).
pub fn frame_digest(video: &Digest, frame: u64) -> Digest {
    Sha256::new().chain_update(video).chain_update(frame.to_le_bytes()).finalize().into()
}

/// The first 128 bits of the SHA-256 of `parts` joined, big-endian.
pub(super) fn hash(parts: &[&[u8]]) -> u128 {
    let mut hasher = Sha256::new();
    parts.iter().for_each(|part| hasher.update(part));
    let digest: Digest = hasher.finalize().into();
    digest[..16].iter().fold(0, |n, byte| n << 8 | u128::from(*byte))
}

/// Lower-case hexadecimal.
pub fn hex(digest: &Digest) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
