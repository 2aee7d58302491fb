//! H.264 encoders: which one starts on this machine, and how each is told the same things.

use gstreamer as gst;
use gstreamer::prelude::*;

use super::SinkError;
use super::config::OutputConfig;

/// Hardware first. Orin Nano has none; vah264enc has no rank and is never chosen by others.
pub(super) const CANDIDATES: [&str; 5] =
    ["nvv4l2h264enc", "nvh264enc", "vah264enc", "x264enc", "openh264enc"];

/// An encoder that starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Encoder {
    /// The element's name.
    pub(super) name: String,
}

impl Encoder {
    /// The wanted encoder, or the first that starts for `auto`.
    ///
    /// # Errors
    /// [`SinkError::NoEncoder`] with the reason for each that was tried.
    pub(super) fn choose(wanted: &str) -> Result<Encoder, SinkError> {
        let mut tried = Vec::new();
        let names: Vec<&str> =
            CANDIDATES.into_iter().filter(|name| wanted == "auto" || wanted == *name).collect();
        if names.is_empty() {
            let tried = format!("\"{wanted}\" is none of auto, {}", CANDIDATES.join(", "));
            return Err(SinkError::NoEncoder { tried });
        }
        for name in names {
            match starts(name) {
                Ok(()) => {
                    return Ok(Encoder { name: name.to_owned() });
                }
                Err(why) => tried.push(format!("{name}: {why}")),
            }
        }
        Err(SinkError::NoEncoder { tried: tried.join(", ") })
    }

    /// The encoder's elements in order; the last one is the encoder itself.
    ///
    /// # Errors
    /// If an element is gone or refuses its settings.
    pub(super) fn elements(
        &self,
        config: &OutputConfig,
        rate: f64,
    ) -> Result<Vec<gst::Element>, gst::glib::BoolError> {
        let encoder = gst::ElementFactory::make(&self.name).name("farout-encoder").build()?;
        let keyframe_frames = (rate * config.keyframe_secs).round().clamp(1.0, 1000.0);
        for (property, value) in settings(&self.name, config.bitrate_kbps, keyframe_frames as u32) {
            set(&encoder, property, &value);
        }
        if self.name != "nvv4l2h264enc" {
            return Ok(vec![encoder]);
        }
        // Jetson's encoder reads NVMM memory only.
        let upload = gst::ElementFactory::make("nvvidconv").build()?;
        let caps =
            gst::Caps::builder("video/x-raw").features(["memory:NVMM"]).field("format", "I420").build();
        let memory = gst::ElementFactory::make("capsfilter").property("caps", caps).build()?;
        Ok(vec![upload, memory, encoder])
    }
}

/// Whether an encoder is installed and its device can be opened.
pub(super) fn starts(name: &str) -> Result<(), String> {
    let element = gst::ElementFactory::make(name).build().ok().ok_or("not installed")?;
    let started = element.set_state(gst::State::Ready);
    let stopped = element.set_state(gst::State::Null);
    match started.and(stopped) {
        Ok(_) => Ok(()),
        Err(_) => Err("does not start: no device, or its driver refuses".into()),
    }
}

/// Low latency, no B-frames, a constant bit rate and regular key frames, in each one's words.
fn settings(name: &str, kbps: u32, keyframe: u32) -> Vec<(&'static str, String)> {
    let (kbps, bps, keyframe) =
        (kbps.to_string(), kbps.saturating_mul(1000).to_string(), keyframe.to_string());
    let fixed =
        |list: &[(&'static str, &str)]| list.iter().map(|(k, v)| (*k, (*v).to_owned())).collect::<Vec<_>>();
    let (mut list, own) = match name {
        "nvv4l2h264enc" => (
            fixed(&[
                ("insert-sps-pps", "true"),
                ("maxperf-enable", "true"),
                ("preset-level", "1"),
                ("control-rate", "1"),
            ]),
            vec![("bitrate", bps), ("iframeinterval", keyframe.clone()), ("idrinterval", keyframe)],
        ),
        "nvh264enc" => (
            fixed(&[
                ("preset", "low-latency-hq"),
                ("zerolatency", "true"),
                ("bframes", "0"),
                ("rc-mode", "cbr"),
            ]),
            vec![("bitrate", kbps), ("gop-size", keyframe)],
        ),
        "vah264enc" => (
            fixed(&[("b-frames", "0"), ("rate-control", "cbr"), ("target-usage", "7")]),
            vec![("bitrate", kbps), ("key-int-max", keyframe)],
        ),
        "openh264enc" => (
            fixed(&[("complexity", "low"), ("rate-control", "bitrate"), ("multi-thread", &threads())]),
            vec![("bitrate", bps), ("gop-size", keyframe)],
        ),
        _ => (
            fixed(&[
                ("speed-preset", "superfast"),
                ("tune", "zerolatency"),
                ("bframes", "0"),
                ("threads", &threads()),
            ]),
            vec![("bitrate", kbps), ("key-int-max", keyframe)],
        ),
    };
    list.extend(own);
    list
}

/// Half of the cores: the other half is for the network.
fn threads() -> String {
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    (cores / 2).clamp(1, 4).to_string()
}

/// Sets a property if the element has it in its version and takes the value.
fn set(element: &gst::Element, property: &str, value: &str) {
    let Some(spec) = element.find_property(property) else {
        tracing::debug!(element = %element.name(), property, "not in this version");
        return;
    };
    match gst::glib::Value::deserialize(value, spec.value_type()) {
        Ok(value) => element.set_property_from_value(property, &value),
        Err(_) => {
            tracing::debug!(element = %element.name(), property, value, "not in this version")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn installed_encoders_know_their_settings() {
        gst::init().unwrap();
        let mut known = 0;
        for name in CANDIDATES.iter().filter(|name| starts(name).is_ok()) {
            let elements = Encoder { name: (*name).into() }.elements(&OutputConfig::default(), 25.0).unwrap();
            let encoder = elements.last().unwrap();
            for (property, value) in settings(name, 4000, 25) {
                assert!(encoder.find_property(property).is_some(), "{name} has no {property}");
                // As text, numbers and flags read as they were given; enumerations by nick.
                let set = encoder.property_value(property).serialize().unwrap();
                assert!(
                    set.contains(&value) || !set.chars().all(char::is_alphanumeric),
                    "{name} {property}: {set}"
                );
            }
            known += 1;
        }
        if known == 0 {
            crate::skipped::skipped("the encoders' properties", "no H.264 encoder is installed");
        }
    }

    #[test]
    fn the_wrong_name_is_explained() {
        gst::init().unwrap();
        let err = Encoder::choose("h264").unwrap_err().to_string();
        assert!(err.contains("\"h264\" is none of auto, nvv4l2h264enc"), "{err}");
    }
}
