//! The connection to the broker: one thread that sends, receives, and comes back when the broker does.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rumqttc::{
    Client, Connection, Event as Said, LastWill, MqttOptions, Packet, QoS, RecvTimeoutError,
    TlsConfiguration, Transport,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::config::{Broker, MqttConfig};
use super::discovery;
use crate::region::{Event, EventKind};
use crate::sink::{EventSink, FileError, StateHook};

/// Messages that may wait for the broker.
const WAITING: usize = 256;
/// How often the state is told.
const STATE: Duration = Duration::from_secs(5);
/// How long it is waited before the broker is tried again.
const AGAIN: Duration = Duration::from_secs(3);
/// How often the thread looks whether it is to end.
const TICK: Duration = Duration::from_millis(100);
/// The broker takes silence of so long for the end of farout, and tells so.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How long the last messages may take.
const FAREWELL: Duration = Duration::from_secs(2);
/// What the broker is called in states.
const PART: &str = "mqtt";

/// Why nothing can be told.
#[derive(Debug, thiserror::Error)]
pub enum MqttError {
    /// A file or an address is none.
    #[error("{0}")]
    Config(String),
    /// The system refuses a thread.
    #[error("cannot start a thread for MQTT: {0}")]
    Thread(std::io::Error),
}

/// What the broker asks and is told.
pub struct Teller {
    /// The state as JSON.
    pub state: Box<dyn Fn() -> serde_json::Value + Send>,
    /// The names of the streams now.
    pub streams: Box<dyn Fn() -> Vec<String> + Send>,
    /// Does what a command asks, and answers.
    pub command: Box<dyn Fn(&serde_json::Value) -> serde_json::Value + Send>,
}

/// A broker that is told; cloning shares it.
#[derive(Clone)]
pub struct Mqtt(Arc<Inner>);

struct Inner {
    client: Client,
    /// What begins all topics of this machine.
    base: String,
    config: MqttConfig,
    /// Until it is started.
    connection: Mutex<Option<Connection>>,
    dropped: AtomicU64,
    connected: AtomicBool,
    over: AtomicBool,
    thread: Mutex<Option<JoinHandle<()>>>,
    state: StateHook,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Mqtt {
    /// Prepares what `config` asks for, if it asks for a broker; nothing is sent yet. `state` is told how it stands.
    ///
    /// # Errors
    /// [`MqttError::Config`] if a file cannot be read.
    pub fn prepare(config: &MqttConfig, state: StateHook) -> Result<Option<Mqtt>, MqttError> {
        let Some(broker) = config.broker().map_err(MqttError::Config)? else { return Ok(None) };
        let node = config.node.clone().unwrap_or_else(host);
        let base = format!("{}/{node}", config.topic);
        let mut options = MqttOptions::new(format!("farout-{node}"), &broker.host, broker.port);
        options.set_keep_alive(KEEP_ALIVE);
        options.set_last_will(LastWill::new(format!("{base}/status"), "offline", QoS::AtLeastOnce, true));
        options.set_max_packet_size(1 << 20, 1 << 20);
        if let Some(user) = &config.user {
            let password = config.password_file.as_deref().map(secret).transpose()?;
            options.set_credentials(user, password.unwrap_or_default());
        }
        if broker.tls {
            options.set_transport(tls(&broker, config)?);
        }
        let (client, connection) = Client::new(options, WAITING);
        Ok(Some(Mqtt(Arc::new(Inner {
            client,
            base,
            config: config.clone(),
            connection: Mutex::new(Some(connection)),
            dropped: AtomicU64::new(0),
            connected: AtomicBool::new(false),
            over: AtomicBool::new(false),
            thread: Mutex::default(),
            state,
        }))))
    }

    /// Connects, and tells from now on; a broker that does not answer is tried again and again.
    ///
    /// # Errors
    /// If the system refuses a thread.
    pub fn start(&self, teller: Teller) -> Result<(), MqttError> {
        let Some(connection) = lock(&self.0.connection).take() else { return Ok(()) };
        let inner = Arc::clone(&self.0);
        let body = move || inner.work(connection, &teller);
        let thread =
            std::thread::Builder::new().name("mqtt".into()).spawn(body).map_err(MqttError::Thread)?;
        *lock(&self.0.thread) = Some(thread);
        Ok(())
    }

    /// Says good-bye, and ends.
    pub fn end(&self) {
        self.0.over.store(true, Ordering::Release);
        if lock(&self.0.thread).take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the MQTT thread panicked; this is a bug in farout");
        }
    }

    /// Whether the broker answers, and how many messages were dropped.
    pub fn figures(&self) -> (bool, u64) {
        (self.0.connected.load(Ordering::Relaxed), self.0.dropped.load(Ordering::Relaxed))
    }

    /// Takes the events of a stream.
    pub fn sink(&self, stream: &str) -> Box<dyn EventSink> {
        Box::new(Events { mqtt: self.clone(), stream: stream.to_owned(), open: 0 })
    }
}

impl Inner {
    /// Sends, or counts what cannot be sent.
    fn publish(&self, topic: &str, retained: bool, body: impl Into<Vec<u8>>) {
        let topic = format!("{}/{topic}", self.base);
        if self.client.try_publish(topic, QoS::AtLeastOnce, retained, body).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn work(&self, mut connection: Connection, teller: &Teller) {
        let mut told = None::<Instant>;
        let mut known: Vec<String> = Vec::new();
        while !self.over.load(Ordering::Acquire) {
            match connection.recv_timeout(TICK) {
                Ok(Ok(said)) => {
                    if matches!(said, Said::Incoming(Packet::ConnAck(_))) {
                        self.greet();
                        (told, known) = (None, Vec::new());
                    }
                    if let Said::Incoming(Packet::Publish(message)) = said {
                        self.follow(&message.topic, &message.payload, teller);
                    }
                }
                Ok(Err(error)) => {
                    self.connected.store(false, Ordering::Relaxed);
                    let dropped = self.dropped.load(Ordering::Relaxed);
                    let why = format!(
                        "{}: {error}; {dropped} messages were dropped",
                        self.config.broker.as_deref().unwrap_or_default()
                    );
                    tracing::debug!("MQTT: {why}");
                    (self.state)(PART, Some(why));
                    self.pause();
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if self.connected.load(Ordering::Relaxed) && told.is_none_or(|then| then.elapsed() >= STATE) {
                told = Some(Instant::now());
                self.publish("state", true, (teller.state)().to_string());
                let streams = (teller.streams)();
                if self.config.home_assistant && streams != known {
                    self.discover(&streams);
                    known = streams;
                }
            }
        }
        self.farewell(&mut connection);
    }

    /// The broker has taken the connection.
    fn greet(&self) {
        tracing::info!(broker = self.config.broker.as_deref(), "MQTT: connected");
        self.connected.store(true, Ordering::Relaxed);
        (self.state)(PART, None);
        self.publish("status", true, "online");
        if self.config.commands {
            let topics = [format!("{}/command", self.base), format!("{}/stream/+/threshold/set", self.base)];
            for topic in topics {
                if let Err(error) = self.client.try_subscribe(topic, QoS::AtLeastOnce) {
                    tracing::warn!(%error, "MQTT: commands are not taken");
                }
            }
        }
    }

    /// Waits a while, unless it is to end.
    fn pause(&self) {
        let until = Instant::now() + AGAIN;
        while Instant::now() < until && !self.over.load(Ordering::Acquire) {
            std::thread::sleep(TICK);
        }
    }

    fn farewell(&self, connection: &mut Connection) {
        if !self.connected.load(Ordering::Relaxed) {
            return;
        }
        self.publish("status", true, "offline");
        let _ = self.client.try_disconnect();
        let until = Instant::now() + FAREWELL;
        while Instant::now() < until {
            match connection.recv_timeout(TICK) {
                // Whatever waited has been sent.
                Ok(Ok(Said::Outgoing(rumqttc::Outgoing::Disconnect))) => break,
                Ok(Ok(_)) | Err(RecvTimeoutError::Timeout) => {}
                Ok(Err(_)) | Err(RecvTimeoutError::Disconnected) => break,
            }
        }
    }

    /// Does what a message asks.
    fn follow(&self, topic: &str, body: &[u8], teller: &Teller) {
        let below = topic.strip_prefix(&self.base).unwrap_or_default();
        let command = match below
            .strip_prefix("/stream/")
            .and_then(|rest| rest.strip_suffix("/threshold/set"))
        {
            Some(stream) => {
                let value = serde_json::from_slice::<serde_json::Value>(body).unwrap_or_default();
                serde_json::json!({"patch": {"stream": {stream: {"score": {"threshold": value}}}}})
            }
            None => match serde_json::from_slice(body) {
                Ok(command) => command,
                Err(why) => {
                    let answer =
                        serde_json::json!({"done": false, "why": format!("the command is no JSON: {why}")});
                    return self.publish("answer", false, answer.to_string());
                }
            },
        };
        let mut answer = (teller.command)(&command);
        if let (Some(id), serde_json::Value::Object(keys)) = (command.get("id"), &mut answer) {
            keys.insert("id".into(), id.clone());
        }
        self.publish("answer", false, answer.to_string());
    }

    /// Tells Home Assistant what there is.
    fn discover(&self, streams: &[String]) {
        for (topic, body) in discovery::all(&self.base, streams, self.config.commands) {
            if self.client.try_publish(topic, QoS::AtLeastOnce, true, body.to_string()).is_err() {
                self.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// Tells of the events of a stream.
struct Events {
    mqtt: Mqtt,
    stream: String,
    /// How many go on.
    open: u32,
}

impl EventSink for Events {
    fn write(&mut self, event: &Event) -> Result<(), FileError> {
        let inner = &self.mqtt.0;
        let before = self.open;
        match event.kind {
            EventKind::Start => self.open += 1,
            EventKind::End => self.open = self.open.saturating_sub(1),
        }
        let mut told = serde_json::to_value(event).unwrap_or_default();
        if let serde_json::Value::Object(keys) = &mut told {
            keys.insert("stream".into(), self.stream.clone().into());
        }
        inner.publish("event", false, told.to_string());
        if (before == 0) != (self.open == 0) {
            let alarm = if self.open > 0 { "ON" } else { "OFF" };
            inner.publish(&format!("stream/{}/alarm", self.stream), true, alarm);
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), FileError> {
        Ok(())
    }
}

/// The host's name, as far as it can be a part of a topic.
fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let plain: String =
        name.trim().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    if plain.is_empty() { "vehicle".to_owned() } else { plain }
}

fn secret(path: &Path) -> Result<String, MqttError> {
    let text = std::fs::read_to_string(path);
    let text =
        text.map_err(|why| MqttError::Config(format!("mqtt.password_file: {}: {why}", path.display())))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// TLS that trusts the authorities of the configuration, or those of the system.
fn tls(broker: &Broker, config: &MqttConfig) -> Result<Transport, MqttError> {
    let wrong = |why: String| MqttError::Config(format!("mqtt.authorities: {why}"));
    let mut roots = rustls::RootCertStore::empty();
    let path = config.authorities.as_deref().unwrap_or(Path::new("/etc/ssl/certs/ca-certificates.crt"));
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let (added, _) =
        roots.add_parsable_certificates(read.map_err(|why| wrong(format!("{}: {why}", path.display())))?);
    if added == 0 {
        return Err(wrong(format!(
            "{} holds no certificate, and {} speaks TLS",
            path.display(),
            broker.host
        )));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|why| wrong(why.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Transport::tls_with_config(TlsConfiguration::Rustls(Arc::new(client))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_finds_no_room_is_counted_and_nobody_waits() {
        let config = MqttConfig { broker: Some("mqtt://127.0.0.1:1".into()), ..MqttConfig::default() };
        let mqtt = Mqtt::prepare(&config, Arc::new(|_, _| ())).unwrap().unwrap();
        let mut sink = mqtt.sink("front");
        let event = crate::sink::events::tests::event(1);
        let begun = Instant::now();
        // Each is told, and the first is an alarm.
        (0..300).for_each(|_| sink.write(&event).unwrap());
        assert!(begun.elapsed() < Duration::from_secs(5));
        assert_eq!(mqtt.figures(), (false, 301 - WAITING as u64));
        mqtt.end();
        assert!(Mqtt::prepare(&MqttConfig::default(), Arc::new(|_, _| ())).unwrap().is_none());
        let config = MqttConfig { user: Some("me".into()), password_file: Some("/nowhere".into()), ..config };
        let why = Mqtt::prepare(&config, Arc::new(|_, _| ())).err().unwrap().to_string();
        assert!(why.contains("mqtt.password_file: /nowhere"), "{why}");
    }
}
