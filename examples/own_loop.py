"""Bring your own loop: ask for a trial, report on it, tell its value.

For programs that cannot hand over control, such as an experiment on a bench or a simulation elsewhere. Here it is a
descent along a gradient that whet gives a learning rate and a momentum. Nothing is needed but whet::

    pip install whet
    python own_loop.py
"""

from __future__ import annotations

import whet

STEPS = 50

study = whet.Study(
    {"lr": (1e-4, 1.0, "log"), "momentum": (0.0, 0.95)},
    objective={"loss": "minimize"},
    seed=0,
)
study.enqueue({"lr": 0.01, "momentum": 0.0})  # what was used so far comes first

for _ in range(30):
    trial = study.ask()
    x, y, vx, vy = 3.0, 2.0, 0.0, 0.0
    for step in range(1, STEPS + 1):
        vx = trial.config["momentum"] * vx - trial.config["lr"] * 2 * x
        vy = trial.config["momentum"] * vy - trial.config["lr"] * 20 * y
        x, y = x + vx, y + vy
        loss = x**2 + 10 * y**2
        if step % 10 == 0:
            study.report(trial, {"loss": loss}, step=step)
        if loss > 1e6:
            study.fail(trial, message=f"diverged at step {step}")
            break
    else:
        study.tell(trial, {"loss": loss})

print(study)
