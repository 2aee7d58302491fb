//! What the pipeline itself costs: CPU time per frame of `farout replay --bypass` (decode, queues,
//! encode, MP4) beside a plain GStreamer pipeline with the same decoder and encoder settings.
//!
//! `cargo bench --bench bypass [-- FILE.mp4]`; without a file, a 1280x720 clip is made first. Runs
//! alternate, the median of each side counts, JSON goes to `target/bench/bypass.json`.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

/// Runs of each side.
const ROUNDS: usize = 7;
/// What the pipeline may cost more, as a factor.
const ALLOWED: f64 = 1.5;

/// Runs `command` to its end; its CPU time (user and system, all threads) in seconds.
fn cpu_seconds(command: &mut Command) -> f64 {
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut status = 0;
    // SAFETY: plain old data that wait4 fills.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers live through the call; the child is ours and nobody else waits for it.
    let waited = unsafe { libc::wait4(child.id() as i32, &raw mut status, 0, &raw mut usage) };
    assert_eq!(waited, child.id() as i32);
    assert!(ExitStatus::from_raw(status).success(), "{command:?} failed: {status}");
    let seconds = |t: libc::timeval| t.tv_sec as f64 + t.tv_usec as f64 / 1e6;
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}

fn gst(description: &str) -> Command {
    let mut command = Command::new("gst-launch-1.0");
    command.arg("-q").args(description.split_whitespace());
    command
}

/// A moving 1280x720 picture, 300 frames, H.264.
fn made(folder: &Path) -> PathBuf {
    let clip = folder.join("clip.mp4");
    let description = format!(
        "videotestsrc pattern=zone-plate kx2=20 ky2=20 kt=1 num-buffers=300 ! video/x-raw,format=I420,width=1280,height=720,framerate=25/1 \
         ! x264enc speed-preset=fast bitrate=4000 ! h264parse ! mp4mux \
         faststart=true ! filesink location={}",
        clip.display()
    );
    cpu_seconds(&mut gst(&description));
    clip
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    let folder = tempfile::tempdir().unwrap();
    let clip = std::env::args().skip(1).find(|a| !a.starts_with("--"));
    let clip = clip.map_or_else(|| made(folder.path()), PathBuf::from);
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let plain = format!(
        "filesrc location={} ! decodebin ! videoconvert ! x264enc speed-preset=superfast tune=zerolatency bframes=0 \
         threads={} bitrate=4000 key-int-max=25 ! h264parse config-interval=-1 ! mp4mux fragment-duration=1000 \
         ! filesink location={}",
        clip.display(),
        (threads / 2).clamp(1, 4),
        folder.path().join("plain.mp4").display()
    );
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let mut farout = Command::new(env!("CARGO_BIN_EXE_farout"));
        farout.arg("replay").arg(&clip).args(["--bypass", "--video"]).arg(folder.path().join("ours.mp4"));
        ours.push(cpu_seconds(&mut farout));
        theirs.push(cpu_seconds(&mut gst(&plain)));
    }
    let (ours, theirs) = (median(ours), median(theirs));
    let ratio = ours / theirs;
    println!(
        "{}: farout --bypass {ours:.3} s, GStreamer {theirs:.3} s of CPU time, ratio {ratio:.2}",
        clip.display()
    );
    let json = serde_json::json!({
        "clip": clip.display().to_string(), "rounds": ROUNDS,
        "farout_cpu_seconds": ours, "gstreamer_cpu_seconds": theirs, "ratio": ratio, "allowed": ALLOWED,
    });
    let out = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench");
    std::fs::create_dir_all(&out).unwrap();
    std::fs::write(out.join("bypass.json"), json.to_string()).unwrap();
    assert!(
        ratio <= ALLOWED,
        "the pipeline costs {ratio:.2} times what GStreamer costs, more than {ALLOWED}"
    );
}
