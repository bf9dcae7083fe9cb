"""The template of a sweep: what varies, under which key, and the command line that a config makes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import product

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from whet.cli.program import Program
from whet.cli.sweep import PLACEHOLDERS, Sweep, read_sweep
from whet.errors import GrammarError, SpaceError, UsageError
from whet.space.domain import Categorical, Float, Int
from whet.space.grid import Grid

PROGRAM = Program("script", "train.py")


def read(*arguments: str, seed: int = 0, **options) -> Sweep:
    return read_sweep(PROGRAM, arguments, rng=np.random.default_rng(seed), **options)


def lines(sweep: Sweep) -> list[list[str]]:
    """The arguments of every config of the grid, in order."""
    grid = Grid(sweep.space)
    configs = (grid.at(index) for index in range(grid.size))
    return [sweep.render(config) for config in configs if config is not None]


# -- spellings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "key", "expected"),
    [
        (["--lr", "[1, 2]"], "lr", [["--lr", "1"], ["--lr", "2"]]),
        (["--lr=[1, 2]"], "lr", [["--lr=1"], ["--lr=2"]]),
        (["-l", "[1, 2]"], "l", [["-l", "1"], ["-l", "2"]]),
        (["-l=[1, 2]"], "l", [["-l=1"], ["-l=2"]]),
        (["-lr", "[1, 2]"], "lr", [["-lr", "1"], ["-lr", "2"]]),
        (["lr=[1, 2]"], "lr", [["lr=1"], ["lr=2"]]),
        (["+trainer.lr=[1, 2]"], "trainer.lr", [["+trainer.lr=1"], ["+trainer.lr=2"]]),
        (["++a.b_c=[1, 2]"], "a.b_c", [["++a.b_c=1"], ["++a.b_c=2"]]),
        (["model/opt@src=[a, b]"], "model/opt@src", [["model/opt@src=a"], ["model/opt@src=b"]]),
        (["--batch-size", "[1, 2]"], "batch-size", [["--batch-size", "1"], ["--batch-size", "2"]]),
        (["--batch_size", "[1, 2]"], "batch_size", [["--batch_size", "1"], ["--batch_size", "2"]]),
        (["--größe=[1, 2]"], "größe", [["--größe=1"], ["--größe=2"]]),
        (["größe=[1, 2]"], "größe", [["größe=1"], ["größe=2"]]),
        (["[1, 2]"], "arg1", [["1"], ["2"]]),
        (["a.csv", "[1, 2]"], "arg2", [["a.csv", "1"], ["a.csv", "2"]]),
        (["--x", "1", "[1, 2]"], "arg1", [["--x", "1", "1"], ["--x", "1", "2"]]),
        (["--", "--lr", "[1, 2]"], "arg2", [["--", "--lr", "1"], ["--", "--lr", "2"]]),
        (["--x", "[-1, '-rf']"], "x", [["--x", "-1"], ["--x", "-rf"]]),
        (["--x=[-1, '-rf']"], "x", [["--x=-1"], ["--x=-rf"]]),
        # Hydra's own multirun flag, and flags whose value is an override
        (["-m", "lr=[1, 2]"], "lr", [["-m", "lr=1"], ["-m", "lr=2"]]),
        (["--set", "lr=[1, 2]"], "lr", [["--set", "lr=1"], ["--set", "lr=2"]]),
    ],
)
def test_every_spelling_of_a_flag_is_kept(arguments, key, expected):
    sweep = read(*arguments)
    assert list(sweep.space) == [key]
    assert lines(sweep) == expected


FIXED = [
    [],
    ["--lr", "1e-3", "--flag"],
    ["--flag", "-x", "-", "--", "-y", "--z"],
    ["--lr=-1", "--x", "-1", "-.5", "-1e5", "-inf", "-NaN"],
    ["--lr", "-rf"],
    ["--lr="],
    ["=", "=[", "--=1", "-=[1,2]", "---"],
    ["https://host:80/?a=[1,2]", "./x=[1,2]", "/x=[1,2]"],
    ["--msg", "- a list=[1, 2]", "[INFO] x", "a,b", "{unknown}", "{{}}", "{", "{number:03}"],
    ["--json", '{"a": [1, 2]}', "--lr", "1", "--lr", "2"],
    ["--text", "a\nb\t'c\" $(x) `y` \\", "\udcff"],
    ["", " ", "--empty", "", "x="],
]


@pytest.mark.parametrize("arguments", FIXED)
def test_what_does_not_vary_is_passed_as_it_is(arguments):
    sweep = read(*arguments)
    assert len(sweep.space) == 0
    assert sweep.render({}) == arguments
    assert sweep.render({}, placeholders=dict.fromkeys(PLACEHOLDERS, "!")) == arguments


@pytest.mark.parametrize("token", ["-1", "-.5", "-1e-5", "-inf", "-NaN", "-", "- x", "-1x", "- [1]=2"])
def test_a_dash_that_begins_a_value(token):
    # it belongs to --a, so what follows is a positional argument
    assert list(read("--a", token, "[1, 2]").space) == ["arg1"]


@pytest.mark.parametrize("token", ["-x", "--y", "-info", "-٣", "-e5", "-i", "-[1]"])
def test_a_dash_that_begins_a_flag(token):
    assert list(read("--a", token, "[1, 2]").space) == [token.lstrip("-")]


def test_outer_quotes_and_lit_are_dropped_from_fixed_values():
    assert read("--model", "'bert'", '--x="a b"', "--y", "lit:[1, 2]", "z='q'").render({}) == [
        *["--model", "bert", "--x=a b", "--y", "[1, 2]", "z=q"]
    ]


def test_a_flag_swept_twice_has_two_keys():
    sweep = read("--lr", "[1, 2]", "--lr", "[3, 4]", "-lr", "5", "lr=[6]")
    assert list(sweep.space) == ["lr", "lr_2", "lr_3"]
    assert lines(sweep)[1] == ["--lr", "1", "--lr", "4", "-lr", "5", "lr=6"]


def test_a_key_that_is_taken_is_numbered_on():
    assert list(read("--lr_2", "[1]", "--lr", "[2]", "--lr", "[3]").space) == ["lr_2", "lr", "lr_3"]
    assert list(read("--arg1", "[1]", "x", "--y=1", "[2]", "[3]").space) == ["arg1", "arg2", "arg3"]
    assert list(read("--arg1", "[1]", "[2]").space) == ["arg1", "arg1_2"]


def test_domains_come_in_command_line_order():
    sweep = read("--b", "[1, 2]", "--a", "uniform(0, 1)", "c=(1, 4)", "--d", "gamma(2)", "--n", "int(1, 3)")
    assert list(sweep.space) == ["b", "a", "c", "d", "n"]
    assert sweep.space["a"] == Float(0, 1)
    assert sweep.space["n"] == Int(1, 3)
    assert not sweep.space["d"].is_encodable
    config = {"b": 1, "a": 0.1, "c": 2, "d": 1e-7, "n": 3}
    assert sweep.render(config) == ["--b", "1", "--a", "0.1", "c=2", "--d", "1e-07", "--n", "3"]


def test_the_first_flag_is_slowest():
    expected = [["--a", a, "--b", b] for a, b in product("12", "345")]
    assert lines(read("--a", "[1, 2]", "--b", "[3, 4, 5]")) == expected


# -- values ------------------------------------------------------------------------------------------------------------


def test_the_users_own_spelling_is_passed():
    sweep = read("--lr", "[1e-5, 0.10, 007, +5, True]")
    assert [line[1] for line in lines(sweep)] == ["1e-5", "0.10", "007", "+5", "True"]
    assert list(sweep.space["lr"].values) == [1e-5, 0.1, "007", 5, True]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--x", "[None, 1]", "--y", "2"], [["--y", "2"], ["--x", "1", "--y", "2"]]),
        (["--x=[None, 1]", "--y", "2"], [["--y", "2"], ["--x=1", "--y", "2"]]),
        (["x=[None, 1]", "--y", "2"], [["--y", "2"], ["x=1", "--y", "2"]]),
        (["[None, 1]", "--y", "2"], [["--y", "2"], ["1", "--y", "2"]]),
        (["--x", "['None', '']"], [["--x", "None"], ["--x", ""]]),
    ],
)
def test_none_leaves_out_the_flag_with_its_value(arguments, expected):
    assert lines(read(*arguments)) == expected


def test_a_toggle_is_present_or_absent():
    assert lines(read("--amp", "toggle()", "--lr", "1")) == [["--amp", "--lr", "1"], ["--lr", "1"]]
    assert lines(read("--amp=toggle()")) == [["--amp"], []]
    assert read("--amp", "toggle()").space["amp"] == Categorical((True, False))


@pytest.mark.parametrize("arguments", [["amp=toggle()"], ["toggle()"], ["+amp=toggle()"]])
def test_a_toggle_needs_a_flag(arguments):
    with pytest.raises(UsageError, match="needs a flag that begins with a dash"):
        read(*arguments)


def test_a_budget_is_the_fidelity_and_no_parameter():
    sweep = read("--lr", "[1, 2]", "trainer.max_epochs=budget(1, 81)", "--frac", "0.5")
    assert list(sweep.space) == ["lr"]
    assert [varied.key for varied in sweep.varied] == ["lr"]
    assert sweep.fidelity.key == "trainer.max_epochs"
    assert (sweep.fidelity.value.low, sweep.fidelity.value.high) == (1, 81)
    assert sweep.render({"lr": 1}) == ["--lr", "1", "trainer.max_epochs=81", "--frac", "0.5"]
    assert sweep.render({"lr": 1}, budget=3) == ["--lr", "1", "trainer.max_epochs=3", "--frac", "0.5"]
    assert read("--frac", "budget(0.1, 1)").render({}, budget=0.25) == ["--frac", "0.25"]
    assert read("--lr", "1").fidelity is None


def test_a_second_budget_is_an_error():
    with pytest.raises(UsageError, match=r"--b: there is a budget\(low, high\) already"):
        read("--a", "budget(1, 81)", "--b", "budget(1, 3)")


def test_sized_distributions_are_drawn_from_one_generator_in_order():
    sweep = read("--a", "uniform(0, 1, 2)", "--n", "(0, 2)", "b=uniform(0, 1, 2)", "--c", "poisson(50, 2)", seed=11)
    rng = np.random.default_rng(11)
    assert list(sweep.space["a"].values) == rng.uniform(0, 1, 2).tolist()
    assert list(sweep.space["b"].values) == rng.uniform(0, 1, 2).tolist()
    assert list(sweep.space["c"].values) == rng.poisson(50, 2).tolist()
    assert lines(sweep)[0][1] == repr(np.random.default_rng(11).uniform(0, 1, 2).tolist()[0])


def test_a_vector_is_one_argument_that_holds_a_list():
    sweep = read("--p", "dirichlet([1, 1], 2)")
    [first, _] = lines(sweep)
    assert json.loads(first[1]) == np.random.default_rng(0).dirichlet([1, 1], 2).tolist()[0]
    [name] = read("--p", "dirichlet([1, 1])").space
    assert read("--p", "dirichlet([1, 1])").render({name: [0.25, 0.75]}) == ["--p", "[0.25, 0.75]"]


def test_a_config_that_went_through_a_store_gives_the_same_line():
    sweep = read("--a", "[(0.9, 0.999), [64,64], 1.0, 1, True, '2', {'k': 1}]", "--u", "[1e-5]")
    for line, index in zip(lines(sweep), range(7), strict=True):
        stored = json.loads(json.dumps(Grid(sweep.space).at(index)))
        assert sweep.render(stored) == line


def test_notices_are_kept_once_each():
    sweep = read("--a", "['x' 'y', x]", "--b", "unifrom(0, 1)", "--b", "unifrom(0, 1)", "--c", "(1, 4)")
    assert [notice.partition(" ")[0] for notice in sweep.notices] == ["--a:", "--a:", "--b:", "--c:"]


def test_an_error_names_the_flag():
    for arguments, flag in [(["--lr", "[1"], "--lr"), (["lr=[1"], "lr"), (["a", "[1"], "arg2")]:
        with pytest.raises(GrammarError, match=f"^{flag}: ") as caught:
            read(*arguments)
        assert caught.value.flag == flag


def test_a_trillion_points_cost_nothing():
    sweep = read("--a", "(0, 1000000)", "--b", "range(1000000)")
    assert Grid(sweep.space).size == 10**12
    assert sweep.render(Grid(sweep.space).at(10**12 - 1)) == ["--a", "999999", "--b", "999999"]


# -- options -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["batch-size", "batch_size", "--batch-size", "--batch_size", "+batch-size"])
def test_a_literal_flag_is_never_expanded(name):
    arguments = ["--batch-size", "[1, 2]", "--batch-size=lit:x", "--lr", "[1, 2]"]
    sweep = read(*arguments, literal=[name])
    assert list(sweep.space) == ["lr"]
    assert sweep.render({"lr": 2}) == [*arguments[:-1], "2"]


def test_a_positional_can_be_literal():
    assert read("[1, 2]", "'x'", literal=["arg1"]).render({}) == ["[1, 2]", "x"]


def test_a_literal_that_names_nothing_is_an_error():
    with pytest.raises(UsageError, match=r"--literal layer: .* \(arguments: layers, arg1\)"):
        read("--layers", "[1]", "--flag", "--", "x", literal=["layer"])


def test_verbatim_expands_nothing():
    arguments = ["--lr", "[1, 2]", "'x'", "--y=lit:z", "--u", "uniform(1e-5,", "--b", "budget(1, 2)", "--t", "toggle()"]
    sweep = read(*arguments, verbatim=True)
    assert len(sweep.space) == 0
    assert (sweep.render({}), sweep.notices, sweep.fidelity) == (arguments, (), None)


def test_a_condition_leaves_out_the_flag():
    sweep = read("--opt", "[sgd, adam]", "--sgd-momentum", "[0.9, 0.99]", when=["sgd_momentum: opt == 'sgd'"])
    assert lines(sweep) == [
        ["--opt", "sgd", "--sgd-momentum", "0.9"],
        ["--opt", "sgd", "--sgd-momentum", "0.99"],
        ["--opt", "adam"],
    ]


def test_names_that_are_no_words_go_in_backquotes():
    sweep = read("a@b:c=[1, 2]", "--a:b=[1, 2]", "--x", "[1, 2]", when=["`a:b`: x == 1"], zips=["`a:b`, x"])
    assert list(sweep.space) == ["a:b", "x"]
    assert sweep.space.zips == (("a:b", "x"),)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"when": ["momentum"]}, "expected NAME: CONDITION"),
        ({"when": [": lr == 1"]}, "expected NAME: CONDITION"),
        ({"when": ["momentum: lr == 1"]}, "no parameter 'momentum'"),
        ({"when": ["lr: momentum == 1"]}, "no parameter 'momentum'"),
        ({"when": ["lr: layers =="]}, "column"),
        ({"when": ["lr: layers == 1", "lr: layers == 2"]}, "given twice"),
        ({"when": ["lr: layers == 1", "layers: lr == 1"]}, "lr"),
        ({"forbid": ["batch > 3"]}, "no parameter 'batch'"),
        ({"forbid": ["lr >"]}, "column"),
        ({"zips": ["lr"]}, "lr"),
        ({"zips": ["lr,batch"]}, "no parameter 'batch'"),
        ({"zips": ["lr,layers"]}, "layers"),
    ],
)
def test_an_option_that_makes_no_sense_is_an_error(options, message):
    with pytest.raises((UsageError, SpaceError), match=message):
        read("--lr", "[1, 2]", "--layers", "[1, 2, 3]", **options)


def test_forbidden_combinations_are_left_out_and_zipped_ones_go_together():
    arguments = ["--batch-size", "[1, 2]", "--accum", "[4, 8]"]
    assert [line[1::2] for line in lines(read(*arguments, forbid=["batch_size * accum > 8"]))] == [
        ["1", "4"],
        ["1", "8"],
        ["2", "4"],
    ]
    assert [line[1::2] for line in lines(read(*arguments, zips=["batch_size,accum"]))] == [["1", "4"], ["2", "8"]]


# -- placeholders ------------------------------------------------------------------------------------------------------


def test_placeholders_are_replaced_in_fixed_arguments_only():
    known = {name: name.upper() for name in PLACEHOLDERS}
    fixed = ["--out={trial_dir}/{number}-{seed}", "{study}", "--b", "{budget}{budget}", "{checkpoint_in}"]
    sweep = read(*fixed, "--x", "['{number}', \"{trial_dir}\"]", "{checkpoint_out}", "{ number}", "{{seed}}", "{other}")
    assert sweep.render({"x": "{number}"}, placeholders=known) == [
        *["--out=TRIAL_DIR/NUMBER-SEED", "STUDY", "--b", "BUDGETBUDGET", "CHECKPOINT_IN"],
        *["--x", "{number}", "CHECKPOINT_OUT", "{ number}", "{SEED}", "{other}"],
    ]


def test_a_replaced_placeholder_is_not_looked_at_again():
    assert read("{study}{number}").render({}, placeholders={"study": "{number}", "number": "1"}) == ["{number}1"]


def test_a_placeholder_without_a_text_stays():
    assert read("{number}", "{seed}").render({}, placeholders={"seed": "5"}) == ["{number}", "5"]


# -- in the child ------------------------------------------------------------------------------------------------------

CHILD = "import json, os, sys; print(json.dumps([os.fsencode(a).hex() for a in sys.argv[1:]]))"
RAW = st.binary(max_size=20).map(lambda raw: os.fsdecode(raw.replace(b"\0", b"")))
DASHES = ["-1", "-rf", "--lr=1", "-", "--", "=", "x=y", "", " ", "a b", "a\nb", "\t", "\r"]
QUOTES = ["'", '"', "\\", "\\'", "$(id)", "`id`", ";", "*", "~", "#", "%s", "é", "日本", "\udcff"]
FORMS = ["[1, 2]", "[1", "uniform(0,1)", "lit:x", "{number}", "None", "True", "007", "'a'", "1e-5"]
TRICKY = st.sampled_from([*DASHES, *QUOTES, *FORMS])
VALUES = st.lists(RAW | TRICKY | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))


def in_child(argv: list[str]) -> list[bytes]:
    done = subprocess.run([sys.executable, "-c", CHILD, *argv], stdout=subprocess.PIPE, check=True)
    return [bytes.fromhex(text) for text in json.loads(done.stdout)]


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(RAW | TRICKY, min_size=150, max_size=250), VALUES)
def test_every_item_arrives_byte_equal_in_the_child(first, more):
    values = [*first, *more]
    elements = list(dict.fromkeys(values))
    swept = read("--x", f"[{', '.join(map(repr, elements))}]") if len(elements) < 60 else None
    assert swept is None or [line[1] for line in lines(swept)] == elements
    sweeps = [read("--x", f"[{value!r}]", f"--y=[{value!r}]", f"z=[{value!r}]", f"[{value!r}]") for value in values]
    argv = [token for sweep in sweeps for line in lines(sweep) for token in line]
    fixed = [token for value in values for token in ("--x", value, f"--y={value}", f"z={value}", value)]
    argv += read(*fixed, verbatim=True).render({})
    assert argv == fixed + fixed
    assert in_child(argv) == [os.fsencode(token) for token in argv]
