"""Samplers by name: their options, what a study keeps of them, and which problems they can do."""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from typing import Any

import pytest

from whet.core import jsontext
from whet.core.history import History
from whet.core.problem import Objective, Problem
from whet.core.protocols import RngOf, Suggestion
from whet.errors import SpaceError, UsageError
from whet.samplers import names
from whet.samplers.names import (
    SAMPLERS,
    check_sampler,
    described,
    name_of,
    options_of,
    sampler_from,
    sampler_named,
    sampler_of,
    sampler_settings,
)
from whet.samplers.random import Random
from whet.space.domain import NumpyDistribution
from whet.space.space import Space

NEEDS_NO_MODEL = ("grid", "random", "quasi_random", "auto")
MODELS = [name for name in SAMPLERS if name not in NEEDS_NO_MODEL]


class Toy:
    """A sampler with options of all kinds."""

    def __init__(self, *, kind: str = "a", size: int = 3, share: float = 0.5, parts: Any = (1, 2), on: bool = False):
        if kind not in ("a", "b"):
            raise UsageError(f"toy: kind is 'a' or 'b', got {kind!r}")
        self.kind, self.size, self.share, self.parts, self.on = kind, size, share, parts, on

    def suggest(self, history: History, numbers: Sequence[int], rng_of: RngOf) -> list[Suggestion]:
        return [Suggestion(history.problem.space.sample(rng_of(number)), {"source": "toy"}) for number in numbers]


@pytest.fixture(autouse=True)
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Toy is one of whet's samplers for once."""
    monkeypatch.setitem(SAMPLERS, "toy", Toy)


@pytest.mark.parametrize(
    ("text", "described_as"),
    [
        ("toy", "toy"),
        (" Toy ", "toy"),
        ("toy()", "toy"),
        ("toy(kind=a, size=3, parts=[1, 2])", "toy"),  # all of them the defaults
        ("toy(kind=b)", "toy(kind='b')"),
        ("toy(kind='b', on=True)", "toy(kind='b', on=True)"),
        ("toy(on=True, kind='b')", "toy(kind='b', on=True)"),
        ("toy(share=1, parts=[])", "toy(share=1, parts=[])"),
        ("toy(parts={'x': [1, None]})", "toy(parts={'x': [1, None]})"),
        ("Grid-Search", "grid"),
        ("random_search", "random"),
        ("sobol", "quasi_random"),
    ],
)
def test_a_text_names_a_sampler_and_the_sampler_the_text(text: str, described_as: str) -> None:
    sampler = sampler_named(text)
    assert described(sampler) == described_as
    again = sampler_named(described(sampler))
    assert (type(again), options_of(again)) == (type(sampler), options_of(sampler))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("toy(knd=b)", r"toy has no option 'knd'; did you mean 'kind'\? \(options: kind, size, share, parts, on\)"),
        ("random(x=1)", r"random has no option 'x' \(it has none\)"),
        ("toy(kind=c)", "toy: kind is 'a' or 'b', got 'c'"),
        ("toy(b)", "expected NAME=VALUE"),
        ("toy(kind=b", r"'toy\(kind=b': the closing bracket is missing, as in gp\(acquisition=ucb\)"),
        ("toy(kind=b)s", "expected the closing bracket at the end"),
        ("forest", r"unknown sampler 'forest' \(known: "),
        ("rf", r"unknown sampler 'rf' \(known: "),
        ("bayesia", "did you mean 'gp'"),
        ("toyy(kind=b)", r"unknown sampler 'toyy'; did you mean 'toy'"),
        ("", "the name of a sampler is missing"),
    ],
)
def test_what_names_none_is_refused(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        sampler_named(text)


def test_a_study_keeps_name_and_options_and_finds_the_sampler_again() -> None:
    kept = sampler_settings(Toy(kind="b", parts=(3,)))
    assert kept == {"sampler": "toy", "sampler_options": {"kind": "b", "parts": [3]}}
    found = sampler_of(jsontext.loads(jsontext.dumps(kept)))
    assert isinstance(found, Toy)
    assert (found.kind, found.parts, found.size) == ("b", [3], 3)
    assert sampler_settings(found) == kept


def test_a_study_of_an_older_version_has_a_name_alone() -> None:
    assert type(sampler_of({"sampler": "random"})) is Random


def test_a_sampler_of_ones_own_is_kept_by_the_name_of_its_class() -> None:
    class Random(Toy):
        """One that is called like one of whet's."""

    assert sampler_settings(Random(kind="b")) == {"sampler": "Random", "sampler_options": {}}
    with pytest.raises(UsageError, match=r"sampler 'Random', which is none of whet's.*sampler=Random\(\)"):
        sampler_of({"sampler": "Random", "sampler_options": {}})


def test_an_option_that_no_study_can_keep_is_refused() -> None:
    with pytest.raises(UsageError, match="toy: a study keeps its sampler's options as JSON, and cannot keep"):
        sampler_settings(Toy(parts=object()))


@pytest.mark.parametrize("given", [3, Toy, None, object()])
def test_what_is_no_sampler(given: object) -> None:
    with pytest.raises(UsageError, match="a sampler is a name"):
        sampler_from(given)


# ---- whet's own
@pytest.mark.parametrize("name", SAMPLERS)
def test_options_are_keyword_only_and_kept_as_attributes(name: str) -> None:
    sampler = SAMPLERS[name]()
    parameters = inspect.signature(SAMPLERS[name]).parameters.values()
    assert all(p.kind is p.KEYWORD_ONLY and hasattr(sampler, p.name) for p in parameters)
    assert (name_of(sampler), described(sampler)) == (name, name)


@pytest.mark.parametrize("alias", names._ALIASES)
def test_an_alias_means_a_sampler_that_there_is_or_will_be(alias: str) -> None:
    from whet.cli.plan import LATER_STRATEGIES

    assert names.plain_name(alias) in {*SAMPLERS, *LATER_STRATEGIES}


def _problem(n_objectives: int, **domains: Any) -> Problem:
    return Problem(Space(domains or {"x": (0.0, 1.0)}), tuple(Objective(f"m{i}") for i in range(n_objectives)))


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("n", [0, 2])
def test_a_model_needs_one_objective(name: str, n: int) -> None:
    with pytest.raises(UsageError, match=f"{name} needs exactly one objective.*--objective val_loss:min, got {n}"):
        check_sampler(sampler_named(name), _problem(n))
    check_sampler(sampler_named(name), _problem(1))


@pytest.mark.parametrize("name", [*MODELS, "quasi_random"])
def test_a_parameter_that_can_only_be_sampled(name: str) -> None:
    problem = _problem(1, x=(0.0, 1.0), g=NumpyDistribution("gamma", (2.0,)))
    with pytest.raises(SpaceError, match=rf"g: {name} needs to map every parameter.*gamma\(2.0\).*use random"):
        check_sampler(sampler_named(name), problem)
    for other in ("random", "auto"):
        check_sampler(sampler_named(other), problem)


@pytest.mark.parametrize("name", NEEDS_NO_MODEL)
def test_the_others_need_no_objective(name: str) -> None:
    for n in (0, 1, 2):
        check_sampler(sampler_named(name), _problem(n))


def test_one_of_a_users_own_may_do_anything() -> None:
    class Mine(Toy):
        """One of a user's."""

    check_sampler(Mine(), _problem(0, g=NumpyDistribution("gamma", (2.0,))))


def test_a_hint_names_a_sampler_that_there_is() -> None:
    for text in ("random_forest", "forest", "grid_serch", "bayesain", "cma_s"):
        with pytest.raises(UsageError) as caught:
            sampler_named(text)
        hinted = re.search("did you mean '(.*)'", str(caught.value))
        assert hinted is None or hinted[1] in SAMPLERS
