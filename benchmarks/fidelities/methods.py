"""The methods by name: ``whet-SAMPLER+SCHEDULER``, ``optuna-SAMPLER[+PRUNER]``, ``syne-BASELINE``."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

from searching.methods import WHET

import whet
from fidelities.clock import Player
from fidelities.optuna_player import OptunaPlayer
from fidelities.playing import WhetPlayer
from fidelities.syne_player import SynePlayer
from fidelities.tasks import CurveTask

OPTUNA, SYNE = "optuna-", "syne-"
PACKAGES = {OPTUNA: "optuna", SYNE: "syne-tune"}


def start(method: str, task: CurveTask, seed: int, n_workers: int) -> Player:
    """Begin a search of *task*."""
    if method.startswith(WHET):
        return WhetPlayer(task, seed, method.removeprefix(WHET))
    if method.startswith(OPTUNA):
        return OptunaPlayer(task, seed, method.removeprefix(OPTUNA), n_workers)
    return SynePlayer(task, seed, method.removeprefix(SYNE))


def version_of(method: str, recorded: Sequence[str]) -> str:
    """Return the version of the package behind *method*; where it is not installed, the last of those *recorded*.

    Raises:
        SystemExit: nobody has that name, or there is neither package nor record; the message says what to install.
    """
    if method.startswith(WHET):
        return whet.__version__
    package = next((package for prefix, package in PACKAGES.items() if method.startswith(prefix)), None)
    if package is None:
        raise SystemExit(f"unknown peer {method!r}: expected optuna-SAMPLER, optuna-SAMPLER+PRUNER or syne-BASELINE")
    try:
        return version(package)
    except PackageNotFoundError:
        if not recorded:
            raise SystemExit(f"{method} needs {package}: pip install -r benchmarks/requirements.txt") from None
        return max(recorded)
