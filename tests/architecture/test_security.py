"""What no file of the project does, exceptions with their reasons: unpickle, import by a name, build SQL from text."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.architecture.source import name_of, project_files, source_files, tree_of

# Where pickles are read. Nothing else of whet's may, whatever module the function comes from.
READS_PICKLES: Mapping[str, str] = {
    "src/whet/executors/packing.py": "a function and its config, from the process that starts the trials to theirs",
    "src/whet/sklearn/packing.py": "fitted steps, between the workers of a search, and from a cache folder that only "
    "its owner can write to (`whet.sklearn.kept`)",
}
# Where a module is imported by a name that is not written there.
IMPORTS_BY_NAME: Mapping[str, str] = {
    "src/whet/__init__.py": "public names, from a table in that file",
    "src/whet/testing/__init__.py": "public names, from a table in that file",
    "src/whet/cli/main.py": "commands, from a table in that file",
}
# Where a statement is put together from texts.
BUILDS_SQL: Mapping[str, str] = {
    "src/whet/storage/sqlite.py": "PRAGMA takes no parameters; what is asked for is written there",
}
_ALLOWED = {"pickle": READS_PICKLES, "import": IMPORTS_BY_NAME, "sql": BUILDS_SQL}
_PICKLE_MODULES = {"pickle", "_pickle", "cPickle", "cloudpickle", "dill", "marshal", "shelve", "joblib", "jsonpickle"}
_PICKLE_READERS = {"load", "loads", "Unpickler", "open", "DbfilenameShelf"}
_TORCH_OR_NUMPY = {"torch", "np", "numpy", "pd", "pandas"}
_CODE = {"eval", "exec", "compile", "__import__"}
_SHELLS = {
    ("os", "system"), ("os", "popen"), ("os", "spawnlp"), ("os", "spawnvp"), ("os", "execlp"), ("os", "execvp"),
    ("subprocess", "getoutput"), ("subprocess", "getstatusoutput"), ("asyncio", "create_subprocess_shell"),
    ("pty", "spawn"), ("commands", "getoutput"),
}  # fmt: skip
_YAML = {"safe_load", "compose", "Node", "MappingNode", "SequenceNode", "ScalarNode", "YAMLError", "SafeLoader"}
_SQL = {"execute", "executemany", "executescript", "text"}
_SQL_CONSTANT = (ast.Constant, ast.Name, ast.Attribute)


def _looked_at() -> list[Path]:
    examples = [path for path in project_files("*.py") if name_of(path).startswith("examples/")]
    assert len(examples) > 5
    return [*source_files(), *examples]


def _dotted(node: ast.expr) -> tuple[str, str]:
    """Return ``("a.b", "c")`` for ``a.b.c``, ``("", "c")`` for ``c``."""
    match node:
        case ast.Attribute(value=value, attr=attr):
            above, last = _dotted(value)
            return (f"{above}.{last}" if above else last), attr
        case ast.Name(id=name):
            return "", name
    return "?", ""


def found(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Yield what a file does of which it should be known, and in which line."""
    for node in ast.walk(tree):
        match node:
            case ast.ImportFrom(module=str(module), names=names):
                yield from ((what, node.lineno) for alias in names for what in _imported(module, alias.name))
            case ast.Import(names=names):
                for alias in names:
                    if alias.asname is not None and alias.name in _PICKLE_MODULES:
                        yield "pickle", node.lineno  # under another name, nobody would find it again
            case ast.Attribute(value=ast.Name(id="yaml"), attr=attr) if attr not in _YAML:
                yield "yaml", node.lineno
            case ast.Call():
                yield from ((what, node.lineno) for what in _called(node))


def _imported(module: str, name: str) -> Iterator[str]:
    if module.partition(".")[0] in _PICKLE_MODULES and name in _PICKLE_READERS:
        yield "pickle"
    if module == "builtins" and name in _CODE:
        yield "code"
    if (module, name) in _SHELLS:
        yield "shell"
    if module == "yaml" and name not in _YAML:
        yield "yaml"


def _called(node: ast.Call) -> Iterator[str]:
    module, name = _dotted(node.func)
    keywords = {keyword.arg: keyword.value for keyword in node.keywords}
    if module in ("", "builtins") and name in _CODE:
        yield "code"
    if (module, name) in _SHELLS or not _is_false(keywords.get("shell")):
        yield "shell"
    if module.partition(".")[0] in _PICKLE_MODULES and name in _PICKLE_READERS:
        yield "pickle"
    if module in _TORCH_OR_NUMPY and name == "load":
        is_safe = module == "torch" and _is_true(keywords.get("weights_only"))
        is_safe |= module in ("np", "numpy") and _is_false(keywords.get("allow_pickle"))
        if not is_safe:
            yield "pickle"
    if name == "read_pickle" or not _is_false(keywords.get("allow_pickle")):
        yield "pickle"
    if name == "import_module" and not (node.args and isinstance(node.args[0], ast.Constant)):
        yield "import"
    if name == "compose" and module == "yaml" and _dotted(keywords.get("Loader", node.func)) != ("yaml", "SafeLoader"):
        yield "yaml"
    if name in _SQL and module.partition(".")[0] not in ("", "re") and node.args and not _is_fixed(node.args[0]):
        yield "sql"


def _is_fixed(statement: ast.expr) -> bool:
    """Tell whether the text of a statement is not put together where it is executed."""
    match statement:
        case ast.Call(func=func):  # such as `str(CreateTable(…).compile(…))`, which SQLAlchemy writes
            return _dotted(func)[1] not in ("format", "join", "replace")
        case ast.JoinedStr(values=values):
            # PRAGMA takes no parameters; a constant of ours in capitals, or an int, is not what somebody typed
            parts = [value.value for value in values if isinstance(value, ast.FormattedValue)]
            return all(isinstance(part, ast.Name | ast.Attribute) and _dotted(part)[1].isupper() for part in parts)
        case ast.BinOp():
            return False
    return True


def _is_false(value: ast.expr | None) -> bool:
    return value is None or (isinstance(value, ast.Constant) and value.value is False)


def _is_true(value: ast.expr | None) -> bool:
    return isinstance(value, ast.Constant) and value.value is True


@pytest.mark.parametrize("path", _looked_at(), ids=name_of)
def test_nothing_unsafe_is_done(path: Path) -> None:
    wrong = [(what, line) for what, line in found(tree_of(path)) if name_of(path) not in _ALLOWED.get(what, {})]
    assert not wrong


def test_every_exception_is_still_one() -> None:
    trees = {name_of(path): tree_of(path) for path in _looked_at()}
    for what, allowed in _ALLOWED.items():
        assert {name for name, tree in trees.items() if what in {kind for kind, _ in found(tree)}} == set(allowed)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("eval(x)", "code"),
        ("exec(x)", "code"),
        ("compile(x, 'f', 'exec')", "code"),
        ("__import__(x)", "code"),
        ("builtins.eval(x)", "code"),
        ("from builtins import exec", "code"),
        ("os.system(x)", "shell"),
        ("from os import system", "shell"),
        ("from subprocess import getoutput", "shell"),
        ("from yaml import load", "yaml"),
        ("subprocess.run(x, shell=True)", "shell"),
        ("subprocess.run(x, shell=maybe)", "shell"),
        ("subprocess.getoutput(x)", "shell"),
        ("pickle.loads(x)", "pickle"),
        ("cloudpickle.load(x)", "pickle"),
        ("cloudpickle.loads(x)", "pickle"),
        ("from pickle import loads", "pickle"),
        ("import cloudpickle as c", "pickle"),
        ("pickle.Unpickler(x)", "pickle"),
        ("shelve.open(x)", "pickle"),
        ("joblib.load(x)", "pickle"),
        ("np.load(x, allow_pickle=True)", "pickle"),
        ("torch.load(x)", "pickle"),
        ("torch.load(x, weights_only=False)", "pickle"),
        ("pd.read_pickle(x)", "pickle"),
        ("yaml.load(x)", "yaml"),
        ("yaml.unsafe_load(x)", "yaml"),
        ("yaml.compose(x)", "yaml"),
        ("yaml.compose(x, Loader=yaml.Loader)", "yaml"),
        ("importlib.import_module(name)", "import"),
        ("cursor.execute(f'SELECT {name}')", "sql"),
        ("cursor.execute('SELECT %s' % name)", "sql"),
        ("cursor.execute('SELECT ' + name)", "sql"),
        ("cursor.execute('SELECT {}'.format(name))", "sql"),
        ("sqlalchemy.text(f'{name}')", "sql"),
        ("session.executescript(f'{a.b}')", "sql"),
    ],
)
def test_the_search_finds(text: str, what: str) -> None:
    assert what in {kind for kind, _ in found(ast.parse(text))}


@pytest.mark.parametrize(
    "text",
    [
        "model.eval()",
        "re.compile(x)",
        "subprocess.run([x], shell=False)",
        "cloudpickle.dumps(x)",
        "torch.load(x, weights_only=True)",
        "np.load(x, allow_pickle=False)",
        "yaml.safe_load(x)",
        "yaml.compose(x, Loader=yaml.SafeLoader)",
        "importlib.import_module('pandas')",
        "cursor.execute('SELECT 1', (name,))",
        "cursor.execute(SQL.trial, {'number': 1})",
        "cursor.execute(f'PRAGMA integrity_check({_MOST})')",
        "cursor.execute(str(CreateTable(table).compile(dialect=D)))",
    ],
)
def test_the_search_lets_pass(text: str) -> None:
    assert not list(found(ast.parse(text)))
