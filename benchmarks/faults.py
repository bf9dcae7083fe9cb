"""What faults cost: how soon a run ends when it is told to, floods of output, huge grids, many trials.

    python benchmarks/faults.py [--flood-gb 10] [--trials 100000]

The figures of docs/reliability.md that are not those of kill.py, soak.py and postgres_crash.py.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil
from measuring import ENVIRONMENT, WHET, empty_folder, show

_SPACE = {name: list(range(100)) for name in "abcdef"}  # 10^12 points
# Has a child in a session of its own, and ignores what it is told.
STUBBORN = """
import os, signal, sys, time
for name in ("SIGINT", "SIGTERM", "SIGHUP"):
    signal.signal(getattr(signal, name), signal.SIG_IGN if sys.argv[1] == "ignores" else signal.SIG_DFL)
if os.fork() == 0:
    os.setsid()
print("loss: 1", flush=True)
while True:
    time.sleep(600)
"""
FLOOD = """
import os
block = UNIT * (1_000_000 // len(UNIT))
for _ in range(N):
    rest = memoryview(block)
    while rest:
        rest = rest[os.write(1, rest):]
"""


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    return subprocess.Popen([*WHET, *arguments], cwd=folder, env=ENVIRONMENT, stdout=pipe, stderr=pipe, text=True)


def until(condition: Callable[[], object], patience_s: float = 60.0) -> float:
    """Wait for *condition*; return how long that took."""
    began = time.perf_counter()
    while not condition():
        if time.perf_counter() - began > patience_s:
            raise SystemExit("this took too long")
        time.sleep(0.002)
    return time.perf_counter() - began


def started(folder: Path, mode: str, grace: str) -> subprocess.Popen[str]:
    (folder / "fit.py").write_text(STUBBORN)
    process = start(folder, "run", "--name", "s", "--grace", grace, "fit.py", mode, "--x", "[1, 2]")
    until(lambda: b"loss" in b"".join(log.read_bytes() for log in folder.glob(".whet/s/*/stdout.log")))
    return process


def ends(signum: signal.Signals, mode: str, grace: str, n: int = 1) -> tuple[float, float, int]:
    """Send a signal *n* times; return the seconds to the first word and to the end, and how many processes are left."""
    with empty_folder() as folder:
        process = started(folder, mode, grace)
        family = psutil.Process(process.pid).children(recursive=True)
        began = time.perf_counter()
        process.send_signal(signum)
        said = "not yet"
        while "being ended" not in said and process.stderr is not None:
            said = process.stderr.readline()
            assert said, "it ended without a word"
        first_s = time.perf_counter() - began
        for _ in range(n - 1):
            process.send_signal(signum)
        process.communicate(timeout=60)
        end_s = time.perf_counter() - began
        return first_s, end_s, sum(member.is_running() for member in family)


def signals() -> None:
    rows: dict[str, object] = {}
    for label, *how in (
        ("SIGTERM, trials that heed it", signal.SIGTERM, "heeds", "10"),
        ("SIGTERM, trials that ignore it, grace of 1 s", signal.SIGTERM, "ignores", "1"),
        ("SIGHUP, trials that heed it", signal.SIGHUP, "heeds", "10"),
        ("Ctrl-C once, trials that ignore it, grace of 1 s", signal.SIGINT, "ignores", "1"),
        ("Ctrl-C twice, trials that ignore it, grace of 10 min", signal.SIGINT, "ignores", "10m", 2),
    ):
        first_s, end_s, n_left = ends(*how)  # type: ignore[arg-type]
        rows |= {f"{label}: first word, s": first_s, f"{label}: end, s": end_s, f"{label}: processes left": n_left}
    show("Signals to `whet run`", rows)


def store_that_goes() -> None:
    with empty_folder() as folder:
        (folder / "fit.py").write_text("import time\nprint('loss: 1', flush=True)\ntime.sleep(0.2)\n")
        process = start(folder, "run", "--name", "s", "--minimize", "loss", "fit.py", "--x", "range(100)")
        until(lambda: list(folder.glob(".whet/s/1/stdout.log")))
        shutil.rmtree(folder / ".whet")
        began = time.perf_counter()
        _, err = process.communicate(timeout=60)
        took_s = time.perf_counter() - began
    show("Deleted store", {"end of the run, s": took_s, "exit code": process.returncode, "said": err.splitlines()[-1]})


def flood(gb: float, unit: bytes, label: str) -> None:
    with empty_folder() as folder:
        n = int(gb * 1e9) // (1_000_000 // len(unit) * len(unit))
        (folder / "flood.py").write_text(FLOOD.replace("UNIT", repr(unit)).replace("N)", f"{n})"))
        process = start(folder, "run", "--name", "s", "flood.py")
        peak: dict[int, float] = {}
        began = time.perf_counter()
        while process.poll() is None:
            peak |= _peaks(process.pid, peak)
            time.sleep(0.1)
        took_s = time.perf_counter() - began
        size = (folder / ".whet/s/0/stdout.log").stat().st_size
        show(
            f"{gb:g} GB of output, {label}",
            {
                "seconds": took_s,
                "MB/s": gb * 1000 / took_s,
                "peak MiB beside the trial": max(mib for pid, mib in peak.items() if pid != process.pid),
                "peak MiB of who runs the study": peak[process.pid],
                "log, MB": size / 1e6,
                "exit code": process.returncode,
            },
        )


def _peaks(pid: int, known: Mapping[int, float]) -> dict[int, float]:
    """Return the peaks of whet's own processes: who runs the study, and those beside the trial."""
    found = {}
    try:
        family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
        for member in family:
            if "flood.py" not in member.cmdline() or member.pid == pid:
                status = Path(f"/proc/{member.pid}/status").read_text()
                line = next((line for line in status.splitlines() if line.startswith("VmHWM")), "x 0")
                found[member.pid] = max(known.get(member.pid, 0.0), int(line.split()[1]) / 1024)
    except (psutil.Error, OSError):
        return found
    return found


_GRID = """
import sys, time
began = time.perf_counter()
from whet.study import Study
study = Study({space!r}, sampler="grid", seed=1)
study.ask()
print(time.perf_counter() - began)
print(next(int(line.split()[1]) / 1024 for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""
_LOOK = """
import sys, time
from whet.study import load
from whet.storage.open import open_store
def timed(work, n=1):
    began = time.perf_counter()
    for _ in range(n): work()
    return (time.perf_counter() - began) / n
store = open_store("large.db")
(record,) = store.studies("large")
page = timed(lambda: store.trials(record.id, newest_first=True, limit=50), 20)
counts = timed(lambda: store.summary(record.id), 20)
resume = timed(lambda: load("large", store="large.db"))
study = load("large", store="large.db")
best = timed(lambda: study.best, 20)
print(page, counts, resume, best)
print(next(int(line.split()[1]) / 1024 for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def numbers_of(code: str, folder: Path) -> list[float]:
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, env=ENVIRONMENT, capture_output=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr.decode())
    return [float(word) for word in done.stdout.split()]


def grid() -> None:
    with empty_folder() as folder:
        start_s, peak = numbers_of(_GRID.format(space=_SPACE), folder)
    show("Grid of 10^12 points", {"import, study and first config, s": start_s, "peak MiB": peak})


def many(n: int) -> None:
    from whet.core.events import Draft, Kind
    from whet.study import Study

    with empty_folder() as folder:
        path = folder / "large.db"
        made = Study({"lr": (0.0, 1.0)}, {"loss": "minimize"}, sampler="random", seed=1, store=path, name="large")
        store, study, seq = made.ledger.store, made.ledger.study, made.ledger.history.seq
        for begin in range(0, n, 500):
            numbers = range(begin, min(n, begin + 500))
            seq = store.append(study, [], after=seq, reserve=len(numbers), durable=False).events[-1].seq
            drafts = []
            for number in numbers:
                drafts += [
                    Draft(Kind.ASKED, number, {"config": {"lr": number / n}, "group": number}),
                    Draft(Kind.STARTED, number, {"token": f"t{number}", "owner": "h:1:x"}),
                    Draft(Kind.REPORTED, number, {"rows": [[1, 1.0], [2, 0.5]]}, f"t{number}"),
                    Draft(Kind.COMPLETED, number, {"values": {"loss": 1 + abs(number - n // 2)}}, f"t{number}"),
                ]
            seq = store.append(study, drafts, after=seq, durable=False).events[-1].seq
        page_s, counts_s, resume_s, best_s, peak = numbers_of(_LOOK, folder)
        size = sum(file.stat().st_size for file in folder.glob("large.db*"))
    show(
        f"{n:,} trials",
        {
            "page of 50, ms": page_s * 1e3,
            "counts, ms": counts_s * 1e3,
            "best, ms": best_s * 1e3,
            "open and load, s": resume_s,
            "peak MiB": peak,
            "file, MB": size / 1e6,
        },
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flood-gb", type=float, default=10.0)
    parser.add_argument("--trials", type=int, default=100_000)
    given = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    signals()
    store_that_goes()
    grid()
    many(given.trials)
    flood(given.flood_gb, b"no newline ", "one line")
    flood(given.flood_gb, b"a line as programs print them\n", "lines")


if __name__ == "__main__":
    main()
