//! `.npy`, formats 1.0 to 3.0: a Python dictionary as header, then the numbers.

use std::io::{Read, Seek, SeekFrom};

use super::numbers::{Element, Layout};
use super::{MapInfo, ScoreImage, sides};

/// First bytes of the format.
pub const MAGIC: &[u8] = b"\x93NUMPY";

/// The map of an array file.
///
/// # Errors
/// What is wrong, in words.
pub fn decode(bytes: &[u8]) -> Result<ScoreImage, String> {
    let (layout, start) = layout(bytes)?;
    layout.decode(&bytes[start..])
}

/// What the header says.
///
/// # Errors
/// What is wrong, in words.
pub fn describe(bytes: &[u8]) -> Result<MapInfo, String> {
    let (layout, _) = layout(bytes)?;
    let wide = layout.element == Element::F64;
    Ok(MapInfo { width: layout.width, height: layout.height, wide })
}

/// A stack of maps of one size: an array of three axes (beside such of length 1), the first of which counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stack {
    /// Maps.
    pub count: usize,
    /// How each of them lies.
    layout: Layout,
    /// Where the first one starts.
    start: usize,
}

impl Stack {
    /// The stack that a header describes; `None` if it is a single map.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn describe(bytes: &[u8]) -> Result<Option<Stack>, String> {
        let (header, start) = header(bytes)?;
        let long: Vec<usize> = header.shape.iter().copied().filter(|n| *n != 1).collect();
        let [count, height, width] = long[..] else { return Ok(None) };
        if header.fortran {
            return Err(
                "its maps do not lie one after the other; save numpy.ascontiguousarray of it".to_owned()
            );
        }
        sides(&[height, width])?;
        Ok(Some(Stack { count, layout: header.layout((height, width)), start }))
    }

    /// Whether a file of `length` bytes holds what its header promises.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn fits(&self, length: u64) -> Result<(), String> {
        let numbers = (self.count as u64).checked_mul(self.layout.bytes() as u64);
        let want = numbers.and_then(|numbers| numbers.checked_add(self.start as u64));
        match want {
            Some(want) if want == length => Ok(()),
            Some(want) => Err(format!("it has {length} bytes, its header promises {want}")),
            None => Err("its header promises more than any file holds".to_owned()),
        }
    }

    /// What is said of each map.
    pub fn info(&self) -> MapInfo {
        let Layout { width, height, element, .. } = self.layout;
        MapInfo { width, height, wide: element == Element::F64 }
    }

    /// Reads the map `number` of it.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn read(&self, file: &mut (impl Read + Seek), number: usize) -> Result<ScoreImage, String> {
        let length = self.layout.bytes();
        let at = (number as u64).checked_mul(length as u64).and_then(|at| at.checked_add(self.start as u64));
        let at = at.ok_or("its header promises more than any file holds")?;
        let mut bytes = vec![0; length];
        file.seek(SeekFrom::Start(at))
            .and_then(|_| file.read_exact(&mut bytes))
            .map_err(|e| e.to_string())?;
        self.layout.decode(&bytes)
    }
}

/// What a header says.
struct Header {
    shape: Vec<usize>,
    element: Element,
    big_endian: bool,
    fortran: bool,
}

impl Header {
    fn layout(&self, (height, width): (usize, usize)) -> Layout {
        Layout { height, width, element: self.element, big_endian: self.big_endian, fortran: self.fortran }
    }
}

/// The layout and where the numbers start.
fn layout(bytes: &[u8]) -> Result<(Layout, usize), String> {
    let (header, end) = header(bytes)?;
    // An axis of length 1 leaves the order of the others as it is.
    Ok((header.layout(sides(&header.shape)?), end))
}

/// The header and where the numbers start.
fn header(bytes: &[u8]) -> Result<(Header, usize), String> {
    let cut_off = || "the .npy header is cut off".to_owned();
    let major = *bytes.get(6).ok_or_else(cut_off)?;
    let (length, start) = match (major, bytes.get(8..12)) {
        (1, Some(b)) => (usize::from(u16::from_le_bytes([b[0], b[1]])), 10),
        (2 | 3, Some(b)) => (u32::from_le_bytes([b[0], b[1], b[2], b[3]]) as usize, 12),
        (1..=3, None) => return Err(cut_off()),
        _ => return Err(format!("version {major} of .npy is unknown")),
    };
    let end = start + length;
    let header = std::str::from_utf8(bytes.get(start..end).ok_or_else(cut_off)?)
        .map_err(|e| format!("the .npy header is no text: {e}"))?;
    let value = |key: &str| {
        value(header, key).ok_or_else(|| format!("the .npy header lacks {key}: {}", header.trim_end()))
    };
    let descr = value("descr")?;
    let plain = descr.trim_matches(['\'', '"']);
    let (big_endian, element) = match plain {
        "<f2" | "=f2" => (false, Element::F16),
        "<f4" | "=f4" => (false, Element::F32),
        "<f8" | "=f8" => (false, Element::F64),
        ">f2" => (true, Element::F16),
        ">f4" => (true, Element::F32),
        ">f8" => (true, Element::F64),
        _ => {
            return Err(format!("it holds numbers of type {descr}; save it as float16, float32 or float64"));
        }
    };
    let fortran = match value("fortran_order")? {
        "True" => true,
        "False" => false,
        other => return Err(format!("fortran_order is {other}")),
    };
    Ok((Header { shape: shape(value("shape")?)?, element, big_endian, fortran }, end))
}

/// The text of one value of the dictionary.
fn value<'a>(header: &'a str, key: &str) -> Option<&'a str> {
    let at = ['\'', '"'].iter().find_map(|quote| {
        let quoted = format!("{quote}{key}{quote}");
        header.find(&quoted).map(|at| at + quoted.len())
    })?;
    let rest = header[at..].trim_start().strip_prefix(':')?.trim_start();
    let end = match rest.chars().next()? {
        '(' => rest.find(')')? + 1,
        '[' => rest.find(']')? + 1,
        quote @ ('\'' | '"') => rest[1..].find(quote)? + 2,
        _ => rest.find([',', '}'])?,
    };
    Some(rest[..end].trim())
}

fn shape(text: &str) -> Result<Vec<usize>, String> {
    let inner = text.strip_prefix('(').and_then(|t| t.strip_suffix(')'));
    let inner = inner.ok_or_else(|| format!("the shape {text} is none"))?;
    let parts = inner.split(',').map(str::trim).filter(|part| !part.is_empty());
    parts
        .map(|part| {
            part.parse().map_err(|why: std::num::ParseIntError| format!("the shape {text} is none: {why}"))
        })
        .collect()
}
