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

/// SHA-256 of `parts` joined.
pub(super) fn digest_of(parts: &[&[u8]]) -> Digest {
    let mut hasher = Sha256::new();
    parts.iter().for_each(|part| hasher.update(part));
    hasher.finalize().into()
}

/// The first 128 bits of the SHA-256 of `parts` joined, big-endian.
pub(super) fn hash(parts: &[&[u8]]) -> u128 {
    digest_of(parts)[..16].iter().fold(0, |n, byte| n << 8 | u128::from(*byte))
}

/// Lower-case hexadecimal.
pub fn hex(digest: &Digest) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The digest that `text` writes; `None` if it is none.
pub fn unhex(text: &str) -> Option<Digest> {
    let mut digest = Digest::default();
    if text.len() != 2 * digest.len() || !text.is_ascii() {
        return None;
    }
    for (byte, two) in digest.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(two).ok()?, 16).ok()?;
    }
    Some(digest)
}
