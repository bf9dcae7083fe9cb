"""Every example of the page that the command line was modelled on: the same jobs, as many, in the same order.

The page describes ``grid run``; ``jobs`` below takes what stands behind it and gives the command lines that would
run. The page's two slips are read as meant: its ``range`` example has five jobs though it says three, and the two
adjacent strings of its ``string list`` are two of three models.
"""

from __future__ import annotations

import shlex
from itertools import product

import numpy as np
import pytest

from whet.cli.plan import Plan, make_plan
from whet.cli.program import Program
from whet.cli.sweep import Sweep, read_sweep
from whet.core.history import History
from whet.core.problem import Problem
from whet.samplers.names import sampler_named

SEED = 20


def planned(line: str, **options) -> tuple[Sweep, Plan]:
    """What ``grid run main.py ...`` means; *options* are whet's own."""
    script, *arguments = shlex.split(line)
    sweep = read_sweep(Program("script", script), arguments, rng=np.random.default_rng(SEED))
    return sweep, make_plan(sweep, **options)


def jobs(line: str, **options) -> list[str]:
    """The command lines in the order in which they run."""
    sweep, plan = planned(line, **options)
    history = History(Problem(sweep.space), SEED, 1)
    suggestions = sampler_named(plan.sampler).suggest(history, range(plan.n_trials), np.random.default_rng)
    assert len(suggestions) == plan.n_trials
    return [shlex.join(["main.py", *sweep.render(suggestion.config)]) for suggestion in suggestions]


def drawn() -> list[str]:
    """The three numbers of ``uniform(1e-5, 1e-1, 3)``, as they are written."""
    return [repr(value) for value in np.random.default_rng(SEED).uniform(1e-5, 1e-1, 3).tolist()]


# -- Python flags: one job, the arguments as they are ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "job"),
    [
        ("main.py --layers 32 --learning_rate 0.01", "main.py --layers 32 --learning_rate 0.01"),
        ("main.py --do_something", "main.py --do_something"),
        ("main.py --learning_rate 0.01", "main.py --learning_rate 0.01"),
        ("main.py --learning_rate 1e-2", "main.py --learning_rate 1e-2"),
        ("main.py --batch_size 32", "main.py --batch_size 32"),
        ("main.py --model bert", "main.py --model bert"),
        ("main.py --model 'bert'", "main.py --model bert"),
        ('main.py --model "bert"', "main.py --model bert"),
        # the quotes are the shell's above; here they reach the program's argument
        ("main.py --model \"'bert'\"", "main.py --model bert"),
        ("main.py --model '\"bert\"'", "main.py --model bert"),
    ],
)
def test_python_flags(line, job):
    assert jobs(line) == [job]


# -- Grid extensions ---------------------------------------------------------------------------------------------------


def test_distribution():
    assert jobs('main.py --alpha "uniform(1e-5, 1e-1, 3)"') == [f"main.py --alpha {value}" for value in drawn()]


def test_list():
    assert jobs('main.py --layers "[32, 64, 128]"') == [
        "main.py --layers 32",
        "main.py --layers 64",
        "main.py --layers 128",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [("(1, 10, 2)", "(1, 10, 2) is range(1, 10, 2)"), ("range(1, 10, 2)", "range(1, 10, 2)")],
)
def test_range(text, said):
    assert jobs(f'main.py --layers "{text}"') == [
        "main.py --layers 1",
        "main.py --layers 3",
        "main.py --layers 5",
        "main.py --layers 7",
        "main.py --layers 9",
    ]
    [expansion] = planned(f'main.py --layers "{text}"')[0].notices
    assert expansion == f"--layers: {said}: 1 3 5 7 9"


def test_string_list():
    line = "main.py --model \"['resnet18' 'transformer', 'resnet50']\""
    assert jobs(line) == [
        "main.py --model resnet18",
        "main.py --model transformer",
        "main.py --model resnet50",
    ]
    [warning] = planned(line)[0].notices
    assert warning.startswith("--model: 'resnet18' 'transformer' stand side by side")


# -- Grid search and random search -------------------------------------------------------------------------------------

COMBINED = 'main.py --alpha "uniform(1e-5, 1e-1, 3)" --beta "[1, 2, 3, 4]"'


def combinations() -> list[str]:
    return [f"main.py --alpha {alpha} --beta {beta}" for alpha, beta in product(drawn(), (1, 2, 3, 4))]


def test_grid_search_is_every_combination_the_first_flag_slowest():
    assert jobs(COMBINED) == combinations()
    assert jobs(COMBINED, strategy="grid_search") == combinations()
    assert len(combinations()) == 12


def test_random_search_is_a_sample_of_the_combinations_without_replacement():
    chosen = jobs(COMBINED, strategy="random_search", n_trials=3)
    assert len(set(chosen)) == 3
    assert set(chosen) < set(combinations())
    assert chosen != combinations()[:3]
    assert chosen == jobs(COMBINED, strategy="random_search", n_trials=3)  # the seed decides


def test_random_search_over_all_is_a_shuffle():
    everything = jobs(COMBINED, strategy="random", n_trials=12)
    assert sorted(everything) == sorted(combinations())
    assert everything != combinations()


def test_more_trials_than_combinations_run_each_once():
    assert sorted(jobs(COMBINED, strategy="random", n_trials=50)) == sorted(combinations())
    notice = planned(COMBINED, strategy="random", n_trials=50)[1].notices[0]
    assert notice == "--trials 50: there are only 12 combinations, so 12 trials"
