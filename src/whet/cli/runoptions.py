"""The options of `whet run`, by section of its help, and how they are told from the program's own arguments."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import click

from whet.cli.options import TrialCount, duration, retries, size, trial_count
from whet.cli.plan import DEFAULT_MAX_TRIALS, STRATEGIES
from whet.core.lookahead import DEFAULT_LOOKAHEAD
from whet.errors import UsageError
from whet.schedulers.names import SCHEDULERS
from whet.space.tokens import shown
from whet.storage.open import DEFAULT_STORE
from whet.text import shell_line

_MANY: Mapping[str, Any] = {"multiple": True, "default": ()}
_POSITIVE = click.IntRange(min=1)
_DAYS = "90, 10m, 2h or 1d"


def _option(*names: str, help: str, **attributes: Any) -> click.Option:  # noqa: A002 -- click's word
    return click.Option(names, help=help, **attributes)


SECTIONS: Mapping[str, tuple[click.Option, ...]] = {
    "Which values are combined": (
        _option(
            "--strategy",
            "--sampler",
            metavar="NAME",
            help=f"{', '.join(STRATEGIES[:-1])}, bohb (tpe under --scheduler hyperband), or none: pass every value as "
            "it is. By default grid where all values are listed and not too many, else auto with an objective, else "
            'random. Options in brackets: "NAME(option=value)".',
        ),
        _option(
            "--first",
            metavar="CONFIG",
            help="lr=1e-3,layers=2: try this before anything else; what is left out is in the middle. Or `defaults`: "
            "those of the program, from its --help; or @FILE in YAML. Repeatable.",
            **_MANY,
        ),
        _option("--trials", "--num_trials", type=trial_count, metavar="N", help="How many combinations to try in all."),
        _option("--seed", type=click.IntRange(min=0), metavar="N", help="Makes the choice of values repeatable."),
        _option(
            "--deterministic",
            is_flag=True,
            help=f"Choose the same values with any number of --workers up to {DEFAULT_LOOKAHEAD}, whichever trial is "
            "faster.",
        ),
        _option(
            "--repeats", type=_POSITIVE, default=1, metavar="N", help="Run each combination N times, {seed} differing."
        ),
        _option("--zip", "zips", metavar="A,B", help="Vary these lists together; repeatable.", **_MANY),
        _option(
            "--when", metavar="RULE", help="\"momentum: opt == 'sgd'\": pass momentum only then; repeatable.", **_MANY
        ),
        _option("--forbid", metavar="RULE", help='"batch * accum > 4096": leave these out; repeatable.', **_MANY),
        _option("--literal", metavar="FLAG", help="Pass the value of this flag as it is; repeatable.", **_MANY),
        _option(
            "--max-trials",
            type=_POSITIVE,
            default=DEFAULT_MAX_TRIALS,
            show_default=True,
            metavar="N",
            help="A grid of more needs --trials or --yes.",
        ),
        _option("--yes", is_flag=True, help="Run a grid beyond --max-trials."),
    ),
    "What is wanted": (
        _option(
            "--objective",
            "objectives",
            metavar="NAME:min|max",
            help="Metric to make small or large, as the program prints it; repeatable.",
            **_MANY,
        ),
        _option("--maximize", metavar="NAME", help="The same as --objective NAME:max; repeatable.", **_MANY),
        _option("--minimize", metavar="NAME", help="The same as --objective NAME:min; repeatable.", **_MANY),
        _option(
            "--constraint",
            "constraints",
            metavar="BOUND",
            help='"latency_ms <= 20": a trial that breaks it is never the best; repeatable.',
            **_MANY,
        ),
        _option("--take", default="last", show_default=True, metavar="last|best|mean:N", help="A trial's value."),
        _option(
            "--inf",
            "infinite",
            type=click.Choice(["fail", "worst"]),
            default="fail",
            show_default=True,
            help="An objective that is not finite: a failure, or the worst value of all.",
        ),
        _option("--metric-pattern", metavar="REGEX", help="For metrics printed in a form of their own."),
        _option("--target", type=float, metavar="VALUE", help="End when the first objective reaches this."),
    ),
    "How far trials go": (
        _option(
            "--scheduler",
            metavar="NAME",
            help=f"{', '.join(SCHEDULERS)}: ends trials that fall behind, or gives more to those that are ahead. "
            'Options in brackets; several with a plus: "asha(eta=4) + patience(n=5)". By default every trial runs '
            "to its end.",
        ),
        _option(
            "--fidelity",
            metavar="NAME=LOW:HIGH",
            help="How far trials can go. epochs=1:81: the program's --epochs says how far, and is replaced or added; "
            "step=1:81: nothing is passed, and the steps that it prints are counted; seconds=10:300: its time is "
            'taken. `--epochs "budget(1, 81)"` says the same as the first.',
        ),
    ),
    "Limits": (
        _option("--timeout", "timeout_s", type=duration, metavar="TIME", help=f"Of the whole run: {_DAYS}."),
        _option("--trial-timeout", "trial_timeout_s", type=duration, metavar="TIME", help="Of each trial."),
        _option("--memory", "memory_bytes", type=size, metavar="SIZE", help="Of each trial: 500M, 4G."),
        _option(
            "--max-failures", type=_POSITIVE, metavar="N", help="End after N failures; else if the first three fail."
        ),
        _option("--retries", type=retries, metavar="N", help="Of a failed trial: 2, or timeout=1,memory=0."),
        _option(
            "--grace",
            "grace_s",
            type=duration,
            default="10",
            show_default=True,
            metavar="TIME",
            help="For a trial to end when it is asked to.",
        ),
        _option(
            "--log-cap",
            "log_cap_bytes",
            type=size,
            default="50M",
            show_default=True,
            metavar="SIZE",
            help="Of each log file; its head and tail are kept.",
        ),
    ),
    "Where trials run": (
        _option("--workers", type=_POSITIVE, default=1, show_default=True, metavar="N", help="Trials at a time."),
        _option("--cpus", type=_POSITIVE, metavar="N", help="Threads of each trial; by default an equal share."),
        _option("--gpus", metavar="N", help="GPUs of each trial: 1, or 0.5 for two trials on a GPU."),
        _option("--python", metavar="PATH", help="Interpreter; by default the active virtual environment's."),
        _option(
            "--env-keep",
            metavar="NAME",
            help="Keep this variable of the environment with the study, for whet resume; no other is. Repeatable.",
            **_MANY,
        ),
        _option("--chdir", is_flag=True, help="Run each trial in a directory of its own."),
        _option("--pty", is_flag=True, help="Give each trial a terminal, for programs that print late without one."),
    ),
    "The study": (
        _option("--name", metavar="NAME", help="By default the script's name and a number."),
        _option(
            "--store",
            metavar="WHERE",
            help=f"A file or postgresql://HOST/DATABASE, where the study is kept; by default {DEFAULT_STORE}.",
        ),
        _option("--config", metavar="FILE", help="YAML with these options, `script:` and `args:`."),
        _option("--dry-run", is_flag=True, help="Print the command lines and their number; run nothing."),
        _option("--json", "is_json", is_flag=True, help="Print one JSON object per line."),
        _option("--quiet", "is_quiet", is_flag=True, help="Print only how it ended."),
    ),
}
# What the design has and this version has not; the value that asks for nothing new is accepted.
_LATER: tuple[click.Option, ...] = (
    _option("--executor", help="", hidden=True),
    _option("--preload", help="", hidden=True),
)
_EXECUTORS = ("processes",)


@dataclass(frozen=True, slots=True)
class Request:
    """The options of one `whet run`, as they were given or by default; see `SECTIONS`."""

    strategy: str | None
    first: tuple[str, ...]
    trials: TrialCount | None
    seed: int | None
    deterministic: bool
    repeats: int
    zips: tuple[str, ...]
    when: tuple[str, ...]
    forbid: tuple[str, ...]
    literal: tuple[str, ...]
    max_trials: int
    yes: bool
    objectives: tuple[str, ...]
    maximize: tuple[str, ...]
    minimize: tuple[str, ...]
    constraints: tuple[str, ...]
    take: str
    infinite: Literal["fail", "worst"]
    metric_pattern: str | None
    scheduler: str | None
    fidelity: str | None
    target: float | None
    timeout_s: float | None
    trial_timeout_s: float | None
    memory_bytes: int | None
    max_failures: int | None
    retries: Mapping[str, int] | None
    grace_s: float
    log_cap_bytes: int
    workers: int
    cpus: int | None
    gpus: str | None
    python: str | None
    env_keep: tuple[str, ...]
    chdir: bool
    pty: bool
    name: str | None
    store: str | None
    config: str | None
    dry_run: bool
    is_json: bool
    is_quiet: bool


def check_built(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return *options* without those that this version does not have.

    Raises:
        UsageError: one of them was given, and asks for more than this version does.
    """
    kept = dict(options)
    executor = kept.pop("executor")
    if executor not in (None, *_EXECUTORS):
        raise UsageError(f"--executor {executor} is not available in this version of whet; available: processes")
    if kept.pop("preload"):
        raise UsageError("--preload is not available in this version of whet; leave it out")
    return kept


class RunCommand(click.Command):
    """A command whose options end where the program begins; everything behind is the program's."""

    def __init__(self, *, params: Any = None, **attributes: Any) -> None:
        assert not params, "the options are in SECTIONS"
        options = [option for section in SECTIONS.values() for option in section]
        tokens = click.Argument(["tokens"], nargs=-1, type=click.UNPROCESSED, metavar="SCRIPT [ARGS]...")
        super().__init__(**attributes, params=[*options, *_LATER, tokens])

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take whet's options off the front; what begins with the program is left alone."""
        end, config = self._end_of_options(args)
        rest = args[end + 1 :] if args[end : end + 1] == ["--"] else args[end:]
        if config is not None:
            from whet.cli.configfile import read_config

            file = read_config(config, ctx)
            ctx.default_map = {**(ctx.default_map or {}), **file.options}
            if file.has_script and rest:
                raise UsageError(
                    f"the program is named twice: {shell_line(file.tokens[:2])} in {config}, "
                    f"and {shell_line(rest[:2])} on the command line"
                )
            # Arguments of the file come first: a program that is given a flag twice takes the last one.
            n_program = 0 if not rest else 2 if rest[0] == "-m" else 1
            rest = [*rest[:n_program], *file.tokens, *rest[n_program:]]
            if not file.has_script and not n_program:
                rest = []
        # Behind an option that lacks its value, "--" would become it.
        return super().parse_args(ctx, [*args[:end], *(["--", *rest] if rest else [])])

    def _end_of_options(self, args: list[str]) -> tuple[int, str | None]:
        """Return where the program begins, and the value of `--config` before it.

        Raises:
            UsageError: an option before it is none of whet's, or is given two values that cannot both count.
        """
        options = {name: p for p in self.params if isinstance(p, click.Option) for name in p.opts}
        position, config = 0, None
        given: dict[click.Option, str | None] = {}
        while position < len(args):
            typed = args[position]
            if typed in ("-", "--", "-m") or not typed.startswith("-"):
                return position, config
            name, equals, joined = typed.partition("=")
            option = options.get(name)
            if option is None and name not in ("-h", "--help"):
                raise UsageError(_foreign(args, position, options))
            takes_next = option is not None and not option.is_flag and not equals
            value = next(iter(args[position + 1 : position + 2]), None) if takes_next else joined
            if option is not None and option.name in _NOT_TWICE:
                before = given.setdefault(option, value)
                if before is not None and value is not None and before != value:
                    raise UsageError(_given_twice(name, before, value))
            if name == "--config":
                config = value
            position += 1 + takes_next
        return len(args), config

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options by section."""
        for title, options in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([record for option in options if (record := option.get_help_record(ctx))])
        with formatter.section("Other"):
            formatter.write_dl([("-h, --help", "Show this message and exit.")])


# Of these, who gives two wants both, and not the last one, as of an option added to an alias.
_NOT_TWICE = {"scheduler", "fidelity", "strategy", "retries"}


def _given_twice(name: str, before: str, value: str) -> str:
    """Return what is wrong with a second value of an option that takes one, and what may have been meant."""
    problem = f"{name} is given twice, as {shown(before)} and as {shown(value)}"
    if name == "--scheduler":
        return f'{problem}; several that work together are one value, as in --scheduler "asha + patience(n=5)"'
    return f"{problem}, and takes one value; leave one of them out"


def _foreign(args: list[str], position: int, known: Mapping[str, click.Option]) -> str:
    """Return what is wrong with an option before the program that only the program can mean, and the line to type."""
    name = args[position].partition("=")[0]
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.75)
    problem = f"{name} is no option of whet run" + (f"; did you mean {close[0]}?" if close else "")
    ours: list[str] = args[:position]
    theirs: list[str] = []
    while position < len(args) and not _is_program(args[position]):
        token = args[position]
        option = known.get(token.partition("=")[0])
        takes_next = "=" not in token and not (option.is_flag if option else _is_last_word(args, position))
        words = args[position : position + 1 + takes_next]
        (ours if option else theirs).extend(words)
        position += len(words)
    if position >= len(args):
        return f"{problem}{'' if close else '; arguments of the program come behind it: whet run train.py --lr 0.1'}"
    end = position + (2 if args[position] == "-m" else 1)
    line = shell_line(["whet", "run", *ours, *args[position:end], *theirs, *args[end:]])
    return f"{problem}\nArguments of the program come behind it: {line}"


def _is_last_word(args: list[str], position: int) -> bool:
    """Tell whether the flag at *position* can have no value: a flag, the program or nothing follows."""
    following = args[position + 1 : position + 2]
    return not following or following[0].startswith("-") or _is_program(following[0])


def _is_program(typed: str) -> bool:
    return typed == "-m" or os.path.isfile(typed)  # noqa: PTH113 -- any text, NUL included
