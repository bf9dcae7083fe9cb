"""The best configs as ``whet best`` prints them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from whet.cli.lookup import CommandLines
from whet.cli.ranking import Reached
from whet.cli.render import distinct_numbers, fields, print_table, say
from whet.cli.view_trial import took_text
from whet.core.problem import Objective
from whet.core.protocols import Store, StudyRecord
from whet.describe import config_text, json_line, trial_name, trial_record
from whet.text import counted, one_line


class BestView:
    """The configs that were found, with their trials, ready to be printed."""

    def __init__(
        self, store: Store, study: StudyRecord, objectives: Sequence[Objective], found: Sequence[Reached]
    ) -> None:
        trials = {trial.number: trial for trial in store.trials(study.id, numbers=[one.number for one in found])}
        # One that has been deleted meanwhile is left out.
        self._pairs = [(one, trials[one.number]) for one in found if one.number in trials]
        self._study, self._objectives = study, objectives
        self._commands = CommandLines(store, study)

    def print_json(self) -> None:
        """Print an object for each."""
        for one, trial in self._pairs:
            repeats: dict[str, Any] = {}
            if self._study.settings.get("repeats", 1) > 1:
                names = [objective.name for objective in self._objectives]
                repeats = {"n_completed": one.n, "means": dict(zip(names, one.means, strict=True))}
                repeats["sds"] = dict(zip(names, one.sds or (None,) * len(names), strict=True))
            say(json_line({**trial_record(trial), **repeats, "command": self._commands.of(trial)}))

    def print_one(self) -> None:
        """Print the first of them, and its command line."""
        one, trial = self._pairs[0]
        values = [
            (name, distinct_numbers([value])[0])
            for name, value in trial.values.items()
            if name != self._objectives[0].name
        ]
        for line in fields(
            [
                ("best", trial_name(self._study.name, trial.number)),
                (one_line(self._objectives[0].name), self._values(0)[0] + _of_repeats(one)),
                ("config", config_text(trial.config or {}, 1000)),
                ("also", config_text(dict(values), 200)),
                ("took", took_text(trial)),
            ]
        ):
            say(line)
        self._print_command()

    def print_top(self) -> None:
        """Print a table, and the first one's command line."""
        header = ("TRIAL", self._objectives[0].name, "CONFIG")
        print_table(header, list(zip(self._numbers(), self._values(0), self._configs(), strict=True)))
        self._print_command()

    def print_front(self, how: str) -> None:
        """Print a table of a Pareto front; *how* says how to see the command line of one."""
        goals = ", ".join(f"{objective.name} ({objective.direction})" for objective in self._objectives)
        n = len(self._pairs)
        say(f"{counted(n, 'trial')} that no other one beats in all of: {one_line(goals)}\n")
        values = [self._values(i) for i in range(len(self._objectives))]
        header = ("TRIAL", *(objective.name for objective in self._objectives), "CONFIG")
        print_table(header, list(zip(self._numbers(), *values, self._configs(), strict=True)))
        say(f"\nthe command line of one of them: {how}")

    def _print_command(self) -> None:
        """Print the first one's command line, on a line of its own and as it is."""
        line = self._commands.of(self._pairs[0][1])
        if line is not None:
            say(f"\n{line}")
        elif self._commands.trouble:
            say(f"\n{self._commands.trouble}")

    def _numbers(self) -> list[str]:
        return [str(one.number) for one, _ in self._pairs]

    def _configs(self) -> Iterator[str]:
        return (config_text(trial.config or {}) for _, trial in self._pairs)

    def _values(self, i: int) -> list[str]:
        """Return the means of objective *i*, with ± and the standard deviation where there are repeats."""
        means = distinct_numbers([one.means[i] for one, _ in self._pairs])
        return [
            text if one.sds is None else f"{text} ± {one.sds[i]:.2g}"
            for text, (one, _) in zip(means, self._pairs, strict=True)
        ]


def _of_repeats(one: Reached) -> str:
    return "" if one.sds is None else f" (mean ± standard deviation of {one.n} repeats)"
