//! The daemon as its users meet it: the shipped model and bank, real players, and the mask where the
//! synthetic truth says a stranger is.
#![cfg(feature = "media")]

use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::players::{HEIGHT, Viewer, WIDTH, camera, free_port, is_grey, player};
use crate::support::program::{Running, farout, program};
use crate::support::rtsp_camera::RtspCamera;

/// Rows that the status line may cover.
const STATUS_ROWS: usize = 40;

/// The still scene that the daemon watches, and the pixels of its strangers.
struct Scene {
    folder: tempfile::TempDir,
    picture: Vec<u8>,
    stranger: Vec<bool>,
}

impl Scene {
    /// Of some frames that the model never saw, the one with the most stranger in it.
    fn new() -> Scene {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().to_str().unwrap();
        let source = "synthetic:seed=4711,stride=61,frames=12";
        farout(["replay", source, "--bypass", "--frames-out", at, "--truth", at]).succeeded();
        let mask =
            |n: usize| image::open(folder.path().join(format!("{n:06}_stranger.png"))).unwrap().into_luma8();
        let strange = |n: usize| mask(n).pixels().filter(|p| p.0[0] > 0).count();
        let best = (0..12).max_by_key(|&n| strange(n)).unwrap();
        assert!(strange(best) > 2000, "too little to see: {} pixels", strange(best));
        let picture = image::open(folder.path().join(format!("{best:06}.png"))).unwrap().into_rgb8();
        picture.save(folder.path().join("scene.png")).unwrap();
        Scene {
            picture: picture.into_raw(),
            stranger: mask(best).pixels().map(|p| p.0[0] > 0).collect(),
            folder,
        }
    }

    /// The daemon watching the scene as a live camera would show it.
    fn watched(&self, rtsp: u16, http: u16) -> Running {
        let scene = self.folder.path().join("scene.png");
        let mut command = program();
        command
            .args(["run", "-c"])
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/demo.toml"))
            .arg("--source")
            .arg(format!(
                "gst:filesrc location={} ! pngdec ! imagefreeze is-live=true ! video/x-raw,framerate=12/1",
                scene.display()
            ))
            .arg(format!("--rtsp=rtsp://127.0.0.1:{rtsp}/farout"))
            .arg(format!("--http=http://127.0.0.1:{http}/farout.ts"));
        Running::start(command)
    }

    /// Whether a decoded picture is marked on the strangers and hardly anywhere else.
    fn is_marked(&self, seen: &[u8]) -> bool {
        let changed = |i: usize| {
            let pixel = |p: &[u8]| [0, 1, 2].map(|c| i32::from(p[3 * i + c]));
            let (a, b) = (pixel(seen), pixel(&self.picture));
            (0..3).map(|c| (a[c] - b[c]).abs()).sum::<i32>() > 90
        };
        let below_status = (STATUS_ROWS * WIDTH..WIDTH * HEIGHT).collect::<Vec<_>>();
        let share = |of: &dyn Fn(usize) -> bool| {
            let of: Vec<usize> = below_status.iter().copied().filter(|&i| of(i)).collect();
            of.iter().filter(|&&i| changed(i)).count() as f64 / of.len() as f64
        };
        let (on, off) = (share(&|i| self.stranger[i]), share(&|i| !self.stranger[i]));
        on > 0.3 && off < 0.1 && on > 5.0 * off
    }
}

#[test]
fn players_see_the_strangers_marked_and_a_signal_ends_it_in_order() {
    let scene = Scene::new();
    let (rtsp_port, http_port) = (free_port(), free_port());
    let (rtsp, http) =
        (format!("rtsp://127.0.0.1:{rtsp_port}/farout"), format!("http://127.0.0.1:{http_port}/farout.ts"));
    let mut daemon = scene.watched(rtsp_port, http_port);
    daemon.until("the servers", || TcpStream::connect(("127.0.0.1", http_port)).is_ok());
    // Two at once, then one that comes when the others have left. The first pictures come before the detector is open.
    let (mut one, mut two) = (Viewer::start(&rtsp), Viewer::start(&http));
    one.until("marks over RTSP", 5, |picture| scene.is_marked(picture));
    two.until("marks in MPEG-TS over HTTP", 5, |picture| scene.is_marked(picture));
    drop((one, two));
    Viewer::start(&rtsp).until("marks over RTSP, later", 5, |picture| scene.is_marked(picture));
    let asked = Instant::now();
    daemon.signal(libc::SIGTERM);
    let ended = daemon.outcome().succeeded();
    assert!(asked.elapsed() < Duration::from_secs(15), "it took {:?} to stop", asked.elapsed());
    assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
    let last = ended.stdout.lines().last().unwrap();
    let words: Vec<&str> = last.split([' ', ',']).filter(|w| !w.is_empty()).collect();
    let [frames, "frames", fps, "fps", "p50", p50, "ms", "p95", p95, "ms", "dropped", dropped] = words[..]
    else {
        panic!("the last line has another form: {last}");
    };
    assert!(frames.parse::<u64>().unwrap() >= 10, "{last}");
    for number in [fps, p50, p95] {
        assert!(number.split_once('.').is_some_and(|(_, part)| part.len() == 1), "{last}");
        number.parse::<f64>().unwrap();
    }
    dropped.parse::<u64>().unwrap();
}

#[test]
fn a_viewer_stays_while_the_camera_goes_and_comes_back() {
    let (camera_port, port) = (free_port(), free_port());
    let mut first = camera(camera_port);
    first.until("the camera", || TcpStream::connect(("127.0.0.1", camera_port)).is_ok());
    let mut command = program();
    let source = format!("rtsp://127.0.0.1:{camera_port}/farout");
    command.args(["run", "--bypass", "--http", "off", "--source", &source]);
    command.arg(format!("--rtsp=rtsp://127.0.0.1:{port}/farout"));
    let mut daemon = Running::start(command);
    daemon.until("the server", || TcpStream::connect(("127.0.0.1", port)).is_ok());
    let mut viewer = Viewer::start(&format!("rtsp://127.0.0.1:{port}/farout"));
    viewer.until("pictures of the camera", 10, |picture| !is_grey(picture));
    first.signal(libc::SIGKILL);
    drop(first.outcome());
    viewer.until("pictures that say that there is no signal", 5, is_grey);
    let second = camera(camera_port);
    viewer.until("the camera's pictures again", 10, |picture| !is_grey(picture));
    second.signal(libc::SIGTERM);
    drop(second.outcome());
    viewer.until("that it has gone", 5, is_grey);
    // Another camera in its place: other codec, size, shape and rate. The viewer's stream stays what it is. RTP carries no
    // JPEG of 4:4:4, which jpegenc would take.
    let jpegs = "videotestsrc is-live=true ! video/x-raw,format=I420,width=320,height=240,framerate=25/1 ! jpegenc \
                 ! rtpjpegpay name=pay0";
    let third = RtspCamera::coded(jpegs, 0, camera_port);
    viewer.until("the other camera's pictures", 10, |picture| !is_grey(picture));
    drop(viewer);
    daemon.signal(libc::SIGTERM);
    let ended = daemon.outcome().succeeded();
    assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
    drop(third);
}

#[test]
fn a_recording_that_fails_is_tried_again_and_costs_no_viewer_anything() {
    use std::os::unix::process::CommandExt;
    let dir = tempfile::tempdir().unwrap();
    let (path, port) = (dir.path().join("drive.mp4"), free_port());
    let mut command = program();
    let size = format!("synthetic:width={WIDTH},height={HEIGHT}");
    command.args(["run", "--bypass", "--http", "off", "--source", &size]);
    command.arg(format!("--rtsp=rtsp://127.0.0.1:{port}/farout")).arg("--record").arg(&path);
    // No file of this process grows beyond that, as on a full disk.
    let most = libc::rlimit { rlim_cur: 300_000, rlim_max: 300_000 };
    // SAFETY: both calls may be made between fork and exec, and touch nothing of the parent.
    unsafe {
        command.pre_exec(move || {
            libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
            match libc::setrlimit(libc::RLIMIT_FSIZE, &most) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            }
        });
    }
    let mut daemon = Running::start(command);
    daemon.until("the server", || TcpStream::connect(("127.0.0.1", port)).is_ok());
    let viewer = player(&format!("rtsp://127.0.0.1:{port}/farout"), 150);
    let second = dir.path().join("drive-2.mp4");
    daemon.until("the next file", || second.exists());
    let seen = viewer.wait_with_output().unwrap();
    assert!(seen.status.success());
    assert_eq!(seen.stdout.len(), 150 * WIDTH * HEIGHT * 3, "the viewer lost pictures");
    daemon.signal(libc::SIGTERM);
    let outcome = daemon.outcome();
    assert!(outcome.stderr.contains("the recording failed; it is tried again"), "{}", outcome.stderr);
    // What was written before is whole.
    let told = Command::new("ffprobe")
        .args(["-v", "error", "-count_packets", "-show_entries", "stream=nb_read_packets", "-of", "csv=p=0"])
        .arg(&path)
        .output()
        .unwrap();
    let packets: u64 = String::from_utf8_lossy(&told.stdout).trim().parse().unwrap();
    assert!(packets > 5, "{packets} pictures in the first file");
}

#[test]
fn systemd_is_told_when_it_is_ready_and_when_it_stops() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let socket = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut command = program();
    command
        .args([
            "run",
            "--bypass",
            "--source",
            "synthetic:width=64,height=64",
            "--rtsp",
            "off",
            "--http",
            "off",
        ])
        .env("NOTIFY_SOCKET", &path);
    let daemon = Running::start(command);
    let told = || {
        let mut bytes = [0; 4096];
        let length = socket.recv(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    };
    assert_eq!(told().trim(), "READY=1");
    daemon.signal(libc::SIGTERM);
    let stopping = std::iter::from_fn(|| Some(told())).take(20).any(|message| message.trim() == "STOPPING=1");
    assert!(stopping, "systemd was not told that it stops");
    daemon.outcome().succeeded();
}
