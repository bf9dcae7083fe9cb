"""The tests' own machinery: unexpected skips fail in CI, survivors are found."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.architecture.source import ROOT
from tests.conftest import Whet


def _run_pytest(tmp_path: Path, *texts: str, ci: bool) -> subprocess.CompletedProcess[str]:
    """Run pytest on files of these contents."""
    files = [tmp_path / f"test_sample{n}.py" for n in range(len(texts))]
    for file, text in zip(files, texts, strict=True):
        file.write_text(text, encoding="utf-8")
    env = {**os.environ, "CI": "true" if ci else ""}
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "tests.conftest",
            "-p",
            "no:cacheprovider",
            f"--rootdir={tmp_path}",
            *files,
        ],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )


def test_an_unexpected_skip_fails_in_ci_only(tmp_path: Path) -> None:
    texts = [
        "import pytest\ndef test_a(): pytest.skip('nobody expects this')\ndef test_b(): pass",
        "import pytest\npytest.importorskip('no_such_module')\ndef test_a(): pass",
        "import pytest\n@pytest.mark.skip(reason='nobody expects this')\ndef test_a(): pass\ndef test_b(): pass",
    ]
    in_ci = _run_pytest(tmp_path, *texts, ci=True)
    assert in_ci.returncode != 0
    _, found, skips = in_ci.stdout.partition("skips that tests/conftest.py does not expect (an error)")
    assert found
    for n, said in enumerate(["nobody expects this", "could not import 'no_such_module'", "nobody expects this"]):
        assert re.search(rf"^\S*test_sample{n}\.py\S*: .*{said}", skips, re.MULTILINE), skips
    assert _run_pytest(tmp_path, *texts, ci=False).returncode == 0


def test_expected_skips_and_expected_failures_pass_in_ci(tmp_path: Path) -> None:
    text = (
        "import pytest\n"
        "def test_a(): pytest.skip('needs Linux: it looks at /proc')\n"
        "@pytest.mark.xfail\ndef test_b(): assert False\n"
        "def test_c(): pass\n"
    )
    done = _run_pytest(tmp_path, text, ci=True)
    assert done.returncode == 0, done.stdout
    assert "does not expect" not in done.stdout


def test_survivors_are_found_and_ended(whet: Whet) -> None:
    code = "import os, time\nif os.fork() == 0:\n    os.setsid()\n    time.sleep(60)"
    subprocess.run([sys.executable, "-c", code], env=whet.env, check=True)
    assert len(whet.survivors()) == 1
    found = whet.close(patience_s=0.1)
    assert len(found) == 1
    assert "time.sleep(60)" in found[0]
    assert not whet.survivors()
