//! State, events and commands over a real broker, which may be absent, go and come back.
#![cfg(feature = "media")]

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::support::api::Api;
use crate::support::driven::{again, driven};
use crate::support::players::free_port;
use crate::support::skipped::skipped;
use rumqttc::{Client, Event, MqttOptions, Packet, QoS};
use serde_json::{Value, json};

/// A broker on a port; it ends when dropped.
struct Broker(Child);

impl Broker {
    fn start(port: u16) -> Broker {
        let mosquitto = ["mosquitto", "/usr/sbin/mosquitto"]
            .into_iter()
            .find(|name| Command::new(name).arg("-h").output().is_ok());
        let child = Command::new(mosquitto.unwrap())
            .args(["-p", &port.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Broker(child)
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// One who listens to everything.
struct Listener {
    client: Client,
    heard: Arc<Mutex<BTreeMap<String, Vec<String>>>>,
}

impl Listener {
    fn start(port: u16) -> Listener {
        let options = MqttOptions::new("listener", "127.0.0.1", port);
        let (client, mut connection) = Client::new(options, 64);
        let heard = Arc::<Mutex<BTreeMap<String, Vec<String>>>>::default();
        let (list, again) = (Arc::clone(&heard), client.clone());
        std::thread::spawn(move || {
            for said in connection.iter() {
                match said {
                    Ok(Event::Incoming(Packet::ConnAck(_))) => {
                        again.try_subscribe("#", QoS::AtLeastOnce).unwrap()
                    }
                    Ok(Event::Incoming(Packet::Publish(message))) => {
                        let body = String::from_utf8_lossy(&message.payload).into_owned();
                        list.lock().unwrap().entry(message.topic).or_default().push(body);
                    }
                    Ok(_) => {}
                    Err(_) => std::thread::sleep(Duration::from_millis(100)),
                }
            }
        });
        Listener { client, heard }
    }

    fn last(&self, topic: &str) -> Option<String> {
        self.heard.lock().unwrap().get(topic).and_then(|list| list.last().cloned())
    }

    fn forget(&self) {
        self.heard.lock().unwrap().clear();
    }

    fn say(&self, topic: &str, body: &Value) {
        self.client.publish(topic, QoS::AtLeastOnce, false, body.to_string()).unwrap();
    }
}

#[test]
fn a_broker_is_told_and_may_steer() {
    if ["mosquitto", "/usr/sbin/mosquitto"].iter().all(|name| Command::new(name).arg("-h").output().is_err())
    {
        skipped("MQTT with a real broker", "it needs the package mosquitto");
        return;
    }
    let (folder, http, port) = (tempfile::tempdir().unwrap(), free_port(), free_port());
    let sections = format!(
        "
        [score]
        threshold = 4.0
        event_frames = 2
        [mqtt]
        broker = \"mqtt://127.0.0.1:{port}\"
        node = \"car-7\"
        commands = true
        home_assistant = true
        "
    );
    // Without a broker it runs, and says what is missing.
    let mut daemon = driven(folder.path(), http, &sections);
    let api = Api::at(http);
    let problem = || -> Option<String> {
        let told = api.try_get("/api/v1/state").filter(|answer| answer.status == 200)?.json();
        told["detection"]["problems"]["mqtt"].as_str().map(str::to_owned)
    };
    daemon.until("that there is no broker", || {
        problem().is_some_and(|why| why.contains(&format!("127.0.0.1:{port}")))
    });
    daemon.until("verdicts all the same", || api.stream()["verdicts"]["count"].as_u64() > Some(5));

    let broker = Broker::start(port);
    let listener = Listener::start(port);
    let says = |topic: &str, want: &str| {
        listener.last(&format!("farout/car-7/{topic}")).is_some_and(|text| text.contains(want))
    };
    daemon.until("that it is online", || says("status", "online"));
    daemon.until("no problem", || problem().is_none());
    daemon.until("its state", || says("state", "\"name\":\"front\""));
    daemon.until("an event", || says("event", "\"stream\":\"front\"") && says("event", "\"kind\""));
    daemon.until("an alarm", || {
        listener
            .heard
            .lock()
            .unwrap()
            .get("farout/car-7/stream/front/alarm")
            .is_some_and(|list| list.iter().any(|one| one == "ON"))
    });
    let found = "homeassistant/binary_sensor/farout_car-7/front_alarm/config";
    daemon.until("what Home Assistant reads", || {
        listener.last(found).is_some_and(|text| text.contains("\"device_class\":\"problem\""))
    });

    // Commands.
    listener.say("farout/car-7/command", &json!({"id": 1, "patch": {"score": {"threshold": 1000}}}));
    daemon.until("an answer", || says("answer", "\"id\":1"));
    let answer: Value = serde_json::from_str(&listener.last("farout/car-7/answer").unwrap()).unwrap();
    assert_eq!(
        (&answer["done"], &answer["changes"][0]["key"]),
        (&json!(true), &json!("score.threshold")),
        "{answer}"
    );
    daemon.until("the threshold", || api.stream()["scores"]["threshold"] == 1000.0);
    daemon.until("the end of the alarm", || says("stream/front/alarm", "OFF"));
    listener.say("farout/car-7/stream/front/threshold/set", &json!(4.25));
    daemon.until("its own threshold", || api.stream()["scores"]["threshold"] == 4.25);
    for (command, want) in [
        (json!({"patch": {"overlay": {"opacity": 7}}}), "overlay.opacity"),
        (json!({"stop": true}), "a command is"),
        (json!("reload"), "a command is"),
    ] {
        listener.forget();
        listener.say("farout/car-7/command", &command);
        daemon.until("a refusal", || says("answer", want) && says("answer", "\"done\":false"));
    }

    // The broker goes, and comes back: no picture and no verdict is missing meanwhile.
    drop(broker);
    daemon.until("that it is gone", || problem().is_some());
    let count = api.stream()["verdicts"]["count"].as_u64().unwrap();
    daemon.until("verdicts without it", || api.stream()["verdicts"]["count"].as_u64() > Some(count + 12));
    listener.forget();
    let _broker = Broker::start(port);
    daemon.until("that it is online again", || says("status", "online") && says("state", "front"));

    // An end that was asked for, and one that nobody saw coming.
    daemon.signal(libc::SIGTERM);
    let log = daemon.outcome().succeeded().stderr;
    assert!(!log.contains("panicked"), "{log}");
    let waits = |want: &str| {
        let begun = Instant::now();
        while !says("status", want) {
            assert!(begun.elapsed() < Duration::from_secs(40), "no {want}");
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    waits("offline");
    listener.forget();
    let mut daemon = again(folder.path());
    daemon.until("that it is online", || says("status", "online"));
    daemon.signal(libc::SIGKILL);
    drop(daemon.outcome());
    waits("offline");
}
