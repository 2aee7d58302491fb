//! HDF5, as the toolkit of SegmentMeIfYouCan writes it: a file per picture, its map the data set `value`.

use hdf5_reader::{ByteOrder, Dataset, Datatype, Hdf5File};

use super::numbers::{Element, Layout};
use super::{MapInfo, ScoreImage, sides};

/// First bytes of the format.
pub const MAGIC: &[u8] = b"\x89HDF\r\n\x1a\n";
/// What the toolkit calls a map.
const VALUE: &str = "value";

/// The map of a file that holds one.
///
/// # Errors
/// What is wrong, in words.
pub fn decode(bytes: &[u8]) -> Result<ScoreImage, String> {
    only(&Hdf5File::from_bytes(bytes).map_err(told)?).and_then(|set| map(&set))
}

/// What its header says.
///
/// # Errors
/// What is wrong, in words.
pub fn describe(bytes: &[u8]) -> Result<MapInfo, String> {
    only(&Hdf5File::from_bytes(bytes).map_err(told)?).and_then(|set| info(&set))
}

/// The names of the data sets that lie in no group, in order.
///
/// # Errors
/// What is wrong, in words.
pub fn names(file: &Hdf5File) -> Result<Vec<String>, String> {
    let mut names: Vec<String> = sets(file)?.iter().map(|set| plain(set).to_owned()).collect();
    names.sort();
    Ok(names)
}

/// The map in a data set.
///
/// # Errors
/// What is wrong, in words.
pub fn map(set: &Dataset) -> Result<ScoreImage, String> {
    let layout = layout(set)?;
    layout.decode(&set.read_raw_bytes().map_err(told)?)
}

/// What is said of it.
///
/// # Errors
/// What is wrong, in words.
pub fn info(set: &Dataset) -> Result<MapInfo, String> {
    let Layout { width, height, element, .. } = layout(set)?;
    Ok(MapInfo { width, height, wide: element == Element::F64 })
}

/// What the library says, in words.
pub fn told(error: hdf5_reader::error::Error) -> String {
    format!("the HDF5 file cannot be read: {error}")
}

fn sets(file: &Hdf5File) -> Result<Vec<Dataset>, String> {
    file.root_group().and_then(|root| root.datasets()).map_err(told)
}

/// The name without the groups above.
fn plain(set: &Dataset) -> &str {
    set.name().rsplit('/').next().unwrap_or_default()
}

fn only(file: &Hdf5File) -> Result<Dataset, String> {
    let mut sets = sets(file)?;
    let at = if sets.len() == 1 { Some(0) } else { sets.iter().position(|set| plain(set) == VALUE) };
    match at {
        Some(at) => Ok(sets.swap_remove(at)),
        None => Err(format!(
            "it holds {} data sets outside of groups (those in groups are not read), and none of them is called \
             \"{VALUE}\"; a file of all pictures, its data sets named as their masks, is given itself: --scores FILE.hdf5",
            sets.len()
        )),
    }
}

fn layout(set: &Dataset) -> Result<Layout, String> {
    let (element, order) = match set.dtype() {
        Datatype::FloatingPoint { size: 2, byte_order } => (Element::F16, byte_order),
        Datatype::FloatingPoint { size: 4, byte_order } => (Element::F32, byte_order),
        Datatype::FloatingPoint { size: 8, byte_order } => (Element::F64, byte_order),
        other => return Err(format!("its numbers are {other:?}; save them as float16, float32 or float64")),
    };
    let shape: Result<Vec<usize>, _> = set.shape().iter().map(|side| usize::try_from(*side)).collect();
    let (height, width) = sides(&shape.map_err(|e| e.to_string())?)?;
    Ok(Layout { height, width, element, big_endian: *order == ByteOrder::BigEndian, fortran: false })
}
