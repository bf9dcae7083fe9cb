"""The contract of executors, over those that whet has."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from whet.core.protocols import Launch
from whet.executors.calling import bind
from whet.executors.commands import Command, CommandExecutor
from whet.executors.inline import InlineExecutor
from whet.executors.processes import ProcessExecutor
from whet.testing.behaviours import behave_as_function
from whet.testing.executor_suite import ConcurrencyContract, DecisionContract, ExecutorContract, MakeExecutor

BEHAVIOUR = bind(behave_as_function, has_fidelity=False)


class TestCommandExecutor(ExecutorContract, ConcurrencyContract):
    @pytest.fixture
    def make_executor(self, tmp_path: Path) -> MakeExecutor:
        def render(launch: Launch) -> Command:
            trial_dir = tmp_path / "trials" / launch.token
            argv = (sys.executable, "-m", "whet.testing.behaviours", json.dumps(launch.config))
            env = {**os.environ, "WHET_METRICS": str(trial_dir / "reported.jsonl")}
            return Command(argv, tmp_path, env, trial_dir)

        return lambda slots: CommandExecutor(render, slots=slots, watch=["loss", "acc"], grace_s=5.0)


class TestInlineExecutor(ExecutorContract, DecisionContract):
    @pytest.fixture
    def make_executor(self) -> MakeExecutor:
        return lambda slots: InlineExecutor(BEHAVIOUR, slots=slots)


class TestProcessExecutor(ExecutorContract, ConcurrencyContract, DecisionContract):
    @pytest.fixture
    def make_executor(self, tmp_path: Path) -> MakeExecutor:
        return lambda slots: ProcessExecutor(BEHAVIOUR, slots=slots, folder=tmp_path / "trials", grace_s=5.0)
