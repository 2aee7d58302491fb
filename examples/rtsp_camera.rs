//! A camera that costs next to nothing: serves an H.264 file (MP4) over RTSP, as it is, from its start for every client.
//!
//!     cargo run --release --example rtsp_camera -- clip.mp4 8553      # rtsp://127.0.0.1:8553/camera

#[cfg(feature = "media")]
fn main() -> anyhow::Result<()> {
    use anyhow::Context;
    use gstreamer as gst;
    use gstreamer_rtsp_server as rtsp;
    use gstreamer_rtsp_server::prelude::*;

    let mut args = std::env::args().skip(1);
    let (Some(file), Some(port)) = (args.next(), args.next()) else {
        anyhow::bail!("give a file and a port: rtsp_camera clip.mp4 8553");
    };
    let file = std::fs::canonicalize(&file).with_context(|| format!("cannot read {file}"))?;
    gst::init()?;
    let server = rtsp::RTSPServer::new();
    server.set_address("127.0.0.1");
    server.set_service(&port);
    let factory = rtsp::RTSPMediaFactory::new();
    factory.set_launch(&format!(
        "( filesrc location=\"{}\" ! qtdemux ! h264parse ! rtph264pay name=pay0 pt=96 config-interval=-1 )",
        file.display()
    ));
    server.mount_points().context("no mount points")?.add_factory("/camera", factory);
    let _source = server.attach(None).context("the port is in use")?;
    println!("rtsp://127.0.0.1:{port}/camera");
    rtsp::glib::MainLoop::new(None, false).run();
    Ok(())
}

#[cfg(not(feature = "media"))]
fn main() {
    eprintln!("this example needs the feature `media`");
}
