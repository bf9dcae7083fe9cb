"""The study of a search: a trial for every candidate, told when its folds are done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from whet.sklearn.spaces import described
from whet.space.plain import is_number, plain

if TYPE_CHECKING:
    from whet.core.trial import Trial
    from whet.sklearn.tasks import Outcome
    from whet.space.space import Space
    from whet.study import Study

SINGLE = "score"  # what scikit-learn calls the only metric


@dataclass(slots=True)
class _Row:
    """A candidate: its parameters, what else is known of it, and once its folds are done, what they came to."""

    parameters: Mapping[str, Any]
    extra: dict[str, float]
    outcomes: Sequence[Outcome] | None = None
    trial: Trial | None = None


@dataclass(slots=True)
class Record:
    """Keeps the study of a search in step with its candidates.

    scikit-learn says what the candidates are batch by batch (`begin`), and what the metrics are called only with the
    first fit that succeeds, where a function scores. So the study is made at the first candidate that is done.

    A study that chooses the candidates is there from the start. It is told in their order, whichever is done first:
    what it knows, and chooses from that, is the same every time.

    Attributes:
        name: of the study.
        refit: the parameter of the search: with several metrics, the name of the one that counts.
        study: a trial for every candidate in the order of ``cv_results_``; maximizes.
        objectives: of the study; of metrics that have other names the first one counts.
    """

    name: str
    refit: Any
    study: Study | None = None
    objectives: tuple[str, ...] = ()
    _rows: list[_Row] = field(default_factory=list)
    _n_open: int = 0  # rows that the study has
    _is_asked: bool = False  # for the candidates
    _n_told: int = 0  # rows that it was told of, where it is

    def begin(
        self,
        candidates: Sequence[Mapping[str, Any]],
        more: Mapping[str, Sequence[Any]] | None,
        trials: Sequence[Trial] | None = None,
    ) -> None:
        """Note that *candidates* are fitted next; *more* is known of each of them, where it is a number.

        *trials* are theirs, where the study asked for them.
        """
        columns = {name: [plain(value) for value in values] for name, values in (more or {}).items()}
        for number, parameters in enumerate(candidates):
            extra = {name: values[number] for name, values in columns.items() if is_number(values[number])}
            self._rows.append(_Row(parameters, extra, trial=trials[number] if trials else None))
        if trials:
            self._n_open, self._is_asked = len(self._rows), True

    def tell(self, number: int, outcomes: Sequence[Outcome]) -> None:
        """Note that the folds of candidate *number* of the search are done, and what each came to."""
        row = self._rows[number]
        row.outcomes = outcomes
        if not self.objectives:
            self.objectives = self._named(outcomes)
        if not self.objectives:
            return  # it failed before anything said what there is to maximize
        if self._n_open < len(self._rows):
            self._open()
        elif self._is_asked:
            self._tell_on()
        elif row.trial is not None:
            self._say(row, row.trial)

    def finish(self) -> None:
        """Note that there will be no more candidates."""
        if not self.objectives:
            self.objectives = (SINGLE,)
            self._open()

    def _named(self, outcomes: Sequence[Outcome]) -> tuple[str, ...]:
        """Return the objectives as *outcomes* show them, none if all of those failed where only success can tell."""
        for outcome in outcomes:
            if scores := _scores_of(outcome):
                return (self.refit,) if isinstance(self.refit, str) and self.refit in scores else tuple(scores)
            if outcome["fit_error"] is None:
                return (SINGLE,)
        return ()

    def _open(self) -> None:
        """Make the study of all candidates so far, and tell it of those that are done."""
        space, configs = described([row.parameters for row in self._rows])
        self.study, trials = _given(self.name, space, dict.fromkeys(self.objectives, "maximize"), configs)
        for row, trial in zip(self._rows, trials, strict=True):
            row.trial = trial
            if row.outcomes is not None:
                self._say(row, trial)
        self._n_open = len(self._rows)

    def _tell_on(self) -> None:
        """Tell the study of the candidates that are done, up to the first one that is not."""
        while self._n_told < len(self._rows):
            row = self._rows[self._n_told]
            if row.outcomes is None or row.trial is None:
                return
            self._say(row, row.trial)
            self._n_told += 1

    def _say(self, row: _Row, trial: Trial) -> None:
        assert self.study is not None
        assert row.outcomes is not None
        values = self._values(row.outcomes)
        error: str | None = next((outcome["fit_error"] for outcome in row.outcomes if outcome["fit_error"]), None)
        is_usable = all(np.isfinite(values[name]) for name in self.objectives)
        message = None if error is None or is_usable else error.strip().splitlines()[-1]
        _end(self.study, trial, row.extra | values, message)

    def _values(self, outcomes: Sequence[Outcome]) -> dict[str, float]:
        """Return the means over the folds that ``cv_results_`` has, of the test scores and the times."""
        names = {name for outcome in outcomes for name in _scores_of(outcome)} | set(self.objectives)
        folds = {name: [_score_of(outcome, name) for outcome in outcomes] for name in names}
        times = {name: [outcome[name] for outcome in outcomes] for name in ("fit_time", "score_time")}
        return {name: float(np.mean(values)) for name, values in (times | folds).items()}


def _scores_of(outcome: Outcome) -> Mapping[str, float]:
    """Return the test scores by name; a failed fit has one number for all, whatever they are called."""
    scores = outcome["test_scores"]
    if not isinstance(scores, dict):
        return {}
    return {metric_name(name): of for name, of in scores.items()}


def _score_of(outcome: Outcome, name: str) -> float:
    """Return the score of that *name*; where no metric is called so, the first one, or what there is for all."""
    if not isinstance(outcome["test_scores"], dict):
        return float(outcome["test_scores"])
    scores = _scores_of(outcome)
    return float(scores[name] if name in scores else next(iter(scores.values()), np.nan))


def metric_name(name: Any) -> str:
    """Return how a study calls the metric that scikit-learn calls *name*."""
    return name if isinstance(name, str) and name.strip() else f"score {name}"


@dataclass(frozen=True, slots=True)
class Frozen:
    """A study as it can be pickled: its name, its problem as JSON, and of each trial config, values and failure."""

    name: str
    problem: Mapping[str, Any]
    trials: Sequence[tuple[Mapping[str, Any], Mapping[str, float], str | None]]


def frozen(study: Study) -> Frozen:
    """Return what `thawed` makes a study of again, one in memory that knows the same."""
    trials = [(trial.config or {}, trial.values, trial.message if trial.cause else None) for trial in study.trials]
    return Frozen(study.name, study.ledger.history.problem.to_json(), trials)


def thawed(ice: Frozen) -> Study:
    """Return the study that *ice* was made of."""
    from whet.core.problem import Problem

    problem = Problem.from_json(ice.problem)
    directions = {objective.name: objective.direction for objective in problem.objectives}
    study, trials = _given(ice.name, problem.space, directions, [config for config, _, _ in ice.trials])
    for trial, (_, values, message) in zip(trials, ice.trials, strict=True):
        _end(study, trial, values, message)
    return study


def _given(
    name: str, space: Space, directions: Mapping[str, str], configs: Sequence[Mapping[str, Any]]
) -> tuple[Study, list[Trial]]:
    """Return a study in memory, and its trials, which are of *configs* and run."""
    from whet.study import Study  # heavy, and workers, which import this package, need none

    study = Study(space, directions, sampler="random", seed=0, name=name)
    for config in configs:
        study.enqueue(config)
    return study, study.ask(len(configs))


def _end(study: Study, trial: Trial, values: Mapping[str, float], message: str | None) -> None:
    if message is None:
        study.tell(trial, values)
    else:
        study.fail(trial, message=message)
