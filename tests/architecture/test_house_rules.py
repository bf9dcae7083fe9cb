"""Rules of CONTRIBUTING.md that a machine can check."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.architecture.source import ROOT, name_of, project_files, source_files, tree_of

MOST_LINES_OF_A_FILE = 400
MOST_LINES_OF_A_FUNCTION = 100
_FEWEST_LINES_COPIED = 6  # a shorter body may well be the same twice by chance
_IDS = {"ids": name_of}


@pytest.mark.parametrize("path", project_files("*.py"), **_IDS)
def test_the_docstring_comes_first(path: Path) -> None:
    tree = tree_of(path)
    assert ast.get_docstring(tree), f"{name_of(path)} begins without a docstring (it belongs before any import)"


@pytest.mark.parametrize("path", source_files(), **_IDS)
def test_files_and_functions_are_short(path: Path) -> None:
    n_lines = len(path.read_text(encoding="utf-8").splitlines())
    assert n_lines <= MOST_LINES_OF_A_FILE, f"{name_of(path)} has {n_lines} lines"
    for node in _functions(tree_of(path)):
        n_lines = (node.end_lineno or node.lineno) - node.lineno + 1
        assert n_lines <= MOST_LINES_OF_A_FUNCTION, f"{name_of(path)}: {node.name} has {n_lines} lines"


def _functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def test_no_function_is_there_twice() -> None:
    bodies: dict[str, list[str]] = defaultdict(list)
    for path in source_files():
        for node in _functions(tree_of(path)):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            if body and (body[-1].end_lineno or 0) - body[0].lineno + 1 >= _FEWEST_LINES_COPIED:
                text = "\n".join(ast.dump(statement) for statement in body)
                bodies[text].append(f"{name_of(path)}:{node.lineno} {node.name}")
    assert bodies
    assert not [places for places in bodies.values() if len(places) > 1]


def test_private_names_do_not_cross_modules() -> None:
    wrong = [
        f"{name_of(path)}:{node.lineno} {alias.name}"
        for path in source_files()
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("whet")
        for alias in node.names
        if alias.name.startswith("_") and alias.name != "__version__"
    ]
    assert not wrong


# ---- what never happens: text run as code, pickles read, a shell
_FORBIDDEN_NAMES = {"eval", "exec", "compile", "__import__"}
_FORBIDDEN_MODULES = {"pickle", "cPickle", "dill", "marshal", "shelve", "joblib"}
_ALLOWED_PARTS = ("joblib._parallel_backends", "joblib.externals.loky.")  # workers, which read no files
_FORBIDDEN_ATTRIBUTES = {
    ("os", "system"),
    ("os", "popen"),
    ("subprocess", "getoutput"),
    ("subprocess", "getstatusoutput"),
    ("yaml", "load"),
    ("yaml", "load_all"),
    ("yaml", "unsafe_load"),
    ("yaml", "full_load"),
    ("numpy", "seterr"),
    ("np", "seterr"),
    ("random", "seed"),
}


def _is_forbidden(module: str) -> bool:
    return module.partition(".")[0] in _FORBIDDEN_MODULES and not module.startswith(_ALLOWED_PARTS)


def _forbidden(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id=name)) if name in _FORBIDDEN_NAMES:
                yield node.lineno, name
            case ast.Call(keywords=keywords):
                for keyword in keywords:
                    is_false = isinstance(keyword.value, ast.Constant) and keyword.value.value is False
                    if keyword.arg == "shell" and not is_false:
                        yield node.lineno, "shell="
                    if keyword.arg == "allow_pickle" and not is_false:
                        yield node.lineno, "allow_pickle="
            case ast.Attribute(value=ast.Attribute(attr="random"), attr="seed"):
                yield node.lineno, "the global seed"
            case ast.Attribute(value=ast.Name(id=module), attr=name) if (module, name) in _FORBIDDEN_ATTRIBUTES:
                yield node.lineno, f"{module}.{name}"
            case ast.Import(names=names):
                for alias in names:
                    if _is_forbidden(alias.name):
                        yield node.lineno, f"import {alias.name}"
            case ast.ImportFrom(module=str(module)) if _is_forbidden(module):
                yield node.lineno, f"from {module} import"


@pytest.mark.parametrize("path", source_files(), **_IDS)
def test_nothing_is_evaluated_unpickled_or_given_to_a_shell(path: Path) -> None:
    assert not list(_forbidden(tree_of(path)))


@pytest.mark.parametrize(
    "text",
    [
        "eval('1')",
        "exec(code)",
        "import pickle",
        "from pickle import loads",
        "from joblib import load",
        "def f():\n    import marshal",
        "os.system('ls')",
        "subprocess.run('ls', shell=True)",
        "subprocess.run('ls', shell=flag)",
        "yaml.load(text)",
        "np.random.seed(0)",
        "random.seed(0)",
        "np.load(path, allow_pickle=True)",
    ],
)
def test_the_check_finds_what_is_forbidden(text: str) -> None:
    assert list(_forbidden(ast.parse(text)))


@pytest.mark.parametrize("text", ["re.compile('a')", "subprocess.run(['ls'], shell=False)", "yaml.safe_load(text)"])
def test_the_check_lets_the_rest_pass(text: str) -> None:
    assert not list(_forbidden(ast.parse(text)))


# ---- what belongs to one machine or one workplace stays out
_HOMES = "work|opt|root|home/[a-z]+|Users/[a-z]+"
_A_MACHINE = re.compile(rf"(?<![\w.~])/(?:{_HOMES})/")
_TEXTS = ("*.py", "*.md", "*.toml")


@pytest.mark.parametrize("path", [path for pattern in _TEXTS for path in project_files(pattern)], **_IDS)
def test_no_path_of_a_machine(path: Path) -> None:
    if path == Path(__file__):
        return
    found = _A_MACHINE.findall(path.read_text(encoding="utf-8"))
    assert not found, f"{name_of(path)} names {found[0]}"


def test_the_project_is_found() -> None:
    assert (ROOT / "pyproject.toml").is_file()
    assert len(source_files()) > 20
