"""Scores as text."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fidelities.scores import SHARES, Array, Scored, differences, errors

WIDTH = 44


def table(methods: Mapping[str, Scored]) -> list[str]:
    """Return the lines of the table, least final F first."""
    head = " ".join(f"@{share:<4.0%}" for share in SHARES) + " s.e."
    lines = [
        f"{'':<{WIDTH}} {'H, the config':<24} {'F, the model':<24} {'trials':>6} {'CPU ms':>7} seeds",
        f"{'':<{WIDTH}} {head:<24} {head:<24} {'':>6} {'attempt':>7}",
    ]
    for name, score in sorted(methods.items(), key=lambda item: item[1].f[..., -1].mean()):
        lines.append(
            f"{name:<{WIDTH}} {_cells(score.h):<24} {_cells(score.f):<24} {score.n_trials:>6.0f} {score.cpu_ms:>7.3g} "
            f"{score.n_seeds:>5}"
        )
    return lines


def _cells(regret: Array) -> str:
    last = errors(regret)[-1]
    means = " ".join(_small(float(value)) for value in regret.mean(axis=(0, 1)))
    return f"{means} {'–' if np.isnan(last) else _small(float(last)).strip()}"


def _small(value: float) -> str:
    return f"{f'{value:.3f}'.removeprefix('0') if value < 0.9995 else f'{value:.2f}':<5}"


def intervals(methods: Mapping[str, Scored], against: str) -> list[str]:
    """Return lines with every method's mean minus that of *against*, and the 95 % interval of the difference."""
    if len(methods) == 1:
        return []
    base = methods[against]
    lines = [f"difference to {against} (above 0: worse), 95 % paired bootstrap over tasks and seeds"]
    heads = [f"{what} @{share:.0%}" for what in "HF" for share in SHARES]
    lines.append(f"{'':<{WIDTH}} " + " ".join(f"{head:<23}" for head in heads).rstrip())
    for name, score in methods.items():
        if name != against:
            found = [*differences(score.h, base.h), *differences(score.f, base.f)]
            cells = ("{:+.3f} [{:+.3f}, {:+.3f}]".format(*one) for one in found)
            lines.append(f"{name:<{WIDTH}} " + " ".join(f"{cell:<23}" for cell in cells).rstrip())
    return lines


def by_task(methods: Mapping[str, Scored], tasks: list[str]) -> list[str]:
    """Return lines with the final H / F of every method on every task."""
    lines = [f"{'H / F @100% by task':<{WIDTH}} " + " ".join(f"{task.split('/')[1]:<11}" for task in tasks).rstrip()]
    for name, score in methods.items():
        pairs = zip(score.h[..., -1].mean(axis=1), score.f[..., -1].mean(axis=1), strict=True)
        cells = (f"{_small(h).strip()} / {_small(f).strip()}" for h, f in pairs)
        lines.append(f"{name:<{WIDTH}} " + " ".join(f"{cell:<11}" for cell in cells).rstrip())
    return lines
