//! What Home Assistant is told, so that it shows farout without any setting (MQTT discovery).

use serde_json::{Value, json};

/// Where Home Assistant looks.
const PREFIX: &str = "homeassistant";

/// Topics and what is kept there, for these streams. `base` begins this machine's topics.
pub(super) fn all(base: &str, streams: &[String], commands: bool) -> Vec<(String, Value)> {
    let node = base.replace('/', "_");
    let device = json!({
        "identifiers": [node],
        "name": format!("farout {}", base.rsplit('/').next().unwrap_or(base)),
        "manufacturer": "farout",
        "sw_version": env!("CARGO_PKG_VERSION"),
    });
    let whole = |kind: &str, of: &str, name: String, more: Value| {
        let mut body = json!({
            "name": name,
            "unique_id": format!("{node}_{of}"),
            "availability_topic": format!("{base}/status"),
            "device": device,
        });
        if let (Value::Object(keys), Value::Object(more)) = (&mut body, more) {
            keys.extend(more);
        }
        (format!("{PREFIX}/{kind}/{node}/{of}/config"), body)
    };
    let state = format!("{base}/state");
    let mut found = vec![whole(
        "binary_sensor",
        "ready",
        "Ready".into(),
        json!({
            "state_topic": state,
            "value_template": "{{ 'ON' if value_json.ready else 'OFF' }}",
            "device_class": "running",
        }),
    )];
    for name in streams {
        let of = |figure: &str| {
            format!("{{{{ (value_json.streams | selectattr('name', 'eq', '{name}') | first).{figure} }}}}")
        };
        found.push(whole(
            "binary_sensor",
            &format!("{name}_alarm"),
            format!("{name} alarm"),
            json!({
                "state_topic": format!("{base}/stream/{name}/alarm"),
                "device_class": "problem",
            }),
        ));
        found.push(whole(
            "sensor",
            &format!("{name}_verdicts"),
            format!("{name} verdicts"),
            json!({
                "state_topic": state,
                "value_template": of("verdicts.per_second | round(1)"),
                "unit_of_measurement": "1/s",
                "state_class": "measurement",
            }),
        ));
        if commands {
            found.push(whole(
                "number",
                &format!("{name}_threshold"),
                format!("{name} threshold"),
                json!({
                    "state_topic": state,
                    "value_template": of("scores.threshold"),
                    "command_topic": format!("{base}/stream/{name}/threshold/set"),
                    "min": -1000,
                    "max": 1000,
                    "step": 0.01,
                    "mode": "box",
                }),
            ));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_stream_is_told_once() {
        let streams = ["front".to_owned(), "rear".to_owned()];
        let found = all("farout/car-7", &streams, true);
        assert_eq!(found.len(), 1 + 2 * 3);
        assert_eq!(all("farout/car-7", &streams, false).len(), 1 + 2 * 2);
        let (topic, body) = found.iter().find(|(topic, _)| topic.contains("rear_threshold")).unwrap();
        assert_eq!(topic, "homeassistant/number/farout_car-7/rear_threshold/config");
        assert_eq!(body["command_topic"], "farout/car-7/stream/rear/threshold/set");
        assert_eq!(body["availability_topic"], "farout/car-7/status");
        let ids: std::collections::BTreeSet<_> =
            found.iter().map(|(_, body)| body["unique_id"].as_str()).collect();
        assert_eq!(ids.len(), found.len());
    }
}
