//! What Home Assistant is told, so that it shows farout without any setting (MQTT discovery).

use serde_json::{Value, json};

/// Where Home Assistant looks.
const PREFIX: &str = "homeassistant";

/// A topic and what is kept there of this machine. `base` begins its topics.
pub(super) fn of_node(base: &str) -> (String, Value) {
    told(
        base,
        ("binary_sensor", "ready", "Ready".into()),
        json!({
            "state_topic": format!("{base}/state"),
            "value_template": "{{ 'ON' if value_json.ready else 'OFF' }}",
            "device_class": "running",
        }),
    )
}

/// The same of a stream.
pub(super) fn of_stream(base: &str, name: &str, commands: bool) -> Vec<(String, Value)> {
    let figure = |figure: &str| {
        format!("{{{{ (value_json.streams | selectattr('name', 'eq', '{name}') | first).{figure} }}}}")
    };
    let state = format!("{base}/state");
    let alarm = told(
        base,
        ("binary_sensor", &format!("{name}_alarm"), format!("{name} alarm")),
        json!({
            "state_topic": format!("{base}/stream/{name}/alarm"),
            "device_class": "problem",
        }),
    );
    let verdicts = told(
        base,
        ("sensor", &format!("{name}_verdicts"), format!("{name} verdicts")),
        json!({
            "state_topic": state,
            "value_template": figure("verdicts.per_second | round(1)"),
            "unit_of_measurement": "1/s",
            "state_class": "measurement",
        }),
    );
    let threshold = told(
        base,
        ("number", &format!("{name}_threshold"), format!("{name} threshold")),
        json!({
            "state_topic": state,
            "value_template": figure("scores.threshold"),
            "command_topic": format!("{base}/stream/{name}/threshold/set"),
            "min": -1000,
            "max": 1000,
            "step": 0.01,
            "mode": "box",
        }),
    );
    [alarm, verdicts].into_iter().chain(commands.then_some(threshold)).collect()
}

/// An entity with what all have.
fn told(base: &str, (kind, of, name): (&str, &str, String), more: Value) -> (String, Value) {
    let node = base.replace('/', "_");
    let mut body = json!({
        "name": name,
        "unique_id": format!("{node}_{of}"),
        "availability_topic": format!("{base}/status"),
        "device": {
            "identifiers": [node],
            "name": format!("farout {}", base.rsplit('/').next().unwrap_or(base)),
            "manufacturer": "farout",
            "sw_version": env!("CARGO_PKG_VERSION"),
        },
    });
    if let (Value::Object(keys), Value::Object(more)) = (&mut body, more) {
        keys.extend(more);
    }
    (format!("{PREFIX}/{kind}/{node}/{of}/config"), body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_stream_is_told_once() {
        let mut found: Vec<_> =
            ["front", "rear"].into_iter().flat_map(|name| of_stream("farout/car-7", name, true)).collect();
        found.push(of_node("farout/car-7"));
        assert_eq!(found.len(), 1 + 2 * 3);
        assert_eq!(of_stream("farout/car-7", "front", false).len(), 2);
        let (topic, body) = found.iter().find(|(topic, _)| topic.contains("rear_threshold")).unwrap();
        assert_eq!(topic, "homeassistant/number/farout_car-7/rear_threshold/config");
        assert_eq!(body["command_topic"], "farout/car-7/stream/rear/threshold/set");
        assert_eq!(body["availability_topic"], "farout/car-7/status");
        let ids: std::collections::BTreeSet<_> =
            found.iter().map(|(_, body)| body["unique_id"].as_str()).collect();
        assert_eq!(ids.len(), found.len());
    }
}
