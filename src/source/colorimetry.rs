//! What a stream says about its colours, wherever it says so, and what is assumed where it says nothing.

use gstreamer as gst;
use gstreamer_video as gst_video;

use crate::frame::{Colour, Matrix};

/// What one place says. GStreamer's own reading of caps loses a range that comes without a matrix, and fills in by the
/// picture's size what is not said, so the text itself is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Said {
    pub(super) matrix: Option<Matrix>,
    pub(super) full_range: Option<bool>,
}

impl Said {
    /// What caps say.
    pub(super) fn of(caps: &gst::CapsRef) -> Said {
        let text = caps.structure(0).and_then(|s| s.get::<&str>("colorimetry").ok());
        match text.and_then(|text| text.parse::<gst_video::VideoColorimetry>().ok()) {
            Some(colorimetry) => {
                Said { matrix: matrix(colorimetry.matrix()), full_range: range(colorimetry.range()) }
            }
            None => Said::default(),
        }
    }

    /// What all streams of a kind have in common: JPEG files and VP8 know one matrix only, whatever a container says.
    pub(super) fn by_kind(caps: &gst::CapsRef) -> Said {
        match caps.structure(0).map(|s| s.name().as_str()) {
            Some("image/jpeg") => Said { matrix: Some(Matrix::Bt601), full_range: Some(true) },
            Some("video/x-vp8") => Said { matrix: Some(Matrix::Bt601), full_range: Some(false) },
            _ => Said::default(),
        }
    }

    /// What the picture's size makes GStreamer assume of caps that say nothing: nobody has said this.
    pub(super) fn assumed(caps: &gst::CapsRef) -> bool {
        let Some(said) = caps.structure(0).and_then(|s| s.get::<&str>("colorimetry").ok()) else {
            return true;
        };
        let mut bare = caps.to_owned();
        if let Some(structure) = bare.make_mut().structure_mut(0) {
            structure.remove_field("colorimetry");
        }
        let info = gst_video::VideoInfo::from_caps(&bare).ok();
        info.is_some_and(|info| {
            said.parse::<gst_video::VideoColorimetry>().is_ok_and(|said| said == info.colorimetry())
        })
    }

    /// This, completed by `other` where it says nothing.
    pub(super) fn or(self, other: Said) -> Said {
        Said { matrix: self.matrix.or(other.matrix), full_range: self.full_range.or(other.full_range) }
    }

    /// This, completed as FFmpeg's scaler completes it: BT.601 and video range, at every size. Players assume BT.709 for
    /// high definition; but pictures that models are trained on come out of FFmpeg and what is built on it.
    pub(super) fn colour(self) -> Colour {
        Colour { matrix: self.matrix.unwrap_or(Matrix::Bt601), full_range: self.full_range.unwrap_or(false) }
    }
}

fn matrix(matrix: gst_video::VideoColorMatrix) -> Option<Matrix> {
    match matrix {
        gst_video::VideoColorMatrix::Bt601 => Some(Matrix::Bt601),
        gst_video::VideoColorMatrix::Bt709 => Some(Matrix::Bt709),
        gst_video::VideoColorMatrix::Bt2020 => Some(Matrix::Bt2020),
        gst_video::VideoColorMatrix::Smpte240m => Some(Matrix::Smpte240m),
        gst_video::VideoColorMatrix::Fcc => Some(Matrix::Fcc),
        _ => None,
    }
}

fn range(range: gst_video::VideoColorRange) -> Option<bool> {
    match range {
        gst_video::VideoColorRange::Range0_255 => Some(true),
        gst_video::VideoColorRange::Range16_235 => Some(false),
        _ => None,
    }
}

/// What the numbers of a decoded picture mean, by caps that say it all.
pub(super) fn colour(info: &gst_video::VideoInfo) -> Colour {
    let colorimetry = info.colorimetry();
    Said { matrix: matrix(colorimetry.matrix()), full_range: range(colorimetry.range()) }.colour()
}

/// The caps field for `colour`. Transfer function and primaries take no part in any conversion here; they are named
/// because GStreamer discards a description that has gaps.
pub(super) fn text(colour: Colour) -> String {
    let range = if colour.full_range { 1 } else { 2 };
    let rest = match colour.matrix {
        Matrix::Bt601 => "4:16:4",
        Matrix::Bt709 => "3:5:1",
        Matrix::Bt2020 => "6:13:7",
        Matrix::Smpte240m => "5:6:5",
        Matrix::Fcc => "2:4:2",
    };
    format!("{range}:{rest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caps(colorimetry: &str) -> gst::Caps {
        gst::init().unwrap();
        let caps = gst::Caps::builder("video/x-raw")
            .field("format", "I420")
            .field("width", 1280)
            .field("height", 720);
        if colorimetry.is_empty() { caps.build() } else { caps.field("colorimetry", colorimetry).build() }
    }

    #[test]
    fn what_is_said_is_kept_and_gaps_are_filled_once() {
        let said = |matrix, full_range| Said { matrix, full_range };
        for (text, want) in [
            ("", said(None, None)),
            ("1:0:0:0", said(None, Some(true))),
            ("0:3:0:0", said(Some(Matrix::Bt709), None)),
            ("bt2020-10", said(Some(Matrix::Bt2020), Some(false))),
            ("bt601", said(Some(Matrix::Bt601), Some(false))),
            ("smpte240m", said(Some(Matrix::Smpte240m), Some(false))),
            ("nonsense", said(None, None)),
        ] {
            assert_eq!(Said::of(&caps(text)), want, "{text}");
        }
        let nothing = Said::default().colour();
        assert_eq!((nothing.matrix, nothing.full_range), (Matrix::Bt601, false));
        let both = said(None, Some(true)).or(said(Some(Matrix::Bt709), Some(false)));
        assert_eq!(both, said(Some(Matrix::Bt709), Some(true)));
        assert!(Said::assumed(&caps("bt709")) && Said::assumed(&caps("")));
        assert!(!Said::assumed(&caps("bt601")) && !Said::assumed(&caps("1:4:0:0")));
    }

    #[test]
    fn every_colour_survives_gstreamer() {
        for matrix in [Matrix::Bt601, Matrix::Bt709, Matrix::Bt2020, Matrix::Smpte240m, Matrix::Fcc] {
            for full_range in [false, true] {
                let wanted = Colour { matrix, full_range };
                let info = gst_video::VideoInfo::from_caps(&caps(&text(wanted))).unwrap();
                assert_eq!(colour(&info), wanted);
            }
        }
    }
}
