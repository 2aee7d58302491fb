"""What needs neither Ray nor farout: how work is cut, which files belong together, what is in braces."""

import os

import pytest
from farout_fleet import bank, storage, worker
from farout_fleet.carry import Baggage
from farout_fleet.piece import Carried, Damaged, Done, Piece, PieceFailed, deal, tree


def test_runs_are_even_and_none_is_empty():
    for weights, pieces in [([1.0] * 10, 3), ([1.0] * 3, 8), ([100.0, 1, 1, 1], 4), ([1.0, 1, 1, 100], 2), ([0.5] * 1000, 64)]:
        runs = deal(weights, pieces)
        assert len(runs) == min(pieces, len(weights))
        assert [at for run in runs for at in run] == list(range(len(weights)))
        assert all(len(run) > 0 for run in runs)
    loads = [len(run) for run in deal([1.0] * 1000, 64)]
    assert max(loads) - min(loads) <= 1


def test_trees_end_with_few():
    assert tree(16, 16) == []
    assert tree(17, 16) == [[range(0, 16), range(16, 17)]]
    levels = tree(1000, 4)
    assert [len(level) for level in levels] == [250, 63, 16, 4]
    for leaves, level in zip([1000, 250, 63, 16], levels, strict=True):
        assert [at for group in level for at in group] == list(range(leaves))


def test_files_are_found_as_farout_finds_them(tmp_path):
    for name in ["b/f10.JPG", "b/f9.jpg", "b/.hidden.jpg", "b/notes.txt", "a/x.mp4", ".git/y.png"]:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    found = storage.find([str(tmp_path), str(tmp_path / "b")], storage.IMAGES | storage.VIDEOS)
    assert [file.name for file in found] == ["a/x.mp4", "b/f9.jpg", "b/f10.JPG"]
    assert [file.is_video for file in found] == [True, False, False]
    assert [file.name for file in storage.find([f"{tmp_path}/b/*.jpg"], storage.IMAGES)] == ["b/f9.jpg"]
    for wrong in [f"{tmp_path}/c", f"{tmp_path}/b/notes.txt", f"{tmp_path}/b/*.png"]:
        with pytest.raises(storage.StorageError, match=os.path.basename(wrong).replace("*", ".")):
            storage.find([wrong], storage.IMAGES)


def test_a_files_version_changes_with_it(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"one")
    [before] = storage.find([str(path)], storage.IMAGES)
    path.write_bytes(b"two")
    os.utime(path, (1, 1))
    [after] = storage.find([str(path)], storage.IMAGES)
    assert before != after


def test_files_of_one_name_lie_apart_and_keep_it(tmp_path):
    files = [storage.Stored(f"/{drive}/cam/{file}", 1, "") for drive in "ab" for file in ("1.jpg", "2.jpg")]
    places = [below for _, _, below in bank.placed(files, "images")]
    assert places == ["images/0/cam/1.jpg", "images/0/cam/2.jpg", "images/1/cam/1.jpg", "images/1/cam/2.jpg"]


def test_labels_go_with_their_images():
    stored = lambda name: storage.Stored(f"/x/{name}", 1, "")  # noqa: E731
    labels = bank.Stems([stored(name) for name in ["a_gtFine_labelIds.png", "a_2.png", "b.png", "c_leftImg8bit.png"]])
    names = lambda *images: [file.address for file in labels.of([stored(image) for image in images])]  # noqa: E731
    assert names("a_leftImg8bit.png") == ["/x/a_2.png", "/x/a_gtFine_labelIds.png"]
    assert names("b.jpg", "c_leftImg8bit.jpg") == ["/x/b.png", "/x/c_leftImg8bit.png"]
    assert names("d.jpg") == []


def test_named_files_travel_and_shipped_recipes_do_not(tmp_path):
    (tmp_path / "m.onnx").write_bytes(b"model")
    (tmp_path / "b.bank").write_bytes(b"bank")
    config = tmp_path / "c.toml"
    config.write_text('[model]\npath = "m.onnx"\n[bank]\npath = "b.bank"\n')
    packed = []
    baggage = Baggage(lambda data: (packed.append(data),))
    words = baggage.words(["--recipe", "road", f"--model={tmp_path}/m.onnx", "-c", str(config), "--size", "5"])
    assert words == [
        "--recipe", "road", "--model", "{carried:model}", "-c", "{carried:config}", "--bank", "{carried:bank}", "--size", "5",
    ]  # fmt: skip
    assert len(packed) == 3
    os.utime(tmp_path / "m.onnx", (1, 1))
    again = Baggage(lambda data: ())
    again.words(["--model", str(tmp_path / "m.onnx")])
    assert again.carried["model"].digest == baggage.carried["model"].digest, "content alone counts"
    config.write_text('[roi]\nmodel = "r.onnx"\n')
    with pytest.raises(storage.StorageError, match="roi.model"):
        baggage.words(["-c", str(config)])
    with pytest.raises(storage.StorageError, match="no.onnx"):
        baggage.words(["--model", "no.onnx"])


def test_records_change_with_all_that_counts():
    def record(**changes):
        piece = Piece("k", "t", ["a"], [("x", "1", "images/0/x")], {"model": Carried("d", "m", ())})
        for name, value in changes.items():
            setattr(piece, name, value)
        return piece.record("farout 1")

    same = record()
    assert same == record(title="another title") == record(work="/elsewhere")
    others = [record(argv=["b"]), record(env={"A": "b"}), record(seen="z"), record(fetch=[("x", "2", "images/0/x")]), record(needs=["y"])]
    others += [record(carried={"model": Carried("e", "m", ())}), Piece("k", "t", ["a"]).record("farout 2")]
    assert len({same, *others}) == len(others) + 1


def script(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FAROUT_FLEET_CACHE", str(tmp_path / "cache"))


def test_a_piece_is_run_recorded_and_verified(tmp_path, cache):
    farout = script(tmp_path / "farout", '[ "$1" = --version ] && echo farout 1 && exit; cat $1/images/0/d/a.jpg > $2/r; cat $3 >> $2/r || true')
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "a.jpg").write_text("picture")
    files = storage.find([str(tmp_path / "d")], storage.IMAGES)
    work = str(tmp_path / "work")
    piece = Piece("one", "piece 1", ["{in}", "{out}", "/dev/null"], bank.placed(files, "images"), results=[("r", ".shard")], work=work)
    done = worker.run(piece, farout, "farout 1")
    assert isinstance(done, Done) and done.record in storage.names(work)
    result = piece.address(".shard", "farout 1")
    assert storage.read(result) == b"picture"
    after = Piece("two", "piece 2", ["{in}", "{out}", "{needs.shard}"], bank.placed(files, "images"), results=[("r", ".bank")])
    after.needs, after.work = [done.record], work
    worker.run(after, farout, "farout 1")
    assert storage.read(after.address(".bank", "farout 1")) == b"picturepicture"
    # Damaged on the way: named, and its record is gone, so that it is done again.
    storage.write(b"damaged", result)
    with pytest.raises(Damaged, match="is not what one wrote.*run the same command again"):
        worker.run(after, farout, "farout 1")
    assert done.record not in storage.names(work)
    with pytest.raises(PieceFailed, match="has farout 1, the driver farout 2"):
        worker.run(piece, farout, "farout 2")


def test_what_farout_says_is_the_error(tmp_path, cache):
    farout = script(tmp_path / "farout", '[ "$1" = --version ] && echo farout 1 && exit; echo error: cannot decode x.jpg >&2; exit 1')
    piece = Piece("one", "piece 1 of 2", ["x"], results=[("r", ".shard")], work=str(tmp_path / "work"))
    with pytest.raises(PieceFailed, match="piece 1 of 2 on .* ended with code 1\n.*cannot decode x.jpg"):
        worker.run(piece, farout, "farout 1")
    assert storage.names(str(tmp_path / "work")) == set()
