"""Metrics that a program keeps in files: metrics.csv, trainer_state.json and TensorBoard's event files."""

from __future__ import annotations

import csv
import io
import json
import os
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.cli.studies import call
from tests.executors.running import Running
from whet.core.protocols import Reported
from whet.executors import metric_csv, metric_files, metric_tfevents
from whet.executors.metric_files import MetricFiles
from whet.executors.metric_tfevents import decoder_paths, load_decoder, masked_crc
from whet.executors.readings import Readings
from whet.study import load

pytest.importorskip("tensorboard")


class Following:
    """The files of metrics below a directory, read whenever a test says so."""

    def __init__(self, root: Path, *, paths: list[str] | None = None, watch: tuple[str, ...] = ("loss",)) -> None:
        root.mkdir(exist_ok=True)
        self.readings = Readings(watch, None, os.fsencode(root / "metrics.jsonl"), 1_000_000)
        self.files = MetricFiles(os.fsencode(root), self.readings, decoder_paths() if paths is None else paths)

    def round(self) -> list[tuple[float, dict[str, float]]]:
        """Do one whole round; return the rows that are new."""
        n = 0
        self.files.wake_at = 0.0
        while self.files.wake_at < time.monotonic() + 0.5:  # pauses within a round are short
            self.files.tick(max(time.monotonic(), self.files.wake_at))
            n += 1
            assert n < 10_000
        return self.readings.take_rows()

    def finish(self, *, is_whole: bool = True) -> list[tuple[float, dict[str, float]]]:
        self.files.finish(is_whole=is_whole)
        return self.readings.take_rows()

    @property
    def notes(self) -> list[str]:
        return list(self.files.notes)


def rows(*pairs: tuple[float, float], name: str = "loss") -> list[tuple[float, dict[str, float]]]:
    return [(float(step), {name: value}) for step, value in pairs]


class CsvLogger:
    """Keeps a file as Lightning's logger does: it appends, and writes all anew when there is a new column."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.keys: list[str] = []

    def log(self, **metrics: float) -> None:
        new = sorted(set(metrics) - set(self.keys))
        old = list(csv.DictReader(io.StringIO(self.path.read_text()))) if self.path.exists() else []
        self.keys = sorted({*self.keys, *new})
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("w" if new else "a", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=self.keys)
            if new:
                writer.writeheader()
                writer.writerows(old)
            writer.writerow(metrics)


# ---- metrics.csv
def test_a_logger_that_adds_columns_is_read_once(tmp_path: Path) -> None:
    follow = Following(tmp_path, watch=("train_loss", "val_loss"))
    log = CsvLogger(tmp_path / "lightning_logs" / "version_0" / "metrics.csv")
    log.log(step=9, train_loss=0.5)
    assert follow.round() == rows((9, 0.5), name="train_loss")
    log.log(step=19, train_loss=0.25)
    assert follow.round() == rows((19, 0.25), name="train_loss")
    log.log(epoch=0, step=19, val_loss=0.75, acc=0.9)
    log.log(epoch=1, step=29, train_loss=0.125)
    assert follow.round() == [(0.0, {"val_loss": 0.75}), (1.0, {"train_loss": 0.125})]
    assert follow.round() == []
    assert follow.finish() == []
    assert follow.readings.last == {"train_loss": 0.125, "val_loss": 0.75, "acc": 0.9}


LOGGED = st.lists(
    st.tuples(st.dictionaries(st.sampled_from(["loss", "acc", "f1"]), st.integers(0, 2), min_size=1), st.booleans()),
    max_size=8,
)


@settings(max_examples=60, deadline=None)
@given(logged=LOGGED)
def test_every_line_counts_once_whenever_it_is_looked_at(
    logged: list[tuple[dict[str, int], bool]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("trial")
    follow = Following(root)
    log = CsvLogger(root / "metrics.csv")
    found = []
    for step, (metrics, is_looked_at) in enumerate(logged):
        log.log(step=step // 2, **metrics)
        if is_looked_at:
            found += follow.round()
    found += follow.finish()
    assert found == rows(*[(i // 2, m["loss"]) for i, (m, _) in enumerate(logged) if "loss" in m])


def test_a_file_that_is_written_whole_at_each_save(tmp_path: Path) -> None:
    follow = Following(tmp_path)
    found = []
    for n in (1, 2, 2, 5):
        (tmp_path / "metrics.csv").write_text("step,loss\n" + "".join(f"{i},{i}.5\n" for i in range(n)))
        found += follow.round()
    assert found == rows(*[(i, i + 0.5) for i in range(5)])


def test_a_line_counts_when_it_is_ended_or_the_program_has_ended_well(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    killed, ended = Following(tmp_path), Following(tmp_path)
    for text in ("step,lo", "step,loss\n1,0.", "step,loss\n1,0.5\n2,0.2"):
        path.write_text(text)
        last = killed.round(), ended.round()
    assert last == (rows((1, 0.5)), rows((1, 0.5)))
    assert killed.finish(is_whole=False) == []
    assert ended.finish() == rows((2, 0.2))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"step,loss\r\n1,0.5\r\n\r\n2,0.25\r\n", [(1, 0.5), (2, 0.25)]),
        (b'\xef\xbb\xbf"step","loss","a, b"\n"1","0.5","x, ""y"""\n', [(1, 0.5)]),
        (b"step,loss,t\xff\n1,0.5,\xfe\xff\n2,0.25,\n", [(1, 0.5), (2, 0.25)]),
        (b"epoch,step,loss\n3,70,0.5\n,80,0.25\n", [(3, 0.5), (80, 0.25)]),
        (b"loss,name\n0.5,a\n0.25,b\n", [(1, 0.5), (2, 0.25)]),
        (b"step,loss\n" + b"9" * 200_000 + b",1\n1,0.5\n", [(1, 0.5)]),
        (b"step,loss\n1,0.5,7\n2\n3,0.25\n", [(3, 0.25)]),
        (b"step,loss\n1,abc\n2,\n3,true\n", []),
        (b"step,loss\n", []),
        (b"", []),
        (b"1,2\n3,4\n", []),
        (bytes(range(256)) * 1_000, []),
        (b"\0\n" * 10_000, []),
        (b'"' * 70_000, []),
    ],
)
def test_what_may_stand_in_a_file(content: bytes, expected: list[tuple[float, float]], tmp_path: Path) -> None:
    follow = Following(tmp_path)
    (tmp_path / "metrics.csv").write_bytes(content)
    assert follow.finish() == rows(*expected)
    assert follow.notes == []


def test_values_that_are_not_finite_arrive(tmp_path: Path) -> None:
    follow = Following(tmp_path)
    (tmp_path / "metrics.csv").write_text("step,loss\n1,nan\n2,-inf\n3,1e999\n")
    assert repr(follow.finish()) == "[(1.0, {'loss': nan}), (2.0, {'loss': -inf}), (3.0, {'loss': inf})]"


def test_a_long_file_is_read_in_slices_and_its_end_in_any_case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    follow, hurried = Following(tmp_path), Following(tmp_path)
    with (tmp_path / "metrics.csv").open("w") as out:
        out.write("step,loss\n")
        out.writelines(f"{i},{i}\n" for i in range(40_000))
    n_ticks = 0
    while follow.readings.last.get("loss") != 39_999:
        follow.files.tick(follow.files.wake_at)
        n_ticks += 1
    assert n_ticks > 2
    monkeypatch.setattr(metric_files, "_FINISH_S", 0.01)
    monkeypatch.setattr(metric_files, "_HURRY_S", 60.0)
    assert hurried.finish()[-1] == (39_999.0, {"loss": 39_999.0})
    assert len(hurried.readings.last) == 1
    assert hurried.notes == ["the files of metrics held more than could be read at the trial's end: some was left out"]


def test_lines_beyond_those_remembered_are_known_by_their_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metric_csv, "_MOST_KNOWN", 3)
    follow = Following(tmp_path)
    log = CsvLogger(tmp_path / "metrics.csv")
    for step in range(6):
        log.log(step=step, loss=0.5)
    assert len(follow.round()) == 6
    log.log(step=6, loss=0.5, extra=1)
    assert follow.round() == rows((6, 0.5))


# ---- what an earlier attempt has left
def test_what_an_earlier_attempt_has_written_does_not_count(tmp_path: Path) -> None:
    root, first = tmp_path / "trial", tmp_path / "trial" / "metrics.csv"
    root.mkdir()
    first.write_text("step,loss\n1,0.5\n2,0.4")
    state = root / "checkpoint-1" / "trainer_state.json"
    state.parent.mkdir()
    state.write_text(json.dumps({"log_history": [{"step": 1, "f1": 0.1}]}))
    write_events(root / "events.out.tfevents.1.a", event(1, acc=0.5))
    follow = Following(root, watch=("loss", "f1", "acc"))
    assert follow.round() == []
    assert follow.finish() == []
    assert follow.readings.last == {}


def test_what_is_appended_to_an_earlier_attempt_counts(tmp_path: Path) -> None:
    root, path = tmp_path, tmp_path / "metrics.csv"
    log = CsvLogger(path)
    log.log(step=1, loss=0.5)
    log.log(step=2, loss=0.4)
    write_events(root / "events.out.tfevents.1.a", event(1, acc=0.5))
    follow = Following(root, watch=("loss", "acc"))
    log.log(step=3, loss=0.3)
    write_events(root / "events.out.tfevents.1.a", event(2, acc=0.625))
    assert follow.round() == [(3.0, {"loss": 0.3}), (2.0, {"acc": 0.625})]
    log.log(step=4, loss=0.2, extra=1)
    assert follow.finish() == rows((4, 0.2))


@pytest.mark.parametrize("n", [1, 2, 3])
def test_a_file_begun_anew_counts_even_if_it_says_the_same(n: int, tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    lines = ["1,0.5\n", "2,0.4\n", "3,0.3\n"]
    path.write_text("step,loss\n" + "".join(lines))
    os.utime(path, (1e9, 1e9))
    follow = Following(tmp_path)
    path.write_text("step,loss\n" + "".join(lines[:n]))
    assert follow.round() == rows((1, 0.5), (2, 0.4), (3, 0.3))[:n]


# ---- trainer_state.json
def save(output: Path, name: str, n: int, cut: int | None = None) -> None:
    """Save the state after *n* steps as Hugging Face's trainer does, or the first part of that."""
    log = [{"epoch": i / 2, "step": 10 * i, "loss": 1 / i, "learning_rate": 5} for i in range(1, n + 1)]
    log.append({"epoch": n / 2, "step": 10 * n, "eval_loss": n / 4, "eval_runtime": True})
    state = {"best_metric": None, "epoch": n / 2, "global_step": 10 * n, "log_history": log, "max_steps": 99}
    text = json.dumps(state, indent=2, sort_keys=True) + "\n"
    (output / name).mkdir(parents=True, exist_ok=True)
    (output / name / "trainer_state.json").write_text(text[:cut])


def test_each_entry_counts_once_over_all_copies(tmp_path: Path) -> None:
    follow = Following(tmp_path, watch=("loss", "eval_loss"))
    out = tmp_path / "out"
    save(out, "checkpoint-20", 2)
    assert follow.round() == [(0.5, {"loss": 1.0}), (1.0, {"loss": 0.5}), (1.0, {"eval_loss": 0.5})]
    save(out, "checkpoint-40", 4)
    save(out, "checkpoint-30", 3)
    found = follow.round()
    assert sorted(found, key=repr) == sorted(
        [
            (1.5, {"loss": 1 / 3}),
            (2.0, {"loss": 0.25}),
            (1.5, {"eval_loss": 0.75}),
            (2.0, {"eval_loss": 1.0}),
        ],
        key=repr,
    )
    save(out, ".", 4)
    assert follow.finish() == []
    assert follow.readings.last["learning_rate"] == 5.0


def test_half_a_file_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    follow = Following(tmp_path, watch=("loss", "eval_loss"))
    found = []
    for cut in (0, 50, 100, 200, 300, 330, None):
        save(tmp_path, "checkpoint-20", 2, cut)
        found += follow.round()
    assert found == [(0.5, {"loss": 1.0}), (1.0, {"loss": 0.5}), (1.0, {"eval_loss": 0.5})]


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "null",
        '{"log_history": 3}',
        '{"log_history": [3, {"loss": 1}]}',
        '{"log_history": [{"loss": "0.5"}, {"loss": true}, {"loss": null}, {"x": {"loss": 1}}, {}]}',
        r'{"note": "\"log_history\": [{\"loss\": 1}]"}',
        '{"log_history": [' + '{"a":' * 100_000,
        '{"log_history": [{"loss": ' + "[" * 100_000,
        "\0" * 100_000,
        '{"log_history": [' + ", " * 100_000,
    ],
)
def test_states_that_hold_nothing(text: str, tmp_path: Path) -> None:
    follow = Following(tmp_path)
    (tmp_path / "trainer_state.json").write_text(text)
    assert follow.finish() == []
    assert follow.notes == []


def test_odd_numbers_in_a_state(tmp_path: Path) -> None:
    follow = Following(tmp_path)
    huge = "9" * 5_000
    log = f'[{{"step": 1, "loss": NaN}}, {{"step": 2, "loss": {huge}}}, {{"step": 3, "loss": -Infinity}}]'
    (tmp_path / "trainer_state.json").write_text(f'{{"log_history": {log}}}')
    assert repr(follow.finish()) == "[(1.0, {'loss': nan}), (2.0, {'loss': inf}), (3.0, {'loss': -inf})]"


# ---- TensorBoard's event files
def event(step: int, **scalars: float) -> bytes:
    load_decoder([])
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary

    values = [Summary.Value(tag=tag, simple_value=value) for tag, value in scalars.items()]
    return bytes(Event(step=step, summary=Summary(value=values)).SerializeToString())


def record(data: bytes) -> bytes:
    head = struct.pack("<Q", len(data))
    return head + struct.pack("<I", masked_crc(head)) + data + struct.pack("<I", masked_crc(data))


def write_events(path: Path, *events: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as out:
        out.writelines(map(record, events))


def test_the_checksum_is_that_of_the_format() -> None:
    # CRC-32C of "123456789" is 0xE3069283 (RFC 3720, B.4 and the usual check value); then rotated and shifted.
    crc = 0xE3069283
    assert masked_crc(b"123456789") == ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def test_an_event_file_is_read_as_it_grows_and_a_torn_record_waited_for(tmp_path: Path) -> None:
    follow = Following(tmp_path)
    data = b"".join(record(event(step, loss=step / 2)) for step in range(5))
    found = []
    for end in range(0, len(data) + 7, 7):
        (tmp_path / "events.out.tfevents.1.host").write_bytes(data[:end])
        found += follow.round()
    assert found == rows(*[(step, step / 2) for step in range(5)])
    assert follow.notes == []


def test_a_damaged_file_ends_there_with_one_note(tmp_path: Path) -> None:
    follow = Following(tmp_path)
    path = tmp_path / "runs" / "events.out.tfevents.1.host"
    good = record(event(1, loss=0.5))
    write_events(path, event(1, loss=0.5), event(2, loss=0.25))
    data = bytearray(path.read_bytes())
    data[len(good) + 14] ^= 1
    path.write_bytes(data)
    assert follow.round() == rows((1, 0.5))
    write_events(path, event(3, loss=0.125))
    assert follow.finish() == []
    name = "'runs/events.out.tfevents.1.host'"
    assert follow.notes == [
        f"{name} is damaged and was not read to its end: the record at byte {len(good)} has been changed"
    ]


@pytest.mark.parametrize("content", [b"\0" * 1_000, b"hello, this is no event file", b"\xff" * 100])
def test_other_files_under_such_a_name(content: bytes, tmp_path: Path) -> None:
    follow = Following(tmp_path)
    (tmp_path / "events.out.tfevents.1.host").write_bytes(content)
    assert follow.finish() == []
    assert len(follow.notes) == 1
    assert "no record begins at byte 0" in follow.notes[0]


def test_what_is_no_event_in_a_record_and_what_is_too_large(tmp_path: Path) -> None:
    follow = Following(tmp_path)
    write_events(tmp_path / "events.out.tfevents.1.host", event(1, loss=0.5), b"\xff\xff\xff")
    large = record(b"") + struct.pack("<Q", 5 << 20)
    large += struct.pack("<I", masked_crc(struct.pack("<Q", 5 << 20))) + b"\0" * ((5 << 20) + 4)
    (tmp_path / "events.out.tfevents.2.host").write_bytes(large + record(event(2, loss=0.25)))
    assert follow.finish() == rows((1, 0.5), (2, 0.25))
    assert ["is no event" in note for note in follow.notes] == [True]


def test_the_end_of_a_long_event_file_is_read_in_any_case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metric_files, "_FINISH_S", 0.0)
    monkeypatch.setattr(metric_files, "_HURRY_S", 60.0)
    monkeypatch.setattr(metric_tfevents, "_HURRIED_BYTES", 200)
    follow = Following(tmp_path)
    write_events(tmp_path / "events.out.tfevents.1.host", event(0, loss=1.0))
    follow.round()
    write_events(tmp_path / "events.out.tfevents.1.host", *[event(i, loss=i) for i in range(1, 2_000)])
    found = follow.finish()
    assert found[-1] == (1999.0, {"loss": 1999.0})
    assert len(found) < 20


def test_names_from_several_directories(tmp_path: Path) -> None:
    follow = Following(tmp_path, watch=())
    for i, (directory, tag) in enumerate(
        [
            ("logs/train", "epoch_loss"),
            ("logs/validation", "epoch_loss"),
            ("runs/now", "acc"),
            ("runs/now/cmp_x_val", "cmp/x"),
            ("a/fold_0", "f1"),
            ("a/fold_1", "f1"),
            ("b/fold_1", "f1"),
        ]
    ):
        write_events(tmp_path / directory / f"events.out.tfevents.{i}.host", event(1, **{tag: i, "epoch": 9.0}))
    follow.finish()
    assert follow.readings.last == {
        "train/epoch_loss": 0.0,
        "validation/epoch_loss": 1.0,
        "acc": 2.0,
        "cmp_x_val/cmp/x": 3.0,
        "f1": 4.0,
        "fold_1/f1": 5.0,
        "b/fold_1/f1": 6.0,
    }


def test_without_the_decoder_there_is_one_note(tmp_path: Path) -> None:
    # As in the process beside the trials, which has no packages of its own.
    write_events(tmp_path / "two" / "events.out.tfevents.1.host", event(1, loss=0.5))
    code = (
        "import os, sys; sys.path.append(sys.argv[1])\n"
        "from whet.executors.metric_files import MetricFiles\n"
        "from whet.executors.readings import Readings\n"
        "files = MetricFiles(os.fsencode(sys.argv[2]), Readings((), None, b'', 100), [])\n"
        "for _ in range(2): files.finish(is_whole=True)\n"
        "print(list(files.notes))"
    )
    source = str(Path(metric_files.__file__).parents[2])
    argv = [sys.executable, "-I", "-S", "-c", code, source, str(tmp_path)]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    expected = "TensorBoard event files were found but could not be read: pip install 'whet[tensorboard]'"
    assert done.stdout.strip() == str([expected])


# ---- directories
def test_a_directory_of_very_many_files_is_gone_through_bit_by_bit(tmp_path: Path) -> None:
    follow = Following(tmp_path)
    for i in range(5_000):
        (tmp_path / f"sample{i}").touch()
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "metrics.csv").write_text("step,loss\n1,0.5\n")
    found = [follow.round() for _ in range(3)]
    assert found[0] == []
    assert [row for new in found for row in new] == rows((1, 0.5))


def test_links_pipes_and_what_lies_deep_are_left_alone(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "metrics.csv").write_text("step,loss\n1,0.5\n")
    root = tmp_path / "trial"
    follow = Following(root)
    (root / "link").symlink_to(outside)
    (root / "loop").symlink_to(root)
    (root / "metrics.csv").symlink_to(outside / "metrics.csv")
    deep = root.joinpath(*"abcdef")
    deep.mkdir(parents=True)
    (deep / "metrics.csv").write_text("step,loss\n1,0.5\n")
    os.mkfifo(root / "trainer_state.json")
    (root / "a" / "metrics.csv").mkdir()
    assert follow.finish() == []
    assert follow.notes == []
    (deep.parent / "metrics.csv").write_text("step,loss\n2,0.25\n")
    assert follow.finish() == rows((2, 0.25))


def test_files_that_vanish(tmp_path: Path) -> None:
    follow = Following(tmp_path)
    path = tmp_path / "metrics.csv"
    path.write_text("step,loss\n1,0.5\n")
    assert follow.round() == rows((1, 0.5))
    path.unlink()
    assert follow.round() == []
    path.write_text("step,loss\n1,0.5\n2,0.25\n")
    assert follow.round() == rows((2, 0.25))


# ---- one metric from several places
def test_of_a_metric_in_several_places_the_first_counts(tmp_path: Path) -> None:
    follow = Following(tmp_path, watch=("val_loss", "acc"))
    follow.readings.feed(b"epoch 0: Val loss=0.5")
    (tmp_path / "metrics.csv").write_text("epoch,val_loss,acc\n0,0.5,0.25\n")
    write_events(tmp_path / "events.out.tfevents.1.host", event(10, **{"val/loss": 0.5, "acc": 0.25}))
    assert follow.round() == [(0.0, {"val_loss": 0.5}), (0.0, {"acc": 0.25})]
    follow.readings.feed(b"epoch 1: Val loss=0.25 acc=0.75")
    assert follow.readings.take_rows() == [(1.0, {"val_loss": 0.25})]
    assert follow.readings.last == {"Val loss": 0.25, "acc": 0.25}


# ---- whole trials
WRITERS: dict[str, str] = {
    "csv": """\
import os, sys, time
path = os.path.join(os.environ["WHET_TRIAL_DIR"], "logs", "metrics.csv")
os.makedirs(os.path.dirname(path))
def write(epoch):
    with open(path, "a") as file:
        file.write(("epoch,val_loss\\n" if not epoch else "") + f"{epoch},{float(sys.argv[2]) / (epoch + 1)}\\n")
""",
    "trainer": """\
import json, os, sys, time
log = []
def write(epoch):
    log.append({"epoch": epoch, "step": 10 * epoch, "val_loss": float(sys.argv[2]) / (epoch + 1)})
    directory = os.path.join(os.environ["WHET_TRIAL_DIR"], "out", f"checkpoint-{10 * epoch}")
    os.makedirs(directory)
    with open(os.path.join(directory, "trainer_state.json"), "w") as file:
        json.dump({"log_history": log}, file, indent=2)
""",
    "tensor": """\
import os, sys, time
import numpy as np
from tensorboard.summary import Writer
writer = Writer(os.path.join(os.environ["WHET_TRIAL_DIR"], "tb"))
def write(epoch):
    writer.add_scalar("val/loss", np.float64(sys.argv[2]) / (epoch + 1), epoch)
    writer.flush()
""",
    "torch": """\
import os, sys, time
from torch.utils.tensorboard import SummaryWriter
writer = SummaryWriter(os.path.join(os.environ["WHET_TRIAL_DIR"], "tb"))
def write(epoch):
    writer.add_scalar("val/loss", float(sys.argv[2]) / (epoch + 1), epoch)
    writer.add_histogram("weights", __import__("numpy").arange(50), epoch)
    writer.add_scalar("new style", 0.25, epoch, new_style=True, double_precision=True)
    writer.flush()
""",
}
LOOP = "for epoch in range(3):\n    write(epoch)\n"


@pytest.mark.parametrize("kind", ["csv", "trainer", "tensor", pytest.param("torch", marks=pytest.mark.slow)])
def test_a_sweep_over_a_script_that_prints_nothing(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if kind == "torch":
        pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text(WRITERS[kind] + LOOP)
    said = call("run", "--objective", "val_loss:min", "--name", "s", "--json", "train.py", "--lr", "[2, 1]")
    assert said.objects[-1]["best"]["config"] == {"lr": 1}
    assert said.objects[-1]["best"]["values"]["val_loss"] == pytest.approx(1 / 3)
    for trial in load("s").trials:
        assert [row[0] for row in trial.curve] == [0.0, 1.0, 2.0]
    text = (tmp_path / ".whet" / "s" / "0" / "metrics.jsonl").read_text()
    assert text.count("val/loss" if kind in {"tensor", "torch"} else "val_loss") == 3
    if kind == "torch":
        assert load("s").trials[0].values["new style"] == 0.25


@pytest.mark.parametrize("kind", ["csv", "trainer", "tensor"])
def test_reports_arrive_while_it_runs_and_survive_a_kill(kind: str, tmp_path: Path) -> None:
    code = WRITERS[kind] + "for epoch in range(3):\n    write(epoch)\ntime.sleep(600)\n"
    with Running(tmp_path, watch=("val_loss",)) as running:
        env = {"WHET_TRIAL_DIR": str(running.trial_dir())}
        launch = running.start_python(code, "--lr", "3", env=env)
        seen: list[Any] = []
        while len(seen) < 3:
            seen += [row for h in running.executor.poll(60.0) if isinstance(h, Reported) for row in h.rows]
        assert seen == [(float(i), {"val_loss": 3.0 / (i + 1)}) for i in range(3)]
        running.executor.stop(launch.token, "kill")
        *_, end = running.poll_until_end()
        assert end.cause == "signal"
        assert list(end.metrics.values()) == [1.0]


@pytest.mark.slow
def test_a_limit_is_enforced_while_a_long_file_is_read(tmp_path: Path) -> None:
    code = (
        "import os, time\n"
        "with open(os.path.join(os.environ['WHET_TRIAL_DIR'], 'metrics.csv'), 'w') as out:\n"
        "    out.write('step,loss\\n'); out.writelines(f'{i},{i}\\n' for i in range(300_000))\n"
        "time.sleep(600)\n"
    )
    with Running(tmp_path, watch=("loss",)) as running:
        end = running.run_python(code, env={"WHET_TRIAL_DIR": str(running.trial_dir())}, timeout_s=3.0)
        assert end.cause == "timeout"
        assert end.metrics == {"loss": 299_999.0}


def test_files_that_could_not_be_read_are_named_where_the_objective_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text("open('events.out.tfevents.1.host', 'w').write('hello, hello')\n")
    call("run", "--chdir", "--objective", "loss:min", "--name", "s", "train.py", "--lr", "[1]", expect=None)
    message = load("s").trials[0].message
    assert "the objective 'loss' never appeared" in message
    assert "'events.out.tfevents.1.host' is damaged" in message


def test_a_file_that_is_written_to_while_it_is_read(tmp_path: Path) -> None:
    follow = Following(tmp_path)
    log = CsvLogger(tmp_path / "metrics.csv")
    names = [f"m{i}" for i in range(20)]

    def write() -> None:
        for step in range(400):
            log.log(step=step, loss=step, **({names[step // 20]: 1} if step % 20 == 0 else {}))

    thread = threading.Thread(target=write)
    thread.start()
    found = []
    while thread.is_alive():
        found += follow.round()
    thread.join()
    found += follow.finish()
    assert sorted(found, key=lambda row: row[0]) == rows(*[(step, step) for step in range(400)])
