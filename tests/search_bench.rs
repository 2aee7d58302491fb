//! What the search bench promises to those who read its JSON, and that it would notice a wrong answer.

#[allow(dead_code)]
#[path = "../benches/nearest/data.rs"]
mod data;
#[allow(dead_code)]
#[path = "../benches/nearest/measure.rs"]
mod measure;
#[allow(dead_code)]
#[path = "../benches/nearest/report.rs"]
mod report;

use crate::support::made_up;
use report::{Report, Row};

#[test]
fn the_report_has_its_keys() {
    let work = data::gaussian(300, 24, 20);
    let config = measure::config(3, 1, None).unwrap();
    let ours = measure::ours(&work, &config, measure::Clock::Wall, 0.0).unwrap();
    assert!(ours.seconds > 0.0 && ours.distances.len() == 20);
    let row = Row {
        backend: ours.backend,
        data: work.data.clone(),
        n: 300,
        c: 24,
        t: 20,
        k: 3,
        seconds: ours.seconds,
        open_seconds: ours.open_seconds,
        ratio: [("faiss".to_owned(), 2.0), ("torch".to_owned(), 3.0)].into(),
        peak_fraction: None,
        max_rel_error: ours.max_rel_error,
    };
    let peers = ["faiss".to_owned(), "torch".to_owned(), "numpy".to_owned()];
    let (heading, line) = (report::heading(&peers), row.line(&peers));
    assert_eq!(heading.len(), line.len(), "{heading}\n{line}");
    let report = Report {
        machine: "a processor".into(),
        threads: 1,
        clock: measure::Clock::Wall.name(),
        peers: Default::default(),
        peaks: Default::default(),
        rows: vec![row],
    };
    let json = serde_json::to_value(&report).unwrap();
    assert!(json["machine"].is_string());
    let row = &json["rows"][0];
    for key in ["backend", "data"] {
        assert!(row[key].is_string(), "{key}: {row}");
    }
    for key in ["n", "c", "t", "k"] {
        assert!(row[key].is_u64(), "{key}: {row}");
    }
    for key in ["seconds", "max_rel_error"] {
        assert!(row[key].is_f64(), "{key}: {row}");
    }
    assert!(row["ratio"]["faiss"].is_f64() && row["ratio"]["torch"].is_f64(), "{row}");
    assert!(row.as_object().unwrap().contains_key("peak_fraction"));
}

#[test]
fn a_wrong_answer_is_noticed() {
    let work = data::gaussian(300, 24, 20);
    let ours =
        measure::ours(&work, &measure::config(3, 1, None).unwrap(), measure::Clock::Processor, 0.0).unwrap();
    assert!(measure::error(&work, 1, 3, &ours.distances) < 1e-5);
    let mut wrong = ours.distances.clone();
    wrong[0] *= 1.001;
    assert!(measure::error(&work, 1, 3, &wrong) > 5e-4);
    wrong[0] = f32::NAN;
    assert!(measure::error(&work, 1, 3, &wrong).is_infinite());
    assert!(measure::error(&work, 1, 2, &ours.distances) > 1e-3, "another k is another answer");
    assert!(measure::error(&work, 0, 3, &ours.distances) > 1e-3, "another frame has other distances");
}
