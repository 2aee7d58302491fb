//! What differs between configurations, and what holds after a part of it failed.

use super::*;

fn config() -> Config {
    let text = r#"
        [[stream]]
        name = "front"
        source = "rtsp://driver:secret@camera/1"
        [[stream]]
        name = "rear"
        source = "synthetic:"
        [stream.score]
        threshold = 3.0
        [bank]
        path = "a.bank"
    "#;
    toml::from_str(text).unwrap()
}

fn patch(change: Value) -> (Keys, Config) {
    let before = config();
    let after = patched(&before, &change).unwrap();
    (Keys::between(&before, &after), after)
}

#[test]
fn a_patch_changes_what_it_names_and_nothing_else() {
    let before = config();
    assert_eq!(patched(&before, &serde_json::json!({})).unwrap(), before, "the password is kept");
    assert!(!as_json(&before).to_string().contains("secret"));
    let (keys, after) = patch(serde_json::json!({
        "score": {"threshold": 4.5, "roi": [[0, 1], [0.5, 0.5], [1, 1]]},
        "stream": {"rear": {"score": null}, "left": {"source": "synthetic:seed=2"}},
        "output": {"rtsp": "off"},
        "bank": {"path": "b.bank"},
    }));
    let told: Vec<_> = keys.0.iter().map(|one| (one.change.key.as_str(), one.section)).collect();
    assert!(told.contains(&("score.threshold", Section::Score)), "{told:?}");
    assert!(told.contains(&("score.roi", Section::Score)), "{told:?}");
    assert!(told.contains(&("stream.rear.score.threshold", Section::Score)), "{told:?}");
    assert!(told.contains(&("stream.left.source", Section::Source)), "{told:?}");
    assert!(told.contains(&("output.rtsp", Section::Restart)), "{told:?}");
    assert!(told.contains(&("bank.path", Section::Detector)), "{told:?}");
    let names: Vec<_> = after.streams.iter().map(called).collect();
    assert_eq!(names, ["front", "rear", "left"]);
    assert_eq!(after.streams[0].source.secret(), "rtsp://driver:secret@camera/1");
    // What failed stays as it was, and so does what nobody can do.
    let failed = Failed::from([
        ((Some("left".into()), Section::Source), "no such camera".into()),
        ((None, Section::Detector), "no such bank".into()),
    ]);
    let held = keys.in_force(&before, &after, &failed);
    assert_eq!((&held.bank, &held.output), (&before.bank, &before.output));
    assert_eq!(held.score, after.score);
    assert_eq!(held.streams.iter().map(called).collect::<Vec<_>>(), ["front", "rear"]);
    assert!(held.streams[1].score.is_empty());
    let outcome = keys.judged(&failed);
    let why = |key: &str| outcome.changes.iter().find(|one| one.key == key).unwrap().why.clone();
    assert_eq!(why("score.threshold"), None);
    assert_eq!(why("output.rtsp").as_deref(), Some(RESTART));
    assert_eq!(why("bank.path").as_deref(), Some("no such bank"));
    assert_eq!(why("stream.left.pace").as_deref(), Some("no such camera"));
}

#[test]
fn a_password_alone_is_a_change() {
    let before = config();
    let mut after = before.clone();
    after.streams[0].source = "rtsp://driver:other@camera/1".into();
    let keys = Keys::between(&before, &after);
    let [only] = &keys.0[..] else { panic!("{}", keys.0.len()) };
    assert_eq!((only.change.key.as_str(), only.section), ("stream.front.source", Section::Source));
    assert!(!format!("{:?}", only.change).contains("other"));
    let failed = Failed::from([((Some("front".into()), Section::Source), "refused".into())]);
    assert_eq!(keys.in_force(&before, &after, &failed), before);
}

#[test]
fn what_cannot_be_is_named() {
    for (change, want) in [
        (serde_json::json!([1]), "object"),
        (serde_json::json!({"score": {"treshold": 1}}), "treshold"),
        (serde_json::json!({"overlay": {"opacity": "much"}}), "overlay.opacity: "),
        (serde_json::json!({"stream": {"left": {"score": {"threshold": 1}}}}), "there are: front, rear"),
        (serde_json::json!({"stream": {"front": {"source": 4}}}), "4"),
    ] {
        let why = patched(&config(), &change).unwrap_err();
        assert!(why.contains(want), "{change}: {why}");
    }
}

#[test]
fn a_stream_gets_another_name_and_keeps_its_password() {
    let (_, after) = patch(serde_json::json!({"stream": {"front": {"name": "main"}}}));
    let names: Vec<_> = after.streams.iter().map(called).collect();
    assert_eq!(names, ["rear", "main"]);
    assert_eq!(after.streams[1].source.secret(), "rtsp://driver:secret@camera/1");
}
