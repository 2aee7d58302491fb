//! Metrics, alerts and dashboard, as Prometheus takes them.
#![cfg(feature = "media")]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::api::Api;
use crate::support::players::free_port;
use crate::support::program::{Running, program};
use crate::support::skipped::skipped;

fn shipped(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/monitoring").join(name)
}

fn is_there(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|told| told.status.success())
}

/// Ended when dropped.
struct Ends(Child);

impl Drop for Ends {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn promtool(args: &[&str], input: Option<&str>) {
    let mut child = Command::new("promtool")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), input.unwrap_or_default().as_bytes())
        .unwrap();
    let told = child.wait_with_output().unwrap();
    let said = [told.stdout, told.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(told.status.success(), "{args:?}: {said:?}");
}

/// Every name that an expression asks for, without the endings that Prometheus adds.
fn names(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let ours = words.filter(|word| word.starts_with("farout_") || word.starts_with("process_"));
    ours.map(|word| {
        ["_bucket", "_sum", "_count"].iter().find_map(|end| word.strip_suffix(end)).unwrap_or(word).to_owned()
    })
    .collect()
}

#[test]
fn prometheus_takes_what_is_told() {
    let (http, rtsp) = (free_port(), free_port());
    let mut command = program();
    command.args(["run", "-c"]).arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/demo.toml"));
    command.arg(format!("--http=http://127.0.0.1:{http}")).arg(format!("--rtsp=rtsp://127.0.0.1:{rtsp}/x"));
    let mut daemon = Running::start(command);
    let api = Api::at(http);
    daemon.until("verdicts", || {
        api.try_get("/metrics").is_some_and(|told| told.text.contains("farout_score{"))
    });
    let metrics = api.get("/metrics").is(200);
    assert!(metrics.kind.starts_with("application/openmetrics-text"), "{}", metrics.kind);
    assert!(metrics.text.ends_with("# EOF\n"));
    // What the dashboard and the alerts ask for is told; a problem only where there is one.
    let told = names(&metrics.text);
    for file in ["grafana.json", "alerts.yaml"] {
        let asked = names(&std::fs::read_to_string(shipped(file)).unwrap());
        let missing: Vec<_> = asked.difference(&told).filter(|name| *name != "farout_problem").collect();
        assert!(asked.len() > 5 && missing.is_empty(), "{file}: {missing:?}");
    }
    serde_json::from_str::<serde_json::Value>(&std::fs::read_to_string(shipped("grafana.json")).unwrap())
        .unwrap();
    if !is_there("promtool") || !is_there("prometheus") {
        skipped("metrics in a real Prometheus", "it needs the package prometheus");
        return;
    }
    promtool(&["check", "rules", shipped("alerts.yaml").to_str().unwrap()], None);
    promtool(&["check", "config", shipped("prometheus.yaml").to_str().unwrap()], None);
    let folder = tempfile::tempdir().unwrap();
    let config = std::fs::read_to_string(shipped("prometheus.yaml")).unwrap();
    let config = config.replace("8080", &http.to_string()).replace("5s", "1s");
    std::fs::write(folder.path().join("prometheus.yaml"), config).unwrap();
    std::fs::copy(shipped("alerts.yaml"), folder.path().join("alerts.yaml")).unwrap();
    let port = free_port();
    let _prometheus = Ends(
        Command::new("prometheus")
            .arg(format!("--config.file={}", folder.path().join("prometheus.yaml").display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    );
    let prometheus = Api::at(port);
    let value = |query: &str| -> Option<f64> {
        // While it starts it answers that it cannot be asked yet.
        let told = prometheus.try_get(&format!("/api/v1/query?query={query}"))?;
        let told = (told.status == 200).then(|| told.json())?;
        told["data"]["result"][0]["value"][1].as_str()?.parse().ok()
    };
    let begun = Instant::now();
    for (query, enough) in [
        ("up", 1.0),
        ("farout_pictures_shown_total", 10.0),
        ("farout_picture_latency_seconds_count", 10.0),
        ("farout_detection_state%7Bstate%3D%22running%22%7D", 1.0),
        ("process_resident_memory_bytes", 1e7),
    ] {
        while value(query).is_none_or(|value| value < enough) {
            assert!(begun.elapsed() < Duration::from_secs(60), "{query}: {:?}", value(query));
            std::thread::sleep(Duration::from_millis(200));
        }
    }
    let rules = prometheus.get("/api/v1/rules").is(200).json();
    assert!(rules["data"]["groups"][0]["rules"].as_array().unwrap().len() >= 8, "{rules}");
    daemon.signal(libc::SIGTERM);
    daemon.outcome().succeeded();
}
