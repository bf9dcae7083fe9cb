"""The template of a sweep: which arguments vary, and the command line that a config of them makes.

Arguments are never rewritten: what does not vary reaches the program byte by byte, in the order in which it was
given, and what varies takes the place of the text it was read from.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from whet.cli.arguments import Argument, flag_key, read_arguments
from whet.cli.budgets import Asked, axis_of, budget_text
from whet.cli.program import Program
from whet.cli.rulecheck import check_varies, never_taken
from whet.core.problem import Fidelity
from whet.errors import UsageError
from whet.space.conditions import match_name, parse_condition
from whet.space.domain import Categorical, Domain
from whet.space.dsl import Budget, Drawn, Listed, Open, Toggle, Value, Verbatim, parse_value
from whet.space.space import Space
from whet.space.values import format_value

PLACEHOLDERS = ("trial_dir", "study", "number", "seed", "budget", "checkpoint_in", "checkpoint_out")
_PLACEHOLDER = re.compile("{(" + "|".join(PLACEHOLDERS) + ")}")


@dataclass(frozen=True, slots=True)
class Varied:
    """An argument that varies: its key in a config and what its value was read as."""

    key: str
    argument: Argument
    value: Listed | Open | Toggle | Budget
    origin: Value

    def render(self, config: Mapping[str, Any], budget: float | None) -> list[str]:
        """Return the arguments for *config*; none for an absent flag."""
        if isinstance(self.value, Budget):
            axis = axis_of(self.key, self.value)
            return self.argument.with_value(budget_text(axis.high if budget is None else budget, axis))
        if self.key not in config:
            return []
        value = config[self.key]
        if isinstance(self.value, Toggle):
            return [self.argument.flag] if value else []
        text = self.value.spell(value) if isinstance(self.value, Listed) else format_value(value)
        return [] if text is None else self.argument.with_value(text)


@dataclass(frozen=True, slots=True)
class Sweep:
    """A program, its arguments and what may vary in them.

    Attributes:
        program: what is started.
        pieces: the arguments in order; a text is passed as it is, placeholders aside.
        space: the parameters in command-line order, with conditions, constraints and zips.
        notices: what the user should know, each once.
        unpassed: how far trials may go, where no argument tells the program.
    """

    program: Program
    pieces: tuple[str | Varied, ...]
    space: Space
    notices: tuple[str, ...] = ()
    unpassed: Fidelity | None = None

    @property
    def varied(self) -> tuple[Varied, ...]:
        """The arguments that vary, the fidelity aside."""
        fidelity = self.fidelity
        return tuple(piece for piece in self.pieces if isinstance(piece, Varied) and piece is not fidelity)

    @property
    def fidelity(self) -> Varied | None:
        """The argument that says how far a trial may go, if there is one."""
        for piece in self.pieces:
            if isinstance(piece, Varied) and isinstance(piece.value, Budget):
                return piece
        return None

    @property
    def axis(self) -> Fidelity | None:
        """How far trials may go, and in what."""
        if self.fidelity is None or not isinstance(self.fidelity.value, Budget):
            return self.unpassed
        return axis_of(self.fidelity.key, self.fidelity.value)

    def has_placeholder(self, *names: str) -> bool:
        """Tell whether a fixed argument holds one of these of :data:`PLACEHOLDERS`."""
        texts = [piece for piece in self.pieces if isinstance(piece, str)]
        return any(f"{{{name}}}" in text for name in names for text in texts)

    def render(
        self,
        config: Mapping[str, Any],
        *,
        budget: float | None = None,
        placeholders: Mapping[str, str] | None = None,
    ) -> list[str]:
        """Return the arguments behind the program for *config*.

        Args:
            config: parameter to value; a parameter that is absent leaves its flag out.
            budget: how far the trial may go; without one as far as there is.
            placeholders: texts for those of :data:`PLACEHOLDERS` that are to be replaced. Only what the user wrote
                as a fixed argument is looked at, never a swept value.
        """
        known = placeholders or {}
        argv: list[str] = []
        for piece in self.pieces:
            if isinstance(piece, Varied):
                argv += piece.render(config, budget)
            else:
                argv.append(_PLACEHOLDER.sub(lambda found: known.get(found[1], found[0]), piece))
        return argv


def read_sweep(
    program: Program,
    arguments: Sequence[str],
    *,
    literal: Collection[str] = (),
    verbatim: bool = False,
    asked: Asked | None = None,
    rng: np.random.Generator | None = None,
    when: Sequence[str] = (),
    forbid: Sequence[str] = (),
    zips: Sequence[str] = (),
) -> Sweep:
    """Read the arguments of *program*.

    Args:
        program: what is started.
        arguments: those behind it, as typed.
        literal: flags whose values are never expanded.
        verbatim: expand nothing at all (the strategy ``none``).
        asked: what ``--fidelity`` asks for.
        rng: draws the distributions that have a size, in command-line order.
        when: conditions, ``momentum: opt == 'sgd'``.
        forbid: expressions that exclude combinations.
        zips: comma-separated lists of parameters that vary together.

    Raises:
        GrammarError: a value does not parse.
        UsageError: an option names nothing that varies, or the parameters make no space.
    """
    reader = _Reader(literal, verbatim, asked, np.random.default_rng() if rng is None else rng)
    for argument in read_arguments(arguments):
        reader.take(argument)
    reader.check_literals()
    reader.add_budget(program.file_name)
    space = reader.space(when, forbid, zips)
    unpassed = None if asked is None else asked.unpassed
    return Sweep(program, tuple(reader.pieces), space, tuple(dict.fromkeys(reader.notices)), unpassed)


class _Reader:
    """What has been read of the arguments so far."""

    def __init__(self, literal: Collection[str], verbatim: bool, asked: Asked | None, rng: np.random.Generator) -> None:
        self._literal = {flag_key(name).replace("_", "-"): name for name in literal}
        self._unmet = dict(self._literal)
        self._verbatim = verbatim
        self._asked = asked
        self._has_budget = False
        self._flags: list[str] = []
        self._rng = rng
        self._n_positional = 0
        self._domains: dict[str, Domain] = {}
        self._names: list[str] = []
        self._fixed: dict[str, str] = {}  # what would be a parameter if its value were a list
        self.pieces: list[str | Varied] = []
        self.notices: list[str] = []

    def take(self, argument: Argument) -> None:
        """Add an argument, as it is or as one that varies."""
        self._flags += [argument.flag] if argument.flag not in ("", "--") else []
        if argument.value is None:
            self._check_has_value(argument)
            self.pieces.append(argument.flag)
            return
        self._n_positional += not argument.flag
        name = flag_key(argument.flag) or f"arg{self._n_positional}"
        self._names.append(name)
        if self._asked is not None and self._asked.is_for(name):
            self._replace(self._asked, name, argument)
            return
        is_literal = self._unmet.pop(name.replace("_", "-"), None) or name.replace("_", "-") in self._literal
        if self._verbatim or is_literal:
            self.pieces += argument.with_value(argument.value)
            return
        value = parse_value(argument.value, flag=argument.flag or name)
        if isinstance(value, Verbatim):
            self.notices += value.notices
            self.pieces += argument.with_value(value.text)
            self._fixed[name] = argument.value
        else:
            self._vary(name, argument, value)

    def _vary(self, name: str, argument: Argument, origin: Listed | Drawn | Open | Toggle | Budget) -> None:
        value = origin.draw(self._rng) if isinstance(origin, Drawn) else origin
        key = self._free(name)
        if isinstance(value, Listed):
            self.notices += value.notices
        if isinstance(value, Budget):
            self._check_only_budget(argument.flag or name)
            self._has_budget = True
        elif isinstance(value, Toggle):
            if not argument.flag.startswith("-"):
                raise UsageError(
                    f"{argument.flag or name}: toggle() needs a flag that begins with a dash, as in --flag"
                )
            self._domains[key] = Categorical((True, False))
        else:
            self._domains[key] = value.domain
        self.pieces.append(Varied(key, argument, value, origin))

    def _check_only_budget(self, name: str) -> None:
        if self._asked is not None:
            raise UsageError(
                f"{name}: budget(low, high) and --fidelity {self._asked.text} both say how far trials go; leave one out"
            )
        if self._has_budget:
            raise UsageError(f"{name}: there is a budget(low, high) already; expected only one")

    def _replace(self, asked: Asked, name: str, argument: Argument) -> None:
        """Put the budget that ``--fidelity`` asks for in the place of a value."""
        what = argument.flag or name
        if self._has_budget:
            raise UsageError(f"--fidelity {asked.text}: {what} is given twice; leave one out")
        value = parse_value(argument.value or "", flag=what)
        if isinstance(value, Budget):
            self._check_only_budget(what)
        if not (isinstance(value, Verbatim) or self._verbatim):
            raise UsageError(
                f"--fidelity {asked.text}: {what} varies ({argument.value}), and it cannot say how far a trial goes as "
                "well; give it one value, or leave --fidelity out"
            )
        self._has_budget = True
        self.pieces.append(Varied(self._free(name), argument, asked.budget, asked.budget))

    def _check_has_value(self, argument: Argument) -> None:
        if self._asked is not None and argument.flag and self._asked.is_for(flag_key(argument.flag)):
            raise UsageError(
                f"--fidelity {self._asked.text}: {argument.flag} has no value whose place the budget could take; "
                "leave the flag out, and it is added with one"
            )

    def add_budget(self, program: str) -> None:
        """Add the argument that ``--fidelity`` asks for, if the program is given none."""
        if self._asked is None or not self._asked.is_passed or self._has_budget:
            return
        argument = self._asked.argument(self._flags)
        key = self._free(flag_key(argument.flag))
        varied = Varied(key, argument, self._asked.budget, self._asked.budget)
        end = self.pieces.index("--") if "--" in self.pieces else len(self.pieces)
        self.pieces.insert(end, varied)
        self.notices.append(f"{argument.flag} is added to the arguments of {program}: how far the trial may go")

    def _free(self, name: str) -> str:
        """Return the key for *name*: itself, or with a number behind it when it is taken."""
        taken = {piece.key for piece in self.pieces if isinstance(piece, Varied)}
        key, n = name, 1
        while key in taken:
            n += 1
            key = f"{name}_{n}"
        return key

    def check_literals(self) -> None:
        """Refuse a ``--literal`` that names no argument.

        Raises:
            UsageError: there is one.
        """
        for name in self._unmet.values():
            known = ", ".join(dict.fromkeys(self._names)) or "none has a value"
            raise UsageError(f"--literal {name}: there is no such argument (arguments: {known})")

    def space(self, when: Sequence[str], forbid: Sequence[str], zips: Sequence[str]) -> Space:
        """Return the space of what varies under the given options."""
        known = list(self._domains)
        for text in when:
            name, condition = _split_when(text)
            self._check_vary("--when", [name, *parse_condition(condition).names])
            key = match_name(name, known, "--when")
            if self._domains[key].when is not None:
                raise UsageError(f"--when {name}: given twice; join the conditions with `and`")
            domain: Any = self._domains[key]
            self._domains[key] = replace(domain, when=condition)
        for text in forbid:
            self._check_vary("--forbid", parse_condition(text).names)
        zipped = [[_unquoted(name) for name in text.split(",")] for text in zips]
        for names in zipped:
            self._check_vary("--zip", names)
        groups = [[match_name(name, known, "--zip") for name in names] for names in zipped]
        space = Space(self._domains, zips=groups, forbid=list(forbid))
        self.notices += never_taken(space)
        return space

    def _check_vary(self, where: str, names: Iterable[str]) -> None:
        for name in names:
            check_varies(name, where, self._domains, self._fixed)


def _split_when(text: str) -> tuple[str, str]:
    quoted = text.strip().startswith("`")
    name, colon, condition = text.strip().lstrip("`").partition("`:" if quoted else ":")
    if not colon or not name.strip() or not condition.strip():
        raise UsageError(f"--when {text!r}: expected NAME: CONDITION, as in \"momentum: opt == 'sgd'\"")
    return name.strip(), condition.strip()


def _unquoted(name: str) -> str:
    return name.strip().removeprefix("`").removesuffix("`")
