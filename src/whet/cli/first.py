"""``--first``: configs that are tried before any other, and the defaults of the program itself."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

import yaml

from whet.cli.script import ScriptRun
from whet.cli.scripthelp import defaults_in, help_text
from whet.cli.sweep import Sweep, Varied
from whet.core.completing import completed
from whet.errors import ConfigError, UsageError
from whet.space.assignments import Assigned, read_assignments
from whet.space.conditions import match_name
from whet.space.domain import Domain
from whet.space.dsl import Toggle
from whet.space.plain import value_key
from whet.space.space import Space
from whet.space.tokens import shown, typed
from whet.text import shell_line

_DEFAULTS = "defaults"
_EXAMPLE = "--first lr=1e-3,layers=2"
_NO_DEFAULT = (None, "None", "")
_NO_COMMA = re.compile(r"""=[^\s,'"]+\s+[^\s=,'"]+\s*=""")
_TRUTHS = {"true": True, "false": False}


def first_configs(texts: Sequence[str], run: ScriptRun) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the configs that *texts*, one for each ``--first``, stand for, each once, and notices.

    A text is ``lr=1e-3,layers=2``, a JSON object, ``@FILE`` with one or a list of them in YAML or JSON, or
    ``defaults``: what the program says of its flags when it is run with ``--help``. What a config leaves out has the
    program's default where that was read, else it is the middle of its domain.

    Raises:
        UsageError: a text makes no sense, a config is not in the space, or a default cannot be found.
    """
    space = run.sweep.space
    if texts and not len(space):
        raise UsageError(f"--first {shown(texts[0])}: no value varies, so there is only one config; leave it out")
    defaults = _defaults_of(run) if _DEFAULTS in texts else {}
    configs: dict[Any, dict[str, Any]] = {}
    notices = []
    for text in texts:
        for given in _given_in(text, space):
            try:
                config = completed(space, given, defaults, fills_middle=text != _DEFAULTS)
            except ConfigError as error:
                raise UsageError(f"--first {_short(text)}: {error}{_remedy(text)}") from None
            if value_key(config) in configs:
                notices.append(f"--first {_short(text)}: the same config is there already, and is tried once")
            configs.setdefault(value_key(config), config)
    return list(configs.values()), notices


def _short(text: str) -> str:
    return text if text.isprintable() and len(text) <= 60 else shown(text)


def _remedy(text: str) -> str:
    if text == _DEFAULTS:
        return f"; let what varies include it, or give values yourself, as in {_EXAMPLE}"
    is_pairs = not text.lstrip().startswith(("@", "{"))
    return f"; a comma goes between two of them, as in {_EXAMPLE}" if is_pairs and _NO_COMMA.search(text) else ""


def _assigned(text: str) -> dict[str, Assigned]:
    try:
        return read_assignments(text, _EXAMPLE)
    except UsageError as error:
        is_meant = "=" not in text and difflib.get_close_matches(text.strip().lower(), [_DEFAULTS])
        hint = f"; did you mean --first {_DEFAULTS}?" if is_meant else ""
        raise UsageError(f"--first {error}{hint}") from None


def _given_in(text: str, space: Space) -> Iterator[dict[str, Any]]:
    """Yield the configs that *text* stands for, as far as they say."""
    if text == _DEFAULTS:
        yield {}
    elif text.startswith("@"):
        yield from (_plainly(config, space, text) for config in _in_file(text[1:]))
    elif text.lstrip().startswith("{"):
        try:
            config = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise UsageError(f"--first {shown(text)}: this is no JSON: {error}") from None
        yield _plainly(config, space, text)
    elif text.lstrip().startswith("["):
        raise UsageError(f"--first {shown(text)}: expected one config; say --first for each, or put the list in @FILE")
    else:
        assigned = _assigned(text)
        if not assigned:
            raise UsageError(f"--first: expected NAME=VALUE, as in {_EXAMPLE}, or `{_DEFAULTS}`; got nothing")
        spelled = {
            name: [given.text] if given.is_quoted else [given.value, given.text] for name, given in assigned.items()
        }
        yield _of_space(spelled, space, text)


def _in_file(path: str) -> list[Any]:
    """Return the one or the several configs in a YAML or JSON file.

    Raises:
        UsageError: there are none to read.
    """
    try:
        document = yaml.safe_load(Path(path).read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise UsageError(f"--first @{path}: the file cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise UsageError(f"--first @{path}: this is no YAML: {shown(str(error))}") from None
    configs = document if isinstance(document, list) else [document]
    if not configs or document is None:
        raise UsageError(f"--first @{path}: the file is empty; expected `name: value` lines, or a list of such")
    return configs


def _plainly(config: Any, space: Space, text: str) -> dict[str, Any]:
    if not isinstance(config, Mapping):
        raise UsageError(f"--first {_short(text)}: expected names and values, got {shown(str(config))}")
    # YAML takes 1e-3 for a text.
    spelled = {
        str(name): [value, typed(value)] if isinstance(value, str) else [value] for name, value in config.items()
    }
    return _of_space(spelled, space, text)


def _of_space(spelled: Mapping[str, Sequence[Any]], space: Space, text: str) -> dict[str, Any]:
    """Return a config by the names of the space; of what a value may mean, what its domain has."""
    config: dict[str, Any] = {}
    for name, meanings in spelled.items():
        key = match_name(name, list(space), f"--first {_short(text)}")
        if key in config:
            raise UsageError(f"--first {_short(text)}: {key} is given twice")
        config[key] = _fitting(space[key], meanings)
    return config


def _fitting(domain: Domain, meanings: Sequence[Any]) -> Any:
    truths = [_TRUTHS[text.lower()] for text in meanings if isinstance(text, str) and text.lower() in _TRUTHS]
    return next((value for value in (*meanings, *truths) if domain.contains(value)), meanings[0])


# ---- the program's own defaults
def _defaults_of(run: ScriptRun) -> dict[str, Any]:
    """Return the value that each parameter has by default, from the program's help.

    Raises:
        UsageError: it cannot be had, or says nothing of a parameter that is always there.
    """
    argv = [*run.program.argv(run.python), *_leading(run.sweep), "--help"]
    try:
        said = defaults_in(help_text(argv, Path(run.cwd)))
    except UsageError as error:
        raise UsageError(f"--first {_DEFAULTS}: {error}; give them yourself, as in {_EXAMPLE}") from None
    space = run.sweep.space
    found = {
        varied.key: _fitting(space[varied.key], _meanings(varied, said[varied.argument.flag]))
        for varied in run.sweep.varied
        if varied.argument.flag in said
    }
    found = {key: value for key, value in found.items() if value not in _NO_DEFAULT or space[key].contains(value)}
    missing = [key for key, domain in space.items() if domain.when is None and key not in found]
    if missing := missing or _missing_where_it_holds(space, found):
        raise UsageError(
            f"--first {_DEFAULTS}: {shell_line(argv)} names no default of {', '.join(missing)} (expected is "
            "`(default: VALUE)` in the help of the flag, as argparse's ArgumentDefaultsHelpFormatter writes it, or "
            f"`[default: VALUE]`); give them yourself: --first {','.join(f'{key}=…' for key in missing)}"
        )
    return found


def _missing_where_it_holds(space: Space, found: Mapping[str, Any]) -> list[str]:
    """Return the parameters of which nothing was *found* and whose conditions hold among the defaults."""
    try:
        whole = completed(space, {}, found)
    except ConfigError:  # which is told of where the config is made
        return []
    known = {name for axis in space.axes if any(name in found for name in axis) for name in axis}
    return [name for name in whole if name not in known]


def _leading(sweep: Sweep) -> Iterable[str]:
    """Return the words in front of the first flag: a subcommand, whose help it is about."""
    pieces = takewhile(lambda piece: isinstance(piece, str) and not piece.startswith(("-", "+", "~")), sweep.pieces)
    return [piece for piece in pieces if isinstance(piece, str) and "=" not in piece]


def _meanings(varied: Varied, text: str) -> list[Any]:
    """Return what a default as it is printed may mean."""
    name = varied.argument.flag.lstrip("-")
    if isinstance(varied.value, Toggle) and text in (name, f"no-{name}"):
        return [text == name]
    return [typed(text), text]
