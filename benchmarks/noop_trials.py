"""What a trial costs beside its own work: `PYTHON -c pass` under whet and under xargs, two at a time.

    python benchmarks/noop_trials.py [--trials 200] [--rounds 5]

The cost of one more trial is the slope between a short and a long run; what is left is the fixed start-up.
"""

from __future__ import annotations

import argparse

from measuring import PYTHON, WHET, cost_of, empty_folder, in_turn, show

SHORT = 20


def whet_s(n: int) -> float:
    """Return the wall time of *n* no-op trials under whet, store and logs included."""
    with empty_folder() as folder:
        argv = [*WHET, "run", "--quiet", "--workers", "2", "--", PYTHON, "-c", "pass", f"range(0, {n})"]
        return cost_of(argv, cwd=folder).wall_s


def xargs_s(n: int) -> float:
    """Return the wall time of the same commands under xargs."""
    numbers = "\n".join(map(str, range(n)))
    return cost_of(["xargs", "-P2", "-n1", PYTHON, "-c", "pass"], stdin=numbers).wall_s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    n = options.trials
    whet_short, whet_long, xargs_short, xargs_long = in_turn(
        options.rounds, lambda: whet_s(SHORT), lambda: whet_s(n), lambda: xargs_s(SHORT), lambda: xargs_s(n)
    )
    whet_ms = 1e3 * (whet_long - whet_short) / (n - SHORT)
    xargs_ms = 1e3 * (xargs_long - xargs_short) / (n - SHORT)
    rows: dict[str, object] = {
        f"whet, {n} trials, whole command, s": whet_long,
        f"xargs, {n} commands, s": xargs_long,
        "whet, one more trial, ms": whet_ms,
        "xargs, one more command, ms": xargs_ms,
        "ratio a trial (target <= 1.4)": whet_ms / xargs_ms,
        "whet, fixed start-up, s": whet_short - SHORT * whet_ms / 1e3,
    }
    show("no-op trials", rows)


if __name__ == "__main__":
    main()
