//! The API as a program uses it, held against its own description.
#![allow(dead_code, reason = "each test uses what it needs")]

use serde_json::Value;

/// A running farout's HTTP server.
pub struct Api {
    base: String,
    agent: ureq::Agent,
    /// Sent as `Authorization`.
    pub credentials: Option<String>,
}

/// What was answered.
pub struct Answer {
    pub status: u16,
    pub kind: String,
    pub text: String,
}

impl Answer {
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|why| panic!("{why}: {}", self.text))
    }

    /// The answer, which must be of this status.
    #[track_caller]
    pub fn is(self, status: u16) -> Answer {
        assert_eq!(self.status, status, "{}", self.text);
        self
    }
}

impl Api {
    /// At a port of this machine.
    pub fn at(port: u16) -> Api {
        let agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        Api { base: format!("http://127.0.0.1:{port}"), agent, credentials: None }
    }

    /// Asks; `None` where nothing answers.
    pub fn try_get(&self, path: &str) -> Option<Answer> {
        let mut request = self.agent.get(format!("{}{path}", self.base));
        if let Some(credentials) = &self.credentials {
            request = request.header("Authorization", credentials);
        }
        Some(read(request.call().ok()?))
    }

    #[track_caller]
    pub fn get(&self, path: &str) -> Answer {
        self.try_get(path).unwrap()
    }

    #[track_caller]
    pub fn send(&self, method: &str, path: &str, body: Option<Value>) -> Answer {
        let url = format!("{}{path}", self.base);
        let mut request = ureq::http::Request::builder().method(method).uri(url);
        if let Some(credentials) = &self.credentials {
            request = request.header("Authorization", credentials);
        }
        let answer = match body {
            None => self.agent.run(request.body(()).unwrap()),
            Some(body) => {
                let request = request.header("Content-Type", "application/json");
                self.agent.run(request.body(body.to_string()).unwrap())
            }
        };
        read(answer.unwrap())
    }

    #[track_caller]
    pub fn patch(&self, change: Value) -> Value {
        self.send("PATCH", "/api/v1/config", Some(change)).is(200).json()
    }

    /// How the only stream stands.
    #[track_caller]
    pub fn stream(&self) -> Value {
        self.get("/api/v1/state").is(200).json()["streams"][0].clone()
    }
}

fn read(mut answer: ureq::http::Response<ureq::Body>) -> Answer {
    let kind = answer.headers().get("content-type").map_or("", |kind| kind.to_str().unwrap()).to_owned();
    Answer { status: answer.status().as_u16(), kind, text: answer.body_mut().read_to_string().unwrap() }
}

/// What of an answer differs from the schema that the description gives: keys that are missing or unknown, types.
pub fn differs(described: &Value, schema: &Value, answer: &Value, at: &str) -> Vec<String> {
    if let Some(reference) = schema["$ref"].as_str() {
        let found = described.pointer(reference.trim_start_matches('#')).unwrap();
        return differs(described, found, answer, at);
    }
    let kinds: Vec<&str> = match &schema["type"] {
        Value::String(kind) => vec![kind],
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => return Vec::new(),
    };
    let fits = |kind: &&str| match *kind {
        "object" => answer.is_object(),
        "array" => answer.is_array(),
        "string" => answer.is_string(),
        "number" => answer.is_number(),
        "integer" => answer.is_u64() || answer.is_i64(),
        "boolean" => answer.is_boolean(),
        "null" => answer.is_null(),
        _ => false,
    };
    if !kinds.iter().any(fits) {
        return vec![format!("{at} is {answer}, not {kinds:?}")];
    }
    let mut found = Vec::new();
    if let Value::Array(items) = answer {
        for (number, item) in items.iter().enumerate() {
            found.extend(differs(described, &schema["items"], item, &format!("{at}[{number}]")));
        }
    }
    let (Value::Object(keys), Some(known)) = (answer, schema["properties"].as_object()) else { return found };
    for key in keys.keys().filter(|key| !known.contains_key(*key)) {
        found.push(format!("{at}.{key} is not described"));
    }
    for key in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if !keys.contains_key(key) {
            found.push(format!("{at}.{key} is missing"));
        }
    }
    for (key, value) in keys {
        found.extend(differs(
            described,
            &known.get(key).cloned().unwrap_or_default(),
            value,
            &format!("{at}.{key}"),
        ));
    }
    found
}
