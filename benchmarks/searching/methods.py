"""whet and the peers behind one pair of calls: `ask` for a config, `tell` what came of it."""

from __future__ import annotations

import re
import tempfile
import warnings
from collections.abc import Callable, Sequence
from importlib.metadata import version
from math import log
from typing import Any, Protocol

import numpy as np

import whet
from searching.parameters import Config, Parameter, sampled, whet_space

WHET = "whet-"  # in front of a strategy of whet's, so that it is told from a peer of the same name


class Search(Protocol):
    """One search under way; asks may be several ahead of the tells."""

    def ask(self) -> tuple[Any, Config]:
        """Return a handle and the config to try."""

    def tell(self, handle: Any, loss: float) -> None:
        """Say what came of the config that *handle* stands for."""


Start = Callable[[Sequence[Parameter], int, int], Search]  # parameters, seed, number of trials


class _Whet:
    def __init__(self, parameters: Sequence[Parameter], seed: int, strategy: str) -> None:
        self._study = whet.Study(whet_space(parameters), "minimize", sampler=strategy, seed=seed)

    def ask(self) -> tuple[Any, Config]:
        trial = self._study.ask()
        return trial, dict(trial.config)

    def tell(self, handle: Any, loss: float) -> None:
        self._study.tell(handle, loss)

    def add(self, trials: list[tuple[Config, float]]) -> None:
        self._study.add_trials(trials)


class _Random:
    def __init__(self, parameters: Sequence[Parameter], seed: int, _: int) -> None:
        self._parameters, self._rng = parameters, np.random.default_rng(seed)

    def ask(self) -> tuple[Any, Config]:
        return None, sampled(self._parameters, self._rng)

    def tell(self, handle: Any, loss: float) -> None:
        pass


class _Optuna:
    """Define by run, as its users write it: a parameter that is not there is not suggested."""

    def __init__(self, parameters: Sequence[Parameter], seed: int, sampler: str, **options: Any) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        self._parameters = parameters
        self._study = optuna.create_study(sampler=getattr(optuna.samplers, sampler)(seed=seed, **options))

    def ask(self) -> tuple[Any, Config]:
        trial = self._study.ask()
        return trial, suggested_by_optuna(trial, self._parameters)

    def tell(self, handle: Any, loss: float) -> None:
        self._study.tell(handle, loss)

    def add(self, trials: list[tuple[Config, float]]) -> None:
        import optuna

        domains = {parameter.name: _distribution(parameter) for parameter in self._parameters}
        ranked = {parameter.name: parameter.values for parameter in self._parameters if parameter.kind == "ordinal"}
        for config, loss in trials:
            params = {name: ranked[name].index(value) if name in ranked else value for name, value in config.items()}
            known = {name: domains[name] for name in config}
            self._study.add_trial(optuna.create_trial(params=params, distributions=known, value=loss))


def suggested_by_optuna(trial: Any, parameters: Sequence[Parameter]) -> Config:
    """Return the config that *trial* of Optuna suggests."""
    config: Config = {}
    for parameter in parameters:
        if parameter.is_active(config):
            value = _suggested(trial, parameter)
            config[parameter.name] = parameter.values[value] if parameter.kind == "ordinal" else value
    return config


def _suggested(trial: Any, parameter: Parameter) -> Any:
    """Return what *trial* suggests, of an ordinal the index of its value."""
    domain = _distribution(parameter)
    if parameter.kind == "category":
        return trial.suggest_categorical(parameter.name, domain.choices)
    suggest = trial.suggest_float if parameter.kind == "float" else trial.suggest_int
    return suggest(parameter.name, domain.low, domain.high, log=domain.log)


def _distribution(parameter: Parameter) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    match parameter.kind:
        case "float":
            return FloatDistribution(parameter.low, parameter.high, log=parameter.log)
        case "int":
            return IntDistribution(int(parameter.low), int(parameter.high), log=parameter.log)
        case "ordinal":
            return IntDistribution(0, len(parameter.values) - 1)
        case "category":
            return CategoricalDistribution(parameter.values)


class _Hyperopt:
    """TPE with its defaults; what a category's value brings along hangs below that value."""

    def __init__(self, parameters: Sequence[Parameter], seed: int, _: int) -> None:
        from hyperopt import Trials
        from hyperopt.base import Domain

        self._parameters, self._space = parameters, _hyperopt_space(parameters)
        self._domain, self._trials = Domain(lambda _: 0.0, self._space), Trials()
        self._rng = np.random.default_rng(seed)

    def ask(self) -> tuple[Any, Config]:
        from hyperopt import space_eval, tpe

        number = self._trials.new_trial_ids(1)
        self._trials.refresh()
        seed = int(self._rng.integers(2**31 - 1))
        (document,) = tpe.suggest(number, self._domain, self._trials, seed, verbose=False)
        self._trials.insert_trial_docs([document])
        self._trials.refresh()
        chosen = {name: values[0] for name, values in document["misc"]["vals"].items() if values}
        return number[0], self._read(dict(space_eval(self._space, chosen)))

    def _read(self, found: Config) -> Config:
        """Return the config of *found*, the values by name and those that a category brought along in a dict."""
        config: Config = {}
        for parameter in self._parameters:
            if not parameter.is_active(config):
                continue
            value = found[parameter.name]
            if isinstance(value, dict):
                found |= value
                value = value[parameter.name]
            if parameter.kind == "int":
                value = int(min(max(value, parameter.low), parameter.high))
            config[parameter.name] = value
        return config

    def tell(self, handle: Any, loss: float) -> None:
        from hyperopt import JOB_STATE_DONE, STATUS_OK

        document = next(row for row in self._trials._dynamic_trials if row["tid"] == handle)
        document["state"], document["result"] = JOB_STATE_DONE, {"status": STATUS_OK, "loss": loss}
        self._trials.refresh()


def _hyperopt_space(parameters: Sequence[Parameter]) -> dict[str, Any]:
    from hyperopt import hp

    nodes: dict[str, Any] = {}
    for parameter in reversed(parameters):  # children first, parents hold them
        name, low, high = parameter.name, parameter.low, parameter.high
        if parameter.kind == "float":
            nodes[name] = hp.loguniform(name, log(low), log(high)) if parameter.log else hp.uniform(name, low, high)
        elif parameter.kind == "int":
            low, high = low - 0.499, high + 0.499
            draw, ends = (hp.qloguniform, (log(low), log(high))) if parameter.log else (hp.quniform, (low, high))
            nodes[name] = draw(name, *ends, 1)
        else:
            below = [child for child in parameters if child.when is not None and child.when[0] == name]
            branches = [
                {name: value, **{child.name: nodes[child.name] for child in below if value in child.when[1]}}
                for value in parameter.values
            ]
            nodes[name] = hp.choice(name, branches)
    return {parameter.name: nodes[parameter.name] for parameter in parameters if parameter.when is None}


class _Smac:
    """The facade for hyperparameters with its defaults: a random forest, a Sobol design, local search."""

    def __init__(self, parameters: Sequence[Parameter], seed: int, n_trials: int) -> None:
        from smac import HyperparameterOptimizationFacade, Scenario

        self._parameters, self._folder = parameters, tempfile.TemporaryDirectory()
        scenario = Scenario(
            _config_space(parameters, seed),
            output_directory=self._folder.name,
            deterministic=True,
            n_trials=n_trials,
            seed=seed,
        )
        self._facade = HyperparameterOptimizationFacade(scenario, _unused, logging_level=40)

    def ask(self) -> tuple[Any, Config]:
        info = self._facade.ask()
        given, config = dict(info.config), {}
        for parameter in self._parameters:
            if parameter.name in given:
                value = given[parameter.name]
                config[parameter.name] = parameter.values[int(value)] if parameter.kind == "ordinal" else value
        return info, config

    def tell(self, handle: Any, loss: float) -> None:
        from smac.runhistory.dataclasses import TrialValue

        self._facade.tell(handle, TrialValue(cost=loss))


def _unused(config: Any, seed: int = 0) -> float:
    """Stand for the function to be minimised, which SMAC looks at but, asked and told, never calls."""
    raise AssertionError(config, seed)


def _config_space(parameters: Sequence[Parameter], seed: int) -> Any:
    from ConfigSpace import (
        CategoricalHyperparameter,
        ConfigurationSpace,
        InCondition,
        UniformFloatHyperparameter,
        UniformIntegerHyperparameter,
    )

    space = ConfigurationSpace(seed=seed)
    for parameter in parameters:
        name, ends = parameter.name, (parameter.low, parameter.high)
        match parameter.kind:
            case "float":
                space.add(UniformFloatHyperparameter(name, *ends, log=parameter.log))
            case "int":
                space.add(UniformIntegerHyperparameter(name, *map(int, ends), log=parameter.log))
            case "ordinal":
                space.add(UniformIntegerHyperparameter(name, 0, len(parameter.values) - 1))
            case "category":
                space.add(CategoricalHyperparameter(name, list(parameter.values)))
    for parameter in parameters:
        if parameter.when is not None:
            parent, values = parameter.when
            space.add(InCondition(space[parameter.name], space[parent], list(values)))
    return space


def _optuna(sampler: str, **options: Any) -> Start:
    return lambda parameters, seed, _: _Optuna(parameters, seed, sampler, **options)


# The package whose version the figures stand for, and how to start.
PEERS: dict[str, tuple[str, Start]] = {
    "random": ("numpy", _Random),
    "optuna-tpe": ("optuna", _optuna("TPESampler")),
    "optuna-tpe-group": ("optuna", _optuna("TPESampler", multivariate=True, group=True)),
    "optuna-gp": ("optuna", _optuna("GPSampler")),
    "optuna-cmaes": ("optuna", _optuna("CmaEsSampler", warn_independent_sampling=False)),
    "hyperopt": ("hyperopt", _Hyperopt),
    "smac": ("smac", _Smac),
}


def start(method: str, parameters: Sequence[Parameter], seed: int, n_trials: int) -> Search:
    """Begin a search by a peer, or by a strategy of whet's as ``whet-NAME``."""
    if method.startswith(WHET):
        return _Whet(parameters, seed, method.removeprefix(WHET))
    return PEERS[method][1](parameters, seed, n_trials)


def version_of(method: str) -> str:
    """Return the version of the package behind *method*.

    Raises:
        SystemExit: nobody has that name, or its package is not installed; the message says what to install.
    """
    from importlib.metadata import PackageNotFoundError

    if method.startswith(WHET):
        return whet.__version__
    if method not in PEERS:
        raise SystemExit(f"unknown peer {method!r} (known: {', '.join(PEERS)})")
    try:
        return version(PEERS[method][0])
    except PackageNotFoundError as error:
        raise SystemExit(f"{method} needs {error.name}: pip install -r benchmarks/requirements.txt") from None


def listed(text: str) -> list[str]:
    """Return the parts of *text* between commas, but for commas in brackets."""
    return [part.strip() for part in re.split(r",(?![^(]*\))", text) if part.strip()]
