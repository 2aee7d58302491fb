//! An RTSP camera with a clock of its own.
#![allow(dead_code, clippy::unwrap_used, reason = "each test uses what it needs")]

use gstreamer as gst;
use gstreamer::glib;
use gstreamer::prelude::*;
use gstreamer_rtsp_server as rtsp;
use gstreamer_rtsp_server::prelude::*;

/// A camera; dropped, it is gone.
pub struct RtspCamera {
    /// Where its pictures are.
    pub url: String,
    events: glib::MainLoop,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl RtspCamera {
    /// Serves the pictures of the raw live video `source` (a launch description); its clock is `behind` by so many
    /// milliseconds, and its sender reports are in that time.
    pub fn start(source: &str, behind: i64) -> RtspCamera {
        let coded = format!(
            "{source} ! videoconvert ! video/x-raw,format=I420 ! x264enc tune=zerolatency speed-preset=ultrafast \
             key-int-max=12 ! rtph264pay name=pay0 config-interval=-1"
        );
        RtspCamera::coded(&coded, behind, 0)
    }

    /// The same of packets that a payloader called `pay0` makes; at this port, or at a free one.
    pub fn coded(launch: &str, behind: i64, port: u16) -> RtspCamera {
        gst::init().unwrap();
        let server = rtsp::RTSPServer::new();
        server.set_address("127.0.0.1");
        server.set_service(&port.to_string());
        let factory = rtsp::RTSPMediaFactory::new();
        factory.set_launch(&format!("( {launch} )"));
        factory.set_shared(true);
        factory.set_latency(0);
        factory.connect_media_configure(move |_, media| {
            let clock = glib::Object::builder::<gst::SystemClock>()
                .property("clock-type", gst::ClockType::Monotonic)
                .build();
            let unix = jiff::Timestamp::now().as_nanosecond() as i64 - behind * 1_000_000;
            let ntp = gst::ClockTime::from_nseconds(unix as u64 + 2_208_988_800_000_000_000);
            clock.set_calibration(clock.internal_time(), ntp, 1, 1);
            media.set_clock(Some(&clock));
            let pipeline = media.element().parent().unwrap().downcast::<gst::Bin>().unwrap();
            pipeline.connect_element_added(|_, added| {
                if added.factory().is_some_and(|factory| factory.name() == "rtpbin") {
                    added.set_property_from_str("ntp-time-source", "clock-time");
                    added.set_property("rtcp-sync-send-time", false);
                }
            });
        });
        server.mount_points().unwrap().add_factory("/farout", factory);
        let context = glib::MainContext::new();
        let source = server.create_source(rtsp::gio::Cancellable::NONE).unwrap();
        source.attach(Some(&context));
        let url = format!("rtsp://127.0.0.1:{}/farout", server.bound_port());
        let events = glib::MainLoop::new(Some(&context), false);
        let run = events.clone();
        let thread = std::thread::spawn(move || {
            context.with_thread_default(|| run.run()).unwrap();
            drop(server);
        });
        RtspCamera { url, events, thread: Some(thread) }
    }
}

impl Drop for RtspCamera {
    fn drop(&mut self) {
        // A loop that does not run yet cannot be told to end.
        while !self.events.is_running() {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        self.events.quit();
        self.thread.take().unwrap().join().unwrap();
    }
}
