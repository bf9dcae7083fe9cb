"""Who runs a study that a server keeps: rows that their holder renews, by the server's clock.

Not the server's advisory locks: they end with a connection, so a restart of the server would let a second run begin.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from whet.core import jsontext
from whet.core.owner import is_gone, this_process
from whet.errors import PASSING, StoreError, WhetError
from whet.storage.database import Database, Session
from whet.storage.locks import Holder, this_holder
from whet.storage.postgres_tables import NOW, SCHEMA, STARTED

HOLD_S = 30.0
_BEATS = 3  # in that time
_AGAIN_S = 1.0  # after a beat that could not be
_LAST_S = 5.0  # for a beat that is on its way; one that waits for a server is left to itself

# While a server is down nobody can renew anything: what was held then, is for as long again once it is up.
_IS_HELD = f"greatest(ends_at, {STARTED} + %(hold_s)s) > {NOW}"
_ALONE = f"SELECT name FROM {SCHEMA}.study WHERE id = %(study)s FOR NO KEY UPDATE"  # noqa: S608
_OTHERS = f"SELECT id, owner, shared, {_IS_HELD} FROM {SCHEMA}.holding WHERE study = %(study)s"  # noqa: S608
_DROP = f"DELETE FROM {SCHEMA}.holding WHERE id = %(id)s"  # noqa: S608
_ADD = (
    f"INSERT INTO {SCHEMA}.holding (id, study, owner, who, shared, since, ends_at) "  # noqa: S608
    f"VALUES (%(id)s, %(study)s, %(owner)s, %(who)s, %(shared)s, {NOW}, {NOW} + %(hold_s)s)"
)
_RENEW = f"UPDATE {SCHEMA}.holding SET ends_at = {NOW} + %(hold_s)s WHERE id = %(id)s RETURNING id"  # noqa: S608
_HOLDERS = (
    f"SELECT study, owner, who, since FROM {SCHEMA}.holding "  # noqa: S608
    f"WHERE study = ANY(%(studies)s) AND {_IS_HELD} ORDER BY since"
)


class Holding:
    """This process's hold on a study, or the attempt to get it.

    Args:
        database: that keeps the study.
        study: its id.
        shared: others may hold it, too, if they share it.
        tell: is told, in a sentence, that somebody else has taken the study, when this process was suspended or cut
            off for longer than the hold lasts.
    """

    def __init__(self, database: Database, study: int, shared: bool, tell: Callable[[str], None]) -> None:
        self._database, self._study, self._tell = database, study, tell
        self._row: dict[str, Any] = {
            "id": uuid.uuid4().hex,
            "study": study,
            "shared": shared,
            "owner": jsontext.dumps(this_process()),
            "who": jsontext.dumps(this_holder()),
            "hold_s": HOLD_S,
        }
        self._is_over = threading.Event()

    def take(self) -> bool:
        """Hold the study if that can be; tell whether it is."""

        def work(session: Session) -> bool:
            session.execute(_ALONE, self._row)
            for other, owner, shared, is_held in session.execute(_OTHERS, self._row).fetchall():
                if not is_held or is_gone(jsontext.loads(owner)):
                    session.execute(_DROP, {"id": other})
                elif not (shared and self._row["shared"]):
                    return False
            session.execute(_ADD, self._row)
            return True

        return self._database.write(work)

    @contextmanager
    def renewed(self) -> Iterator[None]:
        """Renew the hold as long as the context lasts."""
        thread = threading.Thread(target=self._renew, daemon=True, name="whet-hold")
        thread.start()
        try:
            yield
        finally:
            self._is_over.set()
            thread.join(_LAST_S)

    def give_back(self) -> None:
        """Let others have the study; where that cannot be said, the hold runs out by itself."""
        with suppress(StoreError):
            self._database.write(lambda session: session.execute(_DROP, self._row))

    def _renew(self) -> None:
        wait_s = HOLD_S / _BEATS
        while not self._is_over.wait(wait_s):
            try:
                if not self._is_renewed():
                    return
                wait_s = HOLD_S / _BEATS
            except PASSING:
                wait_s = _AGAIN_S
            except WhetError:  # the store is closed, or the study deleted
                return

    def _is_renewed(self) -> bool:
        """Renew it; where it has run out, take it again; tell whether that could be."""
        found = self._database.write(lambda session: session.execute(_RENEW, self._row).fetchone())
        if found is not None or self._is_over.is_set() or self.take():
            return True
        other = self._database.holders([self._study]).get(self._study, "another process")
        self._tell(
            f"the study is being run by {other}: this process did not say for {HOLD_S:g} s that it was alive "
            "(was it suspended, or cut off?), so it was taken for lost"
        )
        return False


def holders(session: Session, studies: Sequence[int]) -> list[tuple[int, str, Holder]]:
    """Return study, owner and holder of each hold on *studies*, the oldest first."""
    found = session.execute(_HOLDERS, {"studies": list(studies), "hold_s": HOLD_S}).fetchall()
    return [(study, jsontext.loads(owner), Holder(jsontext.loads(who), since)) for study, owner, who, since in found]
