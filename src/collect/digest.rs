//! The hashes that decide: of frames of videos and of patches.

use crate::digest::{Digest, digest_of};

/// What stands for the SHA-256 of an image that is frame `frame` of a video: SHA-256 of the
/// video's own and the frame number (8 bytes, little-endian).
pub fn frame_digest(video: &Digest, frame: u64) -> Digest {
    digest_of(&[video, &frame.to_le_bytes()])
}

/// The first 128 bits of the SHA-256 of `parts` joined, big-endian.
pub(super) fn hash(parts: &[&[u8]]) -> u128 {
    digest_of(parts)[..16].iter().fold(0, |n, byte| n << 8 | u128::from(*byte))
}
