//! Why a recording gives no first frame, and what to try.

use std::time::Duration;

use super::decode::{Decode, Pulled};
use super::ending::Ending;
use super::{Address, SourceError};

/// What is wrong with a recording whose decoder gave `pulled`, which is no frame; `patience` is for how long it was waited.
pub(super) fn refused(
    location: String,
    pulled: Pulled,
    decode: &Decode,
    ending: &Ending,
    patience: Duration,
) -> SourceError {
    let facts = decode.facts();
    let why = match (pulled, ending) {
        (Pulled::End | Pulled::Broken(_), Ending::Cut(cut)) => format!("no frame can be decoded: {cut}"),
        (Pulled::Nothing, _) if decode.left_out() > 0 => "no picture in it is whole so far".into(),
        (Pulled::Nothing, _) => format!("no frame came within {} s", patience.as_secs()),
        (Pulled::End, _) if decode.left_out() > 0 => NONE_WHOLE.into(),
        // GStreamer's own words for that.
        (Pulled::Broken(why), _) if decode.left_out() > 0 && why.starts_with("No valid frames") => {
            NONE_WHOLE.into()
        }
        // Without anything to decode, the missing decoder that is reported is that of the sound.
        (Pulled::Broken(_), _) if facts.has_sound && facts.decoder.is_none() && !facts.has_video => {
            "it holds no video, only sound".into()
        }
        (Pulled::Broken(why), _) if facts.nameless && is_missing(&why) => {
            "GStreamer's reader of this container does not know the codec of its video; \
             `ffmpeg -i FILE -c copy FILE.mkv`, or with `-c:v libx264` for `-c copy`, makes a file that can be read"
                .into()
        }
        (Pulled::Broken(why), _) => {
            let hint = Address::from(location.as_str()).hint(&why);
            format!("{}{hint}", remedy(&why))
        }
        (Pulled::End | Pulled::Suspect | Pulled::Frame(_), _) => {
            "it holds no video that could be decoded; ffprobe tells what it holds".into()
        }
    };
    SourceError::unreadable(location, why)
}

const NONE_WHOLE: &str = "no picture in it is whole; ffmpeg's error messages tell what is damaged";

/// Whether GStreamer says that it has no decoder.
fn is_missing(why: &str) -> bool {
    why.contains("missing a plug-in") || why.contains("no suitable plugins")
}

/// Adds what to try to the messages that users meet most.
fn remedy(why: &str) -> String {
    let hint = if is_missing(why) {
        "; a decoder is missing: install gstreamer1.0-libav, gstreamer1.0-plugins-bad and -ugly"
    } else if why.contains("type of stream")
        || why.contains("text file")
        || why.contains("could not be determined")
        || why.contains("wrong type")
    {
        "; is it a video? ffprobe tells what it holds"
    } else {
        ""
    };
    format!("{why}{hint}")
}
