//! Supplements: files, joining, and what is in force.

use super::*;
use crate::region::Rect;

/// A model of so wide features.
pub(crate) fn model(width: usize) -> ModelIdentity {
    ModelIdentity {
        sha256: "ab".repeat(32),
        features: "norm".into(),
        width,
        patch: 14,
        input_size: "height 364".into(),
        normalisation: "none".into(),
        name: "made-up".into(),
        parts: Vec::new(),
    }
}

/// A mark of this name.
pub(crate) fn mark(id: &str) -> Mark {
    Mark {
        id: id.into(),
        stream: Some("front".into()),
        event: false,
        seen: Some("2026-11-29T15:00:00.000Z".into()),
        marked: Some("2026-11-29T15:00:01.000Z".into()),
        rect: Rect { x: 10, y: 20, width: 30, height: 40 },
        frame_size: (640, 360),
        grid: (26, 46),
        peak: Some(3.5),
        rows: 0,
    }
}

/// Patches of these numbers, of a picture that has none but them.
pub(crate) fn look(width: usize, features: &[f32]) -> Look {
    let count = (features.len() / width) as f32;
    let mean = (0..width).map(|c| features.chunks(width).map(|row| row[c]).sum::<f32>() / count).collect();
    let places = (0..features.len() / width).map(|col| (2, col as u32)).collect();
    Look { frame: 7, places, features: features.to_vec(), mean, picture: None }
}

fn one(id: &str, features: &[f32]) -> Supplement {
    Supplement::of(&model(2), mark(id), [&look(2, features)])
}

fn store(folder: Option<&Path>, size: usize) -> Supplements {
    Supplements::open(&SupplementConfig { folder: folder.map(Path::to_owned), size }).unwrap()
}

fn ids(all: &Supplements) -> Vec<String> {
    let marks = all.all().1;
    marks.iter().flat_map(|one| one.marks().iter().map(|mark| mark.id.clone())).collect()
}

#[test]
fn a_file_gives_back_what_was_marked() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("one.safetensors");
    let broken = Look { features: vec![1.0, 2.0, f32::NAN, 4.0], ..look(2, &[0.0; 4]) };
    let written =
        Supplement::of(&model(2), mark("one"), [&look(2, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]), &broken]);
    assert_eq!((written.rows(), written.marks()[0].rows), (4, 4), "what is not finite is left out");
    written.write(&path).unwrap();
    let read = Supplement::read(&path).unwrap();
    assert_eq!(read, written);
    assert_eq!(read.origins()[3], Origin { source: 0, frame: 7, row: 2, col: 0 });
    assert_eq!(read.means().own, [0, 0, 0, 1]);
    for id in ["../up", ".hidden"] {
        written.clone().named(id).write(&dir.path().join("odd.safetensors")).unwrap();
        let why = Supplement::read_unnamed(&dir.path().join("odd.safetensors")).unwrap_err().to_string();
        assert!(why.contains("a name that cannot be"), "{why}");
    }
    // It is no bank, and a bank is no supplement.
    let why = Bank::open(&path, 1).unwrap_err().to_string();
    assert!(why.contains("one.safetensors is no bank") && why.contains("supplement.folder"), "{why}");
    let bank = dir.path().join("some.bank");
    let contents = Bank::open_any(&path).unwrap();
    let mut metadata = contents.metadata().clone();
    metadata.build.marks.clear();
    metadata.build.supplement = false;
    let contents = BankContents {
        features: RowsBuf::F32(written.features().to_vec()),
        origins: written.origins().to_vec(),
        metadata,
        extras: Extras::default(),
    };
    contents.write(&bank).unwrap();
    let why = Supplement::read(&bank).unwrap_err().to_string();
    assert!(why.contains("some.bank is no usable supplement") && why.contains("it is a bank"), "{why}");
}

#[test]
fn marks_are_joined_once_and_taken_out_whole() {
    let mut all = one("a", &[1.0, 2.0]);
    all.join(&one("b", &[3.0, 4.0, 5.0, 6.0])).unwrap();
    all.join(&one("c", &[7.0, 8.0])).unwrap();
    all.join(&one("b", &[3.0, 4.0, 5.0, 6.0])).unwrap();
    assert_eq!(all.features(), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]);
    assert_eq!(all.origins().iter().map(|o| o.source).collect::<Vec<_>>(), [0, 1, 1, 2]);
    assert_eq!(all.means().means, [1.0, 2.0, 4.0, 5.0, 7.0, 8.0]);
    let left = all.without("b");
    let mut want = one("a", &[1.0, 2.0]);
    want.join(&one("c", &[7.0, 8.0])).unwrap();
    assert_eq!(left, want);
    assert_eq!(all.without("none"), all);
    let other = Supplement::of(&model(3), mark("d"), [&look(3, &[0.0; 3])]);
    assert!(all.join(&other).unwrap_err()[0].contains("feature width: 3, not 2"));
}

#[test]
fn what_is_marked_survives_and_can_be_taken_back() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("deep/normal");
    let all = store(Some(&folder), 5);
    let begun = all.generation();
    all.add(one("b", &[1.0, 2.0, 3.0, 4.0])).unwrap();
    all.add(one("a", &[5.0, 6.0])).unwrap();
    assert!(all.generation() > begun);
    assert_eq!(ids(&all), ["a", "b"]);
    // The same once more takes the place of what was there.
    all.add(one("b", &[7.0, 8.0, 9.0, 9.0])).unwrap();
    let again = store(Some(&folder), 5);
    assert_eq!(ids(&again), ["a", "b"]);
    assert_eq!(again.all().1, all.all().1);

    let before = all.generation();
    let why = all.add(one("c", &[0.0; 6])).unwrap_err();
    assert!(matches!(why, AddError::Full { have: 3, more: 3, most: 5 }), "{why}");
    assert!(why.to_string().contains("farout bank merge"), "{why}");
    assert!(matches!(all.add(one("d", &[f32::NAN; 2])).unwrap_err(), AddError::Empty));
    assert_eq!((ids(&all).len(), all.generation()), (2, before));

    assert!(all.remove("b").unwrap() && !all.remove("b").unwrap());
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
    // What another process did is seen when it is looked for.
    assert_eq!(ids(&again), ["a", "b"]);
    let old = again.generation();
    again.reread().unwrap();
    assert_eq!(ids(&again), ["a"]);
    assert!(again.generation() > old);
    let old = again.generation();
    again.reread().unwrap();
    assert_eq!(again.generation(), old, "nothing has changed");

    // A file of several marks loses one of them.
    let mut two = one("x", &[1.0, 1.0]);
    two.join(&one("y", &[2.0, 2.0])).unwrap();
    two.write(&folder.join("fleet.safetensors")).unwrap();
    again.reread().unwrap();
    assert!(again.remove("x").unwrap());
    assert_eq!(ids(&store(Some(&folder), 5)), ["a", "y"]);
    // Without a folder it lasts as long as its users.
    let memory = store(None, 5);
    memory.add(one("a", &[1.0, 2.0])).unwrap();
    assert!(memory.remove("a").unwrap() && memory.all().1.is_empty());
}

#[test]
fn a_damaged_file_does_not_count_and_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let all = store(Some(dir.path()), 50);
    all.add(one("a", &[1.0, 2.0])).unwrap();
    all.add(one("b", &[3.0, 4.0])).unwrap();
    let file = dir.path().join("b.safetensors");
    let bytes = std::fs::read(&file).unwrap();
    std::fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
    std::fs::write(dir.path().join("notes.txt"), "not looked at").unwrap();
    std::fs::write(dir.path().join(".farout-half.safetensors"), "not looked at").unwrap();
    for length in 0..bytes.len() {
        std::fs::write(&file, &bytes[..length]).unwrap();
        assert!(Supplement::read(&file).is_err(), "{length} of {}", bytes.len());
    }
    let again = store(Some(dir.path()), 50);
    assert_eq!(ids(&again), ["a"]);
    assert!(
        again.damaged().len() == 1 && again.damaged()[0].contains("b.safetensors"),
        "{:?}",
        again.damaged()
    );
    // Marked once more it is whole again.
    again.add(one("b", &[3.0, 4.0])).unwrap();
    assert!(again.damaged().is_empty());
    again.reread().unwrap();
    assert_eq!(ids(&again), ["a", "b"]);
    let none = SupplementConfig { folder: Some(dir.path().join("none")), size: 1 };
    assert!(Supplements::existing(&none).unwrap().is_none() && !dir.path().join("none").exists());
    let file = SupplementConfig { folder: Some(dir.path().join("notes.txt")), size: 1 };
    let why = Supplements::open(&file).unwrap_err().to_string();
    assert!(why.contains("notes.txt") && why.contains("supplement.folder"), "{why}");
}

/// What others have put into the folder: the same mark in two files counts once and goes as a whole, and what finds no room
/// does not count.
#[test]
fn a_mark_in_two_files_counts_once_and_goes_from_both() {
    let dir = tempfile::tempdir().unwrap();
    let all = store(Some(dir.path()), 6);
    all.add(one("a", &[1.0, 2.0])).unwrap();
    let mut fleet = one("a", &[1.0, 2.0]);
    fleet.join(&one("b", &[3.0, 4.0, 5.0, 6.0])).unwrap();
    fleet.write(&dir.path().join("fleet.safetensors")).unwrap();
    all.reread().unwrap();
    assert_eq!(ids(&all), ["a", "b"]);
    assert_eq!(all.all().1.iter().map(|one| one.rows()).sum::<usize>(), 3);
    // Marked anew, it is in one file only.
    all.add(one("b", &[7.0, 8.0])).unwrap();
    assert_eq!(ids(&store(Some(dir.path()), 6)), ["a", "b"]);
    assert!(all.remove("a").unwrap());
    let again = store(Some(dir.path()), 6);
    assert_eq!(ids(&again), ["b"]);
    // No room: told, and not in force.
    one("big", &[0.5; 12]).write(&dir.path().join("big.safetensors")).unwrap();
    again.reread().unwrap();
    assert_eq!(ids(&again), ["b"], "by name, the first that find room");
    assert!(again.damaged()[0].contains("supplement.size = 6"), "{:?}", again.damaged());
}

/// What two vehicles call by one name and is not the same thing stays apart.
#[test]
fn marks_of_one_name_and_other_features_both_stay() {
    let mut all = one("a", &[1.0, 2.0]);
    all.join(&one("a", &[3.0, 4.0])).unwrap();
    all.join(&one("a", &[3.0, 4.0])).unwrap();
    assert_eq!(all.features(), [1.0, 2.0, 3.0, 4.0]);
    assert!(all.marks()[0].id == "a" && all.marks()[1].id.starts_with("a-"), "{:?}", all.marks());
}
