"""How far trials go: what `--fidelity` and `--scheduler` say, what is refused, what would be run."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.cli.studies import call
from whet.cli.budgets import counts_steps, read_fidelity
from whet.cli.plan import known_search
from whet.cli.program import Program
from whet.cli.reach import Reach, Row
from whet.cli.spending import levels_of, spent_in, spent_text
from whet.cli.sweep import Sweep, read_sweep
from whet.core.events import Event, Kind
from whet.core.problem import Direction, Fidelity, Objective, Problem
from whet.core.trial import Curve, State, Trial, evolved
from whet.core.values import Take
from whet.errors import UsageError
from whet.schedulers.names import scheduler_named
from whet.space.space import Space

THREE_WAYS = r"budget\(1, 81\).*--fidelity epochs=1:81.*--fidelity step=1:81"


def read(fidelity: str | None, *arguments: str, **options: Any) -> Sweep:
    asked = None if fidelity is None else read_fidelity(fidelity)
    return read_sweep(Program("script", "dir/train.py"), arguments, asked=asked, **options)


def rendered(fidelity: str, *arguments: str, budget: float | None = 3) -> list[str]:
    return read(fidelity, *arguments).render({}, budget=budget)


# ---- --fidelity: what is replaced, what is added
@pytest.mark.parametrize(
    ("fidelity", "arguments", "argv"),
    [
        ("epochs=1:81", ["--lr", "1", "--epochs", "50", "-v"], ["--lr", "1", "--epochs", "3", "-v"]),
        ("epochs=1:81", ["--epochs=50", "x"], ["--epochs=3", "x"]),
        ("epochs=1:81", ["epochs=50", "lr=1"], ["epochs=3", "lr=1"]),
        ("max-epochs=1:81", ["--max_epochs", "50"], ["--max_epochs", "3"]),
        ("max_epochs=1:81", ["--max-epochs", "50"], ["--max-epochs", "3"]),
        ("trainer.max_epochs=1:81", ["+trainer.max_epochs=9"], ["+trainer.max_epochs=3"]),
        ("e=1:81", ["-e", "5"], ["-e", "3"]),
        ("arg2=1:81", ["data", "50"], ["data", "3"]),
        # added
        ("epochs=1:81", ["--lr", "1"], ["--lr", "1", "--epochs", "3"]),
        ("epochs=1:81", [], ["--epochs", "3"]),
        ("-e=1:81", ["--lr", "1"], ["--lr", "1", "-e", "3"]),
        ("epochs=1:81", ["lr=1", "+wd=2"], ["lr=1", "+wd=2", "epochs=3"]),
        ("+trainer.epochs=1:81", ["lr=1"], ["lr=1", "+trainer.epochs=3"]),
        ("epochs=1:81", ["lr=1", "--multi", "x"], ["lr=1", "--multi", "x", "--epochs", "3"]),
        ("epochs=1:81", ["--lr", "1", "--", "file"], ["--lr", "1", "--epochs", "3", "--", "file"]),
        # nothing is passed
        ("step=1:81", ["--step", "5"], ["--step", "5"]),
        ("seconds=10:300", ["--seconds", "5"], ["--seconds", "5"]),
    ],
)
def test_the_argument_that_says_how_far(fidelity: str, arguments: list[str], argv: list[str]) -> None:
    assert rendered(fidelity, *arguments) == argv


def test_what_is_added_is_said() -> None:
    assert read("epochs=1:81", "--lr", "1").notices == (
        "--epochs is added to the arguments of train.py: how far the trial may go",
    )
    assert read("epochs=1:81", "--epochs", "1").notices == ()


def test_a_trial_that_is_told_nothing_goes_all_the_way_and_whole_numbers_stay_whole() -> None:
    assert rendered("epochs=1:81", budget=None) == ["--epochs", "81"]
    assert rendered("epochs=1:81", budget=27.0) == ["--epochs", "27"]
    assert rendered("subset=0.1:1", budget=0.25) == ["--subset", "0.25"]
    assert rendered("subset=0.1:1", budget=1 / 3) == ["--subset", repr(1 / 3)]


@pytest.mark.parametrize(
    ("fidelity", "axis"),
    [
        ("epochs=1:81", Fidelity("epochs", 1, 81)),
        (" epochs=1:81 ", Fidelity("epochs", 1, 81)),
        ("step=1:81", Fidelity("step", 1, 81)),
        ("seconds=10:300", Fidelity("seconds", 10, 300)),
        ("subset=0.1:1", Fidelity("subset", 0.1, 1)),
        ("--n-iter=1e2:1e3", Fidelity("n-iter", 100.0, 1000.0)),
        ("seconds=0.5:1e1", Fidelity("seconds", 0.5, 10.0)),
    ],
)
def test_the_axis(fidelity: str, axis: Fidelity) -> None:
    found = read(fidelity).axis
    assert found == axis
    assert found is not None and found.is_integer == axis.is_integer


@given(st.integers(1, 10**12), st.integers(1, 10**12), st.integers(1, 10**12))
def test_any_whole_budget_arrives_as_it_is(low: int, more: int, budget: int) -> None:
    assert rendered(f"epochs={low}:{low + more}", budget=budget) == ["--epochs", str(budget)]


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        asked = read_fidelity(text)
    except UsageError as error:
        assert "--fidelity" in str(error) and str(error).isprintable()
    else:
        assert 0 < asked.budget.low < asked.budget.high


@pytest.mark.parametrize(
    ("fidelity", "problem"),
    [
        ("epochs", "expected NAME=LOW:HIGH, as in --fidelity epochs=1:81"),
        ("", "expected NAME=LOW:HIGH"),
        ("epochs=81", "expected NAME=LOW:HIGH"),
        ("epochs=1:2:3", "expected NAME=LOW:HIGH"),
        ("=1:81", "expected NAME=LOW:HIGH"),
        ("1:81", "expected NAME=LOW:HIGH"),
        ("epochs=one:81", '"one" is no number'),
        ("epochs=1:inf", '"inf" is no number'),
        ("epochs=nan:3", '"nan" is no number'),
        ("epochs=1_0:30", '"1_0" is no number'),
        ("epochs=0:81", "expected 0 < LOW < HIGH"),
        ("epochs=-1:81", "expected 0 < LOW < HIGH"),
        ("epochs=81:1", "got 81 and 1"),
        ("epochs=81:81", "expected 0 < LOW < HIGH"),
    ],
)
def test_a_fidelity_that_makes_no_sense(fidelity: str, problem: str) -> None:
    with pytest.raises(UsageError, match=f"--fidelity .*{re.escape(problem)}"):
        read_fidelity(fidelity)


@pytest.mark.parametrize(
    ("fidelity", "arguments", "problem"),
    [
        ("epochs=1:81", ["--epochs", "budget(1, 81)"], "--epochs: budget.* and --fidelity epochs=1:81 both say"),
        ("step=1:81", ["--epochs", "budget(1, 81)"], "--epochs: budget.* and --fidelity step=1:81 both say"),
        ("epochs=1:81", ["--epochs", "[1, 2]"], "--epochs varies .*give it one value"),
        ("epochs=1:81", ["--epochs", "uniform(1, 2)"], "--epochs varies"),
        ("epochs=1:81", ["--epochs", "1", "--epochs", "2"], "--epochs is given twice"),
        ("epochs=1:81", ["--lr", "1", "--epochs"], "--epochs has no value whose place"),
        ("arg3=1:81", ["data", "50"], "no argument arg3"),
    ],
)
def test_an_argument_that_cannot_say_how_far(fidelity: str, arguments: list[str], problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        read(fidelity, *arguments)


def test_a_budget_beside_literal_values() -> None:
    sweep = read("epochs=1:9", "--epochs", "[1, 2]", "--lr", "[1, 2]", verbatim=True)
    assert sweep.render({}) == ["--epochs", "9", "--lr", "[1, 2]"]
    assert read(None, "--epochs", "budget(1, 9)", verbatim=True).axis is None


@pytest.mark.parametrize(
    ("axis", "is_passed", "expected"),
    [
        (Fidelity("epochs", 1, 81), True, True),
        (Fidelity("subset", 0.1, 1), True, False),
        (Fidelity("num_train_epochs", 0.5, 3.0), True, True),
        (Fidelity("step", 0.5, 3.0), False, True),
        (Fidelity("seconds", 0.5, 3.0), True, True),
    ],
)
def test_whether_steps_say_how_far_an_attempt_is(axis: Fidelity, is_passed: bool, expected: bool) -> None:
    assert counts_steps(axis, is_passed=is_passed) is expected


# ---- --scheduler and --strategy
def test_bohb_is_tpe_under_hyperband() -> None:
    strategy, scheduler = known_search("BOHB", None)
    assert (strategy, type(scheduler).__name__) == ("tpe", "Hyperband")
    _, scheduler = known_search("bohb", "hyperband(eta=4)")
    assert getattr(scheduler, "eta", None) == 4
    for strategy, other, problem in (
        ("bohb(eta=4)", None, "to give one of them options"),
        ("bohb", "asha", "is another one; leave out --scheduler"),
    ):
        with pytest.raises(UsageError, match=problem):
            known_search(strategy, other)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("ahsa", "--scheduler: unknown scheduler 'ahsa'; did you mean 'asha'"),
        ("pbt", "--scheduler pbt is not available in this version of whet; available: none, "),
        ("asha + pb2", "--scheduler pb2 is not available"),
        ("asha(eta=1)", "--scheduler: eta must be a number of at least 2"),
        ("asha(eat=3)", "no option 'eat'; did you mean 'eta'"),
        ("asha(eta=3", "closing bracket"),
        ("", "--scheduler: the name of a scheduler is missing"),
        ("asha+", "--scheduler: 'asha+': the name of a scheduler is missing behind the last plus"),
        ("bohb", "--scheduler: bohb is no scheduler by itself"),
        ("threshold", "--scheduler: threshold: there is no bound; give lower, upper or both"),
    ],
)
def test_a_scheduler_that_makes_no_sense(name: str, problem: str) -> None:
    with pytest.raises(UsageError, match=re.escape(problem)):
        known_search(None, name)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text("raise SystemExit('nothing is to be started')\n")
    return tmp_path


OBJECTIVE = ("--objective", "loss:min")
LR = ("train.py", "--lr", "[0.1, 0.2, 0.3, 0.4, 0.5]")


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ([*OBJECTIVE, "--scheduler", "asha"], f"--scheduler asha has to know how far trials go: .*{THREE_WAYS}"),
        ([*OBJECTIVE, "--scheduler", "hyperband"], f"--scheduler hyperband has to know.*{THREE_WAYS}"),
        ([*OBJECTIVE, "--strategy", "bohb"], f"--scheduler hyperband has to know.*{THREE_WAYS}"),
        (["--scheduler", "asha", "--fidelity", "step=1:9"], "--scheduler: .*objective"),
        ([*OBJECTIVE, "--scheduler", "asha", "--fidelity", "step=7:9"], "--scheduler: .*two levels.*lower the lowest"),
        ([*OBJECTIVE, "--scheduler", "asha(eta=1.5)", "--fidelity", "step=1:9"], "eta must be a number of at least 2"),
        ([*OBJECTIVE, "--scheduler", "hyperband", "--fidelity", "step=1:9"], "passes nothing that tells train.py"),
        ([*OBJECTIVE, "--scheduler", "sha", "--fidelity", "seconds=1:9"], "use --scheduler asha or median"),
        ([*OBJECTIVE, "--scheduler", "asha(type=promotion)", "--fidelity", "step=1:9"], "passes nothing that tells"),
        ([*OBJECTIVE, "--scheduler", "freeze_thaw", "--fidelity", "step=1:9"], "passes nothing that tells"),
        ([*OBJECTIVE, "--scheduler", "asha", "--fidelity", "subset=0.1:1"], 'use hyperband.*"asha.type=promotion.'),
        *(
            ([*OBJECTIVE, "--scheduler", name, "--fidelity", "subset=0.1:1"], "says nothing before its end; use hyp")
            for name in ("median", "patience", "racing", "threshold(upper=3) + divergence")
        ),
        ([*OBJECTIVE, "--fidelity", "epochs=9:1"], "expected 0 < LOW < HIGH"),
        (["--strategy", "bohb", "--fidelity", "epochs=1:9"], "needs an objective"),
    ],
)
def test_what_cannot_be_spent_is_refused_before_anything_is_made(options: list[str], problem: str, here: Path) -> None:
    said = call("run", *options, *LR, expect=2)
    assert re.search(problem, said.err.replace("\n", " ")), said.err
    assert not (here / ".whet").exists()


@pytest.mark.parametrize(
    "options",
    [
        ["--scheduler", "asha", "--fidelity", "step=1:9"],
        ["--scheduler", "median", "--fidelity", "seconds=1:9"],
        ["--scheduler", "patience(n=5)"],
        ["--scheduler", "asha + patience(n=5)", "--fidelity", "epochs=1:9"],
        ["--scheduler", "none", "--fidelity", "epochs=1:9"],
        ["--scheduler", "asha(type=promotion)", "--fidelity", "subset=0.1:1"],
    ],
)
def test_what_can_be_spent(options: list[str], here: Path) -> None:
    call("run", "--dry-run", *OBJECTIVE, *options, *LR)
    assert not (here / ".whet").exists()


@pytest.mark.parametrize(
    ("options", "notice"),
    [
        (["--fidelity", "epochs=1.5:9"], "--epochs: 1.5 and 9 are not both whole numbers, so the program may be "
         "told 3.0, say; if it takes none but whole numbers: 2 and 9"),
        (["--fidelity", "epochs=1.0:9"], "if it takes none but whole numbers: 1 and 9"),
        (["--fidelity", "epochs=1.5:2.5"], "the program may be told 1.5, say\n"),
        (["--fidelity", "epochs=1:9"], ""),
        (["--fidelity", "subset=0.1:1"], ""),
        (["--fidelity", "seconds=1.5:9"], ""),
    ],
)  # fmt: skip
def test_epochs_that_are_no_whole_numbers_are_noticed(options: list[str], notice: str, here: Path) -> None:
    said = call("run", "--dry-run", *OBJECTIVE, *options, *LR).err
    assert notice in said
    assert ("whole numbers" in said) is bool(notice)


@pytest.mark.parametrize(
    ("scheduler", "is_said"),
    [("asha", True), ("patience + median", True), ("racing", True), ("patience", False), ("none", False)],
)
def test_what_a_deterministic_run_does_not_save_is_said(scheduler: str, is_said: bool, here: Path) -> None:
    options = [*OBJECTIVE, "--deterministic", "--scheduler", scheduler, "--fidelity", "step=1:9"]
    said = call("run", "--dry-run", *options, *LR).err
    assert said.count("the first 8 run to their end, and fewer are stopped than without") == is_said


def test_a_placeholder_may_tell_the_budget(here: Path) -> None:
    options = ["--dry-run", "--json", *OBJECTIVE, "--scheduler", "sha", "--fidelity", "step=1:9"]
    said = call("run", *options, *LR, "--until", "{budget}")
    assert [record["argv"][-1] for record in said.objects] == ["1"] * 5


def test_a_file_of_options(here: Path) -> None:
    (here / "sweep.yaml").write_text(
        "script: train.py\nargs:\n  lr: [1, 2]\nobjective: loss\nscheduler: sha(eta=2)\nfidelity: epochs=1:8\n"
    )
    said = call("run", "--dry-run", "--json", "--config", "sweep.yaml")
    assert [record["argv"][2:] for record in said.objects] == [["--lr", str(lr), "--epochs", "1"] for lr in (1, 2)]


# ---- a dry run
def test_a_dry_run_shows_what_trials_begin_with(here: Path) -> None:
    options = [*OBJECTIVE, "--fidelity", "epochs=1:9"]
    for scheduler, budget in (("hyperband", "1"), ("asha", "9"), ("none", "9")):
        said = call("run", "--dry-run", "--json", *options, "--scheduler", scheduler, *LR)
        assert [record["argv"][-2:] for record in said.objects] == [["--epochs", budget]] * 5
        assert {record["budget"] for record in said.objects} == {int(budget)}
    said = call("run", "--dry-run", *options, "--scheduler", "hyperband(eta=2)", *LR)
    assert "hyperband(eta=2) decides how far they go" in said.out.splitlines()[-1]
    assert "starts train.py again from zero" in said.err
    said = call("run", "--dry-run", *options, "--scheduler", "hyperband", *LR, "--resume", "{checkpoint_in}")
    assert "again from zero" not in said.err
    said = call("run", "--dry-run", *options, *LR)
    assert "without a scheduler every trial goes as far as it can, 9; --scheduler asha" in said.err


def test_the_help_names_what_there_is() -> None:
    said = call("run", "--help")
    assert "--scheduler NAME" in said.out and "--fidelity NAME=LOW:HIGH" in said.out
    assert all(name in said.out for name in ("asha", "hyperband", "median", "bohb", "step=1:81", "seconds=10:300"))


# ---- what has been spent
def log(*attempts: tuple[int, list[float]]) -> list[Event]:
    """The log of attempts, each of a trial, that report at these steps one after the other and are interrupted."""
    events: list[Event] = []
    for trial, steps in attempts:
        events.append(Event(len(events) + 1, Kind.STARTED, trial, 1, 0.0, {"token": "t"}))
        for step in steps:
            events.append(Event(len(events) + 1, Kind.REPORTED, trial, 1, 0.0, {"rows": [[step, 0.5]]}))
        events.append(Event(len(events) + 1, Kind.REQUEUED, trial, 1, 0.0, {"reason": "interrupted"}))
    return events


def reach(axis: Fidelity, *, is_told: bool = False, take: str = "last", direction: Direction = "minimize") -> Reach:
    problem = Problem(Space({"lr": [1, 2]}), (Objective("loss", direction),), fidelity=axis)
    return Reach(problem, Take.parse(take), is_told)


EPOCHS = Fidelity("epochs", 1, 9)


@pytest.mark.parametrize(
    ("attempts", "goes_on", "total", "again"),
    [
        ([], False, 0, 0),
        ([(0, [])], False, 0, 0),
        ([(0, [1, 2, 3]), (1, [1])], False, 4, 0),
        ([(0, [0, 1, 2, 3]), (1, [0, 1])], False, 4, 0),  # epochs that count from 0, and the end of an attempt
        ([(0, [1, 2, 3]), (0, [1, 2, 3, 4, 5])], False, 8, 3),
        ([(0, [1]), (0, [1, 2, 3])], False, 4, 1),
        ([(0, [1, 2, 3]), (0, [4, 5])], True, 5, 0),
        ([(0, [0, 1, 2, 3]), (0, [3, 4, 5, 6])], True, 6, 0),
        ([(0, [1, 2, 3, 4]), (0, [3, 4, 5])], True, 7, 2),  # from a checkpoint of step 2
        ([(0, [3]), (0, [9])], False, 12, 3),
        ([(0, [3]), (0, [9])], True, 9, 0),
        ([(0, [10, 20, 30]), (0, [40, 50])], True, 50, 0),
        ([(0, [1, 1, 2, 2]), (1, [5, 3, 4])], False, 7, 0),  # twice at a step; backwards
    ],
)
def test_what_has_been_spent(
    attempts: list[tuple[int, list[float]]], goes_on: bool, total: float, again: float
) -> None:
    spent = spent_in(log(*attempts), reach(EPOCHS), goes_on=goes_on)
    assert (spent.total, spent.again) == (total, again)


def timed(trial: int, kind: Kind, time: float, **payload: Any) -> Event:
    return Event(1, kind, trial, 1, time, payload)


def test_the_time_that_was_spent_is_that_of_the_attempts() -> None:
    events = [
        timed(0, Kind.STARTED, 100),
        timed(0, Kind.REPORTED, 102, rows=[[2.0, 0.5]]),
        timed(0, Kind.REQUEUED, 103, cause="error"),
        timed(0, Kind.STARTED, 120),
        timed(0, Kind.REPORTED, 121, rows=[[1.0, 0.5]]),
        timed(0, Kind.REQUEUED, 190, reason="interrupted"),  # which was found out when the study went on
        timed(0, Kind.STARTED, 200),
        timed(1, Kind.STARTED, 201),  # which never reports, and goes on
        timed(0, Kind.REPORTED, 206, rows=[[300.0, 0.5]]),  # what it came to, at its budget
        timed(0, Kind.COMPLETED, 206, values={"loss": 0.5}),
    ]
    spent = spent_in(events, reach(Fidelity("seconds", 10, 300)), goes_on=True)
    assert (spent.total, spent.again) == (3 + 1 + 6, 1 + 3)


def test_a_program_that_counts_something_else_has_spent_what_it_was_told() -> None:
    asked = Event(1, Kind.ASKED, 0, 0, 0.0, {"config": {}, "budget": 3})
    resumed = Event(9, Kind.RESUMED, 0, 1, 0.0, {"budget": 9})
    events = [asked, *log((0, [100, 200])), resumed, *log((0, [100, 200, 300])), *log((1, [500]))]
    spent = spent_in(events, reach(EPOCHS, is_told=True), goes_on=False)
    assert (spent.total, spent.again) == (3 + 9 + 9, 3)


# What an attempt reported, the last row being at its budget, 9; and how far it came.
@pytest.mark.parametrize(
    ("rows", "told", "untold"),
    [
        ([(9, 5)], 9, 9),
        ([(0, 5), (9, 5)], 9, 0),  # a share of the data, say
        ([(1, 5), (9, 5)], 9, 1),  # printed once, with no step
        ([(1, 5), (1, 4), (9, 4)], 9, 1),
        ([(3, 5), (9, 5)], 9, 3),
        ([(5, 5), (9, 5)], 9, 9),  # 10 would be its next report
        ([(1, 5), (2, 4), (9, 4)], 2, 2),
        ([(1, 5), (2, 4), (9, 3)], 9, 9),  # it says something new
        ([(1, 5), (2, 4), (9, 5)], 9, 9),
        ([(1, 5), (3, 4), (9, 3)], 9, 9),
        ([(7, 5), (8, 4), (9, 4)], 9, 9),  # a plateau
        ([(4, 5), (8, 4), (9, 4)], 9, 9),  # a program that reports now and then
        ([(2, 5), (1, 4), (9, 4)], 2, 2),
        ([(1, 5), (2, None), (9, 5)], 2, 2),
        ([(1, None), (2, math.nan), (9, 5)], 9, 9),
    ],
)
def test_what_was_filled_in_at_the_end(rows: list[Row], told: float, untold: float) -> None:
    for is_told, reached in ((True, told), (False, untold)):
        events = [
            timed(0, Kind.STARTED, 0),
            *(timed(0, Kind.REPORTED, i, rows=[row]) for i, row in enumerate(rows)),
            timed(0, Kind.COMPLETED, 20, values={"loss": rows[-1][1]}),
        ]
        assert spent_in(events, reach(EPOCHS, is_told=is_told), goes_on=False).total == reached
        earlier = [(1, 9.0), (9, 9.0)]
        trial = Trial(0, State.COMPLETED, {}, curve=Curve().extended([*earlier, *rows]), n_earlier=len(earlier))
        own = reach(EPOCHS, is_told=is_told).as_reported(trial).curve
        assert max((row[0] for row in list(own)[len(earlier) :]), default=0) == reached
        running = evolved(trial, state=State.RUNNING)
        assert reach(EPOCHS, is_told=is_told).as_reported(running) is running


@pytest.mark.parametrize(
    ("take", "direction", "end", "reached"),
    [
        ("best", "minimize", 3.0, 3),
        ("best", "minimize", 4.0, 9),
        ("best", "maximize", 5.0, 3),
        ("mean:2", "minimize", 3.5, 3),
        ("mean:2", "minimize", 4.0, 9),
        ("last", "minimize", 4.0, 3),
    ],
)
def test_what_reports_come_to(take: str, direction: Direction, end: float, reached: float) -> None:
    rows = [(1, 5.0), (2, 3.0), (3, 4.0), (9, end)]
    trial = Trial(0, State.PAUSED, {}, budget=9, curve=Curve().extended(rows))
    found = reach(Fidelity("epochs", 1, 27), take=take, direction=direction).as_reported(trial)
    assert found.curve.last_step() == reached


def test_a_trial_came_as_far_as_the_time_that_it_took() -> None:
    curve = Curve().extended([(3.5, 1.0), (300, 1.0)])
    trial = Trial(0, State.COMPLETED, {}, curve=curve, started_at=100.0, ended_at=104.0)
    measured = reach(Fidelity("seconds", 10, 300))
    assert list(measured.as_reported(trial).curve) == [(3.5, 1.0), (4.0, 1.0)]
    assert list(measured.as_reported(evolved(trial, ended_at=999.0)).curve)[-1] == (300.0, 1.0)


@pytest.mark.parametrize(
    ("axis", "text"),
    [
        (Fidelity("epochs", 1, 2), "spent 4 epochs, as much as 2.0 full trials (1 of that repeated)"),
        (Fidelity("step", 1, 2), "spent 4 steps, as much as 2.0 full trials (1 of that repeated)"),
        (Fidelity("trainer.max_epochs", 1, 8), "spent 4 of trainer.max_epochs, as much as 0.5 full trials (1 of that "),
    ],
)
def test_what_has_been_spent_in_words(axis: Fidelity, text: str) -> None:
    spent = spent_in(log((0, [1]), (0, [1, 2, 3])), reach(axis), goes_on=False)
    assert spent_text(spent, axis).startswith(text)


# ---- the levels of a scheduler
@pytest.mark.parametrize(
    ("name", "levels"),
    [
        ("asha", (1, 3, 9, 27, 81)),
        ("hyperband(eta=9)", (1, 9, 81)),
        ("freeze_thaw", (9, 27, 81)),
        ("freeze_thaw(levels=2, eta=4)", (20, 81)),
        ("sha + patience(n=5)", (1, 3, 9, 27, 81)),
        ("median", ()),
        ("none", ()),
    ],
)
def test_the_levels_of_a_scheduler(name: str, levels: tuple[float, ...]) -> None:
    assert levels_of(scheduler_named(name), reach(Fidelity("epochs", 1, 81)).problem) == levels


def test_where_a_problem_has_no_levels_there_are_none() -> None:
    assert levels_of(scheduler_named("asha"), Problem(Space({"lr": [1]}), (Objective("loss"),))) == ()
