"""What a :class:`whet.storage.sql.SqlStore` stands on: a database that runs statements in transactions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

from whet.storage.locks import Holder
from whet.storage.rows import Written
from whet.storage.statements import Statements

T = TypeVar("T")


class Found(Protocol):
    """The rows that a statement gives."""

    def fetchone(self) -> Any:
        """Return the next row, ``None`` after the last."""

    def fetchall(self) -> list[Any]:
        """Return all rows that are left."""

    def __iter__(self) -> Iterator[Any]:
        """Give the rows that are left."""


class Session(Protocol):
    """One transaction. Statements are run in order; they may travel together, when the first row is needed."""

    def execute(self, query: str, parameters: Mapping[str, Any] = ..., /) -> Found:
        """Run *query*; its rows stay readable while others are run."""


class Database(Protocol):
    """A place with the tables of :mod:`whet.storage.schema`, open. Safe to use from several threads.

    Attributes:
        url: the place as `open_store` reads it, without secrets.
        place: the place in messages.
        sql: the statements, for this database.
        remedy: what to do where it holds what whet did not write.
    """

    @property
    def url(self) -> str: ...  # noqa: D102

    @property
    def place(self) -> str: ...  # noqa: D102

    @property
    def sql(self) -> Statements: ...  # noqa: D102

    @property
    def remedy(self) -> str: ...  # noqa: D102

    def read(self, work: Callable[[Session], T]) -> T:
        """Return what *work* does in a transaction that only reads: everything that it sees belongs to one moment."""

    def write(self, work: Callable[[Session], T], *, study: int | None = None, durable: bool = True) -> T:
        """Return what *work* does in a transaction, which is committed at its end, and undone where it raises.

        It is called again, from its start, where nothing is left of a call before: it changes nothing but through its
        session, and what it returns. With *study* it is the holder of that study, if anybody is, who writes to it.
        With ``durable=False`` the transaction may be lost in a power cut, if nobody else has seen it.
        """

    def put(self, session: Session, rows: Written) -> None:
        """Write *rows* in *session*, one of this database's, over those with the same key."""

    def moment(self) -> dict[str, Any]:
        """Return the parameters by which leases tell the time."""

    def hold(self, study: int, *, shared: bool) -> AbstractContextManager[bool]:
        """Be the one process that runs *study*, or one of several that share it, if that can be: the value tells."""

    def holders(self, studies: Sequence[int]) -> dict[int, Holder]:
        """Return who runs those of *studies* that somebody runs."""

    def forget(self, study: int) -> None:
        """Remove what is kept of a study that has been deleted; by its holder."""

    def close(self) -> None:
        """Give back what is open; twice is fine."""
