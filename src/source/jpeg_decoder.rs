//! A decoder of Motion JPEG as an element of GStreamer: pictures that are not whole are left out, and told.
//!
//! GStreamer's own `jpegdec` gives out what libjpeg patched up, lays chroma of some layouts on the wrong rows and knows
//! video range only as full range.

use std::sync::{Mutex, Once, PoisonError};

use gstreamer as gst;
use gstreamer::glib;
use gstreamer::subclass::prelude::*;
use gstreamer_video as gst_video;
use gstreamer_video::prelude::*;
use gstreamer_video::subclass::prelude::*;
use gstreamer_video::video_codec_state::{Readable, VideoCodecState};

use super::decoder_log;
use super::jpegs::{Found, first_picture};
use crate::jpeg::JpegError;
use crate::jpeg::planes::{Layout, Planes};

/// The element's name within this process.
pub(super) const NAME: &str = "faroutjpegdec";

/// So many pictures at the start of a kind that is not read end the stream; fewer may be damaged ones.
const PATIENCE: u32 = 5;

/// Makes the element known to GStreamer, before `jpegdec` and behind decoders in hardware.
pub(super) fn register() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let kind = JpegDecoder::static_type();
        if let Err(error) = gst::Element::register(None, NAME, gst::Rank::PRIMARY + 1, kind) {
            tracing::warn!(%error, "the decoder of Motion JPEG cannot be registered; GStreamer's own is taken");
        }
    });
}

glib::wrapper! {
    /// The decoder.
    pub(super) struct JpegDecoder(ObjectSubclass<imp::Decoder>)
        @extends gst_video::VideoDecoder, gst::Element, gst::Object;
}

mod imp {
    use super::*;

    /// What the decoder knows; its methods are called one after the other.
    #[derive(Default)]
    pub(in super::super) struct Decoder(Mutex<State>);

    #[derive(Default)]
    struct State {
        input: Option<VideoCodecState<'static, Readable>>,
        /// Both fields of an interlaced picture, or the picture and nothing.
        fields: [Planes; 2],
        /// What was negotiated: format, size, video range, two fields.
        output: Option<Output>,
        /// Pictures at the start that are of a kind that is not read, and why the last one is not.
        unread: u32,
        why: Option<JpegError>,
    }

    #[derive(Clone, Copy, PartialEq, Eq)]
    struct Output {
        layout: Layout,
        width: usize,
        height: usize,
        video_range: bool,
        interlaced: bool,
    }

    #[glib::object_subclass]
    impl ObjectSubclass for Decoder {
        const NAME: &'static str = "FaroutJpegDecoder";
        type Type = JpegDecoder;
        type ParentType = gst_video::VideoDecoder;
    }

    impl ObjectImpl for Decoder {}
    impl GstObjectImpl for Decoder {}

    impl ElementImpl for Decoder {
        fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
            static TOLD: std::sync::LazyLock<gst::subclass::ElementMetadata> =
                std::sync::LazyLock::new(|| {
                    gst::subclass::ElementMetadata::new(
                        "Strict JPEG decoder",
                        "Codec/Decoder/Image",
                        "Decodes JPEG pictures and leaves out those that are not whole",
                        "farout",
                    )
                });
            Some(&TOLD)
        }

        fn pad_templates() -> &'static [gst::PadTemplate] {
            static PADS: std::sync::LazyLock<Vec<gst::PadTemplate>> = std::sync::LazyLock::new(|| {
                let jpeg = gst::Caps::new_empty_simple("image/jpeg");
                let formats = ["I420", "Y42B", "Y444", "RGB"];
                let raw = gst::Caps::builder("video/x-raw").field("format", gst::List::new(formats));
                let pads =
                    [("sink", gst::PadDirection::Sink, jpeg), ("src", gst::PadDirection::Src, raw.build())];
                let always = gst::PadPresence::Always;
                pads.iter()
                    .filter_map(|(name, way, caps)| gst::PadTemplate::new(name, *way, always, caps).ok())
                    .collect()
            });
            PADS.as_ref()
        }
    }

    impl VideoDecoderImpl for Decoder {
        fn start(&self) -> Result<(), gst::ErrorMessage> {
            *self.state() = State::default();
            // Until a segment in time says that each buffer is a picture.
            self.obj().set_packetized(false);
            Ok(())
        }

        fn set_format(&self, state: &VideoCodecState<'static, Readable>) -> Result<(), gst::LoggableError> {
            self.state().input = Some(state.clone());
            self.state().output = None;
            Ok(())
        }

        fn sink_event(&self, event: gst::Event) -> bool {
            if let gst::EventView::Segment(segment) = event.view() {
                self.obj().set_packetized(segment.segment().format() == gst::Format::Time);
            }
            self.parent_sink_event(event)
        }

        fn parse(
            &self,
            _: &gst_video::VideoCodecFrame,
            adapter: &gst_video::gst_base::Adapter,
            at_eos: bool,
        ) -> Result<gst::FlowSuccess, gst::FlowError> {
            let bytes = adapter.copy_bytes(0, adapter.available()).ok().ok_or(gst::FlowError::Error)?;
            let obj = self.obj();
            let (start, len) = match first_picture(&bytes) {
                Found::Picture { start, len } => (start, len),
                Found::Begun { start } if at_eos => (start, bytes.len() - start),
                Found::Begun { start } | Found::Nothing { until: start } => {
                    adapter.flush(start);
                    return Ok(gst_video::VIDEO_DECODER_FLOW_NEED_DATA);
                }
            };
            adapter.flush(start);
            obj.add_to_frame(i32::try_from(len).ok().ok_or(gst::FlowError::Error)?);
            obj.have_frame()
        }

        fn handle_frame(
            &self,
            mut frame: gst_video::VideoCodecFrame,
        ) -> Result<gst::FlowSuccess, gst::FlowError> {
            frame.set_flags(gst_video::VideoCodecFrameFlags::SYNC_POINT);
            let mut state = self.state();
            let packet =
                frame.input_buffer_owned().and_then(|buffer| buffer.into_mapped_buffer_readable().ok());
            let decoded = match &packet {
                Some(packet) => state.decode(packet, self.obj().is_packetized()),
                None => Err(JpegError::NotWhole("it cannot be read from memory".into())),
            };
            let output = match decoded {
                Ok(output) => output,
                Err(error) => {
                    let fatal = state.left_out(error);
                    drop(state);
                    self.obj().release_frame(frame);
                    return fatal.map_or(Ok(gst::FlowSuccess::Ok), |why| Err(self.refuse(&why)));
                }
            };
            if state.output != Some(output) {
                self.negotiate_output(output, state.input.as_ref())?;
                (state.output, state.why) = (Some(output), None);
            }
            self.obj().allocate_output_frame(&mut frame, None)?;
            let info = self.obj().output_state().ok_or(gst::FlowError::NotNegotiated)?;
            let buffer = frame.output_buffer_mut().ok_or(gst::FlowError::Error)?;
            let filled = gst_video::VideoFrameRef::from_buffer_ref_writable(buffer, info.info())
                .ok()
                .and_then(|mut picture| state.fill(&mut picture, output));
            drop(state);
            match filled {
                Some(()) => self.obj().finish_frame(frame),
                None => Err(gst::FlowError::Error),
            }
        }

        fn finish(&self) -> Result<gst::FlowSuccess, gst::FlowError> {
            let why = self.state().why.take();
            why.map_or(Ok(gst::FlowSuccess::Ok), |why| Err(self.refuse(&why)))
        }
    }

    impl Decoder {
        fn state(&self) -> std::sync::MutexGuard<'_, State> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }

        /// Ends the stream, which is of a kind that is not read.
        fn refuse(&self, why: &JpegError) -> gst::FlowError {
            gst::element_imp_error!(self, gst::StreamError::Decode, ("{}", why));
            gst::FlowError::Error
        }

        fn negotiate_output(
            &self,
            output: Output,
            input: Option<&VideoCodecState<'static, Readable>>,
        ) -> Result<(), gst::FlowError> {
            use gst_video::{VideoColorMatrix, VideoColorPrimaries, VideoColorRange, VideoTransferFunction};
            let (format, yuv) = match output.layout {
                // GStreamer's converter copies the luma of GRAY8 whatever its range, and says another one.
                Layout::Grey | Layout::Yuv420 => (gst_video::VideoFormat::I420, true),
                Layout::Yuv422 => (gst_video::VideoFormat::Y42b, true),
                Layout::Yuv444 => (gst_video::VideoFormat::Y444, true),
                Layout::Rgb => (gst_video::VideoFormat::Rgb, false),
            };
            let obj = self.obj();
            let (width, height) = (output.width as u32, output.height as u32);
            let mut out = obj.set_output_state(format, width, height, input)?;
            let info = out.info().clone();
            let range =
                if output.video_range { VideoColorRange::Range16_235 } else { VideoColorRange::Range0_255 };
            let colours = gst_video::VideoColorimetry::new(
                range,
                VideoColorMatrix::Bt601,
                VideoTransferFunction::Unknown,
                VideoColorPrimaries::Unknown,
            );
            let info = gst_video::VideoInfo::builder_from_info(&info)
                .colorimetry_if(&colours, yuv)
                .chroma_site_if(gst_video::VideoChromaSite::NONE, yuv)
                .interlace_mode_if(gst_video::VideoInterlaceMode::Interleaved, output.interlaced)
                .field_order_if(gst_video::VideoFieldOrder::TopFieldFirst, output.interlaced)
                .build()
                .ok()
                .ok_or(gst::FlowError::NotNegotiated)?;
            out.set_info(info);
            obj.negotiate(out)
        }
    }

    impl State {
        /// Decodes a packet into the fields. Of interlaced pictures in AVI files a packet holds two, each a JPEG of half
        /// the height that the container says.
        fn decode(&mut self, packet: &[u8], packetized: bool) -> Result<Output, JpegError> {
            let [first, second] = &mut self.fields;
            first.read(packet)?;
            let said = self.input.as_ref().filter(|_| packetized).map(|input| input.info());
            let said = said.filter(|info| info.width() as usize == first.width);
            let height = said.map_or(0, |info| info.height() as usize);
            // As FFmpeg tells fields from pictures whose container is a little wrong.
            let is_field = 4 * first.height < 3 * height && height <= 2 * first.height;
            let rest = if is_field { behind_first(packet) } else { None };
            match rest {
                Some(rest) => {
                    second.read(rest)?;
                    let alike = |field: &Planes| (field.width, field.height, field.layout);
                    if alike(first) != alike(second) {
                        return Err(JpegError::NotWhole("its second field is of another size".into()));
                    }
                }
                None if is_field && self.output.is_some_and(|output| output.interlaced) => {
                    return Err(JpegError::NotWhole("its second field is missing".into()));
                }
                None => {}
            }
            Ok(Output {
                layout: first.layout,
                width: first.width,
                height: if rest.is_some() { height } else { first.height },
                video_range: first.video_range,
                interlaced: rest.is_some(),
            })
        }

        /// Copies the fields into a picture.
        fn fill(
            &self,
            picture: &mut gst_video::VideoFrameRef<&mut gst::BufferRef>,
            output: Output,
        ) -> Option<()> {
            let fields = if output.interlaced { &self.fields[..] } else { &self.fields[..1] };
            if output.layout == Layout::Grey {
                picture.plane_data_mut(1).ok()?.fill(128);
                picture.plane_data_mut(2).ok()?.fill(128);
            }
            for n in 0..output.layout.planes() {
                let (_, rows) = output.layout.size(n, output.width, output.height);
                let stride = usize::try_from(*picture.plane_stride().get(n)?).ok()?;
                let plane = picture.plane_data_mut(n as u32).ok()?;
                for (field, planes) in fields.iter().enumerate() {
                    let lines = plane.chunks_mut(stride).take(rows).skip(field).step_by(fields.len());
                    for (line, row) in lines.zip(planes.rows(n)) {
                        line.get_mut(..row.len())?.copy_from_slice(row);
                    }
                }
            }
            Some(())
        }

        /// Counts a picture that is left out; gives the error back if nothing else will ever come.
        fn left_out(&mut self, error: JpegError) -> Option<JpegError> {
            tracing::debug!(%error, "a picture is left out");
            decoder_log::left_out();
            if self.output.is_none() && !matches!(error, JpegError::NotWhole(_)) {
                self.unread += 1;
                self.why = Some(error);
            }
            self.why.take_if(|_| self.unread >= PATIENCE)
        }
    }

    /// What follows the first picture of a packet, from the beginning of the second on.
    fn behind_first(packet: &[u8]) -> Option<&[u8]> {
        let Found::Picture { start, len } = first_picture(packet) else { return None };
        let rest = &packet[start + len..];
        match first_picture(rest) {
            Found::Picture { start, .. } | Found::Begun { start } => Some(&rest[start..]),
            Found::Nothing { .. } => None,
        }
    }
}
