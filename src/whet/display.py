"""A study in a few lines, for the interpreter's prompt, and as a short table, for notebooks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from typing import Any

from whet.core.history import History
from whet.core.trial import State, Trial
from whet.describe import config_text, counts_text, leader_text, why_no_best
from whet.text import counted, number, one_line

_MOST_PARAMETERS = 8  # of a config, one a line; the rest is counted
_MOST_COLUMNS = 12  # of a table's parameters, and of its metrics
_WIDEST = 60  # characters of a name or a value


def top_numbers(history: History, n: int = 5) -> list[int]:
    """Return the numbers of the *n* best trials, best first, or of the last *n* completed where none is the best."""
    if len(history.problem.objectives) == 1:
        return [number for number, _ in history.means()[:n]]
    completed = (row.number for row in reversed(history.finished) if row.state is State.COMPLETED)
    return [number for number, _ in zip(completed, range(n), strict=False)]


def text_of(history: History, name: str, best: Trial | None) -> str:
    """Return a study in at most a dozen lines: what it seeks, how far it is, and its *best* trial."""
    lines = [
        f"Study {one_line(name, _WIDEST)!r}: {_aim(history)}",
        f"  {counts_text(history)}",
        f"  {_best(history, best)}",
    ]
    config = dict(best.config or {}) if best is not None else {}
    lines += [f"    {parameter}: {value}" for parameter, value in _shown(list(config.items())[:_MOST_PARAMETERS])]
    if len(config) > _MOST_PARAMETERS:
        lines.append(f"    and {counted(len(config) - _MOST_PARAMETERS, 'more parameter')}")
    return "\n".join(lines)


def html_of(history: History, name: str, best: Trial | None, top: Sequence[Trial]) -> str:
    """Return a study as HTML: what `text_of` says, and a table of the trials *top*; see `top_numbers`.

    All that is not ours is escaped. Colours and fonts are those of the page, so a dark one stays dark.
    """
    header = f"<strong>{_cell(name)}</strong>: {_cell(_aim(history), 200)}; {_cell(counts_text(history), 200)}"
    lines = [header, _cell(_best(history, best), 200)]
    if best is not None and best.config:
        lines.append(f"<code>{escape(config_text(best.config, 300))}</code>")
    shown = "".join(f"<div>{line}</div>" for line in lines)
    return f"<div>{shown}{_table(history, top)}</div>" if top else f"<div>{shown}</div>"


def _aim(history: History) -> str:
    """Return what the study seeks: ``minimize val_loss``, and its constraints."""
    problem = history.problem
    aims = [f"{objective.direction} {one_line(objective.name, _WIDEST)}" for objective in problem.objectives[:4]]
    if len(problem.objectives) > len(aims):
        aims.append(f"{len(problem.objectives) - len(aims)} more")
    text = ", ".join(aims) or "no objective"
    bounds = [f"{one_line(c.name, _WIDEST)} {c.relation} {number(c.bound)}" for c in problem.constraints[:4]]
    more = [f"{len(problem.constraints) - len(bounds)} more"] if len(problem.constraints) > len(bounds) else []
    return f"{text} with {', '.join(bounds + more)}" if bounds else text


def _best(history: History, best: Trial | None) -> str:
    leader = history.leader() if best is not None else None
    return why_no_best(history) if leader is None else f"best {leader_text(history, leader)}"


def _shown(items: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, str]]:
    return ((one_line(str(name), _WIDEST), _value(value)) for name, value in items)


def _value(value: Any) -> str:
    """Return a value of a config as it would be typed, floats in a few digits."""
    return number(value) if isinstance(value, float) else one_line(repr(value), _WIDEST)


def _table(history: History, trials: Sequence[Trial]) -> str:
    """Return *trials* as a table: their numbers, values and configs."""
    metrics = _names((trial.values for trial in trials), history.problem.metrics)
    parameters = _names((trial.config or {} for trial in trials), history.problem.space)
    head = "".join(f'<th scope="col">{_cell(name)}</th>' for name in ("trial", *metrics, *parameters))
    rows = []
    for trial in trials:
        config = trial.config or {}
        values = (number(trial.values[name]) if name in trial.values else "" for name in metrics)
        cells = [str(trial.number), *values, *(_value(config[name]) if name in config else "" for name in parameters)]
        rows.append(f"<tr>{''.join(f'<td>{_cell(cell)}</td>' for cell in cells)}</tr>")
    caption = "best trials" if len(history.problem.objectives) == 1 else "last completed trials"
    return f"<table><caption>{caption}</caption><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _names(mappings: Iterable[Mapping[str, Any]], first: Iterable[str]) -> list[str]:
    """Return the names that occur, those of *first* before others; of very many the first ones."""
    occurring = dict.fromkeys(name for mapping in mappings for name in mapping)
    ordered = [*(name for name in first if name in occurring), *occurring]
    return list(dict.fromkeys(ordered))[:_MOST_COLUMNS]


def _cell(text: str, width: int = _WIDEST) -> str:
    return escape(one_line(text, width))
