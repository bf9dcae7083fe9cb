"""What whet writes can be read by its owner alone, whatever the umask, and no link leads it astray (issue 7.5)."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import whet
from tests.cli.studies import call
from tests.conftest import Whet
from whet.private import make_folder, open_file

SCRIPT = """
import os, sys
print("loss: 1", file=sys.stdout, flush=True)
print("words", file=sys.stderr, flush=True)
with open(os.environ["WHET_METRICS"], "a") as file:
    file.write('{"loss": 0.5}\\n')
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working directory, where everybody may read everything that is made, unless somebody sees to it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text(SCRIPT)
    before = os.umask(0)
    yield tmp_path
    os.umask(before)


def _open_to_others(top: Path) -> dict[str, str]:
    """Return the entries at and below *top* that another user could read, write or enter, with their modes."""
    found = {}
    for path in (top, *top.rglob("*")):
        status = path.lstat()
        if not stat.S_ISLNK(status.st_mode) and status.st_mode & 0o077:
            found[str(path.relative_to(top.parent))] = stat.filemode(status.st_mode)
    return found


def _made_by_programs(found: dict[str, str]) -> dict[str, str]:
    """Leave out what the trial's own program has made, in a folder that nobody else may enter."""
    return {name: mode for name, mode in found.items() if not name.endswith("metrics.in.jsonl")}


def test_what_a_sweep_leaves_is_its_owners(here: Path) -> None:
    call("run", "--name", "s", "--minimize", "loss", "--log-cap", "10", "--chdir", "train.py", "--x", "[1, 2]")
    call("export", "s", "--format", "csv", "-o", "out.csv")
    assert (here / ".whet/s/0/stdout.log").exists() and (here / ".whet/s/0/metrics.jsonl").exists()
    assert not _made_by_programs(_open_to_others(here / ".whet"))
    assert stat.S_IMODE((here / "out.csv").stat().st_mode) == 0o600
    (here / ".whet/s/0/model.bin").write_bytes(b"x")
    (here / ".whet/s/0/model.bin").chmod(0o666)
    call("artifacts", "s/0", "--copy-to", "copies")
    assert not _open_to_others(here / "copies")


def test_an_export_that_is_shared_stays_so(here: Path) -> None:
    call("run", "--name", "s", "--minimize", "loss", "train.py", "--x", "[1]")
    call("export", "s", "--format", "csv", "-o", "out.csv")
    (here / "out.csv").chmod(0o664)
    call("export", "s", "--format", "json", "-o", "out.csv", "--force")
    assert stat.S_IMODE((here / "out.csv").stat().st_mode) == 0o664
    assert json.loads((here / "out.csv").read_text())[0]["number"] == 0


@pytest.mark.parametrize("executor", ["processes", "inline"])
def test_what_a_tuned_function_leaves_is_its_owners(executor: str, here: Path) -> None:
    def fn(config: dict[str, int], trial: whet.LiveTrial) -> float:
        print("words", flush=True)
        checkpoint = trial.dir.parent / f"saved-{trial.number}"
        checkpoint.write_text("x")
        trial.save_checkpoint(checkpoint)
        checkpoint.unlink()
        trial.report(1.0, step=1)
        return float(config["x"])

    whet.tune(fn, {"x": [1, 2]}, name="f", store="own/studies.db", executor=executor, progress=False)
    found = _open_to_others(here / "own")
    assert (here / "own/studies.db.whet/f/0").is_dir()
    assert not {name: mode for name, mode in found.items() if "checkpoint/" not in name}


def test_a_folder_for_a_while_is_its_owners(here: Path) -> None:
    def fn(config: dict[str, int], trial: whet.LiveTrial) -> float:
        return float(trial.dir.stat().st_mode & 0o077) + float(trial.dir.parent.stat().st_mode & 0o077)

    assert whet.tune(fn, {"x": [1]}, progress=False).best_value == 0.0


def test_reports_of_a_script_are_its_owners(whet: Whet, here: Path) -> None:
    (here / "report.py").write_text("import whet\nwhet.report(1, loss=0.5)\n")
    whet("run", "--name", "r", "--minimize", "loss", "report.py", env={"PYTHONPATH": os.pathsep.join(sys.path)})
    path = here / ".whet/r/0/metrics.in.jsonl"
    assert json.loads(path.read_text().splitlines()[0])["loss"] == 0.5
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux: it reads /proc")
def test_nobody_else_can_talk_to_the_processes_beside_trials(here: Path) -> None:
    """They are connected by pairs of sockets without a name, and the function lies in a file without one."""

    def fn(config: dict[str, int]) -> float:
        links = [link for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
        mine = {os.readlink(link) for link in links}  # noqa: PTH115
        assert any(name.startswith("socket:") for name in mine)
        # of /proc/net/unix: the inode is the seventh field, and the eighth is there where the socket has a name
        fields = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()[1:]]
        return float(sum(f"socket:[{each[6]}]" in mine for each in fields if len(each) > 7))

    assert whet.tune(fn, {"x": [1]}, progress=False).best_value == 0.0


# ---- links
def test_a_trial_folder_that_leads_elsewhere_is_refused(here: Path) -> None:
    (here / "elsewhere").mkdir()
    (here / "elsewhere/stdout.log").write_text("precious")
    (here / ".whet/s").mkdir(parents=True)
    (here / ".whet/s/0").symlink_to(here / "elsewhere")
    said = call("run", "--name", "s", "--minimize", "loss", "train.py", "--x", "[1, 2]", expect=1)
    assert "it is a link; remove it" in said.err
    assert [path.name for path in (here / "elsewhere").iterdir()] == ["stdout.log"]
    assert (here / "elsewhere/stdout.log").read_text() == "precious"
    assert "1 completed, 1 failed" in said.out


@pytest.mark.parametrize("name", ["stdout.log", "stderr.log", "metrics.jsonl", "stdout.log.part", "metrics.in.jsonl"])
@pytest.mark.parametrize("kind", ["link", "broken link", "pipe", "folder"])
def test_what_lies_in_the_place_of_a_log_is_not_written_to(name: str, kind: str, here: Path) -> None:
    (here / "precious").write_text("precious")
    folder = here / ".whet/s/0"
    folder.mkdir(parents=True)
    target = here / ("precious" if kind == "link" else "nowhere")
    if kind.endswith("link"):
        (folder / name).symlink_to(target)
    elif kind == "pipe":
        os.mkfifo(folder / name)
    else:
        (folder / name).mkdir()
    (here / "plain.py").write_text("print('loss: 1')\n" + "print('x' * 100)\n" * 10)
    call("run", "--name", "s", "--minimize", "loss", "--log-cap", "100", "plain.py", "--x", "[1]", expect=None)
    assert (here / "precious").read_text() == "precious"
    assert not (here / "nowhere").exists()


def test_a_link_that_appears_while_a_trial_runs_is_not_written_to(here: Path) -> None:
    (here / "swap.py").write_text(
        "import os\n"
        "folder = os.environ['WHET_TRIAL_DIR']\n"
        "print('loss: 1', flush=True)\n"
        "for name in ('stdout.log', 'stderr.log', 'metrics.jsonl', 'stdout.log.part'):\n"
        "    path = os.path.join(folder, name)\n"
        "    if os.path.lexists(path): os.unlink(path)\n"
        "    os.symlink(os.path.abspath('precious'), path)\n"
        "for i in range(1000): print(f'epoch {i}: loss: {i}', flush=True)\n"
    )
    (here / "precious").write_text("precious")
    call("run", "--name", "s", "--minimize", "loss", "--log-cap", "100", "swap.py", "--x", "[1]", expect=None)
    assert (here / "precious").read_text() == "precious"


@pytest.mark.root
@pytest.mark.parametrize("link", [".whet", ".whet/s"])
def test_a_link_of_another_user_is_not_followed(link: str, here: Path) -> None:
    (here / "theirs").mkdir()
    (here / link).parent.mkdir(exist_ok=True)
    (here / link).symlink_to(here / "theirs")
    os.lchown(here / link, 12345, 12345)
    said = call("run", "--name", "s", "--store", "own.db", "train.py", "--x", "[1]", expect=None)
    assert said.code == 0  # its folder is own.db.whet
    said = call("run", "--name", "s", "--minimize", "loss", "train.py", "--x", "[1]", expect=None)
    assert said.code != 0
    assert "a link that another user has made" in said.err
    assert not list((here / "theirs").glob("**/stdout.log"))


def test_a_link_of_ones_own_is_followed(here: Path) -> None:
    (here / "large disk").mkdir()
    (here / ".whet").symlink_to(here / "large disk")
    call("run", "--name", "s", "--minimize", "loss", "train.py", "--x", "[1]")
    assert list((here / "large disk").glob("**/s/0/stdout.log"))


def test_folders_that_are_there_are_left_as_they_are(here: Path) -> None:
    (here / "a").mkdir(mode=0o755)
    make_folder(here / "a/b/c")
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (here / "a", here / "a/b", here / "a/b/c")]
    assert modes == [0o755, 0o700, 0o700]
    make_folder(here / "a/b/c")
    (here / "file").write_text("")
    for path in (here / "file", here / "file/x"):
        with pytest.raises(OSError):
            make_folder(path)


def test_a_link_is_no_file_to_write_to(here: Path) -> None:
    (here / "link").symlink_to("target")
    with pytest.raises(OSError):
        open_file(here / "link", os.O_WRONLY)
    assert not (here / "target").exists()


def test_a_strict_umask_is_heeded(here: Path) -> None:
    os.umask(0o777 & ~0o700)
    call("run", "--name", "s", "--minimize", "loss", "train.py", "--x", "[1]")
    done = subprocess.run(["find", ".whet", "-perm", "/077"], capture_output=True, text=True, check=True, cwd=here)
    assert done.stdout == ""
