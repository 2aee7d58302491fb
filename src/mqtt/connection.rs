//! The connection to the broker: one thread that sends, receives, and comes back when the broker does.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::Receiver;
use rumqttc::{AsyncClient, Event as Said, EventLoop, Outgoing, Packet, QoS};
use tokio::sync::Notify;
use tokio::time::MissedTickBehavior;

use super::config::MqttConfig;
use super::discovery;
use super::options::{self, MqttError};
use crate::region::{Event, EventKind};
use crate::sink::{EventSink, FileError, StateHook};

/// Messages that may wait for the broker.
const WAITING: usize = 256;
/// How often the state is told.
const STATE: Duration = Duration::from_secs(5);
/// How long it is waited before the broker is tried again.
const AGAIN: Duration = Duration::from_secs(3);
/// Commands that may wait for the one before.
const COMMANDS: usize = 4;
/// How long the last messages may take.
const FAREWELL: Duration = Duration::from_secs(2);
/// What the broker is called in states.
const PART: &str = "mqtt";

/// What the broker asks and is told.
pub struct Teller {
    /// The state as JSON.
    pub state: Box<dyn Fn() -> serde_json::Value + Send>,
    /// The names of the streams now.
    pub streams: Box<dyn Fn() -> Vec<String> + Send>,
    /// Does what a command asks, and answers; it may take seconds.
    pub command: Box<dyn Fn(&serde_json::Value) -> serde_json::Value + Send>,
}

/// A broker that is told; cloning shares it.
#[derive(Clone)]
pub struct Mqtt(Arc<Inner>);

struct Inner {
    client: AsyncClient,
    /// What begins all topics of this machine.
    base: String,
    config: MqttConfig,
    /// Until it is started.
    connection: Mutex<Option<EventLoop>>,
    dropped: AtomicU64,
    connected: AtomicBool,
    /// Of each stream, whether an event goes on, and whether the broker was told so.
    alarms: Mutex<BTreeMap<String, (bool, bool)>>,
    over: Notify,
    thread: Mutex<Option<(JoinHandle<()>, Receiver<()>)>>,
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
        let base = options::base(config);
        let options = options::of(&broker, config, &base)?;
        let (client, connection) = AsyncClient::new(options, WAITING);
        Ok(Some(Mqtt(Arc::new(Inner {
            client,
            base,
            config: config.clone(),
            connection: Mutex::new(Some(connection)),
            dropped: AtomicU64::new(0),
            connected: AtomicBool::new(false),
            alarms: Mutex::default(),
            over: Notify::new(),
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
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(MqttError::Thread)?;
        let Teller { state, streams, command } = teller;
        let (ask, asked) = tokio::sync::mpsc::channel(COMMANDS);
        let worker = Arc::clone(&self.0);
        // It may take seconds, and ends with the one that asks.
        let follows = move || worker.commands(asked, &*command);
        std::thread::Builder::new().name("mqtt-command".into()).spawn(follows).map_err(MqttError::Thread)?;
        let inner = Arc::clone(&self.0);
        let (done, ended) = crossbeam_channel::bounded(1);
        let body = move || {
            runtime.block_on(inner.work(connection, (&*state, &*streams), ask));
            runtime.shutdown_background();
            let _ = done.send(());
        };
        let thread =
            std::thread::Builder::new().name("mqtt".into()).spawn(body).map_err(MqttError::Thread)?;
        *lock(&self.0.thread) = Some((thread, ended));
        Ok(())
    }

    /// Says good-bye, and ends; not waited for for ever.
    pub fn end(&self) {
        self.0.over.notify_one();
        if let Some((thread, ended)) = lock(&self.0.thread).take()
            && ended.recv_timeout(2 * FAREWELL).is_ok()
            && thread.join().is_err()
        {
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
    /// Sends, or counts what cannot be sent. Whether it could.
    fn send(&self, topic: String, retained: bool, body: impl Into<Vec<u8>>) -> bool {
        let sent = self.client.try_publish(topic, QoS::AtLeastOnce, retained, body).is_ok();
        if !sent {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        sent
    }

    fn publish(&self, topic: &str, retained: bool, body: impl Into<Vec<u8>>) -> bool {
        self.send(format!("{}/{topic}", self.base), retained, body)
    }

    async fn work(
        &self,
        mut connection: EventLoop,
        told: (&dyn Fn() -> serde_json::Value, &dyn Fn() -> Vec<String>),
        ask: tokio::sync::mpsc::Sender<serde_json::Value>,
    ) {
        let mut tick = tokio::time::interval(STATE);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut known, mut told_of_loss) = (BTreeSet::new(), false);
        loop {
            // One step of the connection is never given up half-way: connecting takes as long as it takes.
            let said = {
                let step = connection.poll();
                tokio::pin!(step);
                loop {
                    tokio::select! {
                        said = &mut step => break Some(said),
                        _ = tick.tick() => self.tell(told, &mut known),
                        () = self.over.notified() => break None,
                    }
                }
            };
            match said {
                None => break,
                Some(Ok(Said::Incoming(Packet::ConnAck(_)))) => {
                    known.clear();
                    told_of_loss = false;
                    self.greet();
                    self.tell(told, &mut known);
                }
                // One that was kept is no command of now.
                Some(Ok(Said::Incoming(Packet::Publish(message)))) if !message.retain => {
                    self.follow(&message.topic, &message.payload, &ask);
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => {
                    self.connected.store(false, Ordering::Relaxed);
                    let (broker, dropped) =
                        (self.config.broker.as_deref(), self.dropped.load(Ordering::Relaxed));
                    let why =
                        format!("{}: {error}; {dropped} messages were dropped", broker.unwrap_or_default());
                    // Once for each loss: it is tried again every few seconds.
                    if !std::mem::replace(&mut told_of_loss, true) {
                        tracing::warn!("MQTT: {why}; it is tried again every {} s", AGAIN.as_secs());
                    }
                    (self.state)(PART, Some(why));
                    let over = tokio::time::timeout(AGAIN, self.over.notified()).await.is_ok();
                    if over {
                        return;
                    }
                }
            }
        }
        self.farewell(&mut connection).await;
    }

    /// Tells the state, and what has changed of streams and alarms.
    fn tell(
        &self,
        (state, streams): (&dyn Fn() -> serde_json::Value, &dyn Fn() -> Vec<String>),
        known: &mut BTreeSet<String>,
    ) {
        if !self.connected.load(Ordering::Relaxed) {
            return;
        }
        self.publish("state", true, state().to_string());
        let now: BTreeSet<String> = streams().into_iter().collect();
        if now != *known {
            for gone in known.difference(&now) {
                // An empty body takes away what was kept.
                self.publish(&format!("stream/{gone}/alarm"), true, "");
                self.discover(gone, true);
                lock(&self.alarms).remove(gone);
            }
            now.difference(known).for_each(|new| self.discover(new, false));
            *known = now;
        }
        let mut alarms = lock(&self.alarms);
        for name in known.iter() {
            alarms.entry(name.clone()).or_default();
        }
        for (name, (on, told)) in alarms.iter_mut().filter(|(_, (_, told))| !told) {
            *told = self.alarm(name, *on);
        }
    }

    fn alarm(&self, stream: &str, on: bool) -> bool {
        self.publish(&format!("stream/{stream}/alarm"), true, if on { "ON" } else { "OFF" })
    }

    /// The broker has taken the connection.
    fn greet(&self) {
        tracing::info!(broker = self.config.broker.as_deref(), "MQTT: connected");
        self.connected.store(true, Ordering::Relaxed);
        (self.state)(PART, None);
        self.publish("status", true, "online");
        // What the broker keeps may be of a run that is gone.
        lock(&self.alarms).values_mut().for_each(|(_, told)| *told = false);
        if self.config.commands {
            let topics = [format!("{}/command", self.base), format!("{}/stream/+/threshold/set", self.base)];
            for topic in topics {
                if let Err(error) = self.client.try_subscribe(topic, QoS::AtLeastOnce) {
                    tracing::warn!(%error, "MQTT: commands are not taken");
                }
            }
        }
    }

    async fn farewell(&self, connection: &mut EventLoop) {
        if !self.connected.load(Ordering::Relaxed) {
            return;
        }
        self.publish("status", true, "offline");
        let _ = self.client.try_disconnect();
        // Whatever waited has been sent before.
        let sent = async {
            while let Ok(said) = connection.poll().await {
                if matches!(said, Said::Outgoing(Outgoing::Disconnect)) {
                    return;
                }
            }
        };
        let _ = tokio::time::timeout(FAREWELL, sent).await;
    }

    /// Hands on what a message asks.
    fn follow(&self, topic: &str, body: &[u8], ask: &tokio::sync::mpsc::Sender<serde_json::Value>) {
        let below = topic.strip_prefix(&self.base).unwrap_or_default();
        let read = serde_json::from_slice::<serde_json::Value>(body);
        let command = match below
            .strip_prefix("/stream/")
            .and_then(|rest| rest.strip_suffix("/threshold/set"))
        {
            Some(stream) => read.map(
                |value| serde_json::json!({"patch": {"stream": {stream: {"score": {"threshold": value}}}}}),
            ),
            None => read,
        };
        let refused = match command {
            Err(why) => format!("the command is no JSON: {why}"),
            Ok(command) => match ask.try_send(command) {
                Ok(()) => return,
                Err(_) => "other commands are being followed: say it again later".to_owned(),
            },
        };
        self.publish("answer", false, serde_json::json!({"done": false, "why": refused}).to_string());
    }

    /// Follows commands, one after the other, until there is nobody who asks.
    fn commands(
        &self,
        mut asked: tokio::sync::mpsc::Receiver<serde_json::Value>,
        command: &dyn Fn(&serde_json::Value) -> serde_json::Value,
    ) {
        while let Some(one) = asked.blocking_recv() {
            let mut answer = command(&one);
            if let (Some(id), serde_json::Value::Object(keys)) = (one.get("id"), &mut answer) {
                keys.insert("id".into(), id.clone());
            }
            self.publish("answer", false, answer.to_string());
        }
    }

    /// Tells Home Assistant what there is of a stream, or that it is there no more.
    fn discover(&self, stream: &str, gone: bool) {
        if !self.config.home_assistant {
            return;
        }
        for (topic, body) in discovery::of_stream(&self.base, stream, self.config.commands) {
            self.send(topic, true, if gone { String::new() } else { body.to_string() });
        }
        let (topic, body) = discovery::of_node(&self.base);
        self.send(topic, true, body.to_string());
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
            let on = self.open > 0;
            // Under the lock: nothing older is told after it.
            let mut alarms = lock(&inner.alarms);
            let told = inner.alarm(&self.stream, on);
            alarms.insert(self.stream.clone(), (on, told));
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), FileError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

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
