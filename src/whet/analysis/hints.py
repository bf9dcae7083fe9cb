"""What the trials of a study say about its space, where they say it clearly."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from whet.core.history import History
from whet.space.domain import Categorical, Domain, Float, Int, Ordinal

_MOST_TRIALS = 5_000  # beyond, a hint is not worth the time it takes
_FEWEST_VALUES = 4  # of a parameter, before its end means anything
_FEW_VALUES = 20
_FEWEST_TRIALS = 12  # of a parameter with many values
_N_TOP = 3
_OUTER = 0.2  # of a range
_NEXT_TO = 0.01  # of a range, that are as good as nothing
_FEWEST_PAIRS = 3


def result_hints(history: History) -> list[str]:
    """Return what the completed trials say: an optimum at the edge of its range, parameters that changed nothing."""
    problem = history.problem
    if len(problem.objectives) != 1 or history.n_finished > _MOST_TRIALS or not problem.space.is_encodable:
        return []
    seen = history.observations()
    objective = problem.objectives[0]
    y = objective.sign * seen.values[:, 0]
    is_usable = seen.completed & np.isfinite(y)
    x, y = seen.x[is_usable], y[is_usable]
    if len(y) < _FEWEST_VALUES:
        return []
    if np.all(y == y[0]):
        return [f"{objective.name} was the same in all {len(y)} trials: does the program use its arguments?"]
    dead = [name for k, name in enumerate(problem.space) if _changed_nothing(x, y, k)]
    hints = [f"{name} changed nothing: {objective.name} was exactly the same for each of its values" for name in dead]
    edges = ((name, _edge(domain, x[:, k], y)) for k, (name, domain) in enumerate(problem.space.items()))
    hints += [
        f"the best {name} is at the {'lower' if edge < 0 else 'upper'} end of what was tried; look beyond it, too"
        for name, edge in edges
        if edge and name not in dead
    ]
    return hints


def _changed_nothing(x: NDArray[np.float64], y: NDArray[np.float64], k: int) -> bool:
    """Tell whether trials that differ in parameter *k* alone always gave exactly the same.

    Args:
        x: (n, d) encoded configs.
        y: (n,) values.
        k: column of the parameter.
    """
    others = np.round(np.delete(x, k, axis=1), 12)
    groups: dict[bytes, list[int]] = defaultdict(list)
    for i, row in enumerate(others):
        groups[row.tobytes()].append(i)
    n_pairs = 0
    for rows in groups.values():
        if len(np.unique(x[rows, k])) < 2:
            continue
        if np.any(y[rows] != y[rows[0]]):
            return False
        n_pairs += len(rows) - 1
    return n_pairs >= _FEWEST_PAIRS


def _edge(domain: Domain, u: NDArray[np.float64], y: NDArray[np.float64]) -> int:
    """Return -1 or 1 where the optimum is at the lower or upper end of a parameter, 0 where it is not, or not clearly.

    Of a parameter with few values, the one at the end must be better than the one beside it, and that better than the
    next; of any other, the best three trials must all lie in the outer fifth, and nothing was tried beyond them.

    Args:
        domain: of the parameter.
        u: (n,) its encoded values.
        y: (n,) values to minimise.
    """
    is_active = ~np.isnan(u)
    position = _positions(domain, u[is_active])
    if position is None:
        return 0
    y = y[is_active]
    if domain.size is not None and domain.size <= _FEW_VALUES:
        ranks = np.rint(position * (domain.size - 1)).astype(int)
        best = np.full(domain.size, np.inf)
        np.minimum.at(best, ranks, y)
        if best[0] < best[1] < best[2] < np.inf and best[0] == best.min():
            return -1
        return int(bool(best[-1] < best[-2] < best[-3] < np.inf and best[-1] == best.min()))
    top = position[np.argsort(y, kind="stable")[:_N_TOP]]
    if len(y) < _FEWEST_TRIALS:
        return 0
    if np.all(top <= _OUTER) and top.min() - position.min() <= _NEXT_TO:
        return -1
    return int(bool(np.all(top >= 1 - _OUTER) and position.max() - top.max() <= _NEXT_TO))


def _positions(domain: Domain, u: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Return where encoded values lie between the lower end, 0, and the upper one, 1; ``None`` without such ends."""
    if domain.size is None:
        return u if isinstance(domain, Float) else None
    if domain.size < _FEWEST_VALUES:
        return None
    ranks = np.floor(u * domain.size)
    if isinstance(domain, Categorical):
        if any(isinstance(value, bool) or not isinstance(value, int | float) for value in domain.values):
            return None
        rank_of = np.argsort(np.argsort(domain.values))
        ranks = rank_of[np.minimum(ranks.astype(int), domain.size - 1)]
    elif not isinstance(domain, Int | Float | Ordinal):
        return None
    return np.asarray(ranks / (domain.size - 1), dtype=np.float64)
