//! JPEGs of every layout, made by the library and by hand: whole, cut off, odd, of kinds that are not read.

use super::planes::{Layout, Planes};
use super::*;

const SIZE: (usize, usize) = (70, 45);
/// Luma of one sample per pixel; chroma of one per so many pixels across and down.
const SAMPLINGS: [(u8, u8); 6] = [(1, 1), (2, 1), (2, 2), (1, 2), (4, 1), (4, 2)];

/// Smooth, so that coarse chroma comes near it.
fn picture() -> Vec<u8> {
    let pixel = |x: usize, y: usize| [60 + 2 * x as u8, 200 - 3 * y as u8, 90 + x as u8 + y as u8];
    (0..SIZE.1).flat_map(|y| (0..SIZE.0).flat_map(move |x| pixel(x, y))).collect()
}

fn off(got: &Frame, want: &[u8]) -> f64 {
    assert_eq!((got.width, got.height), SIZE);
    let sum: u64 = got.pixels.iter().zip(want).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
    sum as f64 / want.len() as f64
}

fn read(bytes: &[u8]) -> Result<Frame, String> {
    decode(bytes, &Pool::new()).map(|(frame, _)| frame).map_err(|e| e.to_string())
}

/// Encoded by the library with these settings.
fn written(space: ColorSpace, samples: &[u8], size: (usize, usize), set: impl Fn(&mut Compress)) -> Vec<u8> {
    let mut encoder = Compress::new(space);
    encoder.set_size(size.0, size.1);
    encoder.set_fastest_defaults();
    encoder.set_quality(95.0);
    set(&mut encoder);
    let mut encoder = encoder.start_compress(Vec::new()).unwrap();
    encoder.write_scanlines(samples).unwrap();
    encoder.finish().unwrap()
}

/// Baseline with one scan per component, which the library does not write: three grey pictures put together.
fn separate_scans((across, down): (u8, u8)) -> Vec<u8> {
    let (rgb, (width, height)) = (picture(), SIZE);
    let (across_n, down_n) = (usize::from(across), usize::from(down));
    let small = (width.div_ceil(across_n), height.div_ceil(down_n));
    let plane = |size: (usize, usize), step: (usize, usize), weights: [f64; 3], zero: f64| -> Vec<u8> {
        let at = |x: usize, y: usize| {
            let pixel = &rgb[3 * (y.min(height - 1) * width + x.min(width - 1))..][..3];
            zero + pixel.iter().zip(weights).map(|(v, w)| f64::from(*v) * w).sum::<f64>()
        };
        let mean = |x: usize, y: usize| {
            let sum: f64 =
                (0..step.0 * step.1).map(|i| at(x * step.0 + i % step.0, y * step.1 + i / step.0)).sum();
            (sum / (step.0 * step.1) as f64).round() as u8
        };
        (0..size.1).flat_map(|y| (0..size.0).map(move |x| (x, y))).map(|(x, y)| mean(x, y)).collect()
    };
    let step = (across_n, down_n);
    let planes = [
        (SIZE, plane(SIZE, (1, 1), [0.299, 0.587, 0.114], 0.0)),
        (small, plane(small, step, [-0.168_736, -0.331_264, 0.5], 128.0)),
        (small, plane(small, step, [0.5, -0.418_688, -0.081_312], 128.0)),
    ];
    let mut out = vec![0xFF, 0xD8];
    for (number, (size, plane)) in planes.iter().enumerate() {
        let grey = written(ColorSpace::JCS_GRAYSCALE, plane, *size, |_| {});
        let mut at = 2;
        let scan = loop {
            let length = usize::from(u16::from_be_bytes([grey[at + 2], grey[at + 3]]));
            match (grey[at + 1], number) {
                (0xDA, _) => break at + 2 + length,
                (0xDB | 0xC4, 0) => out.extend(&grey[at..at + 2 + length]),
                _ => {}
            }
            at += 2 + length;
        };
        if number == 0 {
            let [h1, h0] = (height as u16).to_be_bytes();
            let [w1, w0] = (width as u16).to_be_bytes();
            out.extend([0xFF, 0xC0, 0, 17, 8, h1, h0, w1, w0, 3, 1, across << 4 | down, 0]);
            out.extend([2, 0x11, 0, 3, 0x11, 0]);
        }
        out.extend([0xFF, 0xDA, 0, 8, 1, number as u8 + 1, 0, 0, 63, 0]);
        out.extend(&grey[scan..grey.len() - 2]);
    }
    [out, vec![0xFF, 0xD9]].concat()
}

/// Every layout that a camera or a tool writes, by name.
fn layouts() -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    for sampling in SAMPLINGS {
        all.push((format!("separate {sampling:?}"), separate_scans(sampling)));
        for progressive in [false, true] {
            let bytes = written(ColorSpace::JCS_RGB, &picture(), SIZE, |encoder| {
                encoder.set_chroma_sampling_pixel_sizes(sampling, sampling);
                if progressive {
                    encoder.set_progressive_mode();
                }
            });
            all.push((format!("progressive {progressive} {sampling:?}"), bytes));
        }
    }
    all
}

#[test]
fn every_layout_is_read() {
    for (name, bytes) in layouts() {
        let mean = off(&read(&bytes).unwrap(), &picture());
        assert!(mean < 2.5, "{name}: {mean} of 255 off on average");
    }
    let grey: Vec<u8> = picture().chunks(3).map(|p| p[0]).collect();
    let wide: Vec<u8> = grey.iter().flat_map(|v| [*v; 3]).collect();
    let bytes = written(ColorSpace::JCS_GRAYSCALE, &grey, SIZE, |_| {});
    assert!(off(&read(&bytes).unwrap(), &wide) < 1.5);
    // Inverted, as CMYK is stored: full light of each ink and of black.
    let inks: Vec<u8> = picture().chunks(3).flat_map(|p| [p[0], p[1], p[2], 128]).collect();
    let dim: Vec<u8> = picture().iter().map(|v| (u32::from(*v) * 128 / 255) as u8).collect();
    let bytes = written(ColorSpace::JCS_CMYK, &inks, SIZE, |_| {});
    assert!(off(&read(&bytes).unwrap(), &dim) < 2.5);
}

#[test]
fn what_is_cut_off_is_no_picture() {
    for (name, bytes) in layouts() {
        for tenth in 1..40 {
            let said = read(&bytes[..bytes.len() * tenth / 40]).unwrap_err();
            assert!(said.starts_with("not a whole picture"), "{name}, {tenth} fortieths: {said}");
        }
        // Closed as if it ended there.
        let closed = [&bytes[..bytes.len() * 2 / 3], &[0xFF, 0xD9]].concat();
        // A progressive picture that lacks its last scans is coarse and whole.
        assert!(read(&closed).is_err() || name.starts_with("progressive true"), "{name}");
    }
    let bytes = encode(&picture(), SIZE.0, SIZE.1, 90).unwrap();
    let middle = bytes.len() / 2;
    assert!(read(&[&bytes[..middle], &bytes[middle + 300..]].concat()).is_err());
    assert!(read(b"\xff\xd8\xff").is_err());
}

#[test]
fn what_is_whole_may_lack_its_end_and_have_more_behind() {
    let bytes = encode(&picture(), SIZE.0, SIZE.1, 90).unwrap();
    let want = read(&bytes).unwrap();
    assert!(off(&want, &picture()) < 2.0);
    assert_eq!(bytes, encode(&picture(), SIZE.0, SIZE.1, 90).unwrap());
    for odd in [bytes[..bytes.len() - 2].to_vec(), [&bytes[..], &[0; 999]].concat(), bytes.repeat(2)] {
        assert_eq!(*read(&odd).unwrap().pixels, *want.pixels);
    }
}

#[test]
fn other_kinds_are_named_and_sizes_are_bounded() {
    let bytes = encode(&picture(), SIZE.0, SIZE.1, 90).unwrap();
    let frame = bytes.windows(2).position(|pair| pair == [0xFF, 0xC0]).unwrap();
    let with = |at: usize, values: &[u8]| {
        let mut bytes = bytes.clone();
        bytes[frame + at..frame + at + values.len()].copy_from_slice(values);
        read(&bytes).unwrap_err()
    };
    assert!(with(4, &[12]).contains("kind that is not read"), "12 bits");
    assert!(with(1, &[0xC3]).contains("kind that is not read"), "lossless");
    assert!(with(5, &[0xFF, 0, 0xFF, 0]).contains("too many"), "65280 x 65280");
    assert!(encode(&[0; 3], 2, 1, 90).is_err() && encode(&[], 0, 0, 90).is_err());
}

#[test]
fn exif_tells_how_to_turn() {
    let bytes = encode(&picture(), SIZE.0, SIZE.1, 90).unwrap();
    // As a LONG.
    let tiff = b"II*\0\x08\0\0\0\x01\0\x12\x01\x04\0\x01\0\0\0\x06\0\0\0\0\0\0\0";
    let segment = [&[0xFF, 0xE1, 0, tiff.len() as u8 + 8][..], b"Exif\0\0", tiff].concat();
    let with = [&bytes[..2], &segment, &bytes[2..]].concat();
    assert_eq!(decode(&with, &Pool::new()).unwrap().1, Orientation::Rotate90);
    assert_eq!(decode(&bytes, &Pool::new()).unwrap().1, Orientation::NoTransforms);
}

/// Y'CbCr or grey as RGB, each chroma sample over all pixels that it stands for.
fn rgb(planes: &Planes) -> Vec<u8> {
    let rows: Vec<Vec<&[u8]>> = (0..planes.layout.planes()).map(|n| planes.rows(n).collect()).collect();
    let (width, height) = (planes.width, planes.height);
    let at = |n: usize, x: usize, y: usize| {
        let (columns, lines) = planes.layout.size(n, width, height);
        assert_eq!((rows[n].len(), rows[n][0].len()), (lines, columns));
        f64::from(rows[n][y / height.div_ceil(lines)][x / width.div_ceil(columns)])
    };
    let pixel = |x: usize, y: usize| match planes.layout {
        Layout::Rgb => [0, 1, 2].map(|c| rows[0][y][3 * x + c]),
        Layout::Grey => [rows[0][y][x]; 3],
        _ => {
            let (luma, cb, cr) = (at(0, x, y), at(1, x, y) - 128.0, at(2, x, y) - 128.0);
            [luma + 1.402 * cr, luma - 0.344_136 * cb - 0.714_136 * cr, luma + 1.772 * cb]
                .map(|v| v.round() as u8)
        }
    };
    (0..height).flat_map(|y| (0..width).map(move |x| (x, y))).flat_map(|(x, y)| pixel(x, y)).collect()
}

#[test]
fn planes_are_given_as_they_are_stored() {
    let mut planes = Planes::default();
    for (name, bytes) in layouts() {
        planes.read(&bytes).unwrap();
        let want = match name.rsplit_once('(').unwrap().1 {
            "1, 1)" => Layout::Yuv444,
            "2, 1)" => Layout::Yuv422,
            "2, 2)" => Layout::Yuv420,
            // The library enlarges their chroma.
            _ => Layout::Yuv444,
        };
        assert_eq!((planes.layout, planes.width, planes.height), (want, SIZE.0, SIZE.1), "{name}");
        let mean = rgb(&planes).iter().zip(picture()).map(|(a, b)| f64::from(a.abs_diff(b))).sum::<f64>()
            / picture().len() as f64;
        assert!(mean < 3.0, "{name}: {mean} of 255 off on average");
        assert!(!planes.video_range);
        for tenth in 1..10 {
            let said = planes.read(&bytes[..bytes.len() * tenth / 10]).unwrap_err();
            assert!(matches!(said, JpegError::NotWhole(_)), "{name}, {tenth} tenths: {said}");
        }
    }
    // Written as 4:4:4 with the same factor, but not 1, for all: as FFmpeg does it.
    let bytes = encode(&picture(), SIZE.0, SIZE.1, 95).unwrap();
    let head = bytes.windows(2).position(|pair| pair == [0xFF, 0xC0]).unwrap();
    let mut tall = separate_scans((1, 1));
    let at = tall.windows(2).position(|pair| pair == [0xFF, 0xC0]).unwrap();
    (0..3).for_each(|n| tall[at + 11 + 3 * n] = 0x12);
    for (odd, want) in [(tall, Layout::Yuv444), (bytes.clone(), Layout::Yuv444)] {
        planes.read(&odd).unwrap();
        assert_eq!(planes.layout, want);
        let off: u64 = rgb(&planes).iter().zip(picture()).map(|(a, b)| u64::from(a.abs_diff(b))).sum();
        assert!(off < 3 * picture().len() as u64);
    }
    let comment = |text: &[u8]| {
        [&bytes[..2], &[0xFF, 0xFE, 0, text.len() as u8 + 2], text, &bytes[2..head], &bytes[head..]].concat()
    };
    for (text, want) in [(&b"CS=ITU601"[..], true), (b"CS=ITU601\0", true), (b"CS=ITU709", false)] {
        planes.read(&comment(text)).unwrap();
        assert_eq!(planes.video_range, want);
    }
}

#[test]
fn other_colours_have_their_planes() {
    let mut planes = Planes::default();
    let grey: Vec<u8> = picture().chunks(3).map(|p| p[0]).collect();
    planes.read(&written(ColorSpace::JCS_GRAYSCALE, &grey, SIZE, |_| {})).unwrap();
    assert_eq!(planes.layout, Layout::Grey);
    let got: Vec<u8> = planes.rows(0).flatten().copied().collect();
    assert!(got.iter().zip(&grey).all(|(a, b)| a.abs_diff(*b) < 12));
    let bytes = written(ColorSpace::JCS_RGB, &picture(), SIZE, |encoder| {
        encoder.set_color_space(ColorSpace::JCS_RGB)
    });
    planes.read(&bytes).unwrap();
    assert_eq!(planes.layout, Layout::Rgb);
    assert!(rgb(&planes).iter().zip(picture()).all(|(a, b)| a.abs_diff(b) < 20));
    let inks: Vec<u8> = picture().chunks(3).flat_map(|p| [p[0], p[1], p[2], 255]).collect();
    planes.read(&written(ColorSpace::JCS_CMYK, &inks, SIZE, |_| {})).unwrap();
    assert_eq!(planes.layout, Layout::Rgb);
    assert!(rgb(&planes).iter().zip(picture()).all(|(a, b)| a.abs_diff(b) < 20));
}
