//! The bytes of a bank's file: mapped, or read into memory, where nothing that happens to the file can reach them.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use memmap2::{Mmap, MmapMut};

/// Where the bytes of a bank's file are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    /// Mapped: as fast to open as can be. A file cut short in place ends the program with SIGBUS.
    Mapped,
    /// In memory, unless they are more than half of what is available: for what runs long.
    Memory,
}

/// The `length` bytes of `file`; `path` is its name, for the log.
///
/// # Errors
/// If it cannot be read or mapped, or is shorter by now.
pub(super) fn of(file: &File, path: &Path, length: u64, keep: Keep) -> io::Result<Mmap> {
    if keep == Keep::Memory {
        match too_large(length, available()) {
            None => return read(file, length),
            Some(why) => tracing::warn!(
                bank = %path.display(),
                "the bank is mapped, not read into memory, because {why}; replace its file by renaming, never in place"
            ),
        }
    }
    // SAFETY: the file is only read. farout never writes a bank in place but renames a new one
    // over it, which leaves this mapping on the old file.
    unsafe { Mmap::map(file) }
}

/// Reads into memory that belongs to no file.
fn read(mut file: &File, length: u64) -> io::Result<Mmap> {
    let length = usize::try_from(length).map_err(io::Error::other)?;
    let mut bytes = MmapMut::map_anon(length)?;
    file.read_exact(&mut bytes)?;
    bytes.make_read_only()
}

/// Why `length` bytes are too many for `available` ones, if they are.
fn too_large(length: u64, available: Option<u64>) -> Option<String> {
    let available = available.filter(|available| length > available / 2)?;
    let mib = |bytes: u64| bytes.div_ceil(1 << 20);
    Some(format!("its {} MiB are more than half of the {} MiB available", mib(length), mib(available)))
}

/// Bytes of memory that this process may still take, where the system tells.
fn available() -> Option<u64> {
    let meminfo = fs::read_to_string("/proc/meminfo").ok()?;
    let free = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let free = free.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? << 10;
    // The limit of a container; "max" is none.
    let limit =
        fs::read_to_string("/sys/fs/cgroup/memory.max").ok().and_then(|text| text.trim().parse().ok());
    Some(limit.map_or(free, |limit: u64| limit.min(free)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_in_memory_outlive_their_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bytes");
        // More than a page: past the end of a mapped file that is cut short, reading is SIGBUS.
        let text = vec![7u8; 100_000];
        fs::write(&path, &text).unwrap();
        let bytes = of(&File::open(&path).unwrap(), &path, 100_000, Keep::Memory).unwrap();
        fs::write(&path, "").unwrap();
        assert_eq!(bytes[..], text[..]);
        // Shorter than it was when its length was asked.
        let short = of(&File::open(&path).unwrap(), &path, 8, Keep::Memory).unwrap_err();
        assert_eq!(short.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn more_than_half_of_the_memory_is_too_much() {
        assert!(available().unwrap() > 0);
        assert_eq!(too_large(u64::MAX, None), None);
        assert_eq!(too_large(1 << 29, Some(1 << 30)), None);
        let why = too_large((1 << 29) + 1, Some(1 << 30)).unwrap();
        assert_eq!(why, "its 513 MiB are more than half of the 1024 MiB available");
    }
}
