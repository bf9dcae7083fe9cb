"""Durations, sizes, retries and counts as they are typed, and how whet's options are told from the program's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest

from whet.cli.options import TrialCount, duration, retries, size, trial_count
from whet.cli.runoptions import SECTIONS, Request, RunCommand, check_built
from whet.errors import UsageError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("1.5h", 5400),
        ("10m", 600),
        ("10 min", 600),
        ("2h", 7200),
        ("1d", 86400),
        ("250ms", 0.25),
        ("3s", 3),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "0", "-5", "1w", "h", "1h30m", "nan", "inf", "1e400", "٣", "1_0", "9" * 400])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(click.BadParameter, match=r"duration"):
        duration(text)


@pytest.mark.parametrize(
    ("text", "n_bytes"),
    [("1", 1), ("500M", 500_000_000), ("4G", 4 * 10**9), ("4GiB", 4 * 2**30), ("1.5k", 1500), ("2 TB", 2 * 10**12)],
)
def test_sizes(text: str, n_bytes: int) -> None:
    assert size(text) == n_bytes


@pytest.mark.parametrize("text", ["", "0", "-1M", "4X", "G", "nan", "1e9", "0.1"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(click.BadParameter, match=r"size"):
        size(text)


def test_retries() -> None:
    every = retries("2")
    assert set(every.values()) == {2}
    assert {"timeout", "exit_code", "no_metric"} <= set(every)
    assert retries("timeout=1, memory=0") == {"timeout": 1, "memory": 0}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "whole number from 0"),
        ("-1", "whole number from 0"),
        ("oom=1", "known: error"),
        ("timeout", "CAUSE=NUMBER"),
    ],
)
def test_what_is_no_retries(text: str, said: str) -> None:
    with pytest.raises(click.BadParameter) as caught:
        retries(text)
    assert said in caught.value.message


def test_counts_of_trials() -> None:
    assert trial_count("50") == TrialCount(50)
    assert trial_count("+50") == TrialCount(50, is_more=True)
    for text in ("0", "-3", "x", "1.5", "++1", ""):
        with pytest.raises(click.BadParameter):
            trial_count(text)


# ---- where whet's options end and the program begins
def _parsed(*args: str) -> dict[str, Any]:
    seen: dict[str, Any] = {}
    command = RunCommand(name="run", callback=lambda **options: seen.update(options))
    command.main(args=list(args), standalone_mode=False)
    return seen


@pytest.mark.parametrize(
    ("args", "tokens"),
    [
        (["train.py", "--trials", "3"], ["train.py", "--trials", "3"]),
        (["--trials", "5", "train.py", "--lr", "[1]"], ["train.py", "--lr", "[1]"]),
        (["--trials=5", "--", "./train.sh", "--x"], ["./train.sh", "--x"]),
        (["-m", "pkg.train", "lr=[1]"], ["-m", "pkg.train", "lr=[1]"]),
        (["--chdir", "-m", "pkg", "--", "-x"], ["-m", "pkg", "--", "-x"]),
        (["--when", "a: b == 'c'", "x.py", "--help"], ["x.py", "--help"]),
        ([], []),
    ],
)
def test_everything_behind_the_program_is_the_programs(args: list[str], tokens: list[str]) -> None:
    assert list(_parsed(*args)["tokens"]) == tokens


@pytest.mark.parametrize(
    ("args", "line"),
    [
        (["--lr", "[1,2]", "train.py"], "whet run train.py --lr '[1,2]'"),
        (["--lr=[1,2]", "train.py", "--b", "1"], "whet run train.py '--lr=[1,2]' --b 1"),
        (["--verbose", "train.py"], "whet run train.py --verbose"),
        (["--trials", "3", "--lr", "1", "--workers", "2", "--wd", "2", "train.py"], None),
        (["--lr", "1", "-m", "pkg.train", "x=1"], "whet run -m pkg.train --lr 1 x=1"),
        (["--dropout", "train.py", "-v"], "whet run train.py --dropout -v"),
    ],
)
def test_an_option_that_only_the_program_can_mean_prints_the_corrected_line(
    args: list[str], line: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text("")
    with pytest.raises(UsageError) as caught:
        _parsed(*args)
    expected = line or "whet run --trials 3 --workers 2 train.py --lr 1 --wd 2"
    assert str(caught.value).splitlines()[-1].endswith(f": {expected}")


def test_a_misspelled_option_is_met_with_the_likely_one() -> None:
    with pytest.raises(UsageError, match=r"--trails is no option of whet run; did you mean --trials\?"):
        _parsed("--trails", "3", "missing.py")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (
            ["--scheduler", "asha", "--scheduler=patience(n=5)"],
            '--scheduler is given twice, as "asha" and as "patience(n=5)"; several that work together are one value, '
            'as in --scheduler "asha + patience(n=5)"',
        ),
        (
            ["--fidelity=epochs=1:81", "--seed", "1", "--fidelity", "step=1:9"],
            '--fidelity is given twice, as "epochs=1:81" and as "step=1:9", and takes one value; leave one of them out',
        ),
        (["--strategy", "tpe", "--sampler", "gp"], '--sampler is given twice, as "tpe" and as "gp"'),
        (["--retries", "timeout=1", "--retries", "memory=0"], "--retries is given twice"),
    ],
)
def test_an_option_of_which_both_values_may_be_meant_is_refused(args: list[str], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        _parsed(*args, "train.py", "--lr", "[1]")
    assert str(caught.value).startswith(said)


def test_what_is_repeatable_or_said_twice_alike_is_taken_and_of_the_rest_the_last() -> None:
    args = ["--workers", "4", "--workers=2", "--fidelity", "step=1:9", "--fidelity=step=1:9", "--json", "--json"]
    args += ["--objective", "a", "--objective", "b"]
    seen = _parsed(*args, "train.py", "--scheduler", "asha", "--scheduler", "median")
    assert (seen["workers"], seen["objectives"], seen["is_json"]) == (2, ("a", "b"), True)
    assert seen["scheduler"] is None


def test_an_option_without_its_value_is_refused() -> None:
    for args in (["--trials"], ["--trials", "3", "--trials"], ["--config"]):
        with pytest.raises(click.UsageError, match="requires an argument"):
            _parsed(*args)


# ---- what this version does not have
_LATER: dict[str, Any] = {
    "executor": None,
    "preload": None,
}


@pytest.mark.parametrize(
    "given",
    [
        {"executor": "ray"},
        {"executor": "inline"},
        {"preload": "torch"},
    ],
)
def test_what_is_not_built_is_said_so(given: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="is not available in this version of whet"):
        check_built({**_LATER, **given})


@pytest.mark.parametrize("given", [{"executor": "processes"}, {}])
def test_what_asks_for_nothing_new_is_accepted(given: dict[str, Any]) -> None:
    assert check_built({"seed": 3, **_LATER, **given}) == {"seed": 3}


def test_every_option_has_a_place_in_the_request() -> None:
    names = {option.name for section in SECTIONS.values() for option in section}
    assert names == set(Request.__dataclass_fields__)
