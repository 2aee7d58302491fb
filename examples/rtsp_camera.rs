//! A camera over RTSP: an H.264 file (MP4) as it is, from its start for every client, at next to no cost; or a launch description in
//! brackets, which all clients share.
//!
//!     cargo run --release --example rtsp_camera -- clip.mp4 8553      # rtsp://127.0.0.1:8553/camera
//!     cargo run --release --example rtsp_camera -- '( videotestsrc is-live=true ! x264enc ! rtph264pay name=pay0 )' 8553

#[cfg(feature = "media")]
fn main() -> anyhow::Result<()> {
    use anyhow::Context;
    use gstreamer as gst;
    use gstreamer_rtsp_server as rtsp;
    use gstreamer_rtsp_server::prelude::*;

    let mut args = std::env::args().skip(1);
    let (Some(what), Some(port)) = (args.next(), args.next()) else {
        anyhow::bail!("give a file or a launch description, and a port: rtsp_camera clip.mp4 8553");
    };
    let address = args.next().unwrap_or_else(|| "127.0.0.1".to_owned());
    gst::init()?;
    let server = rtsp::RTSPServer::new();
    server.set_address(&address);
    server.set_service(&port);
    let factory = rtsp::RTSPMediaFactory::new();
    if what.starts_with('(') {
        factory.set_launch(&what);
        factory.set_shared(true);
        factory.set_latency(0);
    } else {
        let file = std::fs::canonicalize(&what).with_context(|| format!("cannot read {what}"))?;
        factory.set_launch(&format!(
            "( filesrc location=\"{}\" ! qtdemux ! h264parse ! rtph264pay name=pay0 pt=96 config-interval=-1 )",
            file.display()
        ));
    }
    server.mount_points().context("no mount points")?.add_factory("/camera", factory);
    let _source = server.attach(None).context("the port is in use")?;
    println!("rtsp://{address}:{port}/camera");
    rtsp::glib::MainLoop::new(None, false).run();
    Ok(())
}

#[cfg(not(feature = "media"))]
fn main() {
    eprintln!("this example needs the feature `media`");
}
