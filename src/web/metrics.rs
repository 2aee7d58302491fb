//! Figures for Prometheus, in the OpenMetrics text format: what [`Health`] has counted, read at each scrape.

use std::fmt;
use std::sync::Arc;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use super::Subject;
use crate::health::Health;
use crate::health::times::{BOUNDS, Counted};
use crate::live::{DetectionStatus, LaneState, Standing};
use crate::source::SourceState;

/// The media type of what is written.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All figures, in the OpenMetrics text format.
#[utoipa::path(get, path = "/metrics", tag = "health", responses(
    (status = OK, body = String, content_type = "application/openmetrics-text"),
))]
pub(super) async fn metrics(State(subject): State<Arc<Subject>>) -> impl IntoResponse {
    let mut registry = Registry::with_prefix("farout");
    registry.register_collector(Box::new(Figures(Arc::clone(&subject))));
    let mut process = Registry::default();
    process.register_collector(Box::new(Process));
    let mut body = String::new();
    // Writing to a string cannot fail.
    let _ = text::encode_registry(&mut body, &registry)
        .and_then(|()| text::encode_registry(&mut body, &process))
        .and_then(|()| text::encode_eof(&mut body));
    ([(CONTENT_TYPE, OPEN_METRICS)], body)
}

/// Names and values of a figure.
type Labels<'a> = Vec<(&'static str, &'a str)>;

/// What is written of one kind of figure.
struct Family<'a, 'b>(&'a mut DescriptorEncoder<'b>);

impl Family<'_, '_> {
    fn write<'l>(
        &mut self,
        (name, help): (&str, &str),
        unit: Option<Unit>,
        kind: MetricType,
        values: impl IntoIterator<Item = (Labels<'l>, impl Fn(MetricEncoder<'_>) -> fmt::Result)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, unit.as_ref(), kind)?;
        for (labels, write) in values {
            write(family.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn counters<'l>(
        &mut self,
        told: (&str, &str),
        unit: Option<Unit>,
        values: impl IntoIterator<Item = (Labels<'l>, f64)>,
    ) -> fmt::Result {
        let count = |value: f64| {
            move |mut to: MetricEncoder<'_>| to.encode_counter::<NoLabelSet, f64, f64>(&value, None)
        };
        let values = values.into_iter().map(|(labels, value)| (labels, count(value)));
        self.write(told, unit, MetricType::Counter, values)
    }

    fn gauges<'l>(
        &mut self,
        told: (&str, &str),
        unit: Option<Unit>,
        values: impl IntoIterator<Item = (Labels<'l>, f64)>,
    ) -> fmt::Result {
        let gauge = |value: f64| move |mut to: MetricEncoder<'_>| to.encode_gauge(&value);
        let values = values.into_iter().map(|(labels, value)| (labels, gauge(value)));
        self.write(told, unit, MetricType::Gauge, values)
    }

    fn histograms<'l>(
        &mut self,
        told: (&str, &str),
        values: impl IntoIterator<Item = (Labels<'l>, Counted)>,
    ) -> fmt::Result {
        let draw = |counted: Counted| {
            let bounds = BOUNDS.into_iter().chain([f64::MAX]);
            let classes: Vec<_> = bounds.zip(counted.classes).collect();
            move |mut to: MetricEncoder<'_>| {
                to.encode_histogram::<NoLabelSet>(counted.sum_secs, counted.count(), &classes, None)
            }
        };
        let values = values.into_iter().map(|(labels, counted)| (labels, draw(counted)));
        self.write(told, Some(Unit::Seconds), MetricType::Histogram, values)
    }
}

/// The figures of farout itself.
struct Figures(Arc<Subject>);

impl fmt::Debug for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Figures")
    }
}

impl Collector for Figures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let subject = &self.0;
        let streams = (subject.streams)();
        let mut family = Family(&mut encoder);
        let version = vec![("version", env!("CARGO_PKG_VERSION"))];
        family.gauges(("build_info", "What runs"), None, [(version, 1.0)])?;
        let ready = f64::from(u8::from(subject.is_ready()));
        family.gauges(("ready", "Whether it does what it should"), None, [(vec![], ready)])?;
        pictures(&mut family, &streams)?;
        judged(&mut family, &streams)?;
        watched(&mut family, subject, &streams)?;
        if let Some(detection) = &subject.detection {
            lane(&mut family, detection)?;
        }
        if let Some(events) = &subject.events {
            let names = ["begun", "ended", "lost"].into_iter().zip(events.counts());
            let counts = names.map(|(kind, count)| (vec![("kind", kind)], count as f64));
            family.counters(
                ("events", "Events that began, ended, or were not kept whole since the disk was too slow"),
                None,
                counts,
            )?;
        }
        if let Some(broker) = &subject.broker {
            let (connected, dropped) = broker.figures();
            let connected = f64::from(u8::from(connected));
            family.gauges(("mqtt_connected", "Whether the broker answers"), None, [(vec![], connected)])?;
            let told = ("mqtt_dropped", "Messages that found no room in the queue for the broker");
            family.counters(told, None, [(vec![], dropped as f64)])?;
        }
        stages(&mut family, subject, &streams)?;
        problems(&mut family, subject, &streams)
    }
}

fn of(stream: &Standing) -> Labels<'_> {
    vec![("stream", stream.called())]
}

fn pictures(family: &mut Family<'_, '_>, streams: &[Standing]) -> fmt::Result {
    let each = |figure: fn(&Health) -> f64| {
        streams.iter().map(move |one| (of(one), figure(&one.pictures))).collect::<Vec<_>>()
    };
    let told = ("pictures_received", "Pictures that the source delivered");
    family.counters(told, None, each(|health| health.frames_in() as f64))?;
    let told = ("pictures_shown", "Pictures that left the encoder");
    family.counters(told, None, each(|health| health.frames_done() as f64))?;
    let cause = |stream, cause, count: u64| (vec![("stream", stream), ("cause", cause)], count as f64);
    let dropped = streams.iter().flat_map(|one| {
        let (overtaken, source) = one.pictures.drops();
        let failed = one.pictures.report().failed;
        let name = one.called();
        [
            cause(name, "overtaken", overtaken),
            cause(name, "source", source),
            cause(name, "damaged", one.pictures.left_out()),
            cause(name, "fault", failed),
        ]
    });
    let told = (
        "pictures_dropped",
        "Pictures overtaken by newer ones behind the source or in it, damaged on their way, or lost to a fault",
    );
    family.counters(told, None, dropped)?;
    let told = ("source_reconnects", "How often the source came back after it was lost");
    family.counters(told, None, each(|health| health.report().reconnects as f64))?;
    fn up(one: &Standing) -> (Labels<'_>, f64) {
        let up =
            !one.ended && !matches!(one.pictures.source(), Some(SourceState::Lost | SourceState::Starting));
        (of(one), f64::from(u8::from(up)))
    }
    family.gauges(("source_up", "Whether the source gives pictures"), None, streams.iter().map(up))?;
    let told = ("encoded", "Bytes that left the encoder");
    family.counters(told, Some(Unit::Bytes), each(|health| health.encoded_bytes() as f64))?;
    let told = ("picture_latency", "From capture until the encoded picture is out");
    family.histograms(told, streams.iter().map(|one| (of(one), one.pictures.latencies())))
}

fn judged(family: &mut Family<'_, '_>, streams: &[Standing]) -> fmt::Result {
    let judged: Vec<_> = streams.iter().filter_map(|one| Some((one, one.verdicts.as_ref()?))).collect();
    let shown = judged.iter().map(|(one, verdicts)| (of(one), verdicts.health.frames_done() as f64));
    family.counters(("verdicts_shown", "Verdicts, counted when first shown"), None, shown)?;
    let ages = judged.iter().map(|(one, verdicts)| (of(one), verdicts.health.latencies()));
    family.histograms(("verdict_age", "From capture until the verdict is first shown"), ages)?;
    let figures: Vec<_> = judged.iter().map(|(one, verdicts)| (*one, verdicts.scores.figures())).collect();
    let regions = figures.iter().map(|(one, scores)| (of(one), scores.regions as f64));
    family.counters(("regions", "Regions over the threshold, added up over verdicts"), None, regions)?;
    let thresholds = figures
        .iter()
        .filter_map(|(one, scores)| Some((of(one), f64::from(scores.level.as_ref()?.scale.threshold))));
    family.gauges(("score_threshold", "Scores above it are anomalous"), None, thresholds)?;
    let quantiles = figures.iter().filter_map(|(one, scores)| Some((one, scores.recent.as_ref()?)));
    let quantiles = quantiles.flat_map(|(one, recent)| {
        let named = ["0.5", "0.95", "0.99"].into_iter().zip(recent.quantiles);
        named.map(|(q, score)| (vec![("stream", one.called()), ("quantile", q)], f64::from(score)))
    });
    family.gauges(("score", "Scores of sampled pixels in the last verdicts"), None, quantiles)?;
    let drifts = figures.iter().filter_map(|(one, scores)| Some((of(one), scores.recent.as_ref()?.drift?)));
    let told = (
        "score_drift",
        "Median score less that of the bank's held-out frames, in standard deviations of theirs",
    );
    family.gauges(told, None, drifts)
}

fn watched(family: &mut Family<'_, '_>, subject: &Subject, streams: &[Standing]) -> fmt::Result {
    let viewers = streams.iter().flat_map(|one| {
        let viewers = subject.audience.viewers(one.name.as_deref());
        let by =
            |protocol, count: usize| (vec![("stream", one.called()), ("protocol", protocol)], count as f64);
        [by("rtsp", viewers.rtsp), by("http", viewers.http), by("webrtc", viewers.webrtc)]
    });
    family.gauges(("viewers", "Who watches now"), None, viewers)
}

fn lane(family: &mut Family<'_, '_>, detection: &DetectionStatus) -> fmt::Result {
    let now = match detection.lane() {
        LaneState::Opening => "opening",
        LaneState::Running => "running",
        LaneState::Failed { .. } => "failed",
    };
    let states = ["opening", "running", "failed"];
    let states = states.map(|state| (vec![("state", state)], f64::from(u8::from(state == now))));
    family.gauges(("detection_state", "How the detector stands: 1 for the state it is in"), None, states)?;
    let restarts = [(vec![], detection.restarts() as f64)];
    family.counters(
        ("detection_restarts", "How often it was opened again after a failure"),
        None,
        restarts,
    )?;
    let faulty = [(vec![], detection.health.report().faulty_patches as f64)];
    family.counters(("faulty_patches", "Patches whose features were not finite"), None, faulty)?;
    let Some(facts) = detection.facts() else { return Ok(()) };
    let info = vec![
        ("provider", facts.provider.as_str()),
        ("search", facts.search.as_deref().unwrap_or("none")),
        ("summary", facts.summary.as_str()),
    ];
    family.gauges(("detection_info", "What judges"), None, [(info, 1.0)])?;
    let told = ("detection_fallbacks", "Better devices that were passed over");
    family.gauges(told, None, [(vec![], facts.fallbacks.len() as f64)])
}

/// Times by stage: of the pictures of each stream, and of the detection lane of all.
fn stages(family: &mut Family<'_, '_>, subject: &Subject, streams: &[Standing]) -> fmt::Result {
    let lanes = streams.iter().map(|one| (one.called(), &*one.pictures));
    let lanes = lanes.chain(subject.detection.iter().map(|lane| ("", &*lane.health)));
    let all: Vec<_> = lanes
        .flat_map(|(stream, health)| health.stage_times().into_iter().map(move |times| (stream, times)))
        .collect();
    let labels = |stream, stage| vec![("stream", stream), ("stage", stage)];
    let busy = all.iter().map(|(stream, (name, times, _))| (labels(*stream, name.as_str()), *times));
    family
        .histograms(("stage", "Time of a frame in a stage; of the detection lane without a stream"), busy)?;
    let waits = all.iter().map(|(stream, (name, _, waited))| (labels(*stream, name.as_str()), *waited));
    family.counters(("stage_wait", "Time that frames waited before a stage"), Some(Unit::Seconds), waits)
}

fn problems(family: &mut Family<'_, '_>, subject: &Subject, streams: &[Standing]) -> fmt::Result {
    let lanes = streams.iter().map(|one| (one.called(), &*one.pictures));
    let lanes = lanes.chain(subject.detection.iter().map(|lane| ("", &*lane.health)));
    let wrong: Vec<_> = lanes
        .flat_map(|(stream, health)| health.problems().into_keys().map(move |part| (stream, part)))
        .collect();
    let wrong = wrong.into_iter().map(|(stream, part)| (vec![("stream", stream), ("part", part)], 1.0));
    family.gauges(("problem", "A part with which something is wrong; the state says what"), None, wrong)
}

/// Figures of the process, by the names that all exporters give them.
#[derive(Debug)]
struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut family = Family(&mut encoder);
        let count = |what: &str| std::fs::read_dir(format!("/proc/self/{what}")).map_or(0, Iterator::count);
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
        let resident = kib.map(|kib| (vec![], kib * 1024.0));
        family.gauges(("process_resident_memory", "Resident memory"), Some(Unit::Bytes), resident)?;
        family.gauges(("process_open_fds", "Open file descriptors"), None, [(vec![], count("fd") as f64)])?;
        family.gauges(("process_threads", "Threads"), None, [(vec![], count("task") as f64)])
    }
}
