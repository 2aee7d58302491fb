//! Chromium without a window, driven as WebDriver (W3C) says.
#![allow(dead_code, reason = "each test uses what it needs")]

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::players::free_port;

/// A browser with one window; it ends when dropped.
pub struct Browser {
    driver: Child,
    agent: ureq::Agent,
    session: String,
    _profile: tempfile::TempDir,
}

/// Whether there is one.
pub fn is_there() -> bool {
    let runs = |program: &str| {
        Command::new(program).arg("--version").output().is_ok_and(|told| told.status.success())
    };
    runs("chromedriver") && runs("chromium")
}

impl Browser {
    /// Starts one, `size` pixels large. It looks nothing up by itself.
    pub fn start(size: (u32, u32)) -> Browser {
        let port = free_port();
        let driver = Command::new("chromedriver")
            .arg(format!("--port={port}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let profile = tempfile::tempdir().unwrap();
        let base = format!("http://127.0.0.1:{port}");
        let mut browser = Browser { driver, agent, session: base.clone(), _profile: profile };
        let begun = Instant::now();
        while browser.agent.get(format!("{base}/status")).call().is_err() {
            assert!(begun.elapsed() < Duration::from_secs(30), "chromedriver does not answer");
            std::thread::sleep(Duration::from_millis(50));
        }
        let flags = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--autoplay-policy=no-user-gesture-required",
            &format!("--window-size={},{}", size.0, size.1),
            &format!("--user-data-dir={}", browser._profile.path().display()),
        ];
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "goog:chromeOptions": {"args": flags},
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        }}});
        let session = browser.ask("/session", wanted);
        browser.session = format!("{base}/session/{}", session["sessionId"].as_str().unwrap());
        browser
    }

    #[track_caller]
    fn ask(&self, path: &str, body: Value) -> Value {
        let url = format!("{}{path}", self.session);
        let answer = self.agent.post(url).header("Content-Type", "application/json").send(body.to_string());
        let mut answer = answer.unwrap();
        let text = answer.body_mut().read_to_string().unwrap();
        assert!(answer.status().is_success(), "{path}: {text}");
        serde_json::from_str::<Value>(&text).unwrap()["value"].take()
    }

    #[track_caller]
    pub fn open(&self, url: &str) {
        self.ask("/url", json!({"url": url}));
    }

    /// What a script returns.
    #[track_caller]
    pub fn script(&self, text: &str) -> Value {
        self.ask("/execute/sync", json!({"script": text, "args": []}))
    }

    /// Clicks an element as a person does.
    #[track_caller]
    pub fn click(&self, selector: &str) {
        let found = self.ask("/element", json!({"using": "css selector", "value": selector}));
        let id = found.as_object().unwrap().values().next().unwrap().as_str().unwrap().to_owned();
        self.ask(&format!("/element/{id}/click"), json!({}));
    }

    /// Presses keys where the focus is.
    #[track_caller]
    pub fn press(&self, keys: &str) {
        let actions: Vec<_> = keys
            .chars()
            .flat_map(|key| ["keyDown", "keyUp"].map(|what| json!({"type": what, "value": key})))
            .collect();
        self.ask("/actions", json!({"actions": [{"type": "key", "id": "keys", "actions": actions}]}));
    }

    /// Waits until a script returns something true, which it gives.
    #[track_caller]
    pub fn until(&self, what: &str, script: &str) -> Value {
        let begun = Instant::now();
        loop {
            let seen = self.script(script);
            if !matches!(seen, Value::Null | Value::Bool(false)) {
                return seen;
            }
            let text = || self.script("return document.body.innerText");
            assert!(begun.elapsed() < Duration::from_secs(60), "no {what}: {}", text());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// What the console has said since the last call.
    pub fn console(&self) -> Vec<Value> {
        self.ask("/se/log", json!({"type": "browser"})).as_array().unwrap().clone()
    }

    /// All addresses that were asked for since the last call.
    pub fn requests(&self) -> Vec<String> {
        let log = self.ask("/se/log", json!({"type": "performance"}));
        let messages = log.as_array().unwrap().iter().map(|entry| {
            serde_json::from_str::<Value>(entry["message"].as_str().unwrap()).unwrap()["message"].take()
        });
        let sent = messages.filter(|message| message["method"] == "Network.requestWillBeSent");
        sent.map(|message| message["params"]["request"]["url"].as_str().unwrap().to_owned()).collect()
    }

    /// Keeps a picture of the page, for people, where `FAROUT_SCREENSHOTS` names a folder.
    pub fn picture(&self, name: &str) {
        let Some(folder) = std::env::var_os("FAROUT_SCREENSHOTS") else { return };
        let mut answer = self.agent.get(format!("{}/screenshot", self.session)).call().unwrap();
        let told: Value =
            serde_json::from_str(&answer.body_mut().with_config().limit(1 << 26).read_to_string().unwrap())
                .unwrap();
        let png = base64::Engine::decode(
            &base64::engine::general_purpose::STANDARD,
            told["value"].as_str().unwrap(),
        );
        std::fs::write(Path::new(&folder).join(name), png.unwrap()).unwrap();
    }

    pub fn size(&self, width: u32, height: u32) {
        self.ask("/window/rect", json!({"width": width, "height": height}));
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The session's end ends Chromium.
        let _ = self.agent.delete(&self.session).call();
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
