//! Still images as a stream: one picture, a folder, or a glob, in natural order. What a file
//! holds is told from its content, not from its ending.

use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use image::metadata::Orientation;
use image::{ColorType, DynamicImage, ImageDecoder, ImageReader, RgbImage};

use super::contents::{self, Contents, LeftOut};
use super::{Source, SourceError, natural_order, places};
use crate::exif;
use crate::frame::{Frame, PixelFormat};
use crate::jpeg;
use crate::pool::Pool;
use crate::stop::Stop;

/// Frames per second if nothing else is asked for.
const DEFAULT_FPS: f64 = 10.0;

/// A list of pictures read one after the other as RGB frames.
pub struct Images {
    location: String,
    files: Vec<Picture>,
    position: usize,
    fps: f64,
    bytes: Vec<u8>,
    pool: Pool<Vec<u8>>,
    stop: Stop,
}

/// A picture and what it is called.
struct Picture {
    path: PathBuf,
    name: Arc<str>,
}

impl Images {
    /// Lists the pictures at `location`; `fps` of 0 means 10 frames per second. What else lies there is
    /// told in the log.
    ///
    /// # Errors
    /// [`SourceError::Unreadable`] if there is none.
    pub fn open(location: &str, fps: f64, stop: Stop) -> Result<Images, SourceError> {
        let (images, left_out) = Self::list(location, fps, stop)?;
        left_out.log(location);
        Ok(images)
    }

    /// As [`Images::open`]; what is left out is given, not told.
    pub(super) fn list(location: &str, fps: f64, stop: Stop) -> Result<(Images, LeftOut), SourceError> {
        let (paths, left_out) = list(location)?;
        let names = names(&paths);
        let files = paths.into_iter().zip(names).collect();
        Ok((Images::of_files(location.to_owned(), files, fps, stop), left_out))
    }

    /// The given pictures with their names, in that order; `location` is what they are called
    /// together.
    pub fn of_files(location: String, files: Vec<(PathBuf, Arc<str>)>, fps: f64, stop: Stop) -> Images {
        let files = files.into_iter().map(|(path, name)| Picture { path, name }).collect();
        // Times stay far from what a duration can hold.
        let fps = if fps.is_finite() && fps > 0.0 { fps.clamp(1e-3, 1e6) } else { DEFAULT_FPS };
        Images { location, files, position: 0, fps, bytes: Vec::new(), pool: Pool::new(), stop }
    }

    /// The files that are read, in order.
    pub fn paths(&self) -> impl ExactSizeIterator<Item = &Path> {
        self.files.iter().map(|file| file.path.as_path())
    }
}

impl Source for Images {
    fn next(&mut self) -> Result<Option<Frame>, SourceError> {
        let Some(file) = self.files.get(self.position) else {
            return Ok(None);
        };
        if self.stop.asked() {
            return Ok(None);
        }
        let id = self.position as u64;
        self.position += 1;
        let mut frame = read(&file.path, &mut self.bytes, &self.pool)
            .map_err(|why| SourceError::unreadable(file.path.display().to_string(), why))?;
        frame.id = id;
        frame.pts = Duration::from_secs_f64(id as f64 / self.fps);
        frame.captured = Instant::now();
        frame.name = Arc::clone(&file.name);
        Ok(Some(frame))
    }

    fn rate(&self) -> Option<f64> {
        Some(self.fps)
    }

    fn frames(&self) -> Option<u64> {
        Some(self.files.len() as u64)
    }

    fn describe(&self) -> String {
        format!("{}, {} still images", self.location, self.files.len())
    }

    fn has_names(&self) -> bool {
        true
    }

    fn is_live(&self) -> bool {
        false
    }
}

/// Decodes one picture into a pooled RGB frame; the reason and remedy if that fails.
fn read(path: &Path, bytes: &mut Vec<u8>, pool: &Pool<Vec<u8>>) -> Result<Frame, String> {
    bytes.clear();
    std::fs::File::open(path).and_then(|mut file| file.read_to_end(bytes)).map_err(|e| e.to_string())?;
    decode(bytes, pool)
}

/// Decodes one picture into a pooled RGB frame without number, time or name.
///
/// # Errors
/// What is wrong with it, in words: no JPEG, PNG, WebP or BMP picture, or not a whole one.
pub fn decode(bytes: &[u8], pool: &Pool<Vec<u8>>) -> Result<Frame, String> {
    if jpeg::is_jpeg(bytes) {
        let (frame, orientation) = jpeg::decode(bytes, pool).map_err(|e| e.to_string())?;
        return Ok(match orientation {
            Orientation::NoTransforms => frame,
            turned => oriented(&frame, turned, pool),
        });
    }
    let damaged = |e: image::ImageError| format!("not a whole picture: {e}");
    let mut decoder = ImageReader::new(Cursor::new(bytes))
        .with_guessed_format()
        .map_err(|e| e.to_string())?
        .into_decoder()
        .map_err(damaged)?;
    let exif = decoder.exif_metadata().ok().flatten();
    let orientation = exif.and_then(|exif| exif::orientation(&exif)).unwrap_or(Orientation::NoTransforms);
    let (width, height) = decoder.dimensions();
    if decoder.color_type() == ColorType::Rgb8 && orientation == Orientation::NoTransforms {
        let mut frame = Frame::take(pool, PixelFormat::Rgb, width as usize, height as usize);
        decoder.read_image(&mut frame.pixels).map_err(damaged)?;
        return Ok(frame);
    }
    // Grey, alpha, 16 bits, or turned by its EXIF tag: rare enough to go the long way.
    let mut picture = DynamicImage::from_decoder(decoder).map_err(damaged)?;
    picture.apply_orientation(orientation);
    Ok(rgb(picture, pool))
}

/// The picture of an RGB frame, turned.
fn oriented(frame: &Frame, orientation: Orientation, pool: &Pool<Vec<u8>>) -> Frame {
    let (width, height) = (frame.width as u32, frame.height as u32);
    let Some(picture) = RgbImage::from_raw(width, height, frame.pixels.to_vec()) else {
        return frame.clone();
    };
    let mut picture = DynamicImage::ImageRgb8(picture);
    picture.apply_orientation(orientation);
    rgb(picture, pool)
}

/// A picture as a pooled RGB frame.
fn rgb(picture: DynamicImage, pool: &Pool<Vec<u8>>) -> Frame {
    let picture = picture.into_rgb8();
    let mut frame = Frame::take(pool, PixelFormat::Rgb, picture.width() as usize, picture.height() as usize);
    frame.pixels.copy_from_slice(picture.as_raw());
    frame
}

/// The pictures at `location` (a file, a folder without its sub-folders, or a glob) in natural
/// order, and what of a folder or glob is left out. Folders and hidden files do not count.
///
/// # Errors
/// [`SourceError::Unreadable`] if there is no such place or no picture in it.
fn list(location: &str) -> Result<(Vec<PathBuf>, LeftOut), SourceError> {
    let bad = |why: String| SourceError::unreadable(location, why);
    let path = Path::new(location);
    let candidates: Vec<PathBuf> = if path.is_dir() {
        let entries = std::fs::read_dir(path).map_err(|e| bad(e.to_string()))?;
        entries
            .map(|entry| entry.map(|e| e.path()))
            .collect::<Result<_, _>>()
            .map_err(|e| bad(e.to_string()))?
    } else if path.exists() {
        vec![path.to_owned()]
    } else {
        places::matching(location).map_err(bad)?
    };
    let looked_at = candidates.len();
    let (mut files, mut left_out) = (Vec::new(), LeftOut::default());
    for file in candidates.into_iter().filter(|file| !file.is_dir()) {
        // `._x.jpg` is no hidden file, but what macOS leaves beside x.jpg.
        let name = file.file_name().unwrap_or_default().as_encoded_bytes();
        if name.starts_with(b".") && !name.starts_with(b"._") {
            continue;
        }
        match contents::look(&file) {
            Ok(Contents::Picture) => files.push(file),
            Ok(contents) => left_out.add(contents),
            Err(error) => left_out.add_unreadable(&error),
        }
    }
    if files.is_empty() {
        let deeper = if path.is_dir() {
            format!("; pictures in sub-folders are read with {location}/**/*.png")
        } else {
            String::new()
        };
        let left = left_out.told().map(|told| format!(" ({told})")).unwrap_or_default();
        return Err(bad(format!("no JPEG, PNG, WebP or BMP picture among {looked_at} files{left}{deeper}")));
    }
    files.sort_by(|a, b| natural_order::compare(&a.to_string_lossy(), &b.to_string_lossy()));
    Ok((files, left_out))
}

/// What each picture is called: its file stem if all lie in one folder, else its path without
/// the ending, from the folder that all have in common.
fn names(paths: &[PathBuf]) -> Vec<Arc<str>> {
    let mut root = paths.first().and_then(|p| p.parent()).unwrap_or(Path::new("")).to_owned();
    for path in paths {
        while !path.starts_with(&root) && root.pop() {}
    }
    let name =
        |path: &PathBuf| path.strip_prefix(&root).unwrap_or(path).with_extension("").to_string_lossy().into();
    paths.iter().map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{GrayImage, ImageFormat, Luma, Rgb, RgbImage};

    fn all(location: &Path, fps: f64) -> Vec<Result<Frame, String>> {
        let mut images = Images::open(location.to_str().unwrap(), fps, Stop::new()).unwrap();
        std::iter::from_fn(|| images.next().map_err(|e| e.to_string()).transpose()).collect()
    }

    #[test]
    fn content_decides_and_order_is_natural() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        RgbImage::from_pixel(5, 3, Rgb([10, 20, 30]))
            .save_with_format(at("f10.jpg"), ImageFormat::Png)
            .unwrap();
        GrayImage::from_pixel(4, 4, Luma([77])).save_with_format(at("f2"), ImageFormat::Bmp).unwrap();
        std::fs::write(at("notes.png"), "not a picture").unwrap();
        std::fs::write(at(".hidden.png"), b"\x89PNG\r\n\x1a\n").unwrap();
        std::fs::write(at("scan.tif"), b"II*\0\x08\0\0\0").unwrap();
        std::fs::write(at("._f2"), b"\0\x05\x16\x07\0\x02\0\0").unwrap();
        std::fs::create_dir(at("folder.jpg")).unwrap();
        let (_, left_out) = list(dir.path().to_str().unwrap()).unwrap();
        assert_eq!(
            left_out.told().unwrap(),
            "3 files left out: 1 AppleDouble file (not the file itself), 1 TIFF (not read), 1 no picture"
        );
        let frames: Vec<Frame> = all(dir.path(), 4.0).into_iter().map(Result::unwrap).collect();
        let seen: Vec<_> =
            frames.iter().map(|f| (&*f.name, f.id, f.width, f.height, f.pts.as_millis())).collect();
        assert_eq!(seen, [("f2", 0, 4, 4, 0), ("f10", 1, 5, 3, 250)]);
        assert_eq!(frames[0].pixels[..3], [77, 77, 77]);
        assert_eq!(frames[1].pixels.len(), 45);
        assert_eq!(frames[1].pixels[42..], [10, 20, 30]);
    }

    #[test]
    fn every_format_is_turned_by_its_exif_data() {
        use image::ImageEncoder;
        use image::codecs::{png::PngEncoder, webp::WebPEncoder};
        // Big-endian, orientation 6 as a LONG: a quarter to the right.
        let exif = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x04\0\0\0\x01\0\0\0\x06\0\0\0\0";
        let stored: Vec<u8> = (0..4 * 2).flat_map(|i| [30 * i as u8, 0, 0]).collect();
        let write = |encoder: &mut dyn FnMut(&mut Vec<u8>)| {
            let mut out = Vec::new();
            encoder(&mut out);
            out
        };
        let png = write(&mut |out| {
            let mut encoder = PngEncoder::new(out);
            encoder.set_exif_metadata(exif.to_vec()).unwrap();
            encoder.write_image(&stored, 4, 2, image::ExtendedColorType::Rgb8).unwrap();
        });
        let webp = write(&mut |out| {
            let mut encoder = WebPEncoder::new_lossless(out);
            encoder.set_exif_metadata(exif.to_vec()).unwrap();
            encoder.write_image(&stored, 4, 2, image::ExtendedColorType::Rgb8).unwrap();
        });
        for bytes in [png, webp] {
            let frame = decode(&bytes, &Pool::new()).unwrap();
            assert_eq!((frame.width, frame.height), (2, 4));
            let reds: Vec<u8> = frame.pixels.chunks(3).map(|pixel| pixel[0]).collect();
            assert_eq!(reds, [120, 0, 150, 30, 180, 60, 210, 90]);
        }
    }

    #[test]
    fn a_damaged_picture_is_named_and_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let good = dir.path().join("b.png");
        RgbImage::new(64, 64).save(&good).unwrap();
        // JPEG by content.
        let bytes = jpeg::encode(&[90; 64 * 64 * 3], 64, 64, 90).unwrap();
        std::fs::write(dir.path().join("a.png"), &bytes[..bytes.len() / 2]).unwrap();
        let got = all(dir.path(), 0.0);
        assert!(got[0].as_ref().unwrap_err().contains("a.png: not a whole picture"), "{got:?}");
        assert_eq!(got[1].as_ref().unwrap().id, 1);
        assert_eq!(got.len(), 2);
    }

    #[test]
    fn names_over_several_folders_stay_apart() {
        let paths = ["/x/a/1.png", "/x/b/1.png"].map(PathBuf::from);
        assert_eq!(names(&paths).iter().map(|n| &**n).collect::<Vec<_>>(), ["a/1", "b/1"]);
    }

    #[test]
    fn nothing_to_read_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        for location in [dir.path().to_str().unwrap().to_owned(), format!("{}/*.png", dir.path().display())] {
            let err = list(&location).unwrap_err().to_string();
            assert!(err.contains(&location) && err.contains("no JPEG"), "{err}");
        }
    }
}
