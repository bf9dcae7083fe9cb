"""Does a study survive? kill -9 of the coordinator at random moments, and stops of trials with runaway grandchildren.

python benchmarks/kill.py [--kills 50] [--stops 20]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path

from measuring import ENVIRONMENT, WHET, empty_folder, show

N_TRIALS = 12
SLEEPER = """
import argparse, pathlib, time
parser = argparse.ArgumentParser()
parser.add_argument("--x", type=float)
parser.add_argument("--log")
options = parser.parse_args()
time.sleep(0.03)
print("loss:", options.x)
"""
# A grandchild that leaves the session and ignores SIGTERM, and one that is forked twice.
RUNAWAY = """
import os, signal, sys, time
marker = sys.argv[1]
for twice in (False, True):
    if os.fork() == 0:
        os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if twice and os.fork():
            os._exit(0)
        os.execvp("sleep", ["sleep", marker])
time.sleep(600)
"""


def start(folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*WHET, *arguments], cwd=folder, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )


def export(folder: Path) -> list[dict[str, object]]:
    argv = [*WHET, "export", "victim", "--format", "json"]
    done = subprocess.run(argv, cwd=folder, env=ENVIRONMENT, capture_output=True)
    return json.loads(done.stdout) if done.returncode == 0 else []


def killed_study(draw: random.Random) -> tuple[int, int, int, int]:
    """Kill one study again and again until it is done; return kills, and trials lost, doubled and changed."""
    run = ["run", "--strategy", "random", "--trials", str(N_TRIALS), "--seed", "7", "--workers", "2"]
    run += ["--objective", "loss:min", "--name", "victim", "train.py", "--x", "uniform(0, 1)"]
    with empty_folder() as folder:
        (folder / "train.py").write_text(SLEEPER)
        start(folder, *run, "--log", "never-killed").wait()
        expected = {trial["number"]: trial["config"] for trial in export(folder)}
    with empty_folder() as folder:
        (folder / "train.py").write_text(SLEEPER)
        n_kills, arguments = 0, [*run, "--log", "killed"]
        while True:
            process = start(folder, *arguments)
            try:
                process.wait(draw.uniform(0.2, 1.6))
                break
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.wait()
                n_kills += 1
            arguments = ["resume", "victim"] if export(folder) or n_kills > 1 else arguments
            if not (folder / ".whet").exists() or b"no study" in (process.stderr.read() if process.stderr else b""):
                arguments = [*run, "--log", "killed"]
        trials = export(folder)
    numbers = [trial["number"] for trial in trials]
    done = {trial["number"]: trial["config"] for trial in trials if trial["state"] == "completed"}
    lost = len(set(expected) - set(done))
    doubled = len(numbers) - len(set(numbers)) + max(0, len(numbers) - N_TRIALS)
    changed = sum(done.get(number) != config for number, config in expected.items() if number in done)
    return n_kills, lost, doubled, changed


def survivors_of_stop(seconds: str) -> int:
    """Start a trial with runaway grandchildren, stop the study, and count what is left of them."""
    with empty_folder() as folder:
        (folder / "train.py").write_text(RUNAWAY)
        process = start(folder, "run", "--grace", "1", "--name", "victim", "train.py", seconds)
        deadline = time.monotonic() + 20
        while count(seconds) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert count(seconds) == 2, "the grandchildren did not start"
        subprocess.run([*WHET, "stop", "victim"], cwd=folder, env=ENVIRONMENT, check=True, capture_output=True)
        process.wait()
        return count(seconds)


def count(seconds: str) -> int:
    """Count the processes ``sleep <seconds>``."""
    wanted = f"sleep\0{seconds}\0".encode()
    n = 0
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            n += path.read_bytes() == wanted
        except OSError:
            continue
    return n


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--stops", type=int, default=20)
    options = parser.parse_args()
    draw = random.Random(0)
    kills = lost = doubled = changed = 0
    while kills < options.kills:
        outcome = killed_study(draw)
        kills, lost, doubled, changed = (a + b for a, b in zip((kills, lost, doubled, changed), outcome, strict=True))
    left = sum(survivors_of_stop(f"{600 + i}.{os.getpid()}") for i in range(options.stops))
    show(
        "kills and stops",
        {
            "kill -9 of the coordinator": kills,
            "trials lost (target 0)": lost,
            "trials doubled (target 0)": doubled,
            "trials with other parameters (target 0)": changed,
            "stops with runaway grandchildren": options.stops,
            "survivors (target 0)": left,
        },
    )


if __name__ == "__main__":
    main()
