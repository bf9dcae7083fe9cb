"""`--config sweep.yaml`: the options of `whet run`, the script and its arguments, from a file.

::

    script: train.py              # or: -m pkg.train
    args:                         # as typed, each flag without its dashes
      lr: loguniform(1e-5, 1e-1)
      layers: [1, 2, 3]           # a list is swept; "lit:[1, 2]" is not
      verbose: true               # a flag without a value; false leaves it out, and so does null (or nothing)
      wd: [1e-4, null]            # null in a list: None, the flag is left out
      +trainer.gpus: 1            # a name that begins with - or + is taken as it is
    objective: val_acc:max        # an option of `whet run`, without its dashes
    trials: 20
"""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import yaml

from whet.errors import UsageError
from whet.text import one_line

_OWN_KEYS = ("script", "args")
_YAML = "tag:yaml.org,2002:"
_TAGS = {f"{_YAML}{kind}" for kind in ("null", "bool", "int", "float", "str", "timestamp", "value", "seq", "map")}
_SPECIAL = set("[](){},'\"\\ \t\n")


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """What a file says.

    Attributes:
        path: of the file, as typed.
        options: option name to value, as `click.Context.default_map` takes them.
        tokens: the program and its arguments; empty, or without the program, if the file does not say.
        has_script: whether *tokens* begins with a program.
    """

    path: str
    options: Mapping[str, Any] = field(default_factory=dict)
    tokens: tuple[str, ...] = ()
    has_script: bool = False


def read_config(path: str, ctx: click.Context) -> ConfigFile:
    """Read a file with options of the command of *ctx*.

    Raises:
        UsageError: it cannot be read, is no YAML, or says what is no option; the message names the line.
    """
    document = _document(path)
    if document is None:
        return ConfigFile(path)
    try:
        return _read(path, document, ctx)
    except RecursionError:
        raise UsageError(f"{path}: a list holds itself") from None


def _read(path: str, document: yaml.Node, ctx: click.Context) -> ConfigFile:
    _check_tags(path, document)
    if not isinstance(document, yaml.MappingNode):
        raise _error(path, document, "expected `key: value` lines, such as `trials: 20`")
    options: dict[str, Any] = {}
    script: list[str] = []
    arguments: list[str] = []
    seen: set[str] = set()
    for key_node, node in document.value:
        key = _name(path, key_node).replace("-", "_")
        if key in seen:
            raise _error(path, key_node, f"{key} is given twice")
        seen.add(key)
        if key == "script":
            script = _script(path, node)
        elif key == "args":
            arguments = _arguments(path, node)
        else:
            option = _option(path, key, key_node, ctx)
            if not _is_null(node):
                options[str(option.name)] = _checked(path, key, node, option, ctx)
    return ConfigFile(path, options, (*script, *arguments), has_script=bool(script))


def _document(path: str) -> yaml.Node | None:
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
        node: yaml.Node | None = yaml.compose(text, Loader=yaml.SafeLoader)
    except OSError as error:
        raise UsageError(f"--config {path}: the file cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise UsageError(f"--config {path}: the file is not UTF-8 text") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = getattr(error, "problem", None) or one_line(str(error))
        raise UsageError(f"{path}{where}: this is no YAML: {problem}") from None
    except RecursionError:
        raise UsageError(f"{path}: the brackets are nested too deeply") from None
    return node


def _error(path: str, node: yaml.Node, problem: str) -> UsageError:
    return UsageError(f"{path}, line {node.start_mark.line + 1}: {problem}")


def _name(path: str, node: yaml.Node) -> str:
    if not isinstance(node, yaml.ScalarNode):
        raise _error(path, node, "expected a name in front of the colon")
    return str(node.value)


def _check_tags(path: str, document: yaml.Node) -> None:
    """Refuse tags such as ``!!python/name:os.system``: they ask for more than text, and would go unheard."""
    waiting, seen = [document], set()
    while waiting:
        node = waiting.pop()
        if id(node) in seen:  # an alias
            continue
        seen.add(id(node))
        if node.tag not in _TAGS:
            tag = node.tag.replace(_YAML, "!!")
            problem = "`<<` cannot be used" if tag == "!!merge" else f"the tag {one_line(tag)} has no meaning"
            raise _error(path, node, f"{problem} here: expected plain values, lists and `key: value` lines")
        if isinstance(node, yaml.MappingNode):
            waiting += [part for pair in reversed(node.value) for part in reversed(pair)]
        elif isinstance(node, yaml.SequenceNode):
            waiting += reversed(node.value)


def _is_null(node: yaml.Node) -> bool:
    return node.tag == f"{_YAML}null"


def _option(path: str, key: str, key_node: yaml.Node, ctx: click.Context) -> click.Option:
    """Return the option that *key* means."""
    by_spelling = {
        spelling.lstrip("-").replace("-", "_"): option
        for option in ctx.command.params
        if isinstance(option, click.Option)
        for spelling in option.opts
    }
    option = by_spelling.get(key)
    if option is None or option.name in (None, "config", "help"):
        close = difflib.get_close_matches(key, [*by_spelling, *_OWN_KEYS], n=1)
        hint = f"did you mean {close[0]}?" if close else "a flag of the script belongs under `args:`"
        raise _error(path, key_node, f"{key} is no option of whet run; {hint}")
    return option


def _checked(path: str, key: str, node: yaml.Node, option: click.Option, ctx: click.Context) -> Any:
    """Return the value of an option, checked as if it were typed."""
    value = _value(path, key, node, option)
    try:
        option.process_value(ctx, value)
    except click.UsageError as error:
        raise _error(path, node, f"{key}: {error.message}") from None
    return value


def _value(path: str, key: str, node: yaml.Node, option: click.Option) -> Any:
    if option.is_flag:
        truth = isinstance(node, yaml.ScalarNode) and _truth(node)
        if truth is None or not isinstance(node, yaml.ScalarNode):
            raise _error(path, node, f"{key}: expected true or false")
        return truth
    if option.multiple:
        nodes = node.value if isinstance(node, yaml.SequenceNode) else [node]
        return [_pairs(path, key, item) for item in nodes]
    if isinstance(node, yaml.MappingNode):  # retries: {timeout: 1}
        return ",".join(f"{_name(path, k)}={_scalar(path, key, v)}" for k, v in node.value)
    return _scalar(path, key, node)


def _pairs(path: str, key: str, node: yaml.Node) -> str:
    """Return one value of an option that is repeatable; a mapping as `name=value` pairs, as in `first: {lr: 0.1}`."""
    if not isinstance(node, yaml.MappingNode):
        return _scalar(path, key, node)
    return ", ".join(f"{_name(path, name)}={_element(path, key, value)}" for name, value in node.value)


def _scalar(path: str, key: str, node: yaml.Node) -> str:
    if not isinstance(node, yaml.ScalarNode):
        raise _error(path, node, f"{key}: expected one value, got several")
    if _is_null(node):
        raise _error(path, node, f"{key}: expected a value, got nothing")
    return str(node.value)


def _truth(node: yaml.ScalarNode) -> bool | None:
    """Return what a node says if it says true or false; text in quotes does not."""
    if node.tag != f"{_YAML}bool":
        return None
    return str(node.value).lower() in ("true", "yes", "on")


def _script(path: str, node: yaml.Node) -> list[str]:
    if isinstance(node, yaml.SequenceNode):
        words = [_scalar(path, "script", item) for item in node.value]
    else:
        try:
            words = shlex.split(_scalar(path, "script", node))
        except ValueError as error:
            raise _error(path, node, f"script: {error}") from None
    if not words:
        raise _error(path, node, "script: expected a program, such as train.py or -m pkg.train")
    return words


def _arguments(path: str, node: yaml.Node) -> list[str]:
    """Return the tokens of `args:`, a mapping of flags to values or a list of words."""
    if isinstance(node, yaml.SequenceNode):
        return [_scalar(path, "args", item) for item in node.value]
    if not isinstance(node, yaml.MappingNode):
        raise _error(path, node, "args: expected `flag: value` lines, or a list of words")
    tokens: list[str] = []
    for key_node, value in node.value:
        name = _name(path, key_node)
        flag = name if name.startswith(("-", "+", "~")) else f"--{name}"
        tokens += _flag_tokens(path, flag, value)
    return tokens


def _flag_tokens(path: str, flag: str, node: yaml.Node) -> list[str]:
    if isinstance(node, yaml.ScalarNode):
        truth = _truth(node)
        if truth is False or _is_null(node):
            return []
        if truth:
            return [flag]
    text = _text(path, flag, node)
    # `+trainer.gpus` is Hydra's spelling, and a value that looks like a flag has to be joined to its own.
    is_joined = flag.startswith(("+", "~")) or text.startswith("-")
    return [f"{flag}={text}"] if is_joined else [flag, text]


def _text(path: str, flag: str, node: yaml.Node) -> str:
    """Return a value as it would be typed; lists in brackets, their texts in quotes where they need them."""
    if isinstance(node, yaml.ScalarNode):
        return str(node.value)
    if isinstance(node, yaml.SequenceNode):
        return f"[{', '.join(_element(path, flag, item) for item in node.value)}]"
    raise _error(path, node, f"{flag}: expected a value or a list, got `key: value` lines")


def _element(path: str, flag: str, node: yaml.Node) -> str:
    if _is_null(node):
        return "None"
    text = _text(path, flag, node)
    if not isinstance(node, yaml.ScalarNode) or (node.style is None and not _SPECIAL & set(text)):
        return text
    escaped = text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n")
    return f"'{escaped}'"
