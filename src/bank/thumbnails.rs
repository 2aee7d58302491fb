//! Small pictures of the images that reference features come from, so that people can look at them.

use std::collections::{BTreeMap, BTreeSet};

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensorError, SafeTensors};

/// Numbers in a line of the index.
const LINE: usize = 6;
/// The tensors.
const INDEX: &str = "thumbnails.index";
const JPEG: &str = "thumbnails.jpeg";

/// A small picture of an image.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Thumbnail {
    /// Rows and columns of patches that the image has.
    pub grid: (u32, u32),
    /// The JPEG file.
    pub jpeg: Vec<u8>,
}

/// The thumbnails of a bank, by number of the source and of the frame.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Thumbnails(BTreeMap<(u32, u32), Thumbnail>);

impl Thumbnails {
    /// True without any.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Number of pictures.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Bytes of all pictures.
    pub fn bytes(&self) -> usize {
        self.0.values().map(|one| one.jpeg.len()).sum()
    }

    /// Takes that of a frame of a source.
    pub fn put(&mut self, source: u32, frame: u32, thumbnail: Thumbnail) {
        self.0.insert((source, frame), thumbnail);
    }

    /// That of a frame of a source.
    pub fn of(&self, source: u32, frame: u32) -> Option<&Thumbnail> {
        self.0.get(&(source, frame))
    }

    /// Those of the frames that are `needed`, under the new `numbers` of their sources, which `needed` has already.
    pub(super) fn some(&self, needed: &BTreeSet<(u32, u32)>, numbers: &[u32]) -> Thumbnails {
        let new = |((source, frame), one): (&(u32, u32), &Thumbnail)| {
            let source = *numbers.get(*source as usize)?;
            needed.contains(&(source, *frame)).then(|| ((source, *frame), one.clone()))
        };
        Thumbnails(self.0.iter().filter_map(new).collect())
    }

    /// Index and pictures as they lie in the file: U32 `[M, 6]` (source, frame, rows and columns of its grid, first byte,
    /// bytes) and U8 `[bytes]`.
    ///
    /// Pictures beyond 4 GiB are left out.
    pub(super) fn to_numbers(&self) -> (Vec<u32>, Vec<u8>) {
        let (mut index, mut bytes) = (Vec::new(), Vec::new());
        for ((source, frame), Thumbnail { grid, jpeg }) in &self.0 {
            let (Ok(first), Ok(length)) = (u32::try_from(bytes.len()), u32::try_from(jpeg.len())) else {
                break;
            };
            index.extend([*source, *frame, grid.0, grid.1, first, length]);
            bytes.extend_from_slice(jpeg);
        }
        (index, bytes)
    }

    /// The tensors of [`Thumbnails::to_numbers`].
    pub(super) fn tensors<'a>(
        index: &'a [u32],
        bytes: &'a [u8],
    ) -> Result<[(String, TensorView<'a>); 2], SafeTensorError> {
        let lines = vec![index.len() / LINE, LINE];
        let index = TensorView::new(Dtype::U32, lines, bytemuck::cast_slice(index))?;
        let bytes = TensorView::new(Dtype::U8, vec![bytes.len()], bytes)?;
        Ok([(INDEX.to_owned(), index), (JPEG.to_owned(), bytes)])
    }

    /// Those of a file; none if it has none.
    ///
    /// # Errors
    /// If they are damaged.
    pub(super) fn read(tensors: &SafeTensors<'_>) -> Result<Thumbnails, String> {
        let (Ok(index), Ok(bytes)) = (tensors.tensor(INDEX), tensors.tensor(JPEG)) else {
            return Ok(Thumbnails::default());
        };
        let sound = index.dtype() == Dtype::U32 && index.shape().get(1) == Some(&LINE);
        if !sound || bytes.dtype() != Dtype::U8 {
            return Err("its thumbnails are not U8, or their index is not U32 [M, 6]".to_owned());
        }
        let numbers: Vec<u32> =
            index.data().as_chunks::<4>().0.iter().map(|b| u32::from_le_bytes(*b)).collect();
        // Each picture has bytes of its own: no small file becomes a large one in memory.
        let total: u64 = numbers.as_chunks::<LINE>().0.iter().map(|line| u64::from(line[5])).sum();
        if total > bytes.data().len() as u64 {
            return Err("its thumbnails are larger than they are".to_owned());
        }
        let line = |line: &[u32; LINE]| {
            let [source, frame, rows, cols, first, length] = *line;
            let jpeg = bytes.data().get(first as usize..)?.get(..length as usize)?.to_vec();
            Some(((source, frame), Thumbnail { grid: (rows, cols), jpeg }))
        };
        let all = numbers.as_chunks::<LINE>().0.iter().map(line).collect::<Option<_>>();
        all.map(Thumbnails).ok_or_else(|| "its thumbnails reach beyond their end".to_owned())
    }
}
