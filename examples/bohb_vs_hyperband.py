"""BOHB against plain Hyperband: the same early stopping, with configs by a model instead of by chance.

Both tune a small network on scikit-learn's digits, with the epochs as budget: many configs get one epoch, the best
third of them three, and the best third of these nine. A trial that goes on takes up its network where it was. Four
seeds, or as many as are given, take a few seconds each::

    pip install whet scikit-learn
    python bohb_vs_hyperband.py
    python bohb_vs_hyperband.py 12
"""

from __future__ import annotations

import statistics
import sys
from typing import Any

import numpy as np
from sklearn.datasets import load_digits
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

import whet

SPACE = {
    "learning_rate": (1e-5, 1e1, "log"),
    "alpha": (1e-6, 1e1, "log"),
    "units": (4, 64, "log"),
    "batch_size": (16, 256, "log"),
    "momentum": (0.0, 0.99),
    "activation": ["relu", "tanh", "logistic"],
}
EPOCHS = (1, 9)
N_TRIALS = 68  # four rounds of all three brackets
METHODS = {"Hyperband": "random", "BOHB": "tpe"}

images, digits = load_digits(return_X_y=True)
TRAIN_X, VAL_X, TRAIN_Y, VAL_Y = train_test_split(
    images / 16.0, digits, train_size=400, test_size=600, random_state=0, stratify=digits
)


class Training:
    """Networks that are trained in parts: each trial's is kept for when it goes on."""

    def __init__(self) -> None:
        self._networks: dict[int, MLPClassifier] = {}
        self.epochs = 0

    def __call__(self, config: dict[str, Any], trial: whet.LiveTrial) -> None:
        """Train up to the budget of *trial*, and report the loss on the validation set after each epoch."""
        network, done = self._networks.get(trial.number), 0
        if network is None:
            network = self._networks[trial.number] = MLPClassifier(
                (config["units"],),
                activation=config["activation"],
                solver="sgd",
                learning_rate_init=config["learning_rate"],
                alpha=config["alpha"],
                batch_size=config["batch_size"],
                momentum=config["momentum"],
                random_state=0,
            )
        else:
            done = round(network.t_ / len(TRAIN_X))  # samples seen
        for epoch in range(done + 1, int(trial.budget or EPOCHS[1]) + 1):
            network.partial_fit(TRAIN_X, TRAIN_Y, classes=np.arange(10))
            self.epochs += 1
            trial.report(log_loss(VAL_Y, network.predict_proba(VAL_X)), epoch)


def search(sampler: str, seed: int) -> tuple[float, int]:
    """Return the best loss after a whole training, and how many epochs were trained for it."""
    training = Training()
    study = whet.tune(
        training,
        SPACE,
        fidelity={"epochs": EPOCHS},
        scheduler="hyperband",
        sampler=sampler,
        n_trials=N_TRIALS,
        seed=seed,
        executor="inline",
        progress=False,
    )
    return study.best_value, training.epochs


def main() -> None:
    seeds = range(int(sys.argv[1]) if len(sys.argv) > 1 else 4)
    found = {name: [search(sampler, seed) for seed in seeds] for name, sampler in METHODS.items()}
    print(f"{'':12}{'validation loss, mean':>24}{'worst':>9}{'epochs':>9}")
    for name, runs in found.items():
        losses, epochs = zip(*runs, strict=True)
        print(f"{name:12}{statistics.mean(losses):24.3f}{max(losses):9.3f}{statistics.mean(epochs):9.0f}")
    n_ahead = sum(bohb[0] < plain[0] for plain, bohb in zip(found["Hyperband"], found["BOHB"], strict=True))
    print(f"BOHB is ahead on {n_ahead} of {len(seeds)} seeds")


if __name__ == "__main__":
    main()
