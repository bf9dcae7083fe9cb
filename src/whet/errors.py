"""Every exception that whet raises on purpose.

::

    WhetError                     base of all errors: one sentence with the cause and the remedy
    ├── UsageError                what was asked cannot be done as asked           (also a ValueError)
    │   ├── GrammarError          a value of the command line that does not parse  (has .flag and .column)
    │   ├── SpaceError            a domain or space that makes no sense
    │   ├── ConfigError           a config that does not belong to the space
    │   ├── StudyExists           a name that is taken
    │   └── StudyNotFound         a name that nobody knows
    ├── StateError                a step that the trial's state does not allow
    │   └── StaleAttempt          a report from an attempt that is no longer current (fencing token)
    ├── StoreError                the place where studies are kept cannot be used
    │   ├── StoreAway             the server that keeps it cannot be reached
    │   ├── StoreBusy             another process holds it
    │   ├── StoreDamaged          the file is not what whet wrote
    │   ├── StoreFull             no space left, or no permission to write
    │   ├── StoreTooNew           written by a newer whet
    │   └── StoreUnsafe           a place where the store's promises do not hold (a network file system)
    ├── StudyBusy                 another process is running this study
    └── ExecutorError             trials cannot be started at all

    SearchExhausted               signal: every configuration of the space has been asked
    NotReady                      signal: nothing to hand out until a running trial ends
    TrialStopped                  signal (BaseException): this trial is to stop

    LateReportWarning             warning: what was said of a trial came too late, and the trial went on without it
"""

from __future__ import annotations


class WhetError(Exception):
    """Base of every error that whet raises on purpose."""


class UsageError(WhetError, ValueError):
    """What was asked cannot be done as asked; the message names the remedy."""


class GrammarError(UsageError):
    """A value of the command line that does not parse.

    Attributes:
        flag: the flag it was given for, as typed (``--lr``), or ``None``.
        column: 1-based position in the value, or ``None``.
    """

    def __init__(self, message: str, *, flag: str | None = None, column: int | None = None) -> None:
        super().__init__(message)
        self.flag = flag
        self.column = column


class SpaceError(UsageError):
    """A domain or a space that makes no sense."""


class ConfigError(UsageError):
    """A config that does not belong to the space."""


class StudyExists(UsageError):
    """A study of that name is in the store already."""


class StudyNotFound(UsageError):
    """No study of that name is in the store."""


class StateError(WhetError):
    """A step that the trial's state does not allow."""


class StaleAttempt(StateError):
    """A report from an attempt that is no longer current; the trial went on without it."""


class StoreError(WhetError):
    """The place where studies are kept cannot be used."""


class StoreAway(StoreError):
    """The server that keeps the store cannot be reached, or does not answer."""


class StoreBusy(StoreError):
    """Another process holds the store for longer than we wait."""


class StoreDamaged(StoreError):
    """The file is not what whet wrote."""


class StoreFull(StoreError):
    """There is no space left, or no permission to write."""


class StoreTooNew(StoreError):
    """The store was written by a newer whet."""


class StoreUnsafe(StoreError):
    """The store lies where its promises do not hold, such as a network file system."""


# What a store may say for a while: whoever tries again may succeed.
PASSING = (StoreAway, StoreBusy, StoreFull)


class StudyBusy(WhetError):
    """Another process is running this study."""


class ExecutorError(WhetError):
    """Trials cannot be started at all."""


class SearchExhausted(Exception):
    """Signal: every configuration of the space has been asked."""


class NotReady(Exception):
    """Signal: nothing to hand out until a running trial ends."""


class TrialStopped(BaseException):
    """Signal: this trial is to stop. A BaseException, so that ``except Exception`` lets it through."""


class LateReportWarning(UserWarning):
    """What was said of a trial came too late: it was cancelled, or was taken over and goes on without this worker."""
