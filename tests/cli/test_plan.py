"""What will be run: the strategy, how many trials, what is refused, and the hints."""

from __future__ import annotations

import numpy as np
import pytest

from whet.cli.plan import (
    LATER_SCHEDULERS,
    LATER_STRATEGIES,
    STRATEGIES,
    Plan,
    known_scheduler,
    known_strategy,
    make_plan,
)
from whet.cli.program import Program
from whet.cli.sweep import Sweep, read_sweep
from whet.errors import UsageError
from whet.samplers.names import sampler_named

FINITE = ["--lr", "[1, 2, 3]", "--layers", "(1, 5)"]  # 12 points
OPEN = ["--lr", "loguniform(1e-5, 1e-1)", "--layers", "[1, 2]"]
HUGE = ["--a", "(0, 1000000)", "--b", "(0, 1000000)"]
SAMPLED = ["--lr", "gamma(2)"]


def read(arguments: list[str], **options) -> Sweep:
    return read_sweep(Program("script", "train.py"), arguments, rng=np.random.default_rng(0), **options)


def plan(arguments: list[str], **options) -> Plan:
    return make_plan(read(arguments), **options)


# -- which strategy ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "options", "strategy", "n_trials", "n_points"),
    [
        (FINITE, {}, "grid", 12, 12),
        (FINITE, {"has_objective": True}, "grid", 12, 12),
        (FINITE, {"n_trials": 5}, "grid", 5, 12),
        (FINITE, {"timeout_s": 5.0}, "grid", 12, 12),
        (FINITE, {"max_trials": 12}, "grid", 12, 12),
        (FINITE, {"max_trials": 11, "n_trials": 5}, "random", 5, 12),
        (FINITE, {"max_trials": 11, "n_trials": 5, "has_objective": True}, "auto", 5, 12),
        (FINITE, {"max_trials": 11, "timeout_s": 1.0}, "random", 12, 12),
        (FINITE, {"max_trials": 11, "yes": True}, "grid", 12, 12),
        (FINITE, {"max_trials": 11, "yes": True, "n_trials": 3}, "random", 3, 12),
        (FINITE, {"strategy": "random"}, "random", 12, 12),
        (FINITE, {"strategy": "random_search", "n_trials": 3}, "random", 3, 12),
        (FINITE, {"strategy": "grid_search", "n_trials": 3}, "grid", 3, 12),
        (FINITE, {"strategy": "quasi-random", "n_trials": 3}, "quasi_random", 3, 12),
        (FINITE, {"strategy": "auto", "has_objective": True}, "auto", 12, 12),
        (OPEN, {"n_trials": 7}, "random", 7, None),
        (OPEN, {"n_trials": 7, "has_objective": True}, "auto", 7, None),
        (OPEN, {"timeout_s": 7.0}, "random", None, None),
        (OPEN, {"target": 7.0, "has_objective": True}, "auto", None, None),
        (OPEN, {"strategy": "quasi_random", "n_trials": 7}, "quasi_random", 7, None),
        (SAMPLED, {"n_trials": 7}, "random", 7, None),
        (HUGE, {"n_trials": 7}, "random", 7, 10**12),
        (HUGE, {"strategy": "grid", "n_trials": 7}, "grid", 7, 10**12),
        (HUGE, {"yes": True}, "grid", 10**12, 10**12),
        (HUGE, {"strategy": "random", "yes": True}, "random", 10**12, 10**12),
        (["--n", "int(1, 8)", "--q", "quniform(0, 1, 0.5)"], {}, "grid", 24, 24),
        (["--lr", "1"], {}, "grid", 1, 1),
        ([], {}, "grid", 1, 1),
        (["--epochs", "budget(1, 81)"], {}, "grid", 1, 1),
    ],
)
def test_the_strategy_and_the_count(arguments, options, strategy, n_trials, n_points):
    made = plan(arguments, **options)
    assert (made.strategy, made.n_trials, made.n_points) == (strategy, n_trials, n_points)
    assert sampler_named(made.sampler)


def test_none_is_one_trial_of_everything_as_it_is():
    made = make_plan(read(["--lr", "[1, 2]"], verbatim=True), strategy="none")
    assert (made.strategy, made.sampler, made.n_trials, made.n_points) == ("none", "grid", 1, 1)


def test_repeats_are_not_counted_as_trials():
    assert (plan(FINITE, repeats=3).n_trials, plan(FINITE, repeats=3).repeats) == (12, 3)


def test_conditions_and_forbidden_combinations_are_counted_out():
    arguments = ["--opt", "[sgd, adam]", "--momentum", "[0.9, 0.99]", "--b", "[1, 2]"]
    sweep = read(arguments, when=["momentum: opt == 'sgd'"], forbid=["b == 2 and opt == 'adam'"])
    assert make_plan(sweep).n_trials == 5
    assert make_plan(sweep, max_trials=5).strategy == "grid"
    assert make_plan(sweep, strategy="random", n_trials=9).n_trials == 5


def test_zipped_lists_count_once():
    assert make_plan(read(["--a", "[1, 2]", "--b", "[3, 4]"], zips=["a,b"])).n_trials == 2


# -- what is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (OPEN, {}, r"^--lr: there is no end of values in loguniform.*--trials N, --timeout TIME or --target VALUE"),
        (OPEN, {"yes": True}, "no end of values"),
        (OPEN, {"strategy": "random"}, "no end of values"),
        (HUGE, {}, r"1,000,000,000,000 combinations.*1,000 \(--max-trials\).*--trials N.*--yes"),
        (HUGE, {"strategy": "grid"}, "1,000,000,000,000 combinations"),
        (HUGE, {"strategy": "random"}, "1,000,000,000,000 combinations"),
        (FINITE, {"max_trials": 11}, "12 combinations"),
        (OPEN, {"strategy": "grid", "n_trials": 5}, r"--lr: .*give it one, as in loguniform\(1e-5, 1e-1, size=5\)"),
        (["x=normal()"], {"strategy": "grid"}, r"x: .*as in normal\(size=5\)"),
        (["uniform(0, 1,)"], {"strategy": "grid"}, r"arg1: .*as in uniform\(0, 1, size=5\)"),
        (FINITE, {"strategy": "auto"}, "needs an objective, as in --objective val_loss:min"),
        (FINITE, {"target": 1.0}, "--target needs an objective"),
        (FINITE, {"strategy": "gird"}, "'gird' is unknown; did you mean grid"),
        (FINITE, {"strategy": ""}, rf"'' is unknown \(available: {', '.join(STRATEGIES)}\)"),
        (FINITE, {"strategy": "random(x=1)"}, r"--strategy random\(x=1\): random has no option 'x' \(it has none\)"),
        (FINITE, {"strategy": "none()"}, r"--strategy none\(\): none passes every value as it is, and has no options"),
        (FINITE, {"strategy": "random(x)"}, r"--strategy random\(x\): .*expected NAME=VALUE"),
        (FINITE, {"n_trials": 0}, "--trials: expected a whole number of at least 1, got 0"),
        (FINITE, {"max_trials": 0}, "--max-trials: expected"),
        (FINITE, {"repeats": 0}, "--repeats: expected"),
    ],
)
def test_options_that_do_not_go_together(arguments, options, message):
    with pytest.raises(UsageError, match=message):
        plan(arguments, **options)


def test_nothing_left_is_an_error():
    with pytest.raises(UsageError, match=r"all 3 combinations are excluded by --forbid \(lr > 0\)"):
        make_plan(read(["--lr", "[1, 2, 3]"], forbid=["lr > 0"]))


@pytest.mark.parametrize("name", LATER_STRATEGIES)
def test_a_strategy_of_a_later_version(name):
    with pytest.raises(UsageError, match=f"--strategy {name} is not available in this version.*grid, random"):
        plan(FINITE, strategy=name, has_objective=True)


@pytest.mark.parametrize("name", LATER_SCHEDULERS)
def test_a_scheduler_of_a_later_version(name):
    with pytest.raises(UsageError, match=f"--scheduler {name} is not available in this version.*available: none, asha"):
        known_scheduler(name)


def test_names_are_forgiving():
    assert [known_strategy(name) for name in STRATEGIES] == list(STRATEGIES)
    typed = ("grid_search", "Random-Search", " quasi-random ", "Sobol", "random()", "auto ( )")
    known = ["grid", "random", "quasi_random", "quasi_random", "random", "auto"]
    assert [known_strategy(name) for name in typed] == known
    assert {type(known_scheduler(name)).__name__ for name in (None, "none", "fifo", "None ")} == {"Fifo"}
    with pytest.raises(UsageError, match="--scheduler: unknown scheduler 'lifo'"):
        known_scheduler("lifo")


# -- notices and hints -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "options", "notices"),
    [
        (FINITE, {}, []),
        (FINITE, {"n_trials": 12}, []),
        (FINITE, {"n_trials": 13}, ["--trials 13: there are only 12 combinations, so 12 trials"]),
        (FINITE, {"n_trials": 5}, ["the first 5 of 12 combinations; --strategy random takes any 5"]),
        (FINITE, {"n_trials": 5, "strategy": "grid"}, []),
        (FINITE, {"n_trials": 5, "strategy": "random"}, []),
        (["--lr", "1"], {"n_trials": 2000}, ["--trials 2,000: no value varies, so there is 1 trial"]),
        (["--lr", "uniform(1e-5, 1e-1)"], {"n_trials": 1}, ["--lr: uniform puts nine values in ten above 0.01"]),
        (["lr=uniform(1e-5, 1e-1, 3)"], {}, ["lr: uniform puts nine values in ten above 0.01"]),
        (["--lr", "uniform(1, 1000)"], {"n_trials": 1}, ["--lr: uniform"]),
        (["--lr", "uniform(1, 999)", "--b", "uniform(0, 1)"], {"n_trials": 1}, []),
        (["--lr", "loguniform(1e-5, 1e-1)", "--b", "uniform(-1, 1)"], {"n_trials": 1}, []),
        (["--epochs", "budget(1, 81)"], {}, ["--epochs: without a scheduler every trial goes as far as it can, 81"]),
    ],
)
def test_notices(arguments, options, notices):
    made = plan(arguments, **options).notices
    assert len(made) == len(notices)
    assert all(found.startswith(expected) for found, expected in zip(made, notices, strict=True))


def test_trials_of_none_say_why_there_is_one():
    made = make_plan(read(["--lr", "[1, 2]"], verbatim=True), strategy="none", n_trials=2)
    assert made.n_trials == 1
    assert made.notices == ("--trials 2: strategy none passes every value as it is, so there is 1 trial",)
