"""How soon does ASHA reach on a real script what random search ends with? A torch network, `examples/`, unmodified.

    python benchmarks/asha_script.py [--seeds 3] [--trials 12] [--epochs 27] [--strategy random]

For each seed `whet run` trains so many configs to the end, two at a time, and then once more with `--scheduler asha`,
which ends when a trial that was trained to the end is at least as good as the best before. Both have the same two
workers. With the strategy `random` both try the same configs in the same order, so what differs is the scheduler alone;
ASHA is given as much time as random search took, and may try as many configs as fit into it.

What is compared is wall time from the start of the command to the end of that trial, imports included, against all that
random search took, and against when it had its best. It takes about six minutes on two cores that are idle.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from measuring import ENVIRONMENT, WHET, empty_folder, show

SCRIPT = Path(__file__).resolve().parents[1] / "examples" / "torch_cnn_digits.py"
SPACE = {
    "--lr": "loguniform(1e-5, 1)",
    "--width": "int(16, 48)",
    "--dropout": "uniform(0, 0.8)",
    "--weight-decay": "loguniform(1e-6, 1e-1)",
    "--batch-size": "[16, 32, 64, 128]",
}
COMMON = ["--objective", "val_loss:min", "--workers", "2"]


@dataclass(frozen=True)
class Search:
    """What came of one command.

    Attributes:
        took_s: from its start to the end of its last trial.
        ends: of each trial that was trained to the end, when it ended, in seconds from the start, and its loss.
        n_trials: of whatever state.
    """

    took_s: float
    ends: list[tuple[float, float]]
    n_trials: int

    @property
    def best(self) -> float:
        return min((loss for _, loss in self.ends), default=math.inf)

    def reached_s(self, loss: float) -> float:
        """Return when a trial had ended that was as good as *loss*; infinite if none was."""
        return min((end for end, found in self.ends if found <= loss), default=math.inf)


def search(folder: Path, name: str, epochs: str, *options: object) -> Search:
    """Run a search in *folder*."""
    sweep = [word for pair in SPACE.items() for word in pair]
    argv = [*WHET, "run", "--name", name, *COMMON, *map(str, options), SCRIPT, *sweep, "--epochs", epochs]
    began = time.time()
    done = subprocess.run(argv, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{name} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    listed = subprocess.run(
        [*WHET, "export", name, "--format", "json"],
        cwd=folder,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=True,
    )
    trials: list[dict[str, Any]] = json.loads(listed.stdout)
    over = [trial for trial in trials if trial["duration_s"] is not None]
    ends = {trial["number"]: trial["started_at"] + trial["duration_s"] - began for trial in over}
    completed = [trial for trial in over if trial["state"] == "completed"]
    return Search(
        max(ends.values()), [(ends[trial["number"]], trial["values"]["val_loss"]) for trial in completed], len(trials)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="ASHA against random search on a real script")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--trials", type=int, default=12, help="configs that random search trains to the end")
    parser.add_argument("--epochs", type=int, default=27, help="of a whole training")
    parser.add_argument("--strategy", default="random", help="chooses the configs of ASHA's search")
    args = parser.parse_args()
    of_whole, of_best = [], []
    for seed in range(args.seeds):
        with empty_folder() as folder:
            plain = search(
                folder, "plain", str(args.epochs), "--strategy", "random", "--seed", seed, "--trials", args.trials
            )
            limits = ["--trials", 1000, "--timeout", f"{plain.took_s:.1f}", "--target", repr(plain.best)]
            halved = search(
                folder,
                "halved",
                f"budget(1, {args.epochs})",
                *["--strategy", args.strategy, "--seed", seed, "--scheduler", "asha", *limits],
            )
        reached_s = halved.reached_s(plain.best)
        of_whole.append(reached_s / plain.took_s)
        of_best.append(reached_s / plain.reached_s(plain.best))
        show(
            f"seed {seed}",
            {
                "random search: trials": plain.n_trials,
                "random search: best loss": plain.best,
                "random search: when it had its best, s": plain.reached_s(plain.best),
                "random search: took, s": plain.took_s,
                "ASHA: trials": halved.n_trials,
                "ASHA: trained to the end": len(halved.ends),
                "ASHA: best loss": halved.best,
                "ASHA: when it was as good, s": reached_s,
                "ratio to all of random search": of_whole[-1],
            },
        )
    show(
        f"ASHA against random search, two workers, {args.trials} trainings of {args.epochs} epochs",
        {
            "ratio to all of random search, median over seeds (target <= 0.33)": statistics.median(of_whole),
            "ratio to when random search had its best, median over seeds": statistics.median(of_best),
            "all ratios": [round(ratio, 3) for ratio in of_whole],
        },
    )


if __name__ == "__main__":
    main()
