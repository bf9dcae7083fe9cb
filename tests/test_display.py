"""A study at the prompt and in a notebook: short, complete, and harmless."""

from __future__ import annotations

import math
import re
from html.parser import HTMLParser
from typing import Any

import pytest

from whet.core.trial import State, Trial
from whet.display import html_of, text_of, top_numbers
from whet.study import Study

HOSTILE = "<script>alert('x')</script>\x1b[31m\"&\u202e"


class _Tags(HTMLParser):
    """Collects a page's elements, attributes and text, and sees that what is opened is closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(page)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def _best(study: Study) -> Trial | None:
    number = study.ledger.history.best()
    return None if number is None else study.ledger.store.trials(study.ledger.study, numbers=[number])[0]


def _text(study: Study) -> str:
    return text_of(study.ledger.history, study.name, _best(study))


def _html(study: Study) -> str:
    history = study.ledger.history
    top = {t.number: t for t in study.trials}
    return html_of(history, study.name, _best(study), [top[n] for n in top_numbers(history)])


def _told(space: Any, values: list[Any], **options: Any) -> Study:
    study = Study(space, **{"sampler": "random", "seed": 1, **options})
    for value in values:
        trial = study.ask()
        if value is None:
            study.fail(trial, message="no")
        else:
            study.tell(trial, value)
    return study


def test_a_study_in_a_few_lines() -> None:
    study = _told({"lr": (0.1, 1.0), "opt": ["sgd", "adam"]}, [3.0, 1.25, None, 2.0], name="mnist")
    config = study.best_config
    assert _text(study).splitlines() == [
        "Study 'mnist': minimize value",
        "  4 trials: 3 completed, 1 failed",
        "  best 1.25 (trial 1)",
        f"    lr: {config['lr']:.6g}",
        f"    opt: {config['opt']!r}",
    ]


def test_the_table_has_the_best_trials_best_first() -> None:
    study = _told({"a": (0, 99)}, [float((7 * i) % 20) for i in range(20)], objective="maximize")
    top = top_numbers(study.ledger.history)
    values = {trial.number: trial.values["value"] for trial in study.trials}
    assert [values[number] for number in top] == [19, 18, 17, 16, 15]
    page = _Tags(_html(study))
    assert page.tags.count("tr") == 6
    rows = re.findall(r"<tr><td>(\d+)</td><td>([^<]*)</td>", _html(study))
    assert rows == [(str(number), f"{values[number]:g}") for number in top]


def test_an_empty_study() -> None:
    study = Study({"a": [1, 2]})
    assert _text(study).splitlines() == ["Study 'study': minimize value", "  0 trials", "  no completed trial yet"]
    assert "table" not in _Tags(_html(study)).tags


def test_only_failures() -> None:
    study = _told({"a": [1, 2]}, [None, None])
    assert "no completed trial yet" in _text(study)
    assert top_numbers(study.ledger.history) == []


def test_several_objectives_have_no_single_best() -> None:
    study = _told(
        {"a": (0, 99)}, [{"x": float(i), "y": 1.0} for i in range(7)], objective={"x": "minimize", "y": "maximize"}
    )
    assert "minimize x, maximize y" in _text(study)
    assert "2 objectives, so no single best trial" in _text(study)
    assert top_numbers(study.ledger.history) == [6, 5, 4, 3, 2]
    assert "last completed trials" in _html(study)


def test_constraints_are_said_and_that_nothing_meets_them() -> None:
    study = _told({"a": (0, 99)}, [{"loss": 1.0, "ms": 9.0}], objective={"loss": "minimize"}, constraints=["ms <= 5"])
    assert "minimize loss with ms <= 5" in _text(study)
    assert "no completed trial meets the constraints" in _text(study)


def test_repeats_show_the_best_mean() -> None:
    study = _told({"a": (0, 99)}, [1.0, 3.0, 0.0, 10.0], repeats=2)
    assert "best mean 2 (trial 0)" in _text(study)
    assert top_numbers(study.ledger.history) == [0, 2]


def test_other_metrics_may_be_nan_or_infinite() -> None:
    study = _told({"a": [1]}, [{"loss": 1.0, "n": math.nan, "i": -math.inf}], objective={"loss": "minimize"})
    texts = _Tags(_html(study)).texts
    assert {"nan", "-inf"} <= set(texts)


@pytest.mark.parametrize("objective", [{HOSTILE: "minimize"}, {HOSTILE: "minimize", "b": "maximize"}])
def test_nothing_hostile_gets_through(objective: dict[str, str]) -> None:
    space = {f"p{HOSTILE}": [f"v{HOSTILE}"], "list": [[1, HOSTILE]]}
    values = {**dict.fromkeys(objective, 1.0), f"m{HOSTILE}": 2.0}
    study = _told(space, [values], objective=objective, name=f"s{HOSTILE}", sampler="grid")
    page = _Tags(_html(study))
    assert set(page.tags) <= {"div", "strong", "code", "table", "caption", "thead", "tbody", "tr", "th", "td"}
    assert set(page.attributes) <= {("scope", "col")}, "no style that a dark page contradicts, nothing loaded"
    assert "alert" in "".join(page.texts)
    for shown in (_html(study), _text(study)):
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", shown)


def test_huge_configs_are_cut() -> None:
    space = {f"parameter_{i}": ["x" * 10_000] for i in range(200)}
    study = _told(space, [1.0], sampler="grid")
    lines = _text(study).splitlines()
    assert len(lines) == 12
    assert lines[-1] == "    and 192 more parameters"
    assert max(map(len, lines)) < 200
    assert len(_html(study)) < 10_000


def test_many_objectives_and_constraints_are_cut() -> None:
    study = Study({"a": [1]}, {f"m{i}": "min" for i in range(50)}, constraints=[f"c{i} <= 1" for i in range(50)])
    first = _text(study).splitlines()[0]
    assert "46 more with" in first
    assert first.endswith("46 more")


def test_running_trials_are_counted() -> None:
    study = Study({"a": [1, 2, 3]})
    study.ask(2)
    assert "2 trials: 2 running" in _text(study)
    assert study.ledger.history.counts()[State.RUNNING] == 2
