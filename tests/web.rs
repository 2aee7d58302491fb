//! Page, API and metrics of a running farout.
#![cfg(feature = "media")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::api::{Api, differs};
use crate::support::players::free_port;
use crate::support::program::{Running, program};
use serde_json::json;

/// Those who show a token may change everything.
const GUARDED: &str = "[access]\ntoken_file = \"token\"\n";

/// A farout that watches a drive of 12 pictures a second with the small model.
struct Watched {
    daemon: Running,
    api: Api,
    http: u16,
    rtsp: u16,
    config: PathBuf,
    folder: tempfile::TempDir,
}

fn configuration(more: &str, (rtsp, http): (u16, u16)) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    format!(
        r#"
        [[stream]]
        source = "synthetic:seed=4711,fps=12"
        [model]
        path = "{model}"
        [bank]
        path = "{bank}"
        [output]
        rtsp = "rtsp://127.0.0.1:{rtsp}/farout"
        http = "http://127.0.0.1:{http}"
        {more}
        "#,
        model = root.join("models/synthetic-vit.onnx").display(),
        bank = root.join("models/synthetic.bank").display(),
    )
}

impl Watched {
    fn start(more: &str) -> Watched {
        let (rtsp, http) = (free_port(), free_port());
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("car.toml");
        std::fs::write(&config, configuration(more, (rtsp, http))).unwrap();
        std::fs::write(folder.path().join("token"), "t0ken").unwrap();
        let mut command = program();
        command.args(["run", "-c"]).arg(&config);
        let mut daemon = Running::start(command);
        let mut api = Api::at(http);
        api.credentials = Some("Bearer t0ken".into());
        daemon.until("a verdict", || {
            let told = api.try_get("/api/v1/state").filter(|answer| answer.status == 200);
            let told = told.map(|answer| answer.json());
            told.is_some_and(|told| told["streams"][0]["found"].is_object())
        });
        Watched { daemon, api, http, rtsp, config, folder }
    }

    fn end(self) -> String {
        self.daemon.signal(libc::SIGTERM);
        let ended = self.daemon.outcome().succeeded();
        assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
        ended.stderr
    }
}

#[test]
fn the_api_answers_as_it_is_described() {
    // Whatever the picture shows, there is a region in its middle.
    let sections =
        "[score]\nthreshold = 0.5\nscene_share = 1.0\nevent_frames = 1\n[events]\nfolder = \"kept\"";
    let mut watched = Watched::start(sections);
    let Watched { daemon, api, .. } = &mut watched;
    daemon.until("an event", || api.get("/api/v1/events").is(200).json()[0]["features"] == true);
    let event = api.get("/api/v1/events").json()[0]["id"].as_str().unwrap().to_owned();
    let api = &watched.api;
    let described = api.get("/api/v1/openapi.json").is(200).json();
    let mut asked = 0;
    for (path, methods) in described["paths"].as_object().unwrap() {
        let Some(get) = methods.get("get").filter(|_| path != "/api/v1/updates" && !path.contains("{file}"))
        else {
            continue;
        };
        let asked_of = path.replace("{name}", "stream").replace("{id}", &event);
        let answer = match path.rsplit('/').next() {
            // Pictures; the bank has none.
            Some("thumbnail" | "picture") => continue,
            Some("why") => api.get(&format!("{asked_of}?x=320&y=180")).is(200),
            _ => api.get(&asked_of).is(200),
        };
        let content = &get["responses"]["200"]["content"];
        let kind = content.as_object().unwrap().keys().next().unwrap();
        assert!(answer.kind.starts_with(kind.as_str()), "{path}: {} is not {kind}", answer.kind);
        if kind == "application/json" {
            let found = differs(&described, &content[kind]["schema"], &answer.json(), path);
            assert!(found.is_empty(), "{found:#?}");
        }
        asked += 1;
    }
    assert!(asked >= 12, "{asked}");

    // Errors say what, where, and what to try.
    let problem = &described["components"]["schemas"]["Problem"];
    for (method, path, body, status, want) in [
        ("GET", "/api/v1/streams/left", None, 404, "there are: stream"),
        ("DELETE", "/api/v1/streams/left", None, 404, "there are: stream"),
        ("DELETE", "/api/v1/streams/stream", None, 409, "add another one first"),
        ("GET", "/nowhere", None, 404, "/api/v1/openapi.json"),
        ("PUT", "/api/v1/config", None, 405, "PUT"),
        ("PATCH", "/api/v1/config", Some(json!({"score": {"treshold": 1}})), 422, "treshold"),
        ("PATCH", "/api/v1/config", Some(json!({"overlay": {"opacity": 4}})), 422, "overlay.opacity is 4"),
        ("PATCH", "/api/v1/config", Some(json!([])), 422, "an object"),
        ("GET", "/api/v1/events?limit=abc", None, 400, "limit"),
        ("GET", "/api/v1/events?before=nix", None, 404, "no event nix"),
        (
            "PATCH",
            "/api/v1/config",
            Some(json!({"stream": {"left": {"score": {}}}})),
            422,
            "there are: stream",
        ),
        // What lets farout write, load code or run pipelines takes more than to be on this machine.
        (
            "PATCH",
            "/api/v1/config",
            Some(json!({"output": {"record": "/tmp/x.mp4"}})),
            403,
            "access.token_file",
        ),
        (
            "PATCH",
            "/api/v1/config",
            Some(json!({"runtime": {"library": "/tmp/x.so"}})),
            403,
            "runtime.library",
        ),
        (
            "PATCH",
            "/api/v1/config",
            Some(json!({"stream": {"stream": {"source": "gst:videotestsrc"}}})),
            403,
            "stream.stream.source",
        ),
        ("POST", "/api/v1/streams", Some(json!({"name": "a", "sorce": "x"})), 422, "sorce"),
        ("POST", "/api/v1/streams", Some(json!({"name": "a"})), 422, "needs a name"),
        ("PATCH", "/api/v1/config", None, 415, "application/json"),
    ] {
        let answer = api.send(method, path, body);
        assert_eq!(
            (answer.status, answer.kind.as_str()),
            (status, "application/problem+json"),
            "{method} {path}"
        );
        let told = answer.json();
        assert_eq!(differs(&described, problem, &told, path), [""; 0], "{told}");
        assert!(told["detail"].as_str().unwrap().contains(want) && told["status"] == status, "{told}");
    }

    // How all stands, as it goes on.
    let mut updates = Command::new("curl")
        .args(["-sN", "--max-time", "10", &format!("http://127.0.0.1:{}/api/v1/updates", watched.http)])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = std::io::BufRead::lines(std::io::BufReader::new(updates.stdout.take().unwrap()));
    let data = lines.map_while(Result::ok).filter_map(|line| line.strip_prefix("data: ").map(str::to_owned));
    let counts: BTreeSet<u64> = data
        .take(3)
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(&line).unwrap()["streams"][0]["pictures"]["count"]
                .as_u64()
                .unwrap()
        })
        .collect();
    assert_eq!(counts.len(), 3, "{counts:?}");
    updates.kill().unwrap();
    updates.wait().unwrap();
    assert_eq!(api.get("/readyz").is(200).text, "ready\n");
    watched.end();
}

/// Presentation times of a stream as a player sees them, in time stamps.
struct Seen(std::process::Child);

impl Seen {
    fn start(url: &str, secs: u32) -> Seen {
        let child = Command::new("ffmpeg")
            .args(["-v", "error", "-nostdin", "-i", url, "-t", &secs.to_string()])
            .args(["-fps_mode", "passthrough", "-f", "framemd5", "-"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        Seen(child.unwrap())
    }

    fn times(self) -> Vec<i64> {
        let ended = self.0.wait_with_output().unwrap();
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
        let text = String::from_utf8(ended.stdout).unwrap();
        let rows = text.lines().filter(|line| !line.starts_with('#'));
        rows.map(|line| line.split(',').nth(2).unwrap().trim().parse().unwrap()).collect()
    }
}

#[test]
fn changes_take_hold_while_a_viewer_misses_no_picture() {
    let mut watched = Watched::start(GUARDED);
    let Watched { daemon, api, http, folder, .. } = &mut watched;
    let viewer = Seen::start(&format!("http://me:t0ken@127.0.0.1:{http}/farout.ts"), 14);
    let held = |what: &str, key: &str, of: &dyn Fn(&serde_json::Value) -> bool, change: serde_json::Value| {
        let told = api.patch(change);
        assert_eq!(told["complete"], true, "{what}: {told}");
        assert!(told["changes"].as_array().unwrap().iter().any(|one| one["key"] == key), "{what}: {told}");
        let begun = std::time::Instant::now();
        while !of(&api.stream()) {
            assert!(begun.elapsed().as_secs() < 20, "{what}: {}", api.stream());
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    };
    let threshold = |want: f64| move |stream: &serde_json::Value| stream["scores"]["threshold"] == want;
    let regions = |stream: &serde_json::Value| stream["found"]["regions"].as_array().unwrap().len();
    // So high that nothing alarms, so low that everything does.
    let nothing = |stream: &serde_json::Value| threshold(1000.0)(stream) && regions(stream) == 0;
    held("a threshold", "score.threshold", &nothing, json!({"score": {"threshold": 1000.0}}));
    let all = |stream: &serde_json::Value| threshold(0.125)(stream) && regions(stream) > 0;
    held(
        "its own threshold",
        "stream.stream.score.threshold",
        &all,
        json!({"stream": {"stream": {"score": {"threshold": 0.125}}}}),
    );
    let half = |stream: &serde_json::Value| {
        stream["found"]["regions"].as_array().unwrap().iter().all(|one| one["y"].as_u64() >= Some(170))
    };
    held("a region", "score.roi", &half, json!({"score": {"roi": [[0, 0.5], [1, 0.5], [1, 1], [0, 1]]}}));
    held("a look", "overlay.heat", &|_| true, json!({"overlay": {"heat": false, "colormap": "viridis"}}));
    held("a bit rate", "output.bitrate_kbps", &|_| true, json!({"output": {"bitrate_kbps": 900}}));
    let record = folder.path().join("drive.mp4");
    held(
        "a recording",
        "output.record",
        &|_| std::fs::metadata(&record).is_ok_and(|file| file.len() > 9000),
        json!({"output": {"record": record}}),
    );
    held("its end", "output.record", &|_| true, json!({"output": {"record": null}}));
    held("another way to score", "score.normalise", &|_| true, json!({"score": {"normalise": "median"}}));
    held(
        "another camera",
        "stream.stream.source",
        &|_| true,
        json!({"stream": {"stream": {"source": "synthetic:seed=2,fps=12"}}}),
    );
    held("back", "score.normalise", &|_| true, json!({"score": {"normalise": "off"}}));
    // What cannot be stays, and the rest is done.
    let told = api.patch(
        json!({"bank": {"path": "/nowhere.bank"}, "output": {"http": "off"}, "overlay": {"heat": true}}),
    );
    assert_eq!(told["complete"], false);
    let why = |key: &str| {
        told["changes"].as_array().unwrap().iter().find(|one| one["key"] == key).unwrap()["why"].clone()
    };
    assert!(why("bank.path").as_str().unwrap().contains("/nowhere.bank"), "{told}");
    assert!(why("output.http").as_str().unwrap().contains("restart"), "{told}");
    assert!(why("overlay.heat").is_null(), "{told}");
    let config = api.get("/api/v1/config").is(200).json();
    assert!(config["bank"]["path"].as_str().unwrap().ends_with("synthetic.bank"), "{config}");
    assert_eq!(
        (&config["overlay"]["heat"], &config["overlay"]["colormap"]),
        (&json!(true), &json!("viridis"))
    );
    let counted = api.stream()["verdicts"]["count"].as_u64().unwrap();
    daemon
        .until("verdicts after all that", || api.stream()["verdicts"]["count"].as_u64() > Some(counted + 5));

    let times = viewer.times();
    let dropped = api.stream()["pictures"]["dropped"].as_u64().unwrap();
    let steps: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let mut sorted = steps.clone();
    sorted.sort_unstable();
    let usual = sorted[sorted.len() / 2];
    // Where the camera was changed the new one's first picture comes when it comes; pictures that the encoder could not take
    // are counted, and nobody's fault.
    let dropped = usize::try_from(dropped).unwrap();
    let long: Vec<_> = steps.iter().filter(|step| **step > usual * 3 / 2).collect();
    assert!(times.len() > 100 && long.len() <= 1 + dropped, "{} pictures, {long:?} of {usual}", times.len());
    let told = Command::new("ffprobe").args(["-v", "error"]).arg(&record).output().unwrap();
    assert!(told.status.success(), "{told:?}");
    let log = watched.end();
    assert!(log.contains("output.http stays as it was"), "{log}");
}

#[test]
fn a_hang_up_reads_the_file_again() {
    let mut watched = Watched::start("[score]\nthreshold = 4.0");
    let write = |watched: &Watched, more: &str| {
        std::fs::write(&watched.config, configuration(more, (watched.rtsp, watched.http))).unwrap();
        watched.daemon.signal(libc::SIGHUP);
    };
    write(&watched, "[score]\nthreshold = 7.0");
    let Watched { daemon, api, .. } = &mut watched;
    daemon.until("the new threshold", || api.stream()["scores"]["threshold"] == 7.0);
    // A file that is none changes nothing.
    write(&watched, "[score]\nthreshold = ");
    let refused = watched.api.send("POST", "/api/v1/reload", None).is(422).json();
    let detail = refused["detail"].as_str().unwrap();
    assert!(detail.contains("car.toml") && detail.ends_with("nothing was changed"), "{detail}");
    // Signals that wait become one: this one is to find the file as it is.
    std::thread::sleep(std::time::Duration::from_secs(1));
    // One that is there again is taken, and what it does not change is not touched.
    write(&watched, "[score]\nthreshold = 7.0\n[overlay]\nheat = false");
    let Watched { daemon, api, .. } = &mut watched;
    daemon.until("the new look", || api.get("/api/v1/config").is(200).json()["overlay"]["heat"] == false);
    assert_eq!(api.send("POST", "/api/v1/reload", None).is(200).json()["changes"], json!([]));
    let log = watched.end();
    assert!(log.contains("the configuration is read again") && log.contains("nothing was changed"), "{log}");
}

#[test]
fn streams_come_and_go() {
    let mut watched = Watched::start("");
    std::fs::write(
        &watched.config,
        configuration("", (watched.rtsp, watched.http)).replace("[[stream]]", "[[stream]]\nname = \"front\""),
    )
    .unwrap();
    // The one without a name goes, one with a name comes.
    let told = watched.api.send("POST", "/api/v1/reload", None).is(200).json();
    assert_eq!(told["complete"], true, "{told}");
    let rear = json!({"name": "rear", "source": "synthetic:seed=9,width=320,height=180,fps=10"});
    watched.api.send("POST", "/api/v1/streams", Some(rear.clone())).is(201);
    let why = watched.api.send("POST", "/api/v1/streams", Some(rear)).is(422).json();
    assert!(why["detail"].as_str().unwrap().contains("twice"), "{why}");
    let absent = json!({"name": "left", "source": "/nowhere.mp4"});
    let why = watched.api.send("POST", "/api/v1/streams", Some(absent)).is(422).json();
    assert!(why["detail"].as_str().unwrap().contains("/nowhere.mp4"), "{why}");
    let Watched { daemon, api, http, .. } = &mut watched;
    daemon.until("verdicts of both", || {
        let all = api.get("/api/v1/streams").is(200).json();
        let names: Vec<_> = all.as_array().unwrap().iter().map(|one| one["name"].clone()).collect();
        assert_eq!(names, ["front", "rear"]);
        all.as_array().unwrap().iter().all(|one| one["found"].is_object())
    });
    let size = Command::new("ffprobe")
        .args(["-v", "error", "-show_entries", "stream=width,height", "-of", "csv=p=0"])
        .arg(format!("http://127.0.0.1:{http}/rear.mp4"))
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&size.stdout).contains("320,180"), "{size:?}");
    api.send("DELETE", "/api/v1/streams/rear", None).is(200);
    // One that has ended stays so, whatever else changes, and can be taken away.
    let short = json!({"name": "short", "source": "synthetic:seed=5,width=320,height=180,fps=20,frames=10"});
    api.send("POST", "/api/v1/streams", Some(short)).is(201);
    let state = |api: &Api| api.get("/api/v1/streams/short").json()["state"].as_str().map(str::to_owned);
    daemon.until("its end", || state(api).as_deref() == Some("ended"));
    let count = api.get("/api/v1/streams/short").json()["pictures"]["count"].clone();
    api.patch(json!({"overlay": {"boxes": false}}));
    std::thread::sleep(std::time::Duration::from_millis(500));
    assert_eq!(state(api).as_deref(), Some("ended"));
    assert_eq!(api.get("/api/v1/streams/short").json()["pictures"]["count"], count);
    assert_eq!(api.send("DELETE", "/api/v1/streams/front", None).is(409).json()["title"], "the last stream");
    api.send("DELETE", "/api/v1/streams/short", None).is(200);
    assert_eq!(api.get("/api/v1/streams").json().as_array().unwrap().len(), 1);
    assert_eq!(api.get("/rear.ts").status, 404);
    watched.end();
}

#[test]
fn a_scene_unlike_the_bank_is_one_state() {
    let mut watched = Watched::start(&format!("{GUARDED}[score]\nscene_frames = 4"));
    let Watched { daemon, api, .. } = &mut watched;
    let source = |text: &str| json!({"stream": {"stream": {"source": text}}});
    let problem = || api.stream()["problems"]["scene"].as_str().map(str::to_owned);
    assert_eq!(problem(), None);
    let snow = "gst:videotestsrc is-live=true pattern=snow ! video/x-raw,width=640,height=360,framerate=12/1";
    api.patch(source(snow));
    daemon.until("that the scene is another", || problem().is_some_and(|why| why.contains("lens")));
    daemon.until("one region", || {
        let found = api.stream()["found"].clone();
        found["regions"].as_array().unwrap().len() == 1 && found["regions"][0]["width"].as_u64() > Some(500)
    });
    assert!(api.get("/metrics").text.contains("farout_problem{stream=\"stream\",part=\"scene\"} 1"));
    api.patch(source("synthetic:seed=4711,fps=12"));
    daemon.until("that it is over", || problem().is_none());
    let log = watched.end();
    assert!(log.contains("the scene is like the bank again"), "{log}");
}
