"""CMA-ES as a sampler: the contract, what a state is made of, where it begins, restarts, strange spaces."""

from __future__ import annotations

import subprocess
import sys
from functools import partial

import numpy as np
import pytest

from whet.algorithms.evolution import Axes, Gaussian, State
from whet.core.events import Event, Kind
from whet.core.history import History
from whet.core.problem import Constraint
from whet.core.protocols import Sampler, Suggestion
from whet.core.randomness import config_rng
from whet.core.trial import State as TrialState
from whet.errors import UsageError
from whet.points.codec import Codec
from whet.points.known import known_of
from whet.samplers.cmaes import CMAES, _Rows, ranked
from whet.samplers.names import sampler_named
from whet.space.domain import Categorical, Float, Int, Ordinal
from whet.space.space import Space
from whet.testing.sampler_histories import ask, check, explored, given, history_of, measured, played, problem_of, told
from whet.testing.sampler_hostile_suite import HostileSamplerContract
from whet.testing.sampler_model_suite import ModelSamplerContract
from whet.testing.sampler_suite import FiniteSpaceContract


class TestContract(ModelSamplerContract, FiniteSpaceContract, HostileSamplerContract):
    ranks = True

    def make(self) -> Sampler:
        return CMAES()

    def supports(self, space: Space) -> bool:
        return space.is_encodable


CUBE = Space({name: Float(0.0, 1.0) for name in "abc"})
MIXED = Space(
    {
        "a": Float(0.0, 1.0),
        "n": Int(1, 9),
        "size": Ordinal([8, 16, 32, 64]),
        "kind": Categorical(["u", "v", "w"]),
        "flag": Categorical([False, True]),
    }
)


def state_of(sampler: CMAES, history: History) -> State:
    codec = Codec(history.problem.space)
    rows = _Rows.of(history, known_of(history, codec))
    return sampler._state(history, rows, Axes(codec.cube), partial(config_rng, history.seed))


def mean_of(state: State) -> np.ndarray:
    return Gaussian.of(state.gaussian).mean


# ---- ranks
def test_what_is_feasible_comes_first_then_what_breaks_little_then_what_failed() -> None:
    y = np.array([5.0, np.nan, 1.0, -np.inf, 0.0, 1.0, np.nan])
    excess = np.array([[0.0], [np.nan], [-1.0], [2.0], [0.5], [-3.0], [-9.0]])
    assert ranked(y, excess).tolist() == [2.0, 5.5, 0.5, 4.0, 3.0, 0.5, 5.5]


def test_values_of_any_size_are_ranked() -> None:
    y = np.array([1e300, -1e300, np.nan, 1e-300, -1e-300])
    assert ranked(y, np.empty((5, 0))).tolist() == [3.0, 0.0, 4.0, 2.0, 1.0]
    assert ranked(np.full(4, np.nan), np.empty((4, 0))).tolist() == [1.5] * 4


# ---- the state
@pytest.mark.parametrize("space", [CUBE, MIXED], ids=["floats", "mixed"])
def test_one_trial_after_another_is_cma_es_itself(space: Space) -> None:
    """What was drawn is what is told: on axes of few values the raw place, not the value that it was moved to."""
    history, sampler = history_of(space, seed=3), CMAES(popsize=6)
    _, history = played(sampler, history, 30)
    codec = Codec(space)
    axes, known, rng_of = Axes(codec.cube), known_of(history, codec), partial(config_rng, 3)
    from whet.algorithms import evolution

    state = evolution.begun(axes, evolution.start_at(axes, known.x[:0], np.empty(0, int), 1 / 6), 6, 0)
    for start in range(0, 30, 6):
        numbers = range(start, start + 6)
        x = known.x[start : start + 6]
        raw = np.vstack([evolution.drawn(axes, state, rng_of(number)) for number in numbers])
        told_places = evolution._places(axes, state, x, numbers, rng_of)
        for number, place in zip(numbers, told_places, strict=True):
            if number and (space is MIXED):
                assert (np.abs(raw[:, axes.ordered] - place).max(axis=1) == 0).any()
            elif number:
                assert np.allclose(place, x[number - start]) or np.linalg.norm(
                    Gaussian.of(state.gaussian).to_white(place)
                ) == pytest.approx(np.sqrt(3) + 6 / 5)
        ranks = ranked(known.y[start : start + 6], known.excess[start : start + 6])
        state = evolution.advanced(axes, state, x, ranks, list(numbers), rng_of, sigma0=1 / 6, restarts=True)
    assert np.array_equal(mean_of(state), mean_of(state_of(sampler, history)))
    assert state.generation == 5


def test_a_late_trial_changes_the_populations_after_it() -> None:
    history = history_of(CUBE, seed=1)
    live = CMAES()
    _, history = played(live, history, 40)
    begun = explored(history_of(CUBE, seed=2), 40, lambda i, c: TrialState.RUNNING if i == 3 else measured(CUBE, c))
    assert ask(live, begun, [40]) == ask(CMAES(), begun, [40])
    from whet.testing.sampler_histories import ended

    late = ended(begun, 3, 0.0)
    assert ask(live, late, [40]) == ask(CMAES(), late, [40])
    assert state_of(CMAES(), begun).n_used == 35
    assert state_of(CMAES(), late).n_used == 40


def test_only_the_last_states_are_kept_and_the_first() -> None:
    sampler = CMAES(popsize=4)
    _, history = played(sampler, history_of(CUBE), 100)
    assert len(sampler._memo.states) <= 17  # type: ignore[union-attr]
    assert sampler._memo.states[0].n_used == 0  # type: ignore[union-attr]
    assert np.array_equal(mean_of(state_of(sampler, history)), mean_of(state_of(CMAES(popsize=4), history)))


def test_a_state_is_never_changed_once_it_is_there() -> None:
    sampler = CMAES(popsize=4)
    _, history = played(sampler, history_of(MIXED), 20)
    states = sampler._memo.states  # type: ignore[union-attr]
    before = [(mean_of(state).copy(), state.categorical._q.copy()) for state in states]
    played(sampler, history, 12)
    for state, (mean, q) in zip(states, before, strict=True):
        assert np.array_equal(mean_of(state), mean) and np.array_equal(state.categorical._q, q)


# ---- where it begins
def test_the_first_config_is_the_centre() -> None:
    (first, second) = ask(CMAES(), history_of(CUBE), [0, 1])
    assert first.config == {"a": 0.5, "b": 0.5, "c": 0.5} and first.why == {"source": "start"}
    assert second.config != first.config and second.why["source"] == "cmaes"


def test_configs_that_people_gave_first_set_the_mean() -> None:
    history = given(history_of(CUBE), 0, {"a": 0.9, "b": 0.9, "c": 0.9}, 2.0)
    history = given(history, 1, {"a": 0.1, "b": 0.2, "c": 0.3}, 1.0)
    history = given(history, 2, {"a": 0.6, "b": 0.6, "c": 0.6}, TrialState.FAILED)
    state = state_of(CMAES(), history)
    assert mean_of(state).tolist() == [0.1, 0.2, 0.3] and state.n_used == 3


def test_given_configs_that_failed_leave_the_centre() -> None:
    history = given(history_of(CUBE), 0, {"a": 0.9, "b": 0.9, "c": 0.9}, TrialState.FAILED)
    assert mean_of(state_of(CMAES(), history)).tolist() == [0.5] * 3


def test_ten_trials_of_another_study_shape_the_distribution() -> None:
    history, rng = history_of(CUBE), np.random.default_rng(0)
    for number in range(40):
        a, b, c = rng.random(3)
        history = given(history, number, {"a": a, "b": b, "c": c}, abs(a - 0.2) * 10 + (b - 0.7) ** 2)
    gaussian = Gaussian.of(state_of(CMAES(), history).gaussian)
    assert abs(gaussian.mean[0] - 0.2) < 0.1
    assert gaussian.deviations[0] < 0.75 * gaussian.deviations[2]
    assert ask(CMAES(), history, [40])[0].why["sigma"] < 1


def test_a_good_category_is_twice_as_likely_at_first() -> None:
    config = {"a": 0.5, "n": 3, "size": 16, "kind": "w", "flag": True}
    state = state_of(CMAES(), given(history_of(MIXED), 0, config, 1.0))
    q = state.categorical._q
    assert q[0].tolist() == pytest.approx([1 / 6, 1 / 6, 2 / 3])
    assert sorted(q[1, :2].tolist()) == pytest.approx([1 / 4, 3 / 4])


def test_a_config_that_is_given_later_is_told_like_others() -> None:
    sampler = CMAES(popsize=4)
    _, history = played(sampler, history_of(CUBE), 10)
    history = given(history, 10, {"a": 1.0, "b": 1.0, "c": 0.0}, 1e6)
    _, history = played(sampler, history, 5)
    assert state_of(sampler, history).n_used == 16
    assert np.array_equal(mean_of(state_of(sampler, history)), mean_of(state_of(CMAES(popsize=4), history)))


def test_a_point_from_far_away_does_not_blow_the_distribution_up() -> None:
    sampler = CMAES()
    _, history = played(sampler, history_of(CUBE), 50)
    width = Gaussian.of(state_of(sampler, history).gaussian).deviations.max()
    for number in range(50, 60):
        history = given(history, number, {"a": 1.0, "b": 1.0, "c": number / 60}, -float(number))
    assert Gaussian.of(state_of(sampler, history).gaussian).deviations.max() < 3 * width


# ---- restarts
def test_a_constant_objective_leads_to_a_search_elsewhere_with_twice_the_population() -> None:
    sampler = CMAES(popsize=4)
    suggestions, history = played(sampler, history_of(CUBE), 41, lambda number, config: 1.0)
    state = state_of(sampler, history)
    assert (state.restart, state.popsize, state.generation) == (1, 8, 0)
    assert mean_of(state).tolist() != [0.5] * 3
    assert suggestions[-1].why["restart"] == 1
    check(CUBE, suggestions)


def test_convergence_leads_to_a_restart() -> None:
    space, sampler = Space({"a": Float(0.0, 1.0)}), CMAES()
    history = history_of(space)
    restarts = 0
    for number in range(300):
        (suggestion,) = ask(sampler, history, [number])
        restarts = max(restarts, suggestion.why.get("restart", 0))
        history = told(history, [(number, suggestion, (suggestion.config["a"] - 0.3) ** 2)])
    assert restarts >= 1
    assert abs(history.leader()[1]) < 1e-12  # type: ignore[index]


def test_without_restarts_it_goes_on_where_it_is() -> None:
    sampler = CMAES(popsize=4, restarts=False)
    suggestions, history = played(sampler, history_of(CUBE), 60, lambda number, config: 1.0)
    state = state_of(sampler, history)
    assert (state.restart, state.popsize, state.n_used) == (0, 4, 60)
    assert mean_of(state).tolist() == [0.5] * 3
    assert len({tuple(s.config.values()) for s in suggestions}) == 60


# ---- what it finds
@pytest.mark.parametrize("seed", [0, 1])
def test_it_finds_the_best_of_a_mixed_space(seed: int) -> None:
    def loss(_: int, config) -> float:
        far = (config["a"] - 0.3) ** 2 + (config["n"] - 7) ** 2 / 64 + abs(np.log2(config["size"]) - 4) / 3
        return far + 0.3 * (config["kind"] != "w") + 0.3 * (not config["flag"])

    suggestions, _ = played(CMAES(), history_of(MIXED, seed), 90, loss)
    best = min(suggestions, key=lambda s: loss(0, s.config)).config
    assert (best["n"], best["size"], best["kind"], best["flag"]) == (7, 16, "w", True)
    assert abs(best["a"] - 0.3) < 0.1


def test_it_finds_the_bottom_of_a_bent_valley() -> None:
    space = Space({name: Float(-2.0, 2.0) for name in "ab"})

    def rosenbrock(_: int, config) -> float:
        return 100 * (config["b"] - config["a"] ** 2) ** 2 + (1 - config["a"]) ** 2

    medians = []
    for seed in range(3):
        _, history = played(CMAES(), history_of(space, seed), 120, rosenbrock)
        medians.append(history.leader()[1])  # type: ignore[index]
    assert np.median(medians) < 0.01


def test_a_constraint_is_kept_away_from() -> None:
    problem = problem_of(CUBE, constraints=[Constraint("ms", "<=", 0.5)])
    _, history = played(
        CMAES(), history_of(problem), 60, lambda _, config: {"value": -config["a"], "ms": config["a"] + config["b"]}
    )
    assert -history.leader()[1] > 0.4  # type: ignore[index]


# ---- strange spaces
@pytest.mark.parametrize(
    "space",
    [
        Space({"a": Float(0.0, 1.0)}),
        Space({"a": Int(1, 60)}),
        Space({"a": Int(1, 10**9)}),
        Space({"a": Categorical(list(range(10_000)))}),
        Space({"a": Categorical(list(range(10_000))), "b": Float(0.0, 1.0), "c": Int(1, 10_000)}),
        Space({f"c{i}": Categorical(["u", "v", "w"]) for i in range(6)}),
        Space({f"b{i}": Categorical([False, True]) for i in range(10)}),
    ],
    ids=["one float", "one int", "one wide int", "10,000 categories", "and more", "categories", "flags"],
)
def test_spaces_of_one_kind(space: Space) -> None:
    suggestions, history = played(CMAES(), history_of(space), 40)
    check(space, suggestions)
    assert len({tuple(s.config.values()) for s in suggestions}) == 40
    assert ask(CMAES(), history, [40])[0].why["source"] == "cmaes"


def test_a_thousand_dimensions() -> None:
    kinds = [Float(0.0, 1.0), Int(1, 5), Categorical(["u", "v", "w"]), Float(1e-5, 1.0, log=True)]
    space = Space({f"p{i}": kinds[i % 4] for i in range(1_000)})
    suggestions, _ = played(CMAES(), history_of(space), 30)
    check(space, suggestions)
    assert suggestions[-1].why["generation"] >= 1


def test_a_space_that_is_nearly_all_taken_is_walked_to_its_end() -> None:
    space = Space({"a": Int(1, 5), "b": Categorical(["u", "v"]), "c": Ordinal([1, 2, 4])})
    suggestions, _ = played(CMAES(), history_of(space), 31, lambda number, config: float("-inf"))
    assert len({tuple(s.config.values()) for s in suggestions}) == len(suggestions) == 30


def test_trials_that_were_added_all_alike_are_survived() -> None:
    history = history_of(MIXED)
    config = {"a": 0.5, "n": 3, "size": 16, "kind": "w", "flag": True}
    for number in range(12):
        history = given(history, number, config, 1.0)
    suggestions, _ = played(CMAES(), history, 20)
    check(MIXED, suggestions)


def test_reserved_numbers_do_not_count_as_given() -> None:
    history = history_of(CUBE)
    history = history.extended([Event(1, Kind.CLAIMED, 0, 0, 0.0, {"owner": "somebody"})])
    assert ask(CMAES(), history, [0])[0].config == ask(CMAES(), history_of(CUBE), [0])[0].config


# ---- options
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sigma0": 0}, "sigma0"),
        ({"sigma0": float("nan")}, "sigma0"),
        ({"sigma0": True}, "sigma0"),
        ({"sigma0": "wide"}, "sigma0.*'wide'"),
        ({"popsize": 3}, "popsize is a whole number from 4"),
        ({"popsize": 5.0}, "popsize"),
        ({"popsize": True}, "popsize"),
        ({"restarts": 3}, "restarts is true or false, got 3"),
    ],
)
def test_options_out_of_their_range_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=f"cmaes: {message}"):
        CMAES(**options)  # type: ignore[arg-type]


def test_options_are_heeded() -> None:
    _, history = played(CMAES(), history_of(CUBE), 24)
    states = [state_of(CMAES(**options), history) for options in ({}, {"popsize": 12}, {"sigma0": 0.01})]
    assert [state.generation for state in states] == [4, 2, 4]
    assert Gaussian.of(states[2].gaussian).deviations.max() < Gaussian.of(states[0].gaussian).deviations.max()


def test_it_is_found_by_its_name() -> None:
    assert isinstance(sampler_named("cmaes"), CMAES)


def test_an_infinite_value_ranks_and_a_missing_one_fails() -> None:
    values = {0: float("inf"), 1: float("-inf"), 2: 0.0}
    results = ((i, Suggestion({"a": i / 10, "b": 0.5, "c": 0.5}), values.get(i, TrialState.FAILED)) for i in range(9))
    history = told(history_of(CUBE), results)
    check(CUBE, ask(CMAES(), history, [9, 10]))


def test_the_package_is_imported_with_the_first_config_only() -> None:
    program = "import sys, whet.samplers; whet.samplers.CMAES(); print('cmaes' in sys.modules, 'scipy' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True).stdout
    assert found == "False False\n"
