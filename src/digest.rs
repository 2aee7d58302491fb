//! SHA-256 of files and bytes, and bytes as hexadecimal digits.

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

/// SHA-256 of `parts` joined.
pub fn digest_of(parts: &[&[u8]]) -> Digest {
    let mut hasher = Sha256::new();
    parts.iter().for_each(|part| hasher.update(part));
    hasher.finalize().into()
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = |byte: &u8| [byte >> 4, byte & 15].map(|digit| char::from(DIGITS[usize::from(digit)]));
    bytes.iter().flat_map(digits).collect()
}

/// The bytes that `text` writes; `None` if it holds anything but pairs of hexadecimal digits.
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |c: u8| char::from(c).to_digit(16);
    let (pairs, []) = text.as_bytes().as_chunks() else { return None };
    pairs.iter().map(|&[a, b]| Some((digit(a)? << 4 | digit(b)?) as u8)).collect()
}

/// The digest that `text` writes; `None` if it is none.
pub fn undigest(text: &str) -> Option<Digest> {
    unhex(text)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_written_and_read_back() {
        let all: Vec<u8> = (0..=255).collect();
        let text = hex(&all);
        assert!(text.starts_with("000102") && text.ends_with("fdfeff"));
        assert_eq!(unhex(&text), Some(all));
        for wrong in ["f", "+f", "0g", "é"] {
            assert_eq!(unhex(wrong), None, "{wrong}");
        }
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(hex(&digest_of(&[])), empty);
        assert_eq!(undigest(empty), Some(digest_of(&[b"", b""])));
        assert_eq!(undigest(&empty[2..]), None);
    }
}
