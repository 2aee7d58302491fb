//! Cameras over HTTP and RTSP: pictures that replace each other, servers that come and go, passwords that
//! nobody but the camera sees.
#![cfg(feature = "media")]
#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::support::api::Api;
use crate::support::players::free_port;
use crate::support::program::{Running, farout, program};
use farout::source::{Purpose, SourceConfig, open};
use farout::stop::Stop;

const SIZE: (usize, usize) = (64, 48);
/// `admin:Geheim@77` in base64.
const ADMIN: &str = "Basic YWRtaW46R2VoZWltQDc3";

/// A camera: the path says how it sends its pictures. Dropped, it is gone, with its connections.
struct Camera {
    port: u16,
    gone: Arc<AtomicBool>,
    server: Option<std::thread::JoinHandle<()>>,
}

impl Camera {
    fn start(port: u16) -> Camera {
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let port = listener.local_addr().unwrap().port();
        listener.set_nonblocking(true).unwrap();
        let gone = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&gone);
        let server = std::thread::spawn(move || {
            let mut served = Vec::new();
            while !flag.load(Ordering::Relaxed) {
                if let Ok((stream, _)) = listener.accept() {
                    let flag = Arc::clone(&flag);
                    // A reader that leaves is no fault.
                    served.push(std::thread::spawn(move || drop(serve(stream, &flag))));
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            served.into_iter().for_each(|thread| thread.join().unwrap());
        });
        Camera { port, gone, server: Some(server) }
    }

    fn at(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}/{path}", self.port)
    }
}

impl Drop for Camera {
    fn drop(&mut self) {
        self.gone.store(true, Ordering::Relaxed);
        self.server.take().unwrap().join().unwrap();
    }
}

/// Red on the left, blue on the right, a green bar that grows.
fn jpeg(number: usize) -> Vec<u8> {
    let pixels: Vec<u8> = (0..SIZE.0 * SIZE.1)
        .flat_map(|i| match (i % SIZE.0, i / SIZE.0) {
            (x, y) if y > 40 && x < number % SIZE.0 => [0, 255, 0],
            (x, _) if x < SIZE.0 / 2 => [255, 0, 0],
            _ => [0, 0, 255],
        })
        .collect();
    farout::jpeg::encode(&pixels, SIZE.0, SIZE.1, 90).unwrap()
}

fn serve(mut stream: TcpStream, gone: &AtomicBool) -> std::io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        request.push(byte[0]);
    }
    let request = String::from_utf8_lossy(&request).into_owned();
    let path = request.split(' ').nth(1).unwrap_or_default();
    if path.contains("redirect") {
        return stream.write_all(b"HTTP/1.1 302 Found\r\nLocation: /plain\r\nContent-Length: 0\r\n\r\n");
    }
    if path.contains("secret") && !request.contains(ADMIN) {
        let refused =
            "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"cam\"\r\nContent-Length: 0\r\n\r\n";
        return stream.write_all(refused.as_bytes());
    }
    let (named, line) = match path {
        p if p.contains("quoted") => ("\"frame\"", "--frame"),
        p if p.contains("dashed") => ("--frame", "--frame"),
        p if p.contains("bare") => ("frame", "frame"),
        _ => ("frame", "--frame"),
    };
    let version = if path.contains("old") { "1.0" } else { "1.1" };
    write!(
        stream,
        "HTTP/{version} 200 OK\r\nConnection: close\r\nContent-Type: multipart/x-mixed-replace; boundary={named}\r\n\r\n"
    )?;
    if path.contains("preamble") {
        stream.write_all(b"This is a message in several parts.\r\n\r\n")?;
    }
    let head = if path.contains("dense") { "content-type:image/jpeg" } else { "Content-Type: image/jpeg" };
    if path.contains("png") {
        let mut png = Vec::new();
        let grain = |x: u32, y: u32| image::Rgb([(x * y * 37 % 251) as u8, (x * x * 91 % 241) as u8, 7]);
        let pixels = image::RgbImage::from_fn(SIZE.0 as u32, SIZE.1 as u32, grain);
        pixels.write_to(&mut std::io::Cursor::new(&mut png), image::ImageFormat::Png).unwrap();
        write!(stream, "--frame\r\nContent-Type: image/png\r\nContent-Length: {}\r\n\r\n", png.len())?;
        stream.write_all(&png)?;
        return stream.write_all(b"\r\n--frame--\r\n");
    }
    for number in 0.. {
        if gone.load(Ordering::Relaxed) || path.contains("short") && number == 20 {
            break;
        }
        let mut picture = jpeg(number);
        if path.contains("broken") && number % 5 == 2 {
            picture.truncate(picture.len() * 2 / 3);
        }
        if path.contains("damaged") && number % 5 == 2 {
            let middle = picture.len() * 2 / 3;
            picture[middle..middle + 100].fill(0);
        }
        let length = match path.contains("unmeasured") {
            true => String::new(),
            false => format!("Content-Length: {}\r\n", picture.len()),
        };
        write!(stream, "{line}\r\n{head}\r\n{length}\r\n")?;
        stream.write_all(&picture)?;
        stream.write_all(b"\r\n")?;
        std::thread::sleep(Duration::from_millis(40));
    }
    Ok(())
}

#[test]
fn pictures_that_replace_each_other_are_frames() {
    let camera = Camera::start(0);
    for path in [
        "plain",
        "quoted",
        "dashed",
        "unmeasured",
        "old",
        "old-unmeasured",
        "redirect",
        "bare",
        "preamble",
        "dense-unmeasured",
    ] {
        let config = SourceConfig::default();
        let mut source = open(&camera.at(path), &config, Purpose::Offline, Stop::new()).unwrap();
        let frames: Vec<_> = (0..20).map(|_| source.next().unwrap().unwrap()).collect();
        for frame in &frames {
            assert_eq!((frame.width, frame.height), SIZE, "{path}");
        }
        // They have the times of their arrival, 40 ms apart or a little more. The first lie together: they wait in the
        // connection while the pipeline starts.
        let took = (frames[19].pts - frames[9].pts).as_secs_f64();
        assert!((0.3..4.0).contains(&took), "{path}: 10 frames in {took} s");
    }
}

/// Those that are cut off and those that are damaged inside are left out, counted and said.
#[test]
fn pictures_that_are_not_whole_are_counted() {
    let camera = Camera::start(0);
    for path in ["short-broken-unmeasured", "short-damaged"] {
        let config = SourceConfig::default();
        let mut source = open(&camera.at(path), &config, Purpose::Offline, Stop::new()).unwrap();
        let mut numbers = Vec::new();
        let error = loop {
            match source.next() {
                Ok(Some(frame)) => numbers.push(frame.id),
                Ok(None) => panic!("{path}: nothing was said after {numbers:?}"),
                Err(error) => break error.to_string(),
            }
        };
        let want: Vec<u64> = (0..20).filter(|n| n % 5 != 2).collect();
        assert_eq!(numbers, want, "{path}: {error}");
        assert!(error.contains("4 pictures were left out"), "{path}: {error}");
        let address = camera.at(&path.replace("short-", ""));
        let config = SourceConfig::default();
        let mut source = open(&address, &config, Purpose::Live, Stop::new()).unwrap();
        let numbers: Vec<u64> = (0..12).map(|_| source.next().unwrap().unwrap().id).collect();
        assert!(numbers.windows(2).any(|pair| pair[1] == pair[0] + 2), "{path}: {numbers:?}");
    }
}

/// A short stream of parts that are no JPEGs is not taken for nothing.
#[test]
fn other_parts_are_handed_on_at_the_end() {
    let camera = Camera::start(0);
    let config = SourceConfig::default();
    let mut source = open(&camera.at("png"), &config, Purpose::Offline, Stop::new()).unwrap();
    let frame = source.next().unwrap().unwrap();
    assert_eq!((frame.width, frame.height), SIZE);
}

#[test]
fn a_camera_over_http_comes_back() {
    let camera = Camera::start(0);
    let (address, port) = (camera.at("plain"), camera.port);
    let config = SourceConfig { timeout_secs: 2.0, ..SourceConfig::default() };
    let mut source = open(&address, &config, Purpose::Live, Stop::new()).unwrap();
    assert!(source.is_live());
    let status = source.status().unwrap();
    let mut last = None;
    let mut five = || {
        for _ in 0..5 {
            let frame = source.next().unwrap().unwrap();
            assert_eq!((frame.width, frame.height), SIZE);
            assert!(last.is_none_or(|last| frame.pts > last), "times go on");
            last = Some(frame.pts);
        }
    };
    five();
    assert_eq!(status.reconnects(), 0);
    // Gone, with its connection, and back under the same address.
    drop(camera);
    let _camera = Camera::start(port);
    five();
    assert_eq!(status.reconnects(), 1);
}

/// Everything that a run says must be free of the password, however it is written.
fn said_without(address: &str, more: &[&str], code: Option<i32>) -> String {
    let outcome = farout([&["replay", "--bypass", address, "--json"], more].concat());
    let said = format!("{}\n{}", outcome.stdout, outcome.stderr);
    assert_eq!(outcome.code, code, "{said}");
    for secret in ["Geheim", "heim@77", "heim%4077"] {
        assert!(!said.contains(secret), "{address}: {said}");
    }
    said
}

#[test]
fn passwords_are_sent_and_never_shown() {
    let camera = Camera::start(0);
    let host = format!("127.0.0.1:{}", camera.port);
    // Escaped, and raw as people write it.
    for password in ["Geheim%4077", "Geheim@77"] {
        let said =
            said_without(&format!("http://admin:{password}@{host}/secret"), &["--frames", "2"], Some(0));
        assert!(said.contains("admin:***@127.0.0.1"), "{said}");
    }
    let said = said_without(&format!("http://admin:Geheim78@{host}/secret"), &[], Some(1));
    assert!(said.contains("admin:***@") && said.contains("%40"), "{said}");
    let said = said_without(&format!("http://{host}/secret?user=admin&pwd=Geheim78"), &[], Some(1));
    assert!(said.contains("pwd=***") && said.contains("USER:PASSWORD"), "{said}");
    let description =
        format!("gst:souphttpsrc location=http://{host}/secret user-id=admin user-pw=Geheim78 retries=0");
    said_without(&description, &[], Some(1));
    said_without("gst:rtspsrc location=rtsp://admin:Geheim@77@127.0.0.1:1/x nonsense=1", &[], Some(1));
    said_without("rtsp://admin:Geheim@77@127.0.0.1:1/live", &[], Some(1));
}

#[test]
fn a_password_in_a_file_is_sent_and_never_shown() {
    let camera = Camera::start(0);
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("car.toml");
    std::fs::write(dir.path().join("camera"), "Geheim@77\n").unwrap();
    let http = free_port();
    let write = |password_file: &str| {
        let text = format!(
            "[[stream]]\nsource = \"http://admin@127.0.0.1:{}/secret\"\npassword_file = \"{password_file}\"\n[output]\n\
             rtsp = \"off\"\nhttp = \"http://127.0.0.1:{http}\"\n",
            camera.port
        );
        std::fs::write(&config, text).unwrap();
    };
    // From the file, and as systemd hands it over.
    for (password_file, folder) in [("camera", None), ("credential:camera", Some(dir.path()))] {
        write(password_file);
        let mut command = program();
        command.args(["run", "-v", "--bypass", "-c"]).arg(&config);
        folder.map(|folder| command.env("CREDENTIALS_DIRECTORY", folder));
        let mut daemon = Running::start(command);
        let api = Api::at(http);
        daemon.until("pictures", || {
            let state = api
                .try_get("/api/v1/state")
                .filter(|answer| answer.status == 200)
                .map(|answer| answer.json());
            state.is_some_and(|state| {
                state["streams"][0]["pictures"]["count"].as_u64().is_some_and(|count| count > 2)
            })
        });
        let cmdline = std::fs::read(format!("/proc/{}/cmdline", daemon.id())).unwrap();
        let told = ["/api/v1/state", "/api/v1/config", "/metrics"].map(|path| api.get(path).text);
        daemon.signal(libc::SIGTERM);
        let outcome = daemon.outcome().succeeded();
        let all =
            [&told[..], &[outcome.stdout, outcome.stderr, String::from_utf8_lossy(&cmdline).into()]].concat();
        for said in all {
            assert!(!said.contains("Geheim") && !said.contains("heim%4077"), "{said}");
        }
    }
    write("credential:camera");
    let check = |code: i32| {
        let outcome = farout(["check", "--bypass", config.to_str().unwrap()]);
        assert_eq!(outcome.code, Some(code), "{outcome:?}");
        outcome.stdout
    };
    let said = check(1);
    assert!(said.contains("camera:/path"), "{said}");
    write("camera");
    let said = check(0);
    assert!(said.contains("its password is in") && !said.contains("Geheim"), "{said}");
}

#[test]
fn a_configuration_is_quoted_without_its_passwords() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("farout.toml");
    for text in
        ["[[stream]]\nsource = \"rtsp://admin:Geheim77@cam/1\" \"\n", "[[stream]]\npassword = \"Geheim77\"\n"]
    {
        std::fs::write(&path, text).unwrap();
        let outcome = farout(["run", "--config", path.to_str().unwrap()]);
        assert_eq!(outcome.code, Some(2), "{outcome:?}");
        assert!(
            outcome.stderr.contains("line 2") && !outcome.stderr.contains("Geheim"),
            "{}",
            outcome.stderr
        );
    }
}
