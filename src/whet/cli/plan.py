"""From a sweep and whet's options to what will be run: pure decisions, nothing is started or stored here."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from whet.cli.budgets import budget_text, counts_steps
from whet.cli.sweep import Sweep, Varied
from whet.core.protocols import Scheduler
from whet.errors import UsageError
from whet.samplers.names import SAMPLERS, described, plain_name, sampler_named, split_options
from whet.schedulers.fifo import Fifo
from whet.schedulers.names import SCHEDULERS, scheduler_from
from whet.space.domain import Float
from whet.space.dsl import Drawn, Open
from whet.space.grid import n_configs
from whet.space.plain import shortened
from whet.space.space import Space
from whet.text import number

STRATEGIES = (*SAMPLERS, "none")
LATER_STRATEGIES = ("nsga2",)
LATER_SCHEDULERS = ("pbt", "pb2")
DEFAULT_MAX_TRIALS = 1_000
_BY_NUMBER = ("grid", "random", "quasi_random", "none")
_BOHB = ("tpe", "hyperband")  # Falkner et al., BOHB: Robust and Efficient Hyperparameter Optimization at Scale, 2018
_THREE_DECADES = 1_000


@dataclass(frozen=True, slots=True)
class Plan:
    """What will be run.

    Attributes:
        strategy: one of :data:`STRATEGIES`, with its options: ``gp(acquisition='ucb')``.
        n_trials: how many configs to ask for; None where only time or a target ends the study.
        n_points: how many configs the space has, at most where it is too large to be counted; None if no end of them.
        repeats: how often each config is run.
        notices: what the user should know, each once.
    """

    strategy: str
    n_trials: int | None
    n_points: int | None
    repeats: int = 1
    notices: tuple[str, ...] = ()

    @property
    def sampler(self) -> str:
        """The sampler, as `sampler_named` takes it; a sweep of nothing (``none``) is a grid of one point."""
        return "grid" if self.strategy == "none" else self.strategy

    @property
    def heeds_results(self) -> bool:
        """Tell whether what comes of trials matters to which configs come next."""
        return split_options(self.strategy)[0] not in _BY_NUMBER


def known_strategy(text: str) -> str:
    """Return the strategy that *text* means, in whet's own spelling: ``bayes(acquisition=ucb)`` is one of ``gp``.

    Raises:
        UsageError: there is none of that name, or not in this version, or it has no such options.
    """
    try:
        name, options = split_options(text)
    except UsageError as error:
        raise UsageError(f"--strategy {error}") from None
    known = _known("--strategy", plain_name(name), STRATEGIES, LATER_STRATEGIES)
    if options is None:
        return known
    if known == "none":
        raise UsageError(f"--strategy {text}: none passes every value as it is, and has no options")
    try:
        return described(sampler_named(f"{known}({options})"))
    except UsageError as error:
        raise UsageError(f"--strategy {text}: {error}") from None


def known_scheduler(text: str | None) -> Scheduler:
    """Return the scheduler that *text* means; for ``None`` the one that lets every trial run to its end.

    Raises:
        UsageError: there is none of that name, or not in this version, or it has no such options.
    """
    later = [name for name in re.findall(r"\w+", _plain(text or "")) if name in LATER_SCHEDULERS]
    if later:
        raise UsageError(
            f"--scheduler {later[0]} is not available in this version of whet; available: {', '.join(SCHEDULERS)}"
        )
    try:
        return scheduler_from(text)
    except UsageError as error:
        raise UsageError(f"--scheduler: {error}") from None


def known_search(strategy: str | None, scheduler: str | None) -> tuple[str | None, Scheduler]:
    """Return the strategy and the scheduler that were asked for; ``bohb`` stands for one of each.

    Raises:
        UsageError: there is none of that name, or the two do not go together.
    """
    name = "" if strategy is None else _plain(strategy)
    if not re.match(r"bohb\b", name):
        return None if strategy is None else known_strategy(strategy), known_scheduler(scheduler)
    sampler, spender = _BOHB
    if name != "bohb":
        raise UsageError(
            f"--strategy {strategy}: bohb is {sampler} under {spender}; to give one of them options: "
            f'--strategy "{sampler}(...)" --scheduler "{spender}(...)"'
        )
    if scheduler is not None and not re.match(rf"{spender}\b", _plain(scheduler)):
        raise UsageError(
            f"--strategy bohb is {sampler} under {spender}, and --scheduler {scheduler} is another one; leave out "
            f"--scheduler, or ask for --strategy {sampler}"
        )
    return sampler, known_scheduler(scheduler or spender)


def make_plan(
    sweep: Sweep,
    *,
    strategy: str | None = None,
    n_trials: int | None = None,
    max_trials: int = DEFAULT_MAX_TRIALS,
    repeats: int = 1,
    has_objective: bool = False,
    timeout_s: float | None = None,
    target: float | None = None,
    yes: bool = False,
    scheduler: Scheduler | None = None,
) -> Plan:
    """Decide what will be run.

    Args:
        sweep: the program and what varies.
        strategy: as typed; None for the default.
        n_trials: ``--trials``.
        max_trials: how many trials start without being asked for.
        repeats: runs of each config.
        has_objective: whether there is something to make small or large.
        timeout_s: ``--timeout``.
        target: ``--target``.
        yes: ``--yes``, run more than *max_trials*.
        scheduler: who spends the budget; by default every trial runs to its end.

    Raises:
        UsageError: the options do not go together, or do not say when to end; names the remedy.
    """
    _check_counts(n_trials=n_trials, max_trials=max_trials, repeats=repeats)
    if target is not None and not has_objective:
        raise UsageError("--target needs an objective to reach it with, as in --objective val_loss:min")
    n_points = _n_points(sweep.space)
    is_bounded = n_trials is not None or timeout_s is not None or target is not None
    asked = None if strategy is None else known_strategy(strategy)
    chosen = asked or _default_strategy(n_points, max_trials, has_objective, yes and not is_bounded)
    _check_strategy(chosen, sweep, has_objective)
    if not is_bounded:
        _check_end(sweep, n_points, max_trials, yes)
    count, notices = _count(chosen, sweep, n_trials, n_points)
    if asked is None and chosen == "grid" and count != n_points:
        notices.append(f"the first {count:,} of {n_points:,} combinations; --strategy random takes any {count:,}")
    notices += _hints(sweep, spends=not isinstance(scheduler, Fifo | None))
    return Plan(chosen, count, n_points, repeats, tuple(dict.fromkeys(notices)))


def _known(option: str, name: str, built: Sequence[str], later: Sequence[str]) -> str:
    plain = _plain(name)
    if plain in built:
        return plain
    available = ", ".join(built)
    if plain in later:
        raise UsageError(f"{option} {name} is not available in this version of whet; available: {available}")
    near = difflib.get_close_matches(plain, built, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise UsageError(f"{option} {shortened(repr(name))} is unknown{hint} (available: {available})")


def _plain(name: str) -> str:
    return name.strip().lower().replace("-", "_")


def _check_counts(**counts: int | None) -> None:
    for name, count in counts.items():
        if count is not None and count < 1:
            option = {"n_trials": "--trials", "max_trials": "--max-trials"}.get(name, f"--{name}")
            raise UsageError(f"{option}: expected a whole number of at least 1, got {count}")


def _n_points(space: Space) -> int | None:
    """Return how many configs the space has; an upper bound where counting takes too long.

    Raises:
        UsageError: the constraints leave none.
    """
    count = n_configs(space)
    if count == 0:
        rules = "; ".join(map(str, space.forbid))
        raise UsageError(f"all {space.size:,} combinations are excluded by --forbid ({rules}); loosen it")
    return space.size if count is None else count


def _default_strategy(n_points: int | None, max_trials: int, has_objective: bool, runs_all: bool) -> str:
    # whoever says --yes to every combination gets them in order
    if n_points is not None and (n_points <= max_trials or runs_all):
        return "grid"
    return "auto" if has_objective else "random"


def _check_strategy(strategy: str, sweep: Sweep, has_objective: bool) -> None:
    name = split_options(strategy)[0]
    if name not in _BY_NUMBER and not has_objective:
        raise UsageError(
            f"--strategy {name} needs an objective, as in --objective val_loss:min; "
            "without one use --strategy random, quasi_random or grid"
        )
    if strategy == "grid":
        for varied in sweep.varied:
            if sweep.space[varied.key].size is None:
                text = str(varied.argument.value).strip()
                inside = text.removesuffix(")").rstrip(" ,")
                sized = f"{inside}{'' if inside.endswith('(') else ', '}size=5)"
                raise UsageError(
                    f"{varied.argument.flag or varied.key}: a grid needs finitely many values and {text} has no size; "
                    f"give it one, as in {sized}, or use --strategy random --trials 20"
                )


def _check_end(sweep: Sweep, n_points: int | None, max_trials: int, yes: bool) -> None:
    if n_points is None:
        endless = next(varied for varied in sweep.varied if sweep.space[varied.key].size is None)
        call = str(endless.argument.value).strip()
        sized = f"{call[:-1]}{'' if call.endswith('()') else ', '}size=5)"
        raise UsageError(
            f"{endless.argument.flag or endless.key}: there is no end of values in {call}; "
            "say when to end with --trials N, --timeout TIME or --target VALUE, "
            f"or draw a list of values once: {sized}"
        )
    if n_points > max_trials and not yes:
        raise UsageError(
            f"{n_points:,} combinations, and more than {max_trials:,} (--max-trials) do not start by themselves: "
            "run some of them with --trials N, --timeout TIME or --target VALUE, or all of them with --yes"
        )


def _count(strategy: str, sweep: Sweep, n_trials: int | None, n_points: int | None) -> tuple[int | None, list[str]]:
    """Return how many configs to ask for, and why that is not what was asked."""
    if n_points is None or n_trials is None or n_trials <= n_points:
        return (n_points if n_trials is None else n_trials), []
    if not len(sweep.space):
        why = "strategy none passes every value as it is" if strategy == "none" else "no value varies"
        remedy = "" if strategy == "none" else f"; --repeats {n_trials} runs the same command as often"
        return n_points, [f"--trials {n_trials:,}: {why}, so there is 1 trial{remedy}"]
    return n_points, [f"--trials {n_trials:,}: there are only {n_points:,} combinations, so {n_points:,} trials"]


def _hints(sweep: Sweep, *, spends: bool) -> list[str]:
    hints = [hint for varied in sweep.varied if (hint := _decades_hint(varied))]
    if sweep.axis is not None and not spends:
        name = sweep.axis.name if sweep.fidelity is None else sweep.fidelity.argument.flag or sweep.fidelity.key
        high = f", {number(sweep.axis.high)}" if sweep.fidelity is not None else ""
        hints.append(
            f"{name}: without a scheduler every trial goes as far as it can{high}; --scheduler asha ends those that "
            "fall behind"
        )
    return hints + _told_hints(sweep)


def _told_hints(sweep: Sweep) -> list[str]:
    """Return what to know of the numbers that tell the program how far it may go."""
    axis = sweep.axis
    if sweep.fidelity is None or axis is None:
        return []
    name = sweep.fidelity.argument.flag or sweep.fidelity.key
    if axis.is_time:
        return [f"{name}: how far a trial is is measured, from the start of its attempt, whatever steps it prints"]
    if axis.is_integer or not counts_steps(axis, is_passed=True):
        return []
    low, high = math.ceil(axis.low), math.floor(axis.high)
    remedy = f"; if it takes none but whole numbers: {low} and {high}" if low < high else ""
    return [
        f"{name}: {axis.low!r} and {axis.high!r} are not both whole numbers, so the program may be told "
        f"{budget_text(max(axis.low, axis.high / 3), axis)}, say{remedy}"
    ]


def _decades_hint(varied: Varied) -> str | None:
    origin = varied.origin
    if isinstance(origin, Drawn) and origin.name == "uniform":
        low, high = origin.arguments["low"], origin.arguments["high"]
    elif (
        isinstance(origin, Open) and isinstance(origin.domain, Float) and not (origin.domain.log or origin.domain.step)
    ):
        low, high = origin.domain.low, origin.domain.high
    else:
        return None
    if low <= 0 or high / low < _THREE_DECADES:
        return None
    name = varied.argument.flag or varied.key
    return f"{name}: uniform puts nine values in ten above {high / 10:g}; loguniform spreads them from {low:g} on"
