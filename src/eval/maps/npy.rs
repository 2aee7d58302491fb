//! `.npy`, formats 1.0 to 3.0: a Python dictionary as header, then the numbers.

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

/// The layout and where the numbers start.
fn layout(bytes: &[u8]) -> Result<(Layout, usize), String> {
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
    let shape = shape(value("shape")?)?;
    // An axis of length 1 leaves the order of the others as it is.
    let (height, width) = sides(&shape)?;
    Ok((Layout { height, width, element, big_endian, fortran }, end))
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
