"""Scores as text and as a plot."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from searching.running import thirds
from searching.scores import Scored, average_ranks, interval


def table(methods: Mapping[str, Scored]) -> list[str]:
    """Return the lines of the table, best final mean first."""
    n_trials = next(iter(methods.values())).regret.shape[1]
    ranks, ends = average_ranks(methods), thirds(n_trials)
    head = [f"@{n}" for n in ends]
    lines = [
        f"{'':<26} {'mean regret':<20} {'geometric mean':<20} {'log10':>7} {'rank':>5}  {'CPU ms a trial':<20} rows",
        f"{'':<26} {_cells(head, 6)} {_cells(head, 6)} {f'{n_trials // 6}–{n_trials}':>7} {'':>5}  {_cells(head, 6)}",
    ]
    for name, score in sorted(methods.items(), key=lambda item: item[1].regret[:, -1].mean()):
        means = score.at_thirds().mean(axis=0)
        geometric = 10 ** score.log_at_thirds().mean(axis=0)
        over = score.log_over_trials().mean()
        lines.append(
            f"{name:<26} {_cells(map(_small, means), 6)} {_cells(map(_small, geometric), 6)} "
            f"{'–' if np.isnan(over) else f'{over:.3f}':>7} {ranks[name]:>5.2f}  "
            f"{_cells((f'{ms:.3g}' if np.isfinite(ms) else '–' for ms in score.cpu_ms), 6)} {score.n_rows:>4}"
        )
    return lines


def intervals(methods: Mapping[str, Scored], against: str) -> list[str]:
    """Return lines with every method's mean minus that of *against*, and the 95 % interval of the difference."""
    if len(methods) == 1:
        return []
    base, n_trials = methods[against], methods[against].regret.shape[1]
    lines = [f"difference to {against} (above 0: worse), 95 % paired bootstrap over tasks"]
    lines.append(f"{'':<26} " + " ".join(f"{f'mean @{n}':<26}" for n in thirds(n_trials)) + " log10 at the end")
    for name, score in methods.items():
        if name == against:
            continue
        columns = [*(score.at_thirds() - base.at_thirds()).T, score.log10[:, -1] - base.log10[:, -1]]
        shown = ("{:+.3f} [{:+.3f}, {:+.3f}]".format(*interval(column)) for column in columns)
        lines.append(f"{name:<26} " + " ".join(f"{cell:<26}" for cell in shown).rstrip())
    return lines


def _cells(texts: Iterable[str], width: int) -> str:
    return " ".join(f"{text:>{width}}" for text in texts)


def _small(value: float) -> str:
    return f"{value:.3f}"[1:] if 0.0005 <= value < 0.9995 else f"{value:.0e}" if value < 0.0005 else f"{value:.2f}"


def plot(methods: Mapping[str, Scored], title: str, path: Path) -> None:
    """Draw regret over trials, arithmetic and geometric mean over tasks, one line a method."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, panes = plt.subplots(1, 2, figsize=(12, 5), sharex=True, layout="constrained")
    colours = plt.get_cmap("tab10" if len(methods) <= 10 else "tab20").colors
    curves = [
        ("mean over tasks", {name: score.regret.mean(axis=0) for name, score in methods.items()}),
        ("geometric mean over tasks", {name: 10 ** score.log10.mean(axis=0) for name, score in methods.items()}),
    ]
    for pane, (what, by_name) in zip(panes, curves, strict=True):
        for index, (name, curve) in enumerate(by_name.items()):
            known = np.flatnonzero(np.isfinite(curve))
            is_whole = len(known) > 3
            style = {"linewidth": 2.2 if name.startswith("whet-") else 1.3, "color": colours[index % len(colours)]}
            style |= {} if is_whole else {"marker": "o", "linestyle": ":"}
            pane.plot(known + 1, curve[known], label=name, **style)
        pane.set(title=what, xlabel="finished trials", ylabel="normalised regret", yscale="log")
        pane.grid(which="both", alpha=0.25)
    panes[1].legend(fontsize=8)
    figure.suptitle(title)
    figure.savefig(path, dpi=110)
    plt.close(figure)
