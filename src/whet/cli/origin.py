"""Who began a study, and where: `whet resume` does not run the command of somebody else's study unasked."""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from whet.storage.places import database_file


@dataclass(frozen=True, slots=True)
class Origin:
    """By which user, and in which store, a command was written down.

    Attributes:
        user: name and number of the user, ``alice (1000)``; empty: not known.
        store: the database, absolute; empty where it is no file of its own.
    """

    user: str = ""
    store: str = ""

    @classmethod
    def here(cls, store_url: str) -> Origin:
        """Return this user and the place of that store."""
        number = os.geteuid()
        try:
            name = pwd.getpwuid(number).pw_name
        except KeyError:
            name = "user"
        database = database_file(store_url)
        return cls(f"{name} ({number})", "" if database is None else str(database.resolve()))

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Origin:
        """Rebuild what :meth:`to_json` gave."""
        return cls(str(data.get("user", "")), str(data.get("store", "")))

    def to_json(self) -> dict[str, str]:
        """Return what :meth:`from_json` reads."""
        return asdict(self)

    def difference(self, here: Origin) -> str:
        """Return how what was written down differs from *here*, as a sentence; empty if it does not."""
        if self == here:
            return ""
        if not self.user:
            return "it does not say who began it"
        if self.user != here.user:
            return f"{self.user} began it, and you are {here.user}"
        then = self.store or "a server"
        return f"it was begun in {then}, and is in {here.store or 'a server'} now"
