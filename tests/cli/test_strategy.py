"""`whet run --strategy` with samplers that learn: their options, what is told of them, and resuming."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path

import pytest

from tests.cli.studies import call
from tests.conftest import Whet
from whet.samplers.names import SAMPLERS, options_of
from whet.study import load

MODELS = [name for name in SAMPLERS if name not in ("grid", "random", "quasi_random")]
TRAIN = """\
import sys, time
x, kind = float(sys.argv[2]), sys.argv[4]
print("loss:", (x - 0.3) ** 2 + (kind == "a"))
"""
SWEPT = ("train.py", "--x", "uniform(0, 1)", "--kind", "[a, b]")
LOSS = ("--objective", "loss:min", "--seed", "1")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with train.py in it, which is the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)
    (tmp_path / "train.py").write_text(TRAIN)
    return tmp_path


def _configs(name: str) -> list[str]:
    return [json.dumps(trial.config) for trial in load(name, ".whet/whet.db").trials]


@pytest.mark.parametrize("strategy", MODELS)
def test_a_strategy_runs_a_script(strategy: str) -> None:
    done = call("run", *LOSS, "--trials", 12, "--strategy", strategy, *SWEPT)
    assert f"12 trials by {strategy}, seed 1" in done.err
    assert len(set(_configs("train-1"))) == 12
    source = call("show", "train-1/11", "--json").objects[0]["why"]["source"]
    assert re.search(rf"^chosen by +{source}", call("show", "train-1/11").out, re.MULTILINE)
    assert source in call("explain", "train-1").out


@pytest.mark.parametrize("strategy", MODELS)
def test_a_run_that_is_interrupted_goes_on_as_if_it_never_was(whet: Whet, here: Path, strategy: str) -> None:
    call("run", *LOSS, "--quiet", "--name", "whole", "--trials", 10, "--strategy", strategy, *SWEPT)
    # The eighth does not end by itself, so seven are known when the run is interrupted; resumed, it ends at once.
    (here / "train.py").write_text(TRAIN + "import os\nif os.environ['WHET_TRIAL'] == '7': time.sleep(600)\n")
    # With another number of threads, linear algebra may differ in the last digits.
    threads = {name: value for name, value in os.environ.items() if name.endswith("_NUM_THREADS")}
    process = whet.start("run", *LOSS, "--name", "cut", "--trials", 10, "--strategy", strategy, *SWEPT, env=threads)
    assert process.stdout is not None
    for _ in range(7):
        process.stdout.readline()
    process.send_signal(signal.SIGINT)
    process.communicate()
    (here / "train.py").write_text(TRAIN)
    call("resume", "--quiet", "cut")
    assert _configs("cut") == _configs("whole")


def test_options_are_stored_shown_and_used_again() -> None:
    done = call("run", *LOSS, "--trials", 4, "--strategy", "TPE(n_start=3, gamma=0.3)", *SWEPT)
    assert "4 trials by tpe(n_start=3, gamma=0.3), seed 1" in done.err
    assert re.search(r"^sampler +tpe\(n_start=3, gamma=0.3\)$", call("show", "train-1").out, re.MULTILINE)
    assert call("explain", "train-1").out.startswith("tpe(n_start=3, gamma=0.3)")
    call("resume", "train-1", "--trials", "+2")
    study = load("train-1", ".whet/whet.db")
    assert options_of(study.sampler) == {"n_start": 3, "gamma": 0.3}
    assert [trial.why["source"] for trial in study.trials] == ["start"] * 3 + ["tpe"] * 3


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--strategy", "tpe"), "--strategy tpe needs an objective, as in --objective val_loss:min"),
        (("--strategy", "auto"), "--strategy auto needs an objective"),
        (("--strategy", "tpe", "--minimize", "a", "--minimize", "b"), "tpe needs exactly one objective, .*got 2"),
        (("--strategy", "tpe(n_strat=3)", *LOSS), r"tpe has no option 'n_strat'; did you mean 'n_start'\? \(options: "),
        (("--strategy", "tpe(n_start=no)", *LOSS), "n_start is a whole number from 1 on, got 'no'"),
        (("--strategy", "tpe(3)", *LOSS), "expected NAME=VALUE"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_runs(here: Path, options: tuple[str, ...], said: str) -> None:
    err = call("run", "--trials", 4, *options, *SWEPT, expect=2).err
    assert re.search(said, err)
    assert not (here / ".whet").exists()


def test_a_parameter_that_can_only_be_sampled_is_refused(here: Path) -> None:
    for strategy in ("tpe", "quasi_random"):
        err = call("run", *LOSS, "--trials", 4, "--strategy", strategy, "train.py", "--x", "gamma(2)", expect=2).err
        assert f"x: {strategy} needs to map every parameter to the unit interval, and gamma(2) can only" in err
    assert not (here / ".whet").exists()


def test_a_dry_run_shows_how_it_would_begin() -> None:
    said = call("run", *LOSS, "--dry-run", "--trials", 40, "--strategy", "tpe", *SWEPT)
    lines = said.out.splitlines()
    assert len(lines) == 11
    assert lines[-1].startswith("# the first 10 of 40 trials; nothing was run; what tpe chooses depends on")
    call("run", *LOSS, "--quiet", "--trials", 4, "--strategy", "tpe", *SWEPT)
    begun = [call("show", f"train-1/{number}", "--json").objects[0]["command"] for number in range(4)]
    assert begun == lines[:4]
    assert len(call("run", *LOSS, "--dry-run", "--timeout", "1h", "--strategy", "tpe", *SWEPT).out.splitlines()) == 11
    assert len(call("run", *LOSS, "--dry-run", "--trials", "3", "--strategy", "tpe", *SWEPT).out.splitlines()) == 4


def test_a_run_says_once_what_auto_does() -> None:
    said = call("run", *LOSS, "--trials", 4, *SWEPT)
    assert "4 trials by auto, seed 1" in said.err
    told = [line for line in said.err.splitlines() if line.startswith("auto: ")]
    assert 1 <= len(told) == len(set(told))
    assert not [
        line for line in call("run", *LOSS, "--quiet", "--trials", 4, *SWEPT).err.splitlines() if "auto:" in line
    ]


# ---- explain
def test_explain_says_it_of_any_study(here: Path) -> None:
    call("run", *LOSS, "--quiet", "--trials", 4, "--first", "x=0.25,kind=b", *SWEPT)
    first, *more, configs, best = call("explain", "train-1").out.splitlines()
    assert first.startswith("auto: gp, ")
    assert more[0].startswith("Known so far: 4 configs with a value")
    assert configs.startswith("configs: 1 enqueued, 3 ")
    assert best.startswith("best: loss=0.0025 (trial 0), chosen by a person (enqueued)")
    (found,) = call("explain", "train-1", "--json").objects
    assert found["study"] == "train-1"
    assert found["sampler"] == "auto"
    assert found["sources"]["enqueued"] == 1
    assert found["best"] == {"number": 0, "values": {"loss": found["best"]["values"]["loss"]}, "why": {}}


def test_explain_of_a_study_without_an_objective_and_of_none() -> None:
    call("run", "--quiet", "train.py", "--x", "[0.1]", "--kind", "[a, b]", expect=None)
    assert call("explain", "train-1").out == "grid\nconfigs: 2 grid\n"
    assert call("explain", "train-1", "--json").objects[0]["best"] is None
    assert "no study" in call("explain", "train-2", expect=None).err
    assert "is a trial" in call("explain", "train-1/0", expect=2).err
