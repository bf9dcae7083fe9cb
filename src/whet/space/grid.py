"""The configs of a finite space by number, and a shuffle of as many numbers, both in constant memory."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from typing import Any

from whet.errors import SpaceError
from whet.space.base import in_range
from whet.space.members import members_of
from whet.space.plain import shortened
from whet.space.space import Space

MOST_SKIPPED = 100_000  # points in a row, which takes seconds; a space may have 10^12 and forbid them all
_ROUNDS = 6
# What is not forbidden is counted by walking the grid; past this many points (a quarter of a second) it is not.
_MOST_COUNTED = 10_000


class Grid:
    """Every combination of the values of a finite space, numbered from 0, the first parameter slowest.

    Zipped parameters vary as one. A number whose point is no config of its own has None: it is forbidden, or it
    differs from another only in a parameter that is not active (of those the one with its first value counts).

    In a space with conditions most points may be of the latter kind, too many to skip one by one. Where it has more
    than 100,000 combinations, only those with values of active parameters are numbered, in the same order, unless
    it takes too long to count them; see `members_of`. Up to there every combination has its number: the configs of
    random search depend on them.

    Attributes:
        size: how many numbers there are.
        is_plain: none of them has None.
        is_sparse: there may be very many in a row that have None because of conditions.

    Raises:
        SpaceError: a parameter is not finite.
    """

    __slots__ = ("_judged", "_members", "_sizes", "_space", "is_plain", "is_sparse", "size")

    def __init__(self, space: Space) -> None:
        sizes = []
        for axis in space.axes:
            domain = space[axis[0]]
            if domain.size is None:
                raise SpaceError(
                    f"a grid needs finitely many values for every parameter, {axis[0]} is {shortened(str(domain))}; "
                    "give it a list of values, a step, or (on the command line) a size, or use random search"
                )
            sizes.append(domain.size)
        self._space = space
        self._sizes = sizes
        size = math.prod(sizes)
        may_be_sparse = space.is_conditional and size > MOST_SKIPPED
        self._members = members_of(space) if may_be_sparse else None
        self.size = size if self._members is None else self._members.n
        self.is_sparse = may_be_sparse and self._members is None
        self.is_plain = not space.forbid and (not space.is_conditional or self._members is not None)
        # Parameters that decide what is forbidden: most points of a grid may be, and a walk meets all of them.
        named = {name for condition in space.forbid for name in condition.names}
        self._judged = [(i, name) for i, axis in enumerate(space.axes) for name in axis if name in named]

    def at(self, index: int) -> dict[str, Any] | None:
        """Return config number *index*, or None where this point is no config of its own.

        Raises:
            IndexError: there is no such number.
            ConfigError: a condition cannot be evaluated on the config.
        """
        digits = self._digits(in_range(index, self.size))
        if not self._space.is_conditional:
            judged = {name: self._space[name].value_at(digits[i]) for i, name in self._judged}
            return None if self._space.is_forbidden(judged) else self._config(digits)
        config = self._config(digits)
        if self.is_plain:
            return config
        for axis, digit in zip(self._space.axes, digits, strict=True):
            if digit and not any(name in config for name in axis):
                return None
        return None if self._space.is_forbidden(config) else config

    def _config(self, digits: list[int]) -> dict[str, Any]:
        axes = zip(self._space.axes, digits, strict=True)
        return self._space.active({name: self._space[name].value_at(digit) for axis, digit in axes for name in axis})

    def _digits(self, index: int) -> list[int]:
        """Return for each axis which of its values the point has."""
        if self._members is not None:
            return self._members.digits_at(index)
        digits = []
        for size in reversed(self._sizes):
            index, digit = divmod(index, size)
            digits.append(digit)
        return digits[::-1]

    def index_of(self, config: Mapping[str, Any]) -> int:
        """Return the number of *config*.

        Raises:
            ConfigError: it is not in the space.
        """
        self._space.check(config)
        digits = []
        for axis in self._space.axes:
            name = next((name for name in axis if name in config), None)
            digits.append(0 if name is None else self._space[name].index_of(config[name]))
        if self._members is not None:
            return self._members.number_of(digits)
        index = 0
        for digit, size in zip(digits, self._sizes, strict=True):
            index = index * size + digit
        return index


def n_configs(space: Space) -> int | None:
    """Return how many configs *space* has, ``None`` if their number is endless or takes too long to find out."""
    if space.size is None:
        return None
    grid = Grid(space)
    if grid.is_plain:
        return grid.size
    if not space.forbid and (members := members_of(space)) is not None:
        return members.n
    if grid.size > _MOST_COUNTED:
        return None
    return sum(grid.at(index) is not None for index in range(grid.size))


def permuted(key: int, size: int, i: int) -> int:
    """Return where *i* goes in a shuffle of range(*size*) that *key* chooses, in constant time and memory.

    A Feistel network over pairs of digits (L, R), L below a = ⌈√size⌉ and R below b = ⌈size/a⌉, whose rounds add a
    hash of one digit to the other; results beyond *size* (fewer than a of a·b) are sent through again until they are
    within. Source: Black and Rogaway, Ciphers with Arbitrary Finite Domains (CT-RSA 2002), methods 2 and 3.

    Raises:
        IndexError: *i* is not below *size*.
    """
    in_range(i, size)
    a = math.isqrt(size - 1) + 1
    b = -(-size // a)
    n_bytes = a.bit_length() // 8 + 9  # 64 bits more than a digit needs, so that no digit is favoured
    seeded = hashlib.shake_128(f"{key:x},{size:x}".encode())
    while True:
        left, right = divmod(i, b)
        for number in range(_ROUNDS):
            fixed = left if number % 2 else right
            hashed = seeded.copy()
            hashed.update(f",{number},{fixed:x}".encode())
            noise = int.from_bytes(hashed.digest(n_bytes), "big")
            if number % 2:
                right = (right + noise) % b
            else:
                left = (left + noise) % a
        i = left * b + right
        if i < size:
            return i
