"""The documentation agrees with the code: commands, options, links, examples."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from tests.architecture.source import ROOT, name_of, project_files
from whet.cli.main import COMMANDS, whet

REFERENCE = ROOT / "docs" / "reference" / "cli.md"


def _section(command: str) -> str:
    """Return the part of the reference about one command."""
    text = REFERENCE.read_text(encoding="utf-8")
    match = re.search(rf"^## whet {command}$(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert match, f"{name_of(REFERENCE)} has no section '## whet {command}'"
    return match[1]


def _command(name: str) -> click.Command:
    command = whet.get_command(click.Context(whet), name)
    assert command is not None
    return command


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_is_documented(name: str) -> None:
    section = _section(name)
    options = [parameter for parameter in _command(name).params if isinstance(parameter, click.Option)]
    spellings = [text for option in options if not option.hidden for text in (*option.opts, *option.secondary_opts)]
    missing = [text for text in spellings if not re.search(rf"(?<![\w-]){re.escape(text)}(?![\w-])", section)]
    assert not missing, f"{name_of(REFERENCE)} does not say what these options of whet {name} do"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_documented_option_exists(name: str) -> None:
    # A definition is a row of the option table or a line that begins with the option.
    documented = set(re.findall(r"^\|? ?`(--[\w-]+)", _section(name), re.MULTILINE))
    known = {text for parameter in _command(name).params for text in (*parameter.opts, *parameter.secondary_opts)}
    assert documented <= known | {"--help"}


def test_no_section_about_a_command_that_does_not_exist() -> None:
    sections = re.findall(r"^## whet (\S+)$", REFERENCE.read_text(encoding="utf-8"), re.MULTILINE)
    assert set(sections) == set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_has_a_help_text(name: str) -> None:
    options = [parameter for parameter in _command(name).params if isinstance(parameter, click.Option)]
    assert not [option.opts for option in options if not option.hidden and not option.help]


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_shows_no_markup(name: str) -> None:
    shown = _command(name).get_help(click.Context(_command(name), info_name=name))
    assert "\b" not in shown
    assert r"\b" not in shown
    assert "``" not in shown


def test_the_readme_lists_every_command() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert not [name for name in COMMANDS if f"`whet {name}" not in text]


# ---- links
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_CODE = re.compile(r"^```.*?^```|`[^`\n]*`", re.MULTILINE | re.DOTALL)


def _anchors(text: str) -> set[str]:
    """Return the anchors that a Markdown text's headings make, as GitHub makes them."""
    without_code = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    headings = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in _HEADING.findall(without_code))
    return {heading.strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", project_files("*.md"), ids=name_of)
def test_relative_links_lead_somewhere(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for link in _LINK.findall(_CODE.sub("", text)):
        if re.match(r"[a-z]+:", link):
            continue
        target, _, anchor = link.partition("#")
        file = (path.parent / target).resolve() if target else path
        assert file.exists(), f"{name_of(path)}: {link}"
        assert not anchor or anchor in _anchors(file.read_text(encoding="utf-8")), f"{name_of(path)}: {link}"


def test_every_page_can_be_reached_from_the_readme() -> None:
    seen: set[Path] = set()
    todo = [ROOT / "README.md"]
    while todo:
        page = todo.pop()
        if page in seen or page.suffix != ".md":
            continue
        seen.add(page)
        links = _LINK.findall(page.read_text(encoding="utf-8"))
        todo += [(page.parent / link.partition("#")[0]).resolve() for link in links if not re.match(r"[a-z]+:|#", link)]
    pages = {path for path in project_files("*.md") if path.is_relative_to(ROOT / "docs")}
    assert not {name_of(path) for path in pages - seen}
