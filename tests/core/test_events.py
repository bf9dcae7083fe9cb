"""Events: every kind has its place, and drafts carry no more than they are given."""

from __future__ import annotations

import dataclasses

import pytest

from whet.core.events import Draft, Event, Kind
from whet.core.trial import TRANSITIONS, State


def test_every_kind_is_about_a_trial_or_about_the_study() -> None:
    about_a_trial = {kind for transitions in TRANSITIONS.values() for kind in transitions}
    assert set(Kind) - about_a_trial == {Kind.CREATED, Kind.AMENDED, Kind.COMMAND}


def test_kinds_are_stored_as_the_words_they_are() -> None:
    assert [Kind(kind.value) for kind in Kind] == list(Kind)
    assert f"{Kind.ASKED}" == "asked"
    with pytest.raises(ValueError, match="unheard"):
        Kind("unheard")


def test_a_draft_speaks_for_the_study_unless_told_otherwise() -> None:
    draft = Draft(Kind.CANCELLED, 3)
    assert (draft.payload, draft.token, draft.time) == ({}, None, None)


@pytest.mark.parametrize("fact", [Draft(Kind.CANCELLED, 3), Event(1, Kind.CANCELLED, 3, 1, 0.0, {})])
def test_facts_do_not_change(fact: object) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        fact.trial = 4  # type: ignore[attr-defined]


def test_every_state_but_the_final_ones_leads_on() -> None:
    stays = {state for state in State if set(TRANSITIONS[state].values()) == {state}}
    assert {state for state in State if state.is_final} == stays
    reached = {target for transitions in TRANSITIONS.values() for target in transitions.values()}
    assert reached == set(State)
