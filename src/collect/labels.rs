//! Label masks: found by the image's stem, read as class numbers, brought to the patch grid.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::inputs::{Input, InputKind};
use crate::grid::{Grid, same_shape};
use crate::views::Window;

/// What the stem of an image may end with that its label's stem does not.
const IMAGE_ENDINGS: [&str; 3] = ["_leftImg8bit", "_raw_data", "_rgb"];
/// What may follow the image's stem in that of its label.
const LABEL_ENDINGS: [&str; 12] = [
    "",
    "_L",
    "_P",
    "_label",
    "_labels",
    "_mask",
    "_labelIds",
    "_labelTrainIds",
    "_gtFine_labelIds",
    "_gtCoarse_labelIds",
    "_labels_semantic",
    "_semantic_ood",
];

/// Why labels cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LabelError {
    /// The folder cannot be read.
    #[error("cannot read the label folder {path}: {source}", path = path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Some images have no mask.
    #[error("{count} of {of} images have no label in {folder} (same stem, or stem + _L, _labelIds ...), such as {some}; name the folder that has a mask for each", folder = folder.display())]
    Missing {
        /// The folder.
        folder: PathBuf,
        /// Images without.
        count: usize,
        /// Images in all.
        of: usize,
        /// The first few.
        some: String,
    },
    /// Several masks fit one image.
    #[error("{image} has several labels: {a} and {b}; keep one, or name their folders as the images' are", image = image.display(), a = a.display(), b = b.display())]
    Several {
        /// The image.
        image: PathBuf,
        /// One mask.
        a: PathBuf,
        /// Another.
        b: PathBuf,
    },
    /// A mask of another shape than its picture.
    #[error("the label mask {path} has {mask_w}x{mask_h} pixels and its picture {image_w}x{image_h}, which is another shape (is the picture turned by its EXIF tag, or is it the mask of another one?); make masks of the picture as it is shown", path = path.display(), mask_w = mask.0, mask_h = mask.1, image_w = image.0, image_h = image.1)]
    Shape {
        /// The mask.
        path: PathBuf,
        /// Its width and height.
        mask: (usize, usize),
        /// Width and height of the picture, turned as it is shown.
        image: (usize, usize),
    },
    /// A mask that cannot be read as class numbers.
    #[error("cannot read the label mask {path}: {why}; it must be a grey or palette PNG whose values are class numbers", path = path.display())]
    Unreadable {
        /// The mask.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}

/// Gives each still image its mask in `folder` (searched with all folders below it).
///
/// # Errors
/// [`LabelError::Missing`] names some of the images without; also videos have none.
pub fn attach_labels(inputs: &mut [Input], folder: &Path) -> Result<(), LabelError> {
    let mut masks: HashMap<String, Vec<PathBuf>> = HashMap::new();
    let mut folders = vec![(folder.to_owned(), 0)];
    while let Some((at, depth)) = folders.pop() {
        let wrong = |source| LabelError::Folder { path: at.clone(), source };
        for entry in std::fs::read_dir(&at).map_err(wrong)? {
            let path = entry.map_err(wrong)?.path();
            if path.is_dir() && depth < 32 {
                folders.push((path, depth + 1));
            } else if path.is_file()
                && let Some(stem) = path.file_stem().and_then(|s| s.to_str())
            {
                masks.entry(stem.to_owned()).or_default().push(path);
            }
        }
    }
    let (of, mut missing) = (inputs.len(), Vec::new());
    for input in inputs {
        match find(input, &masks)? {
            Some(path) => input.label = Some(path),
            None => missing.push(input.name.clone()),
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let some = missing[..missing.len().min(3)].join(", ");
    Err(LabelError::Missing { folder: folder.to_owned(), count: missing.len(), of, some })
}

/// The stems that the label of an image with this stem may have, the likeliest first.
pub fn label_stems(stem: &str) -> impl Iterator<Item = String> {
    let core = IMAGE_ENDINGS.iter().find_map(|e| stem.strip_suffix(e)).unwrap_or(stem);
    std::iter::once(stem.to_owned()).chain(LABEL_ENDINGS.iter().map(move |e| format!("{core}{e}")))
}

fn find(input: &Input, masks: &HashMap<String, Vec<PathBuf>>) -> Result<Option<PathBuf>, LabelError> {
    let stem = input.path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
    if input.kind == InputKind::Video {
        return Ok(None);
    }
    let parent = |p: &Path| p.parent().and_then(Path::file_name).map(|n| n.to_owned());
    for name in label_stems(&stem) {
        match masks.get(&name).map(Vec::as_slice) {
            None | Some([]) => {}
            Some([one]) => return Ok(Some(one.clone())),
            Some(several @ [a, b, ..]) => {
                let mut near = several.iter().filter(|p| parent(p) == parent(&input.path));
                return match (near.next(), near.next()) {
                    (Some(one), None) => Ok(Some(one.clone())),
                    _ => Err(LabelError::Several { image: input.path.clone(), a: a.clone(), b: b.clone() }),
                };
            }
        }
    }
    Ok(None)
}

/// A header may claim any size; nothing is allocated for more pixels than this.
const MOST_PIXELS: u64 = 1 << 28;

/// A picture of class numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelMask {
    /// Width in pixels.
    pub width: usize,
    /// Height in pixels.
    pub height: usize,
    /// `height x width` class numbers.
    pub values: Vec<u16>,
}

impl LabelMask {
    /// Reads a mask: the values of a grey image, the indices of a palette image, or the one value of
    /// colours that are grey.
    ///
    /// # Errors
    /// [`LabelError::Unreadable`]: not an image, lossy, or in colours.
    pub fn read(path: &Path) -> Result<LabelMask, LabelError> {
        let wrong = |why: String| LabelError::Unreadable { path: path.to_owned(), why };
        let bytes = std::fs::read(path).map_err(|e| wrong(e.to_string()))?;
        LabelMask::decode(&bytes).map_err(wrong)
    }

    /// The same from a file's bytes; the content decides the format.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn decode(bytes: &[u8]) -> Result<LabelMask, String> {
        if bytes.starts_with(b"\x89PNG") { png_mask(bytes) } else { other_mask(bytes) }
    }

    /// Whether the mask has the shape of a picture of this width and height, at any resolution.
    pub fn fits(&self, picture: (usize, usize)) -> bool {
        same_shape(picture, (self.width, self.height))
    }

    /// Refuses the mask in `path` for a picture of another shape.
    ///
    /// # Errors
    /// [`LabelError::Shape`].
    pub fn must_fit(&self, path: &Path, image: (usize, usize)) -> Result<(), LabelError> {
        match self.fits(image) {
            true => Ok(()),
            false => Err(LabelError::Shape { path: path.to_owned(), mask: (self.width, self.height), image }),
        }
    }

    /// Which patches of `grid` are void: those whose centre lies on a pixel with one of the values
    /// `void` (the mask covers the same picture as the grid, at any resolution).
    pub fn void_patches(&self, grid: Grid, void: &[u16], out: &mut Vec<bool>) {
        out.clear();
        out.extend(self.centres(grid).map(|value| value.is_some_and(|value| void.contains(&value))));
    }

    /// The class of each patch of `grid`: that of the pixel at its centre.
    pub fn patch_classes(&self, grid: Grid, out: &mut Vec<u16>) {
        out.clear();
        out.extend(self.centres(grid).map(|value| value.unwrap_or(u16::MAX)));
    }

    /// Which patches of `grid` are covered by `values`: those with more than half of their pixels of them.
    pub fn covered_patches(&self, grid: Grid, values: &[u16], out: &mut Vec<bool>) {
        out.clear();
        for row in 0..grid.rows {
            let lines = row * self.height / grid.rows..(row + 1) * self.height / grid.rows;
            out.extend((0..grid.cols).map(|col| {
                let columns = col * self.width / grid.cols..(col + 1) * self.width / grid.cols;
                let pixels = lines.clone().flat_map(|y| &self.values[y * self.width..][columns.clone()]);
                let (mut all, mut inside) = (0, 0);
                for value in pixels {
                    all += 1;
                    inside += usize::from(values.contains(value));
                }
                2 * inside > all
            }));
        }
    }

    /// The part of the mask that `window` shows, to the nearest pixel, one at least.
    pub fn within(&self, window: Window) -> LabelMask {
        let edges = |from: f64, to: f64, pixels: usize| {
            let edge = |share: f64| (share * pixels as f64).round() as usize;
            let from = edge(from).min(pixels.saturating_sub(1));
            from..edge(to).clamp(from + 1, pixels.max(from + 1))
        };
        let columns = edges(window.left, window.right, self.width);
        let lines = edges(window.top, window.bottom, self.height);
        let (width, height) = (columns.len(), lines.len());
        let rows = self.values.chunks_exact(self.width.max(1)).skip(lines.start).take(height);
        LabelMask { width, height, values: rows.flat_map(|row| &row[columns.clone()]).copied().collect() }
    }

    fn centres(&self, grid: Grid) -> impl Iterator<Item = Option<u16>> {
        (0..grid.len()).map(move |patch| {
            let (row, col) = (patch / grid.cols, patch % grid.cols);
            let y = (2 * row + 1) * self.height / (2 * grid.rows);
            let x = (2 * col + 1) * self.width / (2 * grid.cols);
            self.values.get(y * self.width + x).copied()
        })
    }
}

/// The raw samples of a PNG; `image` would replace palette indices by their colours.
fn png_mask(bytes: &[u8]) -> Result<LabelMask, String> {
    let mut decoder = png::Decoder::new(std::io::Cursor::new(bytes));
    decoder.set_transformations(png::Transformations::IDENTITY);
    let mut reader = decoder.read_info().map_err(|e| e.to_string())?;
    let (width, height) = reader.info().size();
    if u64::from(width) * u64::from(height) > MOST_PIXELS {
        return Err(format!("{width}x{height} pixels are more than any camera's"));
    }
    let mut data = vec![0; reader.output_buffer_size().ok_or("it is too large")?];
    let info = reader.next_frame(&mut data).map_err(|e| e.to_string())?;
    let (width, height) = (info.width as usize, info.height as usize);
    let (depth, channels) = (info.bit_depth as usize, info.color_type.samples());
    let colours = channels
        - usize::from(matches!(info.color_type, png::ColorType::GrayscaleAlpha | png::ColorType::Rgba));
    let mut values = Vec::with_capacity(width * height);
    for line in data.chunks_exact(info.line_size.max(1)).take(height) {
        let sample = |i: usize| -> u16 {
            match depth {
                16 => u16::from_be_bytes([line[2 * i], line[2 * i + 1]]),
                8 => u16::from(line[i]),
                _ => u16::from(line[i * depth / 8] >> (8 - depth - i * depth % 8)) & ((1 << depth) - 1),
            }
        };
        for x in 0..width {
            let value = sample(x * channels);
            if (1..colours).any(|c| sample(x * channels + c) != value) {
                return Err("it is in colours".to_owned());
            }
            values.push(value);
        }
    }
    Ok(LabelMask { width, height, values })
}

fn other_mask(bytes: &[u8]) -> Result<LabelMask, String> {
    if bytes.starts_with(b"\xff\xd8") {
        return Err("JPEG changes the values".to_owned());
    }
    if bytes.starts_with(b"RIFF") && bytes.get(8..16) == Some(b"WEBPVP8 ") {
        return Err("lossy WebP changes the values".to_owned());
    }
    let image = image::load_from_memory(bytes).map_err(|e| e.to_string())?.into_rgb8();
    if image.pixels().any(|p| p.0[0] != p.0[1] || p.0[1] != p.0[2]) {
        return Err("it is in colours".to_owned());
    }
    let (width, height) = (image.width() as usize, image.height() as usize);
    Ok(LabelMask { width, height, values: image.pixels().map(|p| u16::from(p.0[0])).collect() })
}
