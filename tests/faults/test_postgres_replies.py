"""A reply to COMMIT is lost, or the connection at any byte: what was sent again is written once (F9)."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence

import pytest

import whet
from tests.faults.accounts import check_accounts
from tests.faults.workers import Worker
from tests.servers.postgres import Database
from tests.servers.proxy import Proxy, at_any_byte, now_and_then
from whet.core.events import Draft, Kind
from whet.core.protocols import Appended
from whet.core.trial import State
from whet.storage.memory import MemoryStore

SLOW = [pytest.mark.slow, pytest.mark.timeout(1800)]
_MOST_BYTES = 200_000  # of a connection that is cut


class Lossy:
    """A study used by one process through a proxy, and what its log has to be if nothing is lost or doubled."""

    def __init__(self, database: Database, proxy: Proxy, seed: int) -> None:
        self.url, self.rng = database.by(proxy.port), random.Random(seed)
        self.expected: Counter[Kind] = Counter()
        self.values: dict[int, float] = {}
        self.studies: dict[str, dict[str, int]] = {}
        self.new_study()

    def new_study(self) -> None:
        """Make a study; it is one of those that must be there once."""
        self.name = f"study-{len(self.studies)}"
        self.study = whet.Study({"x": (0.0, 1.0)}, sampler="random", seed=1, store=self.url, name=self.name)
        self.studies[self.name] = self.written = Counter({Kind.CREATED: 1})

    def step(self) -> None:
        """Do something that is written."""
        what = self.rng.choices(("trial", "given", "note", "create"), (10, 2, 2, 1))[0]
        if what == "create":
            self.new_study()
        elif what == "note":
            n = self.written[Kind.ANNOTATED]
            self.study.annotate(None, {f"n{n}": n})
            self.written[Kind.ANNOTATED] += 1
        elif what == "given":
            assert self.study.add_trials([({"x": 0.5}, 0.5)]) == [self.written[Kind.ASKED] + self.written[Kind.ADDED]]
            self.written.update((Kind.ADDED, Kind.COMPLETED))
        else:
            self._trial()

    def _trial(self) -> None:
        trial = self.study.ask()
        assert trial.number == self.written[Kind.ASKED] + self.written[Kind.ADDED]
        assert trial.attempt == 1
        self.written.update((Kind.CLAIMED, Kind.ASKED, Kind.STARTED))
        for step in range(self.rng.randrange(3)):
            self.study.report(trial, step, step=step)
            self.written[Kind.REPORTED] += 1
        if self.rng.random() < 0.2:
            assert self.study.fail(trial, message="no luck").state is State.FAILED
            self.written[Kind.FAILED] += 1
        else:
            assert self.study.tell(trial, trial.config["x"]).state is State.COMPLETED
            self.written[Kind.COMPLETED] += 1

    def check(self, url: str) -> None:
        """Hold all studies against what was written, by a connection that loses nothing."""
        with_store = whet.load(self.name, url).ledger.store
        assert [record.name for record in with_store.studies()] == list(self.studies)
        for record in with_store.studies():
            events = with_store.events(record.id)
            assert Counter(event.kind for event in events) == self.studies[record.name]
            assert [event.seq for event in events] == list(range(1, len(events) + 1))
            study = whet.load(record.name, url)
            assert all(t.values["value"] == t.config["x"] for t in study.trials if t.state is State.COMPLETED)
            n_reports = sum(len(trial.curve) for trial in study.trials)
            assert n_reports == self.studies[record.name][Kind.REPORTED]


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many connections in a row are cut before they are of use; a server that is there needs no time to come back."""
    monkeypatch.setattr("whet.storage.postgres._PAUSE_S", 0.005)
    monkeypatch.setattr("whet.storage.postgres._LONGEST_PAUSE_S", 0.01)


@pytest.mark.usefixtures("no_pauses")
@pytest.mark.parametrize("n_drops", [50, pytest.param(1000, marks=SLOW)])
def test_replies_to_commit_are_lost(postgres: Database, n_drops: int) -> None:
    with Proxy(postgres.server.port, drops=now_and_then(0.5, n_drops, up_to=n_drops)) as proxy:
        lossy = Lossy(postgres, proxy, seed=n_drops)
        while proxy.n_dropped < n_drops:
            lossy.step()
        lossy.study.ledger.store.close()
    lossy.check(postgres.url)


@pytest.mark.usefixtures("no_pauses")
@pytest.mark.parametrize("n_cuts", [20, pytest.param(500, marks=SLOW)])
def test_connections_are_cut_at_any_byte(postgres: Database, n_cuts: int) -> None:
    with Proxy(postgres.server.port, cut_after=at_any_byte(_MOST_BYTES, n_cuts, up_to=n_cuts)) as proxy:
        lossy = Lossy(postgres, proxy, seed=n_cuts)
        while proxy.n_cut < n_cuts * 2 // 3:  # the client itself ends some of them first
            lossy.step()
        lossy.study.ledger.store.close()
    lossy.check(postgres.url)


@pytest.fixture
def lossy_proxy(postgres: Database) -> Iterator[Proxy]:
    cut_after = at_any_byte(_MOST_BYTES, 5, up_to=30)
    with Proxy(postgres.server.port, drops=now_and_then(0.1, 5, up_to=40), cut_after=cut_after) as proxy:
        yield proxy


def test_workers_on_several_hosts_behind_a_bad_network(postgres: Database, lossy_proxy: Proxy) -> None:
    n_trials = 90
    study = whet.Study({"x": (0.0, 1.0)}, sampler="random", seed=1, store=postgres.url, name="study", n_trials=n_trials)
    workers = [
        Worker(postgres.by(lossy_proxy.port), "study", 0, 10**9, 2, env={"HOST_OF_WORKER": f"node{i}"})
        for i in range(3)
    ]
    try:
        check_accounts(study, [line for worker in workers for line in worker.rest()], n_trials, n_reports=2)
    finally:
        for worker in workers:
            worker.close()
    assert lossy_proxy.n_dropped >= 20


class _MadeAgain(MemoryStore):
    """Makes each append twice, as a store does that lost its connection in the middle of the first."""

    def append(self, study: int, drafts: Sequence[Draft], *, fresh: object = None, **more: object) -> Appended:
        def again(first: int) -> Sequence[Draft]:
            fresh(first)
            return fresh(first)

        return super().append(study, drafts, fresh=again if fresh else None, **more)


def test_what_is_given_is_made_again_from_the_start() -> None:
    study = whet.Study({"x": (0.0, 1.0)}, store=_MadeAgain())
    assert study.add_trials([({"x": 0.5}, 0.5), ({"x": 0.25}, 0.25)]) == [0, 1]
    assert study.enqueue({"x": 0.75}).number == 2
    assert [trial.config["x"] for trial in study.trials] == [0.5, 0.25, 0.75]
