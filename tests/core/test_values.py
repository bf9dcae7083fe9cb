"""From reports to values, and the verdict on them."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whet.core.problem import Objective, Problem
from whet.core.trial import Cause, Curve, State, Trial
from whet.core.values import Rules, Take, Tally, judge, metrics_of
from whet.errors import UsageError
from whet.space.space import Space


def problem(*objectives: str) -> Problem:
    return Problem(Space({}), tuple(Objective.parse(text) for text in objectives))


def tallied(take: str, values: list[float], objective: str = "loss:min") -> float:
    tally = Tally(problem(objective), Take.parse(take))
    for step, value in enumerate(values):
        tally.add(step, {"loss": value})
    return tally.values({})["loss"]


@pytest.mark.parametrize("text", ["last", "best", "mean:1", "mean:20"])
def test_take_reads_what_it_writes(text):
    assert str(Take.parse(text)) == text


@pytest.mark.parametrize("text", ["", "mean", "mean:", "mean:0", "mean:-1", "mean:1.5", "best:2", "first", "mean:٣"])
def test_take_refuses_the_rest_and_says_what_it_expects(text):
    with pytest.raises(UsageError, match="last, best or mean:N"):
        Take.parse(text)


@pytest.mark.parametrize(
    ("take", "objective", "expected"),
    [("last", "loss:min", 3.0), ("best", "loss:min", 1.0), ("best", "loss:max", 5.0), ("mean:2", "loss:min", 4.0)],
)
def test_take_reduces_reports(take, objective, expected):
    assert tallied(take, [1.0, 5.0, 3.0], objective) == expected


def test_a_nan_on_the_way_is_no_best_value_but_a_nan_at_the_end_is_the_last():
    assert tallied("best", [2.0, math.nan]) == 2.0
    assert math.isnan(tallied("last", [2.0, math.nan]))
    assert math.isnan(tallied("best", [math.nan]))


def test_the_mean_of_infinities_is_no_error():
    assert math.isnan(tallied("mean:2", [math.inf, -math.inf]))
    assert tallied("mean:3", [1e308, 1e308, -1e308]) == pytest.approx(1e308 / 3)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False, width=32), min_size=1, max_size=50))
def test_best_is_the_least_or_the_greatest(values):
    assert tallied("best", values) == min(values)
    assert tallied("best", values, "loss:max") == max(values)


def test_a_long_curve_is_thinned_and_its_value_is_not():
    tally = Tally(problem("loss"), Take.parse("best"))
    rows = [tally.add(step, {"loss": 1.0 if step == 7_777 else 2.0}) for step in range(10_000)]
    kept = [row for row in rows if row is not None]
    assert rows[:1_000] == kept[:1_000]
    assert 1_000 < len(kept) < 4_000
    assert tally.values({})["loss"] == 1.0


def test_a_thinned_curve_reaches_to_the_end_however_long_it_is():
    tally = Tally(problem("loss"), Take())
    steps = [row[0] for step in range(200_000) if (row := tally.add(step, {"loss": 0.0})) is not None]
    assert len(steps) < 9_000
    gaps = [later - earlier for earlier, later in zip(steps, [*steps[1:], 200_000], strict=True)]
    assert max(gaps) <= 256


def after(*losses: float, n_kept: int = 0, cause: Cause | None = None) -> Trial:
    curve = Curve().extended([[step, loss] for step, loss in enumerate(losses, 1)])
    return Trial(0, State.RUNNING, {}, attempt=2, curve=curve, n_kept=n_kept, n_earlier=len(losses), cause=cause)


@pytest.mark.parametrize(("take", "value"), [("best", 0.1), ("mean:3", (0.5 + 0.4 + 0.3) / 3), ("last", 0.3)])
def test_what_an_attempt_goes_on_from_counts(take, value):
    tally = Tally(problem("loss"), Take.parse(take), after(0.1, 0.5, 0.4))
    assert tally.add(4, {"loss": 0.3}) == [4, 0.3]
    assert tally.values({})["loss"] == pytest.approx(value)


def test_what_an_attempt_repeats_does_not_count():
    tally = Tally(problem("loss"), Take.parse("best"), after(0.1, 0.5, 0.4))
    tally.add(1, {"loss": 0.7})
    assert tally.values({})["loss"] == 0.7


def test_an_attempt_may_have_nothing_left_to_report():
    assert Tally(problem("loss"), Take(), after(0.1, 0.5)).values({"speed": 1.0}) == {"loss": 0.5, "speed": 1.0}
    assert Tally(problem("loss"), Take(), after(0.1, 0.5, n_kept=1)).values({}) == {"loss": 0.5}


def test_what_an_attempt_has_itself_counts_before_what_was_there():
    assert Tally(problem("loss"), Take(), after(0.1, 0.5)).values({"loss": 0.9}) == {"loss": 0.9}


def test_of_a_crash_or_from_before_a_pause_nothing_is_taken_over_unless_the_attempt_goes_on():
    assert Tally(problem("loss"), Take(), after(0.1, n_kept=1)).values({}) == {}
    assert Tally(problem("loss"), Take(), after(0.1, cause=Cause.ERROR)).values({}) == {}


def test_reports_that_say_nothing_of_the_problem_are_no_rows():
    tally = Tally(problem("loss"), Take())
    assert tally.add(1, {"speed": 3.0}) is None
    assert tally.add(2, {"loss": 0.5, "speed": 3.0}) == [2, 0.5]


def test_values_name_the_objectives_first_and_keep_the_rest():
    tally = Tally(problem("b", "a"), Take())
    tally.add(1, {"a": 1.0, "b": 2.0})
    assert list(tally.values({"z": 0.0, "a": 9.0, "b": 9.0}).items()) == [("b", 2.0), ("a", 1.0), ("z", 0.0)]


def test_a_finite_objective_completes():
    verdict = judge(problem("loss"), Rules(), {"loss": 1e300, "other": math.nan})
    assert verdict.cause is None
    assert verdict.values["loss"] == 1e300


def test_a_missing_objective_fails_and_lists_what_was_seen():
    verdict = judge(problem("val_loss"), Rules(), {f"m{i}": 0.0 for i in range(20)})
    assert verdict.cause is Cause.NO_METRIC
    assert "m0, m1" in verdict.message
    assert "and 8 more" in verdict.message
    assert "no metric was seen" in judge(problem("val_loss"), Rules(), {}).message


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_non_finite_objective_fails_or_counts_as_the_worst(value):
    verdict = judge(problem("loss"), Rules(), {"loss": value})
    assert verdict.cause is Cause.BAD_VALUE
    assert "--inf worst" in verdict.message
    worst = Rules(infinite="worst")
    assert judge(problem("loss:min"), worst, {"loss": value}).values["loss"] == math.inf
    assert judge(problem("loss:max"), worst, {"loss": value}).values["loss"] == -math.inf


def test_without_an_objective_everything_completes():
    assert judge(problem(), Rules(), {}).cause is None


def test_rules_survive_json_and_refuse_unknown_causes():
    rules = Rules(Take.parse("mean:3"), "worst", {"timeout": 2})
    assert Rules.from_json(rules.to_json()) == rules
    with pytest.raises(UsageError, match="'oom' is no cause of failure"):
        Rules(retries={"oom": 1})


@pytest.mark.parametrize("value", ["0.3", b"1", bytearray(b"1"), "nan", "x" * 10_000])
def test_a_text_is_no_number(value):
    for told in (value, {"value": value}):
        with pytest.raises(UsageError, match="must be a number, got the text") as caught:
            metrics_of(told)
        assert len(str(caught.value)) < 250


@pytest.mark.parametrize("value", [10**400, -(10**400), 10**5000], ids=["big", "negative", "unwritable"])
def test_a_number_beyond_floats_is_said_to_be_too_large(value):
    with pytest.raises(UsageError, match="the value must be a number, and is too large for a float") as caught:
        metrics_of(value)
    assert len(str(caught.value)) < 250


def test_the_remedy_for_what_is_not_finite_suits_functions_too():
    message = judge(problem("loss"), Rules(), {"loss": math.nan}).message
    assert "print or return a finite one (on the command line `--inf worst`" in message
