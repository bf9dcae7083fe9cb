"""The contract of executors, over those that whet has."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from whet.core.protocols import Launch
from whet.executors.commands import Command, CommandExecutor
from whet.executors.inline import InlineExecutor
from whet.testing.behaviours import behave
from whet.testing.executor_suite import ConcurrencyContract, ExecutorContract, MakeExecutor


class TestCommandExecutor(ExecutorContract, ConcurrencyContract):
    @pytest.fixture
    def make_executor(self, tmp_path: Path) -> MakeExecutor:
        def render(launch: Launch) -> Command:
            trial_dir = tmp_path / "trials" / launch.token
            argv = (sys.executable, "-m", "whet.testing.behaviours", json.dumps(launch.config))
            env = {**os.environ, "WHET_METRICS": str(trial_dir / "reported.jsonl")}
            return Command(argv, tmp_path, env, trial_dir)

        return lambda slots: CommandExecutor(render, slots=slots, watch=["loss", "acc"], grace_s=5.0)


class TestInlineExecutor(ExecutorContract):
    @pytest.fixture
    def make_executor(self) -> MakeExecutor:
        return lambda slots: InlineExecutor(lambda launch, report: behave(launch.config, report), slots)
