"""Rows on disk: one file of JSON lines for every suite, method and version, so that peers are run once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import quote

from searching.methods import WHET
from searching.running import Row

HERE = Path(__file__).resolve().parent.parent
GIVEN = "given-"  # in front of the name of results that came with the data: three points each, made elsewhere


class Record:
    """Rows of one suite, dataclasses of one *kind* with a `key`.

    Peers' are kept in `peers/`, which is committed; whet's in `.cache/`; or all in *folder*.
    """

    def __init__(self, suite: str, folder: Path | None, kind: type[Any] = Row) -> None:
        self._suite, self._folder, self._kind = suite, folder, kind

    def rows(self, method: str, version: str) -> dict[tuple[object, ...], Any]:
        """Return what is known, by the key of the row; of two rows with one key the later one."""
        path = self._path(method, version)
        if not path.is_file():
            return {}
        try:
            found = [self._kind(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]
        except (ValueError, TypeError) as error:
            raise SystemExit(f"{path} has a line that is no row ({error}); remove the line or the file") from None
        return {row.key: row for row in found}

    def versions(self, method: str) -> list[str]:
        """Return the versions of *method* of which there are rows."""
        before, _, after = self._path(method, "*").name.partition("*")
        found = self._path(method, "*").parent.glob(f"{before}*{after}")
        return sorted(path.name.removeprefix(before).removesuffix(after) for path in found)

    def add(self, row: Any) -> None:
        path = self._path(row.method, row.version)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(row), separators=(",", ":")) + "\n")

    def _path(self, method: str, version: str) -> Path:
        home = self._folder or HERE / (".cache" if method.startswith(WHET) else "peers")
        return home / f"{self._suite}.{quote(method, safe='=,+')}.{version}.jsonl"


def given_rows(data: Path | None, method: str, tasks: Sequence[str]) -> list[Row]:
    """Return the rows of ``given-NAME`` from `peers_dev/NAME.json` of the data folder."""
    name = method.removeprefix(GIVEN)
    path = None if data is None else data / "peers_dev" / f"{name}.json"
    if path is None or not path.is_file():
        raise SystemExit(f"{method} needs --data FOLDER with peers_dev/{name}.json, got {data}")
    rows = [
        Row(method, "given", row["task"], row["seed"], row["n"], 1, [[n, row[f"r{n}"]] for n in (20, 40, 60)], [], "")
        for row in json.loads(path.read_text(encoding="utf-8"))
    ]
    missing = set(tasks) - {row.task for row in rows}
    if missing:
        raise SystemExit(f"{path} has no rows of {', '.join(sorted(missing))}; leave {method} or these tasks out")
    return [row for row in rows if row.task in set(tasks)]
