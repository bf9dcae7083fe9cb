"""What attempts of the executor suite do: as a function, and as a program (``python -m whet.testing.behaviours``)."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from whet.executors.live import LiveTrial
from whet.reporting import report as report_as_script


def behave(config: Mapping[str, Any], report: Callable[[float, Mapping[str, float]], object]) -> dict[str, float]:
    """Do what *config* says, in this order; every key is optional.

    * ``pid_file``: write the process id to that file
    * ``meet``: a directory and a number; go on once that many attempts are there
    * ``rows``: pairs of a step and metrics to report
    * ``sleep_s``: sleep
    * ``fail``: raise a ``RuntimeError`` with this text
    * ``metrics``: return these
    """
    if pid_file := config.get("pid_file"):
        path = Path(pid_file)
        part = path.with_suffix(".part")
        part.write_text(str(os.getpid()), encoding="ascii")
        part.replace(path)
    if meet := config.get("meet"):
        place, n_expected = Path(meet[0]), meet[1]
        (place / str(os.getpid())).touch()
        while len(list(place.iterdir())) < n_expected:
            time.sleep(0.01)
    for step, metrics in config.get("rows", ()):
        report(step, metrics)
    time.sleep(config.get("sleep_s", 0.0))
    if "fail" in config:
        raise RuntimeError(config["fail"])
    return dict(config.get("metrics", {}))


def behave_as_function(trial: LiveTrial) -> dict[str, float]:
    """Do what the config says, and report by `LiveTrial.report`.

    With ``deaf`` in the config, what is decided on a report is not listened to.
    """
    is_deaf = bool(trial.config.get("deaf"))
    return behave(trial.config, lambda step, metrics: trial.report(metrics, step, raises=not is_deaf))


def main() -> None:
    """Behave as the JSON in the first argument says, and report by `whet.report`."""
    metrics = behave(json.loads(sys.argv[1]), lambda step, metrics: report_as_script(step, **metrics))
    if metrics:
        report_as_script(**metrics)


if __name__ == "__main__":
    main()
