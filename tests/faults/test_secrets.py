"""What of the environment and of the command line is stored and shown: no secret unless it is asked for (issue 7.5)."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

import whet
from tests.cli.studies import call
from whet.cli.redact import redacted

SECRET = "s3cr3t-0f-the-environment"
SHOW = "import os, sys\nprint('loss: 1')\nprint('got', os.environ.get('TOKEN'), os.environ.get('KEPT'), sys.argv[1:])\n"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TOKEN", SECRET)
    monkeypatch.setenv("KEPT", "one")
    (tmp_path / "train.py").write_text(SHOW)
    return tmp_path


def _files_with(text: str, top: Path) -> list[str]:
    return [str(path) for path in top.rglob("*") if path.is_file() and text.encode() in path.read_bytes()]


def _log(here: Path, number: int) -> str:
    return (here / f".whet/s/{number}/stdout.log").read_text()


# ---- the environment
def test_nothing_of_the_environment_is_stored_unasked(here: Path) -> None:
    (here / "silent.py").write_text("import os\nassert os.environ['TOKEN']\nprint('loss: 1')\n")
    call("run", "--name", "s", "--minimize", "loss", "silent.py", "--x", "[1, 2]")

    def fn(config: dict[str, int]) -> float:
        assert os.environ["TOKEN"]
        return 1.0

    whet.tune(fn, {"x": [1, 2]}, name="t", progress=False)
    for command in (("show", "s"), ("export", "s", "--format", "json"), ("doctor",), ("best", "s", "--json")):
        assert SECRET not in call(*command).out
    assert not _files_with(SECRET, here)


def test_what_is_named_is_kept_and_comes_back(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    call(
        "run", "--name", "s", "--minimize", "loss", "--env-keep", "KEPT", "--trials", 1, "train.py", "--x", "[1, 2, 3]"
    )
    assert whet.load("s").ledger.history.settings["run"]["environment"] == {"KEPT": "one"}
    assert f"got {SECRET} one" in _log(here, 0)
    said = call("resume", "s", "--trials", "+1")
    assert "KEPT" not in said.err
    monkeypatch.setenv("KEPT", "two")
    monkeypatch.setenv("TOKEN", "another")
    said = call("resume", "s", "--trials", "+1")
    assert "since s began: KEPT is different in the environment now; trials get it as it was kept" in said.err
    assert "TOKEN" not in said.err
    assert "got another one" in _log(here, 2)


def test_what_was_kept_comes_back_where_it_is_not_set(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "sweep.yaml").write_text(
        "env_keep: [KEPT, HOME]\nscript: train.py\nargs: {x: [1, 2]}\ntrials: 1\nname: s\n"
    )
    call("run", "--config", "sweep.yaml", "--minimize", "loss")
    monkeypatch.delenv("KEPT")
    said = call("resume", "s", "--trials", 2)
    assert "KEPT is different in the environment now" in said.err
    assert "got s3cr3t-0f-the-environment one" in _log(here, 1)


@pytest.mark.parametrize("value", ["", "a=b;\n$(touch owned)\x1b[2J", "\udcff\u202eé" * 100, "x" * 100_000])
def test_any_value_is_kept(value: str, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEPT", value)
    (here / "raw.py").write_text("import os\nopen('got', 'wb').write(os.environb[b'KEPT'])\nprint('loss: 1')\n")
    call("run", "--name", "s", "--minimize", "loss", "--env-keep", "KEPT", "--trials", 1, "raw.py", "--x", "[1, 2]")
    monkeypatch.setenv("KEPT", "other")
    call("resume", "s", "--trials", 2)
    assert (here / "got").read_bytes() == os.fsencode(value)


@pytest.mark.parametrize(
    ("name", "says"),
    [("KEP", "did you mean KEPT?"), ("WHET_TRIAL", "whet's own"), ("", "no such variable"), ("A=B", "no such variable"),
     ("\x1b[2J", "no such variable")],
)  # fmt: skip
def test_what_cannot_be_kept_is_named(name: str, says: str, here: Path) -> None:
    said = call("run", "--env-keep", name, "train.py", "--x", "[1]", expect=2)
    assert says in said.err
    assert "\x1b" not in said.err
    assert not (here / ".whet").exists()


# ---- arguments
@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        ("--api-key=abc --lr 1", "--api-key=*** --lr 1"),
        ("--api-key abc --lr 1", "--api-key *** --lr 1"),
        ("--api_key abc", "--api_key ***"),
        ("--password abc", "--password ***"),
        ("--db.password=abc", "--db.password=***"),
        ("-password abc", "-password ***"),
        ("--aws-secret-access-key abc", "--aws-secret-access-key ***"),
        ("wandb.api_key=abc", "wandb.api_key=***"),
        ("+wandb.token=abc", "+wandb.token=***"),
        ("--token abc", "--token ***"),
        ("--hf-token abc", "--hf-token ***"),
        ("--use-auth-token --lr 1", "--use-auth-token --lr 1"),
        ("--db postgresql://me:abc@host/x?a=b", "--db postgresql://me:***@host/x?a=b"),
        ("https://abc:x@host", "https://abc:***@host"),
        ("postgresql://h/x?a=b&sslpassword=abc&c=d", "postgresql://h/x?a=b&sslpassword=***&c=d"),
        ("--url=https://h/x?api_key=abc&token_count=3#y", "--url=https://h/x?api_key=***&token_count=3#y"),
        # nothing of these is secret
        ("--max-tokens 5 --tokenizer bert --pad-token x", "--max-tokens 5 --tokenizer bert --pad-token x"),
        ("--n-keys 5 --key-dim 3 --keyboard us", "--n-keys 5 --key-dim 3 --keyboard us"),
        ("https://host:80/a@b", "https://host:80/a@b"),
        ("a@b:c", "a@b:c"),
        ("what?password=abc", "what?password=abc"),
    ],
)
def test_which_arguments_are_not_shown(typed: str, shown: str) -> None:
    assert redacted(typed.split()) == shown.split()


def test_a_secret_argument_reaches_the_program_and_nobody_else(here: Path) -> None:
    (here / "quiet.py").write_text(
        "import hashlib, sys\n"
        "print('loss: 1')\n"
        "print(hashlib.sha256(repr(sys.argv[1:3]).encode()).hexdigest())\n"
        "if sys.argv[-1] == '2': sys.exit('it broke')\n"
    )
    typed = ("--api-key", "hunter2hunter2", "--url=https://me:hunter2hunter2@host/")
    shown = [call("run", "--name", "s", "--minimize", "loss", "quiet.py", *typed, "--x", "[1, 2, 3]", expect=1)]
    for command in (
        ("status",), ("status", "--json"), ("status", "s"), ("history",), ("history", "--json"), ("show", "s"),
        ("show", "s/0"), ("show", "s/0", "--json"), ("show", "s", "--json"), ("best", "s"), ("best", "s", "--json"),
        ("explain", "s"), ("export", "s", "--format", "csv"), ("export", "s", "--format", "json"), ("logs", "s/0"),
        ("doctor",), ("resume", "s"),
    ):  # fmt: skip
        shown.append(call(*command))
    for said in shown:
        assert "hunter2" not in said.out + said.err
    assert "--api-key '***'" in shown[1].out + shown[2].out + shown[10].out
    logs = {(here / f".whet/s/{number}/stdout.log").read_text() for number in (0, 1, 2)}
    assert len(logs) == 1  # the same arguments came in the first run and when it was resumed
    stored = json.dumps(whet.load("s").ledger.history.settings["run"]["arguments"])
    assert "hunter2hunter2" in stored  # whet resume needs it


def test_a_password_in_the_place_of_the_store_is_not_shown(here: Path) -> None:
    said = call("run", "--store", "postgresql://me:hunter2hunter2@localhost:1/x", "train.py", "--x", "[1]", expect=None)
    assert said.code != 0
    assert "hunter2" not in said.out + said.err
    said = call("status", "--store", "mysql://me:hunter2hunter2@localhost/x", expect=2)
    assert "hunter2" not in said.out + said.err
