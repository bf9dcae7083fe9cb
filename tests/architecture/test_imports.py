"""Who imports whom, and what an import costs."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Mapping

import pytest

from tests.architecture.source import ROOT, imports_of, module_of, name_of, source_files, tree_of

HEAVY = {
    "click",
    "matplotlib",
    "numpy",
    "pandas",
    "plotly",
    "psutil",
    "ray",
    "rich",
    "scipy",
    "sklearn",
    "sqlalchemy",
    "torch",
    "yaml",
}


def test_the_contracts_of_import_linter_hold() -> None:
    code = "from importlinter.cli import lint_imports; import sys; sys.exit(lint_imports(no_cache=True))"
    # In a process of its own: it disables every logger that is there.
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def _graph() -> dict[str, set[str]]:
    """Map each module to those of our own it imports; lazily, for types or by a name in a text included."""
    modules = {module_of(path): path for path in source_files()}
    graph: dict[str, set[str]] = {}
    for module, path in modules.items():
        texts = (node.value for node in ast.walk(tree_of(path)) if isinstance(node, ast.Constant))
        named = (text.partition(":")[0] for text in texts if isinstance(text, str))
        names = {name for name in (*imports_of(path), *named) if name in modules and name != module}
        # `from whet.a import b` arrives at a module b, not at the package that holds it.
        graph[module] = {n for n in names if not any(other.startswith(f"{n}.") for other in names)}
    return graph


def _cycle(graph: Mapping[str, set[str]]) -> list[str] | None:
    """Return one cycle of the graph, if there is one."""
    done: set[str] = set()

    def visit(module: str, path: list[str]) -> list[str] | None:
        if module in path:
            return [*path[path.index(module) :], module]
        if module in done:
            return None
        for other in sorted(graph[module]):
            if found := visit(other, [*path, module]):
                return found
        done.add(module)
        return None

    return next((found for module in sorted(graph) if (found := visit(module, []))), None)


def test_no_import_cycle_counting_lazy_imports() -> None:
    graph = _graph()
    assert len(graph) > 20
    assert _cycle(graph) is None


def test_the_search_for_cycles_finds_one() -> None:
    assert _cycle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert _cycle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) is None


def test_no_module_imports_the_public_names() -> None:
    modules = {module_of(path) for path in source_files()}
    wrong = {
        f"{name_of(path)}: {name}"
        for path in source_files()
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.ImportFrom) and node.module == "whet" and module_of(path) != "whet"
        for name in (alias.name for alias in node.names)
        if f"whet.{name}" not in modules
    }
    assert not wrong, "import from the module where a thing is defined, not from `whet`"


def _loaded_by(code: str, *arguments: str) -> set[str]:
    """Return the top-level names of the modules that a fresh interpreter has loaded after *code*."""
    probe = f"import json, sys\ntry:\n    {code}\nfinally:\n    print('\\n' + json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", probe, *arguments], capture_output=True, text=True, check=False)
    assert done.stdout, done.stderr
    return {name.partition(".")[0] for name in json.loads(done.stdout.splitlines()[-1])}


def test_import_whet_loads_nothing_heavy() -> None:
    assert _loaded_by("import whet") & HEAVY == set()


def test_whet_report_loads_nothing_heavy() -> None:
    assert _loaded_by("from whet import report") & HEAVY == set()


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], []], ids=" ".join)
def test_the_help_loads_click_and_nothing_heavier(arguments: list[str]) -> None:
    loaded = _loaded_by("from whet.cli.main import main; main()", *arguments)
    assert "click" in loaded
    assert loaded & HEAVY <= {"click"}


def test_importing_a_study_loads_no_scipy() -> None:
    assert _loaded_by("from whet import Study, Space, samplers") & (HEAVY - {"numpy"}) == set()
