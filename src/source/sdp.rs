//! Descriptions of RTSP streams (SDP, RFC 8866) as some cameras write them: with blanks where none belong.

use gstreamer as gst;
use gstreamer::glib;
use gstreamer::glib::translate::ToGlibPtr;
use gstreamer::prelude::*;
use gstreamer_sdp as gst_sdp;

/// Has the descriptions that `source`, an `rtspsrc`, receives put right before it reads them: it takes the
/// blank of `a=rtpmap: 96 H264/90000` for the end of a number and asks for a decoder of nothing.
pub(super) fn mend(source: &gst::Element) {
    source.connect("on-sdp", false, |args| {
        let value = args.get(1).filter(|value| value.type_() == gst_sdp::SDPMessage::static_type())?;
        // SAFETY: the value holds a `GstSDPMessage`, as was asked. The signal hands on the very message that
        // the source goes on with, uncopied, for its handlers to change, and waits for them in this thread:
        // nobody else reads or writes it, and the reference does not outlive the call.
        let message = unsafe {
            let pointer = glib::gobject_ffi::g_value_get_boxed(value.to_glib_none().0);
            pointer.cast::<gst_sdp::SDPMessageRef>().as_mut()
        };
        message.map(tidy);
        None
    });
}

/// Takes the blanks out of the lines of each medium that GStreamer reads.
fn tidy(message: &mut gst_sdp::SDPMessageRef) {
    for medium in message.medias_mut() {
        for index in (0..medium.formats_len()).rev() {
            match medium.format(index).map(|format| (format.trim().to_owned(), format.len())) {
                Some((format, _)) if format.is_empty() => drop(medium.remove_format(index)),
                Some((format, before)) if format.len() != before => {
                    drop(medium.replace_format(index, &format))
                }
                _ => {}
            }
        }
        for index in 0..medium.attributes_len() {
            let Some(attribute) = medium.attribute(index) else {
                continue;
            };
            let (key, value) = (attribute.key().to_owned(), attribute.value().unwrap_or_default().to_owned());
            if !matches!(key.trim(), "rtpmap" | "fmtp" | "control" | "framerate" | "framesize") {
                continue;
            }
            let tidied = value.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
            if tidied != value || key != key.trim() {
                let attribute = gst_sdp::SDPAttribute::new(key.trim(), Some(&tidied));
                drop(medium.replace_attribute(index, attribute));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_go_and_all_else_stays() {
        gst::init().unwrap();
        let text = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=cam\r\nt=0 0\r\nm=video 0 RTP/AVP 96 \r\n\
                    a=rtpmap: 96  H264/90000 \r\na=fmtp:96  packetization-mode=1; profile-level-id=4d0028\r\n\
                    a=control: trackID=1\r\na=x-note: two  blanks\r\n";
        let mut message = gst_sdp::SDPMessage::parse_buffer(text.as_bytes()).unwrap();
        tidy(&mut message);
        let medium = message.media(0).unwrap();
        let of = |key: &str| medium.attribute_val(key).unwrap().to_owned();
        assert_eq!(of("rtpmap"), "96 H264/90000");
        assert_eq!(of("fmtp"), "96 packetization-mode=1; profile-level-id=4d0028");
        assert_eq!(of("control"), "trackID=1");
        assert!(of("x-note").ends_with("two  blanks"));
        assert_eq!(medium.formats().collect::<Vec<_>>(), ["96"]);
        let caps = medium.caps_from_media(96).unwrap();
        assert_eq!(caps.structure(0).unwrap().get::<&str>("encoding-name").unwrap(), "H264");
    }
}
