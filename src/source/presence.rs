//! What `doctor` tells about reading video: GStreamer, decoders, cameras.

use crate::finding::Finding;
#[cfg(not(feature = "media"))]
use crate::finding::Standing;

/// What this machine can read.
#[cfg(not(feature = "media"))]
pub fn findings() -> Vec<Finding> {
    vec![Finding {
        topic: "video",
        name: "GStreamer".into(),
        standing: Standing::Absent,
        detail: "built without the feature `media`: still images and synthetic frames only".into(),
        remedy: Some("build with default features to read and write video".into()),
    }]
}

#[cfg(feature = "media")]
pub use with_gstreamer::findings;

#[cfg(feature = "media")]
mod with_gstreamer {
    use gstreamer as gst;
    use gstreamer::prelude::*;

    use super::Finding;
    use crate::finding::Standing;
    use crate::source::cameras;

    /// What this machine can read.
    pub fn findings() -> Vec<Finding> {
        if let Err(error) = gst::init() {
            return vec![Finding {
                topic: "video",
                name: "GStreamer".into(),
                standing: Standing::Bad,
                detail: error.to_string(),
                remedy: Some(
                    "install gstreamer1.0-plugins-base, -good, -bad and -ugly and gstreamer1.0-libav".into(),
                ),
            }];
        }
        let mut list = vec![Finding {
            topic: "video",
            name: "GStreamer".into(),
            standing: Standing::Good,
            detail: gst::version_string().to_string(),
            remedy: None,
        }];
        list.extend(
            [
                ("H.264", "video/x-h264"),
                ("H.265", "video/x-h265"),
                ("MPEG-4", "video/mpeg"),
                ("Motion JPEG", "image/jpeg"),
            ]
            .map(|(name, caps)| decoder(name, caps)),
        );
        list.push(cameras_found());
        list
    }

    /// The decoders of a format in the order in which they are tried.
    fn decoder(name: &str, media: &str) -> Finding {
        let mut caps = gst::Caps::builder(media);
        if media == "video/mpeg" {
            caps = caps.field("mpegversion", 4).field("systemstream", false);
        }
        let caps = caps.build();
        let kinds = gst::ElementFactoryType::DECODER
            | gst::ElementFactoryType::MEDIA_VIDEO
            | gst::ElementFactoryType::MEDIA_IMAGE;
        let factories = gst::ElementFactory::factories_with_type(kinds, gst::Rank::MARGINAL);
        let mut able: Vec<_> = factories.into_iter().filter(|f| f.can_sink_any_caps(&caps)).collect();
        able.sort_by_key(|f| std::cmp::Reverse(f.rank()));
        let names: Vec<String> = able
            .iter()
            .map(|f| {
                let hardware = f.metadata("klass").is_some_and(|class| class.contains("Hardware"));
                format!("{}{}", f.name(), if hardware { " (hardware)" } else { "" })
            })
            .collect();
        let found = !names.is_empty();
        Finding {
            topic: "decoders",
            name: name.into(),
            standing: if found { Standing::Good } else { Standing::Absent },
            detail: if found { names.join(", ") } else { "none".into() },
            remedy: (!found).then(|| "install gstreamer1.0-libav".into()),
        }
    }

    fn cameras_found() -> Finding {
        let found: Vec<String> = cameras::list()
            .iter()
            .map(|(path, name)| format!("v4l2://{} ({name})", path.display()))
            .collect();
        Finding {
            topic: "cameras",
            name: "V4L2".into(),
            standing: if found.is_empty() { Standing::Absent } else { Standing::Good },
            detail: if found.is_empty() { "no /dev/video*".into() } else { found.join(", ") },
            remedy: None,
        }
    }
}
