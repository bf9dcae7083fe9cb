"""What a store must keep of leases: a part of :class:`whet.testing.store_suite.StoreContract`."""

from __future__ import annotations

import math
import threading
import time
from contextlib import closing

import pytest

from whet.core.protocols import Store
from whet.errors import StudyNotFound
from whet.testing.store_writer import Connect, Writer, settings_of

_LONG_S, _SHORT_S = 1000.0, 0.01
_STRANGE_OWNERS = (
    "",
    "o" * 100_000,
    "host:1:'; DELETE FROM lease; --",
    "nul\0and \ud800 broken",
    "Größe 🦋\n\x1b[31m",
    "%s :owner ?",
)


def _wait_for(store: Store, study: int, *owners: str) -> None:
    """Wait until the leases of *owners*, and of nobody else, have run out."""
    while store.lease(study) != set(owners):
        time.sleep(_SHORT_S)


class LeaseContract:
    """Defines no fixtures; see `StoreContract`."""

    def test_a_lease_runs_out_unless_it_is_renewed(self, writer: Writer, connect: Connect) -> None:
        store, study = writer.store, writer.study
        with closing(connect()) as other:
            assert store.lease(study, "a", for_s=_LONG_S) == frozenset()
            assert other.lease(study, "b", for_s=_SHORT_S) <= {"b"}
            _wait_for(store, study, "b")
            assert other.lease(study) == store.lease(study, "a", for_s=_LONG_S) == {"b"}
            assert store.lease(study, "b", for_s=_LONG_S) == frozenset(), "its own answer knows that it is renewed"
            assert other.lease(study) == frozenset()
            assert other.lease(study, "a", for_s=_SHORT_S) <= {"a"}, "the last word counts, if it is a shorter one"
            _wait_for(store, study, "a")

    def test_what_has_run_out_stays_so_until_it_is_given_back(self, writer: Writer, connect: Connect) -> None:
        store, study = writer.store, writer.study
        for owner in ("a", "b"):
            store.lease(study, owner, for_s=_SHORT_S)
        _wait_for(store, study, "a", "b")
        with closing(connect()) as other:  # anybody may bury it
            assert other.lease(study, "a", for_s=0) == {"b"}
            assert other.lease(study, "a", for_s=0) == {"b"}, "twice does no harm"
            assert other.lease(study, "never had one", for_s=0) == {"b"}
        assert store.lease(study) == {"b"}

    def test_who_looks_changes_nothing(self, writer: Writer) -> None:
        store, study = writer.store, writer.study
        store.lease(study, "a", for_s=_SHORT_S)
        _wait_for(store, study, "a")
        for owner in ("", "a", "b"):
            assert store.lease(study, owner) == {"a"}
        assert store.lease(study) == {"a"}, "neither renewed by it, nor begun"
        assert store.events(study, after=writer.history.seq) == []

    def test_leases_are_no_events(self, writer: Writer) -> None:
        number = writer.start()
        before = writer.trial(number)
        writer.store.lease(writer.study, "a", for_s=_LONG_S)
        writer.store.lease(writer.study, "a", for_s=0)
        assert writer.store.events(writer.study, after=writer.history.seq) == []
        assert writer.trial(number) == before

    def test_two_studies_have_leases_of_their_own(self, store: Store) -> None:
        one, two = (store.create(name, settings_of()).id for name in ("one", "two"))
        store.lease(one, "a", for_s=_SHORT_S)
        store.lease(two, "a", for_s=_LONG_S)
        _wait_for(store, one, "a")
        assert store.lease(two) == frozenset()
        store.lease(two, "a", for_s=0)
        assert store.lease(one) == {"a"}

    def test_owners_are_kept_exactly(self, writer: Writer, connect: Connect) -> None:
        for owner in _STRANGE_OWNERS:
            writer.store.lease(writer.study, owner, for_s=_SHORT_S)
        with closing(connect()) as other:
            _wait_for(other, writer.study, *_STRANGE_OWNERS)
            for owner in _STRANGE_OWNERS:
                other.lease(writer.study, owner, for_s=0)
            assert other.lease(writer.study) == frozenset()

    def test_a_deleted_study_has_no_leases(self, store: Store) -> None:
        study = store.create("a", settings_of()).id
        store.lease(study, "a", for_s=_SHORT_S)
        _wait_for(store, study, "a")
        store.delete(study)
        for for_s in (None, 1.0, 0.0):
            with pytest.raises(StudyNotFound):
                store.lease(study, "a", for_s=for_s)
        assert store.lease(store.create("a", settings_of()).id) == frozenset()

    def test_a_lease_may_be_for_ever(self, writer: Writer) -> None:
        assert writer.store.lease(writer.study, "a", for_s=math.inf) == frozenset()
        assert writer.store.lease(writer.study) == frozenset()

    def test_threads_renew_leases_while_others_write(self, writer: Writer) -> None:
        store, study = writer.store, writer.study
        problems: list[BaseException] = []

        def renew(owner: str) -> None:
            try:
                for _ in range(20):
                    assert store.lease(study, owner, for_s=_LONG_S) == frozenset()
            except BaseException as error:
                problems.append(error)

        threads = [threading.Thread(target=renew, args=(str(number),)) for number in range(3)]
        for thread in threads:
            thread.start()
        for _ in range(20):
            writer.write(reserve=1)
        for thread in threads:
            thread.join()
        assert problems == []
        assert writer.history.n_numbers == 20
