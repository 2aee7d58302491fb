//! Token, password and TLS, as programs and players meet them.
#![cfg(feature = "media")]

use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

use crate::support::api::Api;
use crate::support::players::{self, free_port};
use crate::support::program::{Running, farout, program};

/// A run that judges nothing, with these keys of `[access]`.
fn start(folder: &Path, access: &str, (rtsp, http): (u16, u16)) -> Running {
    std::fs::write(folder.join("token"), "t0ken-of-7\n").unwrap();
    std::fs::write(folder.join("password"), "pass:word").unwrap();
    let config = folder.join("car.toml");
    let text = format!(
        "[[stream]]\nsource = \"synthetic:width=320,height=180,fps=12\"\n[access]\n{access}\n[output]\n\
         rtsp = \"rtsp://127.0.0.1:{rtsp}/farout\"\nhttp = \"http://127.0.0.1:{http}\"\n"
    );
    std::fs::write(&config, text).unwrap();
    let mut command = program();
    command.args(["run", "--bypass", "-c"]).arg(&config);
    let mut daemon = Running::start(command);
    daemon.until("the servers", || TcpStream::connect(("127.0.0.1", http)).is_ok());
    // The page comes with the first stream, an instant later.
    let (page, api) = (format!("https://127.0.0.1:{http}/healthz"), Api::at(http));
    daemon.until("the page", || {
        let over_tls =
            || Command::new("curl").args(["-skf", "-o", "/dev/null", &page]).status().unwrap().success();
        api.try_get("/healthz").map_or_else(over_tls, |answer| answer.status == 200)
    });
    daemon
}

/// Whether `ffprobe` sees the video, and what it said.
fn probe(more: &[&str], url: &str) -> (bool, String) {
    let (width, told) = players::probe(more, url);
    (width == Some(320), told)
}

const TCP: &[&str] = &["-rtsp_transport", "tcp"];

#[test]
fn token_and_password_are_asked_for_everywhere() {
    let folder = tempfile::tempdir().unwrap();
    let (rtsp, http) = (free_port(), free_port());
    let keys = "token_file = \"token\"\nuser = \"driver\"\npassword_file = \"password\"";
    let daemon = start(folder.path(), keys, (rtsp, http));
    let mut api = Api::at(http);
    assert_eq!(api.get("/healthz").status, 200);
    for path in ["/", "/api/v1/state", "/api/v1/config", "/metrics", "/farout.ts", "/farout.mp4", "/nowhere"]
    {
        let answer = api.get(path);
        assert_eq!((answer.status, answer.kind.as_str()), (401, "application/problem+json"), "{path}");
    }
    api.credentials = Some("Bearer t0ken-of-8".into());
    assert!(api.get("/api/v1/state").is(401).text.contains("wrong token or password"));
    api.credentials = Some("Bearer t0ken-of-7".into());
    let config = api.get("/api/v1/config").is(200).text;
    assert!(!config.contains("t0ken") && !config.contains("pass:word"), "{config}");
    api.patch(serde_json::json!({"overlay": {"heat": false}}));
    let at = |with: &str| format!("http://{with}127.0.0.1:{http}/farout.ts");
    assert_eq!(probe(&[], &at("driver:pass%3Aword@")), (true, String::new()));
    assert!(probe(&[], &at("")).1.contains("401"));
    let at = |with: &str| format!("rtsp://{with}127.0.0.1:{rtsp}/farout");
    assert_eq!(probe(TCP, &at("driver:pass%3Aword@")), (true, String::new()));
    for wrong in ["", "driver:pass@", "other:pass%3Aword@"] {
        let (seen, why) = probe(TCP, &at(wrong));
        assert!(!seen && why.contains("401"), "{wrong}: {why}");
    }
    daemon.signal(libc::SIGTERM);
    let log = daemon.outcome().succeeded().stderr;
    assert!(!log.contains("t0ken") && !log.contains("pass:word"), "{log}");
}

#[test]
fn tls_is_spoken_where_it_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let (rtsp, http) = (free_port(), free_port());
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let certificate = data.join("localhost.pem");
    let keys = format!(
        "user = \"driver\"\npassword_file = \"password\"\ncertificate = \"{}\"\nkey = \"{}\"",
        certificate.display(),
        data.join("localhost.key").display()
    );
    let daemon = start(folder.path(), &keys, (rtsp, http));
    let curl = |more: &[&str], url: &str| {
        let mut command = Command::new("curl");
        command.args(["-sS", "--max-time", "10", "--cacert"]).arg(&certificate);
        let told = command.args(more).arg(url).output().unwrap();
        (told.status.success(), String::from_utf8_lossy(&told.stdout).into_owned())
    };
    let user = ["-u", "driver:pass:word"];
    let (ok, text) = curl(&user, &format!("https://localhost:{http}/api/v1/state"));
    assert!(ok && text.contains(&format!("rtsps://HOST:{rtsp}/farout")), "{text}");
    assert!(curl(&[], &format!("https://localhost:{http}/api/v1/state")).1.contains("401"));
    assert!(!curl(&user, &format!("http://localhost:{http}/api/v1/state")).0, "plain text is answered");
    let video = format!("https://driver:pass%3Aword@127.0.0.1:{http}/farout.ts");
    assert_eq!(probe(&["-tls_verify", "0"], &video), (true, String::new()));
    // GStreamer with GLib's TLS; ffmpeg's RTSP over TLS is not in every build.
    let play = |password: &str| {
        let played = Command::new("timeout")
            .args(["20", "gst-launch-1.0", "-q", "rtspsrc", "tls-validation-flags=0", "user-id=driver"])
            .args([&format!("user-pw={password}"), &format!("location=rtsps://127.0.0.1:{rtsp}/farout")])
            .args(["!", "fakesink", "num-buffers=20"])
            .output()
            .unwrap();
        // After the end it says TEARDOWN, the server hangs up, and a PAUSE that it sends then fails.
        let why = String::from_utf8_lossy(&played.stderr).into_owned();
        (played.status.success() || why.contains("gst_rtspsrc_pause"), why)
    };
    let (played, why) = play("pass:word");
    assert!(played, "{why}");
    let (played, why) = play("another");
    assert!(!played && why.contains("Unauthorized"), "{why}");
    daemon.signal(libc::SIGTERM);
    daemon.outcome().succeeded();
}

#[test]
fn an_open_address_is_refused_unless_somebody_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("car.toml");
    std::fs::write(folder.path().join("token"), "x").unwrap();
    let run = |keys: &str, rtsp: &str, http: &str| {
        let text = format!("[access]\n{keys}\n[output]\nrtsp = \"{rtsp}\"\nhttp = \"{http}\"\n");
        std::fs::write(&config, text).unwrap();
        let config = config.to_str().unwrap();
        farout(["run", "--bypass", "--source", "synthetic:", "--frames", "3", "-c", config])
    };
    for (keys, rtsp, http, want) in [
        ("", "off", "http://0.0.0.0:0", "output.http: other machines reach 0.0.0.0:0"),
        ("", "rtsp://0.0.0.0:0/x", "off", "access.user and access.password_file"),
        ("token_file = \"token\"", "rtsp://0.0.0.0:0/x", "off", "access.user and access.password_file"),
        ("token_file = \"nowhere\"", "off", "off", "access.token_file"),
        ("certificate = \"token\"\nkey = \"token\"", "off", "http://127.0.0.1:0", "access.certificate"),
        ("certificate = \"token\"", "off", "off", "access.certificate needs access.key"),
    ] {
        let ended = run(keys, rtsp, http);
        assert!(ended.code != Some(0) && ended.stderr.contains(want), "{keys}: {}", ended.stderr);
    }
    run("token_file = \"token\"", "off", "http://0.0.0.0:0").succeeded();
    run("anyone = \"watch\"", "rtsp://0.0.0.0:0/x", "http://0.0.0.0:0").succeeded();
}
