"""F18: bytes that are no text, escapes and surrogates, in output, names and values: kept raw, never shown raw."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import whet
from tests.cli.studies import call
from tests.conftest import Whet

RUDE = b"\x1b]0;owned\x07\x1b[2J\x1b[31m\xff\xfe\x00\x9b2J\r50%\r100%\x08\xe2\x80\xae\xc2\x9b2J\x1bP1$q\x1b\\\xed\xa0\n"
# Whatever begins a command to a terminal, hides text or turns it around; whet's own colours are not among these.
_RAW = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]")
_OWN = re.compile(
    r"\x1b\[[0-9;]*m|\x1b\[\?25[lh]|\x1b\[[0-9]*[AKG]|\x1b\[2K|\x1b\[1A"  # colours, the cursor, a line anew
)
HOSTILE = st.text(
    st.characters(exclude_characters="\0", exclude_categories=[])
    | st.sampled_from("\x1b\x07\x9b\x9d\r\n\u202e'\"[]=,"),
    min_size=1,
    max_size=20,
)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _is_safe(text: str) -> bool:
    return not _RAW.search(text) and "\x1b" not in text


# ---- output
def test_logs_hold_every_byte(here: Path) -> None:
    everything = bytes(range(256)) * 3 + RUDE
    (here / "rude.py").write_text(
        f"import os\nos.write(1, {everything!r})\nos.write(2, {RUDE!r})\nprint('\\nloss: 1')\n"
    )
    said = call("run", "--name", "s", "--minimize", "loss", "rude.py", "--x", "[1]")
    folder = here / ".whet/s/0"
    assert (folder / "stdout.log").read_bytes() == everything + b"\nloss: 1\n"
    assert (folder / "stderr.log").read_bytes() == RUDE
    for command in (("logs", "s/0"), ("show", "s/0"), ("show", "s"), ("status",)):
        shown = call(*command)
        assert _is_safe(shown.out + shown.err + said.out + said.err)
    raw = call("logs", "s/0", "--raw", "--stderr")
    assert raw.err.encode("utf-8", "surrogateescape") == RUDE


def test_the_logs_of_a_function_hold_every_byte(here: Path) -> None:
    def fn(config: dict[str, int]) -> float:
        os.write(1, RUDE)
        os.write(2, RUDE)
        raise ValueError(RUDE.decode("latin-1"))

    study = whet.Study({"x": [1]}, name="f", store=".whet/whet.db")
    study.run(fn, progress=False)
    assert (here / ".whet/f/0/stdout.log").read_bytes() == RUDE
    assert _is_safe(study.trials[0].message)
    assert RUDE in (here / ".whet/f/0/stderr.log").read_bytes()


def test_why_a_trial_failed_is_shown_safely(here: Path) -> None:
    (here / "rude.py").write_text(f"import os\nos.write(2, {RUDE!r} * 30)\nraise SystemExit(3)\n")
    said = call("run", "--name", "s", "--minimize", "loss", "rude.py", "--x", "[1]", expect=3)
    assert _is_safe(said.out + said.err + call("show", "s/0").out + call("show", "s/0", "--json").out)
    assert "100" in said.err


def test_names_of_metrics_are_shown_safely(here: Path) -> None:
    (here / "rude.py").write_text(
        "import json, os\n"
        "with open(os.environ['WHET_METRICS'], 'w') as file:\n"
        "    json.dump({'loss': 1, 'a\\x1b]0;owned\\x07b': 2, '\\u202e\\x9b2J': 3}, file); file.write('\\n')\n"
    )
    shown = call("run", "--name", "s", "rude.py", "--x", "[1, 2]")
    for command in (
        ("show", "s"),
        ("show", "s/0"),
        ("status", "s"),
        ("history",),
        ("best", "s", "--objective", "loss"),
    ):
        told = call(*command)
        assert _is_safe(shown.out + shown.err + told.out + told.err)


# ---- parameters
@pytest.mark.parametrize("value", ["\udcff\udc80", "a\x1b]0;x\x07", "\u202etxt.exe", "\x9b2J", "a\rb", "a\x08\x08b"])
def test_parameters_arrive_as_they_are_and_are_shown_safely(value: str, here: Path) -> None:
    (here / "got.py").write_text(
        "import os, sys\nopen('got', 'wb').write(os.fsencode(sys.argv[2]))\nprint('loss: 1')\n"
    )
    shown = [call("run", "--name", "s", "--minimize", "loss", "got.py", "--x", f"['{value}', 'b']", "--y", "[1]")]
    shown += [call(*words) for words in (("show", "s"), ("show", "s/0"), ("best", "s"), ("history",), ("explain", "s"))]
    shown += [call("run", "--dry-run", "got.py", "--x", f"['{value}', 'b']")]
    assert all(_is_safe(said.out + said.err) for said in shown)
    call("run", "--name", "t", "got.py", "--x", f"['{value}']")
    assert (here / "got").read_bytes() == os.fsencode(value)
    call("export", "s", "--format", "csv", "-o", "out.csv")
    assert os.fsencode(value) in (here / "out.csv").read_bytes() or '"' in (here / "out.csv").read_text("latin-1")


# ---- every command, whatever a study holds
_READERS: tuple[tuple[str, ...], ...] = (
    ("status",),
    ("status", "NAME"),
    ("status", "--json"),
    ("history",),
    ("show", "NAME"),
    ("show", "NAME/0"),
    ("show", "NAME", "--json"),
    ("best", "NAME"),
    ("best", "NAME", "--json"),
    ("explain", "NAME"),
    ("logs", "NAME"),
    ("logs", "NAME/0"),
    ("artifacts", "NAME"),
    ("export", "NAME", "--format", "json"),
    ("resume", "NAME"),
    ("simulate", "NAME"),
    ("doctor",),
    ("delete", "NAME", "--yes"),
)


@settings(max_examples=12, deadline=None)
@given(HOSTILE, HOSTILE, HOSTILE, HOSTILE, HOSTILE)
def test_no_command_passes_anything_on_to_the_terminal(
    tmp_path_factory: pytest.TempPathFactory, name: str, metric: str, value: str, note: str, message: str
) -> None:
    store = tmp_path_factory.mktemp("hostile") / "x.db"
    for name, metric in ((name, metric), (name, "loss"), ("s", metric), ("s", "loss")):  # noqa: B020
        with suppress(whet.errors.UsageError):  # a name that whet does not take
            space = {"x": [value, f"{value}2"]}
            study = whet.Study(space, {metric: "minimize"}, name=name, store=store, sampler="grid")
            break
    first, second = study.ask(2)
    study.tell(first, {metric: 1.0})
    study.fail(second, cause="error", message=message)
    study.annotate(first, {note: note}, note=note)
    study.annotate(attributes={note: message}, note=message)
    folder = next((path for path in store.parent.glob("x.db.whet/*")), store.parent / "none")
    folder.mkdir(parents=True, exist_ok=True)
    with suppress(OSError, ValueError):
        (folder / "0").mkdir(exist_ok=True)
        (folder / "0" / note.replace("/", "")).write_text(message, errors="replace")
    assert _is_safe(repr(study)) and _is_safe(study.explain())
    html = getattr(study, "_repr_html_", lambda: "")() or ""
    assert _is_safe(html) and "<script" not in html
    for command in _READERS:
        words = [word.replace("NAME", name) for word in command]
        assert _is_safe(_called(words, store)), command


def _called(words: list[str], store: Path) -> str:
    options = [word for word in words[1:] if word in ("--json", "--yes", "--format", "json")]
    names = [word for word in words[1:] if word not in options]
    said = call(words[0], "--store", store, *options, "--", *names, expect=None)
    assert "Traceback" not in said.err and "fault of whet" not in said.err, said.err
    return said.out + said.err


# ---- on a terminal
class _Terminal:
    """Runs a command on a terminal and returns the bytes that reach it."""

    def __init__(self, runner: Whet) -> None:
        self._runner = runner

    def __call__(self, *arguments: str) -> bytes:
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            self._runner.argv(*arguments),
            cwd=self._runner.cwd,
            env={**self._runner.env, "TERM": "xterm-256color"},
            stdin=subprocess.DEVNULL,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        try:
            return b"".join(_read(ours, process))
        finally:
            process.wait(30)
            os.close(ours)


def _read(fd: int, process: subprocess.Popen[bytes]) -> Iterator[bytes]:
    while True:
        if select.select([fd], [], [], 0.2)[0]:
            try:
                data = os.read(fd, 65536)
            except OSError:  # the terminal has no other end any more
                return
            if not data:
                return
            yield data
        elif process.poll() is not None:
            return


def test_a_terminal_gets_nothing_but_whets_own(
    whet: Whet, here: Path, write_script: Callable[[str, str], Path]
) -> None:
    # on both outputs, in a metric's name, and as why it failed
    write_script(
        "rude.py",
        f"import os, sys, time\nos.write(1, {RUDE!r})\nprint('loss: 1', flush=True)\n"
        f"os.write(2, {RUDE!r})\ntime.sleep(0.3)\nsys.exit(sys.argv[-1] == 'b')\n",
    )
    terminal = _Terminal(whet)
    value = "['\x1b]0;owned\x07\x9b2J\u202e', 'b']"
    seen = [
        terminal("run", "--name", "s \u202e", "--minimize", "loss", "rude.py", "--x", value),
        terminal("run", "--name", "s", "--minimize", "loss", "rude.py", "--x", value),
        *(terminal(*words) for words in (("show", "s"), ("show", "s/0"), ("logs", "s/0"), ("best", "s"), ("status",))),
        terminal("export", "s", "--format", "csv"),
        terminal("export", "s", "--format", "json"),
        terminal("show", "nobody\x1b]0;owned\x07"),
    ]
    assert b"completed" in seen[1]
    for data in seen:
        text = _OWN.sub("", data.decode("utf-8"))
        assert not _RAW.search(text) and "\x1b" not in text, repr(text)
