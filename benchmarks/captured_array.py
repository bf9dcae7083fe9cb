"""What a large array costs that the function captures: memory of all processes under whet, beside joblib's.

    python benchmarks/captured_array.py [--megabytes 500] [--trials 20]

Each case runs in a fresh process, while this one adds up, every 20 ms, the proportional share of memory (PSS, of
smaps_rollup) of that process and of all that it started, however they were reparented. Pages of a memfd count once,
mapped or not. What is shown is the highest sum less that of the caller just before, in copies of the array. A sample
during which a process came or went is left out: pages would change hands while they are counted.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from measuring import ENVIRONMENT, show

MARK = "WHET_BENCHMARK_MARK"
SAMPLE_S = 0.02
TRIAL_S = 0.3  # so that trials are seen by several samples
SETTLE_S = 0.5


def work(array, x: float) -> float:
    """Touch every page of *array*, and stay a while."""
    total = float(array.sum())
    time.sleep(TRIAL_S)
    return total * x


def whet_case(array, n_trials: int) -> Callable[[], object]:
    import whet

    space = {"x": (0.0, 1.0)}
    return lambda: (
        whet.tune(
            lambda c: work(array, c["x"]), space, n_trials=n_trials, workers=2, sampler="random", progress=False
        ).best_value
    )


def joblib_case(array, n_trials: int) -> Callable[[], object]:
    import joblib

    return lambda: min(joblib.Parallel(n_jobs=2)(joblib.delayed(work)(array, i / n_trials) for i in range(n_trials)))


def joblib_captured_case(array, n_trials: int) -> Callable[[], object]:
    import joblib

    def objective(x: float) -> float:
        return work(array, x)

    return lambda: min(joblib.Parallel(n_jobs=2)(joblib.delayed(objective)(i / n_trials) for i in range(n_trials)))


CASES = {
    "whet, captured by the function": whet_case,
    "joblib, as an argument (memmapped)": joblib_case,
    "joblib, captured by the function": joblib_captured_case,
}


def act(case: str, megabytes: int, n_trials: int) -> None:
    """Be the caller: make the array, say so, wait for the word, search."""
    import numpy

    array = numpy.random.default_rng(0).random(megabytes * 1_000_000 // 8)
    search = CASES[case](array, n_trials)
    array.sum()
    print("ready", flush=True)
    sys.stdin.readline()
    search()


def family(caller: int, mark: str) -> set[int]:
    """Return *caller*, its descendants, and whoever inherited *mark* in the environment without being one any more."""
    wanted = f"{MARK}={mark}".encode()
    found: set[int] = set()
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            if wanted in (path / "environ").read_bytes().split(b"\0"):
                found.add(int(path.name))
        except OSError:
            continue  # it has ended meanwhile
        children.setdefault(parent, []).append(int(path.name))
    ahead = [caller]
    while ahead:
        found.add(pid := ahead.pop())
        ahead += children.get(pid, [])
    return found


def memory_bytes(pids: set[int]) -> int:
    """Return what *pids* hold together: their PSS, and the pages of their memfds once.

    Raises:
        OSError: one of them has ended.
    """
    private = mapped = 0
    memfds: dict[tuple[int, int], int] = {}
    for pid in pids:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        sizes = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in rollup.splitlines()[1:]}
        private += sizes["Pss"] - sizes["Pss_Shmem"]
        mapped += sizes["Pss_Shmem"]
        for link in Path(f"/proc/{pid}/fd").iterdir():
            if str(link.readlink()).startswith("/memfd:"):
                status = link.stat()
                memfds[status.st_dev, status.st_ino] = status.st_blocks * 512
    return private + max(mapped, sum(memfds.values()))  # a memfd's pages are among the mapped ones once touched


def sample(caller: int, mark: str) -> int | None:
    """Return what the family of *caller* holds, or ``None`` if one came or went meanwhile."""
    before = family(caller, mark)
    try:
        held = memory_bytes(before)
    except OSError:
        return None
    return held if family(caller, mark) == before else None


def measured(case: str, megabytes: int, n_trials: int) -> dict[str, object]:
    mark = uuid.uuid4().hex
    argv = [sys.executable, __file__, "--act", case, "--megabytes", str(megabytes), "--trials", str(n_trials)]
    pipe = subprocess.PIPE
    caller = subprocess.Popen(argv, stdin=pipe, stdout=pipe, text=True, env={**ENVIRONMENT, MARK: mark})
    caller.stdout.readline()
    time.sleep(SETTLE_S)
    before = sample(caller.pid, mark)
    if before is None:
        raise SystemExit(f"{case}: the caller has ended too early")
    caller.stdin.write("go\n")
    caller.stdin.flush()
    began = time.perf_counter()
    sums: list[int] = []
    n_left_out = 0
    while caller.poll() is None:
        held = sample(caller.pid, mark)
        n_left_out += held is None
        sums += [] if held is None else [held]
        time.sleep(SAMPLE_S)
    seconds = time.perf_counter() - began
    if caller.returncode:
        raise SystemExit(f"{case}: ended with {caller.returncode}")
    extra = sorted((held - before) / (megabytes * 1e6) for held in sums)
    return {
        f"{case}, extra memory at most, copies": extra[-1],
        "  in the middle of the run, copies": extra[len(extra) // 2],
        "  seconds": seconds,
        "  samples (left out)": f"{len(sums)} ({n_left_out})",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=500)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--act", choices=CASES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.act:
        act(options.act, options.megabytes, options.trials)
        return
    for case in CASES:
        rows = measured(case, options.megabytes, options.trials)
        target = " (target <= 1.3 copies)" if case.startswith("whet") else ""
        show(f"a captured array of {options.megabytes} MB, {options.trials} trials, 2 workers{target}", rows)


if __name__ == "__main__":
    main()
