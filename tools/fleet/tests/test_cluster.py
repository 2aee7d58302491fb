"""Four machines, footage here and in object storage: what they make is what one machine makes, whatever goes wrong."""

import json
import os
import pathlib
import shutil
import subprocess
import time

from conftest import MODEL, numbers


def build(fleet, images, output, *more, **how):
    words = ["bank", "build", "--images", images, "--device", "cpu", "--model", MODEL, "--every", "3", "--size", "3000"]
    return fleet(*words, "--pieces", "12", "--fan-in", "4", "-o", output, *more, **how)


def same(path, footage):
    return pathlib.Path(path).read_bytes() == (footage / "one.bank").read_bytes()


def until(what, seconds=120.0):
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it does not happen"
        time.sleep(0.05)


def test_a_bank_from_object_storage_is_that_of_one_machine(fleet, footage, bucket, tmp_path):
    said = build(fleet, f"{bucket}/images", f"{bucket}/out/four.bank", "--summary", tmp_path / "summary.json").wait()
    assert "49 images and videos" in said and "12 pieces" in said, said
    import s3fs

    fs = s3fs.S3FileSystem()
    fs.get_file("drives/out/four.bank", str(tmp_path / "four.bank"))
    assert same(tmp_path / "four.bank", footage)
    assert not fs.exists("drives/out/four.bank.work"), "nothing is left"
    done = json.loads((tmp_path / "summary.json").read_text())["done"]
    assert len(done) == 12 + 3 + 1, "shards, joins, the bank"


def test_a_machine_is_lost_in_the_middle(fleet, watched, machines, footage, tmp_path):
    watched.dawdles(1)
    driver = build(fleet, footage / "images", tmp_path / "b.bank", program=watched.program)
    until(lambda: len(watched.pieces()) >= 4)
    machines.kill()
    driver.wait()
    machines.add()
    assert same(tmp_path / "b.bank", footage)
    assert len(watched.pieces()) > 12, "what ran there was run again elsewhere"


def test_a_piece_fails_twice(fleet, watched, footage, tmp_path):
    watched.fails("5/12")
    build(fleet, footage / "images", tmp_path / "b.bank", program=watched.program).wait()
    assert same(tmp_path / "b.bank", footage)
    pieces = watched.pieces()
    assert pieces.count("5/12") == 3 and len(pieces) == 14


def test_a_broken_image_is_named_and_the_rest_goes_on(fleet, watched, footage, tmp_path):
    images = tmp_path / "images"
    shutil.copytree(footage / "images", images)
    broken = sorted((images / "drive-1").iterdir())[3]
    whole = broken.read_bytes()
    broken.write_bytes(whole[: len(whole) // 2])
    said = build(fleet, images, tmp_path / "b.bank", "--attempts", "2", program=watched.program).wait(code=1)
    assert broken.name in said and "1 pieces failed" in said, said
    assert not (tmp_path / "b.bank").exists()
    assert len(set(watched.pieces())) == 12, "all others were done"
    # Mended: this piece alone.
    before = len(watched.pieces())
    broken.write_bytes(whole)
    build(fleet, images, tmp_path / "b.bank", program=watched.program).wait()
    assert same(tmp_path / "b.bank", footage)
    assert len(watched.pieces()) == before + 1
    assert not (tmp_path / "b.bank.work").exists()


def test_the_driver_dies_and_what_was_done_stays(fleet, watched, footage, tmp_path):
    watched.dawdles(1)
    work, output = tmp_path / "b.bank.work", tmp_path / "b.bank"
    driver = build(fleet, footage / "images", output, program=watched.program)
    until(lambda: len(list(work.glob("shard-*.json"))) >= 3 if work.exists() else False)
    driver.kill()
    time.sleep(2)
    done, before = len(list(work.glob("shard-*.json"))), len(watched.pieces())
    # One that was stored is damaged meanwhile: that is told, and the next try does it anew.
    damaged = sorted(work.glob("shard-*.shard"))[0]
    damaged.write_bytes(damaged.read_bytes()[:-9])
    watched.dawdles(0)
    said = build(fleet, footage / "images", output, program=watched.program).wait(code=1)
    assert f"{damaged.name} is not what" in said and "done from an earlier run" in said, said
    assert len(watched.pieces()) - before <= 12 - done
    build(fleet, footage / "images", output, program=watched.program).wait()
    assert same(output, footage)


def test_an_evaluation_is_that_of_one_machine(fleet, farout, footage, bucket, tmp_path):
    flags = ["--device", "cpu", "--model", MODEL, "--bank", footage / "one.bank", "--replicates", "50"]
    one = ["eval", "--dataset", f"folder:{footage}/set/set.toml", *flags, "--json", tmp_path / "one.json", "--scores", tmp_path / "one"]
    subprocess.run([farout, *map(str, one)], check=True, capture_output=True)
    for number, place in enumerate((bucket, footage)):
        out = tmp_path / f"four-{number}"
        words = ["eval", "--dataset", f"folder:{place}/set/set.toml", *flags, "--pieces", "5", "--json", f"{out}.json", "--scores", out]
        fleet(*words).wait()
        mine, theirs = numbers(f"{out}.json"), numbers(tmp_path / "one.json")
        assert mine["methods"] == theirs["methods"], "another result"
        maps = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*.npy"))
        assert maps, "no maps"
        for path in maps:
            assert (out / path).read_bytes() == (tmp_path / "one" / path).read_bytes(), path


def test_each_recording_gets_what_farout_replay_gives(fleet, farout, footage, bucket, tmp_path):
    flags = ["--device", "cpu", "--model", MODEL, "--bank", footage / "one.bank"]
    fleet("replay", *flags, "--sources", f"{bucket}/recordings", "--events", "e.jsonl", "--scores", "scores", "-o", tmp_path / "out").wait()
    for name in ("a", "b"):
        own, out = tmp_path / f"own-{name}", tmp_path / "out" / name / "x"
        own.mkdir()
        one = ["replay", footage / "recordings" / name / "x.mp4", *flags, "--events", own / "e.jsonl", "--scores", own / "scores"]
        subprocess.run([farout, *map(str, one)], check=True, capture_output=True)
        assert json.loads((out / "report.json").read_text())
        files = [path.relative_to(own) for path in own.rglob("*") if path.is_file()]
        assert len(files) == 31
        for path in files:
            assert (out / path).read_bytes() == (own / path).read_bytes(), path


def test_wrong_use_is_told_at_once(fleet, footage, tmp_path):
    said = fleet("bank", "build", "--images", tmp_path / "nothing", "--model", MODEL, "-o", tmp_path / "b").wait(code=1)
    assert "there is nothing at" in said
    said = fleet("bank", "build", "--images", footage / "images", "-o", tmp_path / "b", program="no-such-farout").wait(code=2)
    assert "no program no-such-farout" in said
    said = fleet("eval", "--dataset", "nothing", "--json", tmp_path / "x").wait(code=1)
    assert "KIND:PATH" in said
    assert not os.path.exists(tmp_path / "b")
