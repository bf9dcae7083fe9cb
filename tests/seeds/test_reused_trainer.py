"""A trainer that is made once and used by every trial, as people write it: nothing leaks from trial to trial.

The trainer has the fault of those that keep where they are: one that has reached ``max_epochs`` trains no more, and
``callback_metrics`` holds what was logged and nothing else.
"""

from __future__ import annotations

import math
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import whet
from whet.core.trial import Cause, State

GRID = {"learning_rate": [0.001, 0.01, 0.1], "hidden_units": [32, 64, 128], "batch_size": [16, 32]}


class Net:
    """A model as far as a trainer cares: it has a loss, and logs it or not."""

    def __init__(self, learning_rate: float, hidden_units: int, batch_size: int, logs: bool = True) -> None:
        self.rate = learning_rate * math.log(hidden_units) / batch_size
        self.logs = logs
        self.weight = 1.0

    def training_step(self) -> dict[str, float]:
        self.weight -= self.rate * self.weight
        return {"loss": self.weight**2} if self.logs else {}


class Trainer:
    """Trains up to an epoch that it counts from its own beginning, not from the model's."""

    def __init__(self, max_epochs: int) -> None:
        self.max_epochs = max_epochs
        self.current_epoch = 0
        self.callback_metrics: dict[str, float] = {}

    def fit(self, model: Net) -> None:
        self.callback_metrics = {}
        while self.current_epoch < self.max_epochs:
            self.callback_metrics |= model.training_step()
            self.current_epoch += 1


trainer = Trainer(max_epochs=2)


def objective(hyperparameters: Mapping[str, Any]) -> float:
    model = Net(**hyperparameters)
    trainer.fit(model)
    return trainer.callback_metrics["loss"]


def loss_after_two_epochs(config: Mapping[str, Any]) -> float:
    model = Net(**config)
    Trainer(max_epochs=2).fit(model)
    return model.weight**2


def tune(fn: Any, **options: Any) -> whet.Study:
    return whet.tune(fn, GRID, **{"seed": 1, "progress": False, **options})


def test_the_trainer_has_the_fault() -> None:
    reused = Trainer(max_epochs=2)
    reused.fit(Net(0.1, 32, 16))
    assert reused.callback_metrics
    reused.fit(Net(0.1, 32, 16))
    assert not reused.callback_metrics


def test_every_trial_of_the_grid_trains() -> None:
    study = tune(objective, sampler="grid", workers=2)
    assert len(study.trials) == 3 * 3 * 2
    assert {trial.state for trial in study.trials} == {State.COMPLETED}
    for trial in study.trials:
        assert trial.values["value"] == loss_after_two_epochs(trial.config or {})
    assert dict(study.best_config) == {"learning_rate": 0.1, "hidden_units": 128, "batch_size": 16}
    assert trainer.current_epoch == 0  # nor does anything come back into the program


def test_a_random_subset_of_the_grid() -> None:
    study = tune(objective, sampler="random", n_trials=10, workers=2)
    assert [trial.values["value"] for trial in study.trials] == [
        loss_after_two_epochs(trial.config or {}) for trial in study.trials
    ]
    configs = [tuple((trial.config or {}).items()) for trial in study.trials]
    assert len(set(configs)) == len(configs) == 10


def test_inline_shares_the_trainer_and_the_second_trial_says_what_it_lacks() -> None:
    shared = Trainer(max_epochs=2)

    def careless(hyperparameters: Mapping[str, Any]) -> float:
        shared.fit(Net(**hyperparameters))
        return shared.callback_metrics["loss"]

    study = tune(careless, sampler="grid", executor="inline", max_failures=1)
    first, second = study.trials[:2]
    assert first.state is State.COMPLETED
    assert (second.state, second.cause) == (State.FAILED, Cause.ERROR)
    assert "KeyError: 'loss'" in second.message


def test_a_metric_that_nobody_logged_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    def unlogged(hyperparameters: Mapping[str, Any]) -> dict[str, float]:
        model = Net(**hyperparameters, logs=False)
        trainer.fit(model)
        return {"epochs": trainer.current_epoch, **trainer.callback_metrics}

    study = tune(unlogged, objective={"loss": "minimize"}, n_trials=3, progress=True)
    assert {trial.cause for trial in study.trials} == {Cause.NO_METRIC}
    assert "'loss'" in study.trials[0].message
    assert "epochs" in study.trials[0].message
    assert "loss" in capsys.readouterr().err


def test_a_program_without_a_main_guard(tmp_path: Path) -> None:
    """The same in a program's own ``__main__``, where the function and the trainer travel by value."""
    here = Path(__file__).read_text(encoding="utf-8")
    classes = here[here.index("class Net") : here.index("def loss_after_two_epochs")]
    program = (
        "import math\nfrom typing import Any, Mapping\nimport whet\n"
        + classes
        + textwrap.dedent(
            f"""
        study = whet.tune(objective, {GRID!r}, sampler="grid", workers=2, progress=False)
        print(len(study.trials), len({{t.values["value"] for t in study.trials}}), trainer.current_epoch)
        """
        )
    )
    file = tmp_path / "program.py"
    file.write_text(program, encoding="utf-8")
    done = subprocess.run([sys.executable, file], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["18", "18", "0"]
