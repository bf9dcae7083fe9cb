"""Data on its way through the shared steps of a pipeline: what is kept is handed out, what is made may be kept."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from scipy import sparse

from whet.sklearn import likeness, packing
from whet.sklearn.kept import Folder, Memory, Prefix

# Keeping must pay: steps quicker than this are run again, and so are those whose outcome is large for their time.
LEAST_S = 0.010
MOST_BYTES_PER_S = 500e6

# Keys of prefixes that are not worth keeping or must not be kept, as seen in this process.
passed_over: set[str] = set()
_MOST_PASSED_OVER = 10_000

ROLES = ("steps", "fit", "test", "train")


def name_of(prefix: Prefix, split: str, role: str) -> str:
    """What an outcome of `prefix` on a split is kept as.

    For the role "fit" it is what the training part becomes while the steps are fitted, for "steps" these steps, and
    for "test" and "train" what the fitted steps make of either part.
    """
    return f"{likeness.digest(prefix.key, split)}-{role}"


class Flow:
    """One way through the first steps: of the training part while they are fitted, or of a part through fitted ones.

    Args:
        store: Where outcomes are kept.
        split: A digest of the split.
        prefixes: Those whose outcomes are found or kept, shortest first.
        role: "fit", "test" or "train".
        inputs: What goes in.
        step: Gives a step by its number, as far as it is fitted.
    """

    def __init__(
        self,
        store: Memory | Folder,
        split: str,
        prefixes: Iterable[Prefix],
        role: str,
        inputs: tuple[Any, ...],
        step: Callable[[int], Any],
    ) -> None:
        self._store = store
        self._split = split
        self._prefixes = {prefix.length: prefix for prefix in prefixes}
        self._role = role
        self._inputs = inputs
        self._step = step
        self._seconds = 0.0
        self._drew = False
        self._outcome: Any = None
        self.kept_steps: packing.Packed | None = None
        # The lengths of the longest prefix whose outcome was found, and of that whose outcome others may have as well.
        self.n_found = self.n_certain = self._find()
        self._has_more = max(self._prefixes, default=0) > self.n_found
        self._before = packing.fingerprint(*inputs) if self._has_more else None

    def _find(self) -> int:
        for length, prefix in sorted(self._prefixes.items(), reverse=True):
            steps = self._store.get(name_of(prefix, self._split, "steps")) if self._role == "fit" else None
            kept = self._store.get(name_of(prefix, self._split, self._role))
            if kept is not None and (steps is not None or self._role != "fit") and self._read(kept):
                self.kept_steps = steps
                return length
        return 0

    def _read(self, kept: packing.Packed) -> bool:
        try:
            self._outcome = kept.value()
        except Exception:  # what cannot be read back is not there
            return False
        return True

    def through(self, i: int, data: Any, make: Callable[[], Any]) -> Any:
        """What step `i` gives for `data`; `make` says how. Nobody looks at what comes before an outcome found."""
        if i + 1 < self.n_found:
            return data
        if i + 1 == self.n_found:
            outcome, self._outcome = self._outcome, None
            return outcome
        if not self._has_more:
            return make()
        random_state, started = _random_state(), time.perf_counter()
        made = make()
        self._seconds += time.perf_counter() - started
        self._drew = self._drew or random_state != _random_state()
        if (prefix := self._prefixes.get(i + 1)) is not None:
            if self._keep(prefix, made):
                self._seconds = 0.0
                self.n_certain = prefix.length
            elif self._role == "fit" and not (self._drew and self._may_be_undisturbed_later(i)):
                _pass_over(prefix)
        return made

    def _may_be_undisturbed_later(self, i: int) -> bool:
        """Whether it was another thread that drew random numbers, for all one can tell from the parameters."""
        return not any(likeness.may_draw(self._step(k)) for k in range(self.n_found, i + 1))

    def _keep(self, prefix: Prefix, made: Any) -> bool:
        """Keep the outcome of `prefix`; whether it may be had by others."""
        if self._drew or self._before is None or self._seconds < LEAST_S or _is_part_of(made, self._inputs[0]):
            return False
        try:
            packed = packing.pack_table(made)
            if packed.n_bytes > self._seconds * MOST_BYTES_PER_S or packing.fingerprint(*self._inputs) != self._before:
                return False
            if self._role == "fit":
                steps = packing.pack_estimators([self._step(k) for k in range(prefix.length)])
                self._store.put(name_of(prefix, self._split, "steps"), steps)
        except packing.Unpackable:
            return False
        self._store.put(name_of(prefix, self._split, self._role), packed)
        return True


def _pass_over(prefix: Prefix) -> None:
    if len(passed_over) >= _MOST_PASSED_OVER:
        passed_over.clear()
    passed_over.add(prefix.key)


def _random_state() -> tuple[Any, ...]:
    """The global states that a step may draw from."""
    _, words, *rest = np.random.get_state()  # noqa: NPY002 - it is the legacy state that steps draw from
    return random.getstate(), np.asarray(words).tobytes(), rest


def _is_part_of(made: Any, given: Any) -> bool:
    """Whether changing `made` in place may change `given`."""
    if made is given:
        return True
    a, b = (value.data if sparse.issparse(value) and hasattr(value, "data") else value for value in (made, given))
    return isinstance(a, np.ndarray) and isinstance(b, np.ndarray) and bool(np.may_share_memory(a, b))
