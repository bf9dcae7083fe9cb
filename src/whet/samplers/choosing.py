"""Which sampler suits a study: the decision tree of `Auto`, from a few facts to a name, a reason and an outlook."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from whet.algorithms.sobol import MOST_DIMENSIONS
from whet.core.history import History
from whet.core.trial import State
from whet.samplers.standing import n_known_in_part
from whet.space.domain import Categorical
from whet.text import counted

Name = Literal["walk", "random", "quasi_random", "gp", "tpe", "cmaes"]

_MOST_AXES = 100  # of a Gaussian process, whose cost and need for trials grow with them
_MOST_CATEGORIES = 1000  # of one parameter, of most of which a model by distances learns nothing
_WORTH_A_MODEL = 500  # configs with a value, until which each is worth a costly model
_WORTH_BESIDE_CMAES = 100  # where there is CMA-ES: it goes on improving where a model of so many trials no longer does
_SHORT_STUDY = 1.5  # times these: studies that a Gaussian process sees to their end, as little would be left
_MOST_AXES_OF_CMAES = 40  # that a distribution with a full covariance learns in the trials of such studies
_MOST_FAILED = 0.3  # of the trials, as parents that are nothing but failures teach a distribution nothing


@dataclass(frozen=True, slots=True)
class Facts:
    """What the choice depends on.

    Attributes:
        n_objectives: how many there are to optimise.
        unmapped: a parameter that has no map to the unit interval, if there is one.
        n_parameters: all of them.
        n_axes: parameters that vary, zipped ones as one.
        most_categories: values of the parameter that has the most without an order.
        is_continuous: all that varies is a number on a scale, and always part of the config.
        n_points: points of the grid of a finite space; where some are forbidden or equal, it has fewer configs.
        budget: configs that the study may ask in all, if that is known.
        n_valued: configs with a value.
        n_failed: configs that failed.
        n_partial: configs of which a part of the way to full fidelity is known: stopped, paused or running ones.
    """

    n_objectives: int = 1
    unmapped: str | None = None
    n_parameters: int = 1
    n_axes: int = 1
    most_categories: int = 0
    is_continuous: bool = True
    n_points: int | None = None
    budget: int | None = None
    n_valued: int = 0
    n_failed: int = 0
    n_partial: int = 0

    @property
    def n_known(self) -> int:
        """Configs that a model learns from: what is known in part tells much the same."""
        return self.n_valued + self.n_partial


@dataclass(frozen=True, slots=True)
class Choice:
    """A sampler, or a walk through all configs; why; and in sentences what it knows and when another one comes."""

    name: Name
    why: str
    outlook: Sequence[str] = ()


# ---- from a study to the facts
def facts_of(history: History) -> Facts:
    """Return the facts about the study of *history*: counts only, which cost the same for any number of trials."""
    problem, space = history.problem, history.problem.space
    axes = [space[axis[0]] for axis in space.axes if space[axis[0]].size != 1]
    return Facts(
        n_objectives=len(problem.objectives),
        unmapped=next((name for name, domain in space.items() if not domain.is_encodable), None),
        n_parameters=len(space),
        n_axes=len(axes),
        most_categories=max((len(axis.values) for axis in axes if isinstance(axis, Categorical)), default=0),
        is_continuous=not space.is_conditional and not any(axis.is_discrete for axis in axes),
        n_points=space.size,
        budget=_budget(history),
        n_valued=history.n_ended(State.COMPLETED) // history.repeats,
        n_failed=history.n_ended(State.FAILED) // history.repeats,
        n_partial=n_known_in_part(history),
    )


def _budget(history: History) -> int | None:
    """Return how many configs the study asks in all, ``None`` where something else may well end it before."""
    limits = history.settings.get("limits", {})
    if limits.get("timeout_s") is not None or limits.get("target") is not None:
        return None
    n_trials = limits.get("n_trials")
    return None if n_trials is None else history.first_beyond(n_trials) // history.repeats


# ---- from the facts to a sampler
def chosen(facts: Facts) -> Choice:
    """Return the sampler that suits a study of which these *facts* are known.

    What depends on the trials are only choices among samplers that never suggest what anybody was given before.
    """
    if facts.unmapped is not None:
        return Choice("random", f"random search, as {facts.unmapped} can only be sampled")
    if facts.n_objectives != 1:
        return _uninformed(facts)
    if facts.n_points is not None and facts.budget is not None and facts.n_points <= facts.budget:
        why = f"all configs in random order: {counted(facts.budget, 'trial')} are enough for all of them"
        return Choice("walk", why, ["With fewer trials it would be a model that says which ones to try."])
    if facts.n_axes > _MOST_AXES:
        return Choice("tpe", f"tpe, which is cheap with {counted(facts.n_axes, 'parameter')}", [_known(facts)])
    if facts.most_categories > _MOST_CATEGORIES:
        why = f"tpe, which copes with a parameter of {facts.most_categories:,} unordered values"
        return Choice("tpe", why, [_known(facts)])
    if facts.n_known < _gp_until(facts) or _is_short(facts):
        why = f"gp, a model of the objective that makes the most of each trial ({counted(facts.n_axes, 'parameter')})"
        return Choice("gp", why, [_known(facts), _after_gp(facts)])
    return _cheap(facts)


def _uninformed(facts: Facts) -> Choice:
    """Return a search that covers the space, for studies that do not have one objective to learn from."""
    n = counted(facts.n_objectives, "objective") if facts.n_objectives else "no objective"
    if facts.n_parameters > MOST_DIMENSIONS:
        return Choice("random", f"random search, for {counted(facts.n_parameters, 'parameter')} and {n}")
    return Choice("quasi_random", f"quasi-random search, which covers the space evenly ({n})")


def _cheap(facts: Facts) -> Choice:
    """Return a sampler whose suggestions cost little however many trials there are."""
    many = f"from {_gp_until(facts):,} values on"
    if not _may_be_cmaes(facts):
        return Choice("tpe", f"tpe {many}, which costs the same for any number of trials", [_known(facts)])
    why = f"cmaes {many}, which follows the shape of the objective in {counted(facts.n_axes, 'continuous parameter')}"
    return Choice("cmaes", why, [_known(facts), f"Not if more than {_MOST_FAILED:.0%} of the trials fail."])


def _gp_until(facts: Facts) -> int:
    return _WORTH_BESIDE_CMAES if _may_be_cmaes(facts) else _WORTH_A_MODEL


def _is_short(facts: Facts) -> bool:
    return facts.budget is not None and facts.budget <= _SHORT_STUDY * _gp_until(facts)


def _may_be_cmaes(facts: Facts) -> bool:
    has_failed_much = facts.n_failed > _MOST_FAILED * (facts.n_known + facts.n_failed)
    return facts.is_continuous and 1 < facts.n_axes <= _MOST_AXES_OF_CMAES and not has_failed_much


# ---- in words
def _known(facts: Facts) -> str:
    failed = f", {facts.n_failed:,} failed" if facts.n_failed else ""
    budget = "" if facts.budget is None else f"; the study ends with {counted(facts.budget, 'trial')}"
    known = f"Known so far: {counted(facts.n_valued, 'config')} with a value{failed}{budget}."
    if not facts.n_partial:
        return known
    return f"{known} {counted(facts.n_partial, 'config')} more that did not go all the way count as well."


def _after_gp(facts: Facts) -> str:
    if _is_short(facts):
        return "It stays to the end: trials are so few that each is worth some thought."
    then = "cmaes" if _may_be_cmaes(facts) else "tpe"
    return f"From {_gp_until(facts):,} configs with a value on it is {then}."
