//! What was given as images: folders, globs, single files and videos, listed in natural order.

use std::cmp::Ordering;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::source::{Source, places};

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum InputKind {
    /// One picture.
    Still,
    /// A video.
    Video,
}

/// One file to read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Input {
    /// The file.
    pub path: PathBuf,
    /// The name of its folder and its own: what it is called in the bank, however it was given.
    pub name: String,
    /// What it holds.
    pub kind: InputKind,
    /// Its label mask, if there are labels.
    pub label: Option<PathBuf>,
}

/// Why the images cannot be listed.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// Nothing there, or unreadable.
    #[error("cannot read {path}: {source}", path = path.display())]
    Unreadable {
        /// What was given, or a folder below it.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A pattern that is none, or that fits nothing.
    #[error("{pattern}: {why}; give a folder, an image, a video, or a quoted glob such as 'drive/*.jpg'")]
    Pattern {
        /// What was given.
        pattern: String,
        /// What is wrong with it.
        why: String,
    },
    /// A file of some other kind.
    #[error("{path} is neither an image (JPEG, PNG, WebP, BMP) nor a video", path = path.display())]
    NeitherKind {
        /// The file.
        path: PathBuf,
    },
}

/// Opens an input as a stream of its frames.
pub type Open<'a> = dyn FnMut(&Input) -> anyhow::Result<Box<dyn Source>> + 'a;

/// Lists the images and videos that `given` names: folders (with all below them; files of other
/// kinds and hidden ones are passed over), globs, files. Natural order, each file once.
///
/// # Errors
/// [`InputError`]: nothing there, or a file given by name that is neither image nor video.
pub fn list(given: &[String]) -> Result<Vec<Input>, InputError> {
    let mut found = Vec::new();
    for text in given {
        let path = Path::new(text);
        let before = found.len();
        match std::fs::metadata(path) {
            Ok(about) if about.is_dir() => walk(path, 0, &mut found)?,
            Ok(_) => {
                found.push(input(path)?.ok_or_else(|| InputError::NeitherKind { path: path.to_owned() })?)
            }
            Err(_) if text.contains(['*', '?', '[']) => {
                let wrong = |why: String| InputError::Pattern { pattern: text.clone(), why };
                for path in places::matching(text).map_err(wrong)? {
                    if path.is_file() {
                        found.extend(input(&path)?);
                    }
                }
            }
            Err(source) => {
                return Err(InputError::Unreadable { path: path.to_owned(), source });
            }
        }
        if found.len() == before {
            return Err(InputError::Pattern {
                pattern: text.clone(),
                why: "no image or video there".to_owned(),
            });
        }
    }
    found.sort_by(|a, b| natural(&a.path.to_string_lossy(), &b.path.to_string_lossy()));
    found.dedup_by(|a, b| a.path == b.path);
    Ok(found)
}

fn walk(folder: &Path, depth: usize, found: &mut Vec<Input>) -> Result<(), InputError> {
    // A link that leads back up would go on for ever.
    if depth > 32 {
        return Ok(());
    }
    let unreadable = |source| InputError::Unreadable { path: folder.to_owned(), source };
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        let path = entry.path();
        // Follows links; a broken one is passed over like any other file that is no image.
        match std::fs::metadata(&path) {
            Ok(about) if about.is_dir() => walk(&path, depth + 1, found)?,
            Ok(about) if about.is_file() => found.extend(input(&path)?),
            _ => {}
        }
    }
    Ok(())
}

/// The file as an input; `None` if it is neither image nor video. Content decides, since endings lie.
fn input(path: &Path) -> Result<Option<Input>, InputError> {
    use std::io::Read;
    let mut head = Vec::with_capacity(512);
    let read = std::fs::File::open(path).and_then(|f| f.take(512).read_to_end(&mut head));
    read.map_err(|source| InputError::Unreadable { path: path.to_owned(), source })?;
    Ok(kind(&head, path).map(|kind| Input { path: path.to_owned(), name: name(path), kind, label: None }))
}

fn kind(head: &[u8], path: &Path) -> Option<InputKind> {
    let at = |offset: usize, magic: &[u8]| head.get(offset..offset + magic.len()) == Some(magic);
    let riff = |what: &[u8]| at(0, b"RIFF") && at(8, what);
    if at(0, b"\xff\xd8\xff") || at(0, b"\x89PNG\r\n\x1a\n") || riff(b"WEBP") || at(0, b"BM") {
        return Some(InputKind::Still);
    }
    let transport_stream = at(0, b"G") && at(188, b"G");
    if at(4, b"ftyp")
        || at(4, b"moov")
        || at(0, b"\x1a\x45\xdf\xa3")
        || riff(b"AVI ")
        || at(0, b"\0\0\x01\xba")
        || transport_stream
    {
        return Some(InputKind::Video);
    }
    kind_by_ending(path)
}

/// What a file should hold by its name.
pub(super) fn kind_by_ending(path: &Path) -> Option<InputKind> {
    let ending = path.extension()?.to_str()?.to_ascii_lowercase();
    match ending.as_str() {
        // Named like an image but not one: the decoder's error will name it.
        "jpg" | "jpeg" | "png" | "webp" | "bmp" => Some(InputKind::Still),
        "mp4" | "m4v" | "mov" | "mkv" | "webm" | "avi" | "ts" | "mts" | "m2ts" | "mpg" | "mpeg" | "h264"
        | "h265" | "flv" | "3gp" | "wmv" => Some(InputKind::Video),
        _ => None,
    }
}

/// Folder and file name with a `/` between.
fn name(path: &Path) -> String {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let last = |p: Option<&std::ffi::OsStr>| p.map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let folder = last(absolute.parent().and_then(Path::file_name));
    name_of(&folder, &last(absolute.file_name()))
}

/// What `file` in `folder` is called.
pub(super) fn name_of(folder: &str, file: &str) -> String {
    format!("{folder}/{file}")
}

/// Compares texts with the numbers in them by value: `f9` before `f10`.
pub(crate) fn natural(a: &str, b: &str) -> Ordering {
    let (mut x, mut y) = (a.as_bytes(), b.as_bytes());
    loop {
        let (Some(p), Some(q)) = (x.first(), y.first()) else {
            return x.len().cmp(&y.len()).then_with(|| a.cmp(b));
        };
        if p.is_ascii_digit() && q.is_ascii_digit() {
            let digits = |s: &[u8]| s.iter().take_while(|c| c.is_ascii_digit()).count();
            let ((m, rest_x), (n, rest_y)) = (x.split_at(digits(x)), y.split_at(digits(y)));
            let value = |s: &[u8]| s.iter().position(|c| *c != b'0').unwrap_or(s.len());
            let (m, n) = (&m[value(m)..], &n[value(n)..]);
            match m.len().cmp(&n.len()).then_with(|| m.cmp(n)) {
                Ordering::Equal => (x, y) = (rest_x, rest_y),
                other => return other,
            }
        } else if p == q {
            (x, y) = (&x[1..], &y[1..]);
        } else {
            return p.cmp(q);
        }
    }
}
