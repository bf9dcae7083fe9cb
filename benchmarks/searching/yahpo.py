"""A reader of YAHPO Gym's surrogates, as far as the suite needs them: https://github.com/slds-lmu/yahpo_gym.

A scenario is a folder with `config_space.json`, `encoding.json`, `meta.json` and `model.onnx`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from searching.parameters import Config, Parameter


class Scenario:
    """One family of surrogates; *parameters* are what may vary, without the instance and what fidelity means there."""

    def __init__(self, folder: Path) -> None:
        import onnxruntime

        described, self._codes, self._meta = (
            json.loads((folder / name).read_text(encoding="utf-8"))
            for name in ("config_space.json", "encoding.json", "meta.json")
        )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3  # errors only
        self._session = onnxruntime.InferenceSession(folder / "model.onnx", options, providers=["CPUExecutionProvider"])
        axes = {axis["name"]: axis for axis in described["hyperparameters"]}
        conditions = {condition["child"]: _condition(condition) for condition in described["conditions"]}
        fixed = (self._meta["instance_names"], *self._meta["fidelity_params"])
        self._full = {name: axes[name]["upper"] for name in self._meta["fidelity_params"]}
        free = [_parameter(axis, conditions.get(name)) for name, axis in axes.items() if name not in fixed]
        self.parameters = sorted(free, key=lambda parameter: parameter.when is not None)  # parents first

    def values(self, instance: str, metric: str, configs: Sequence[Config]) -> NDArray[np.float64]:
        """Return what the surrogate says of *metric*, at full fidelity where a config names none; shape (n,)."""
        categories, numbers = [], []
        for config in configs:
            row = {**self._full, **config, self._meta["instance_names"]: instance}
            categories.append([self._codes[name][str(row.get(name, "#na#"))] for name in self._meta["cat_names"]])
            numbers.append([float(row.get(name, 0)) for name in self._meta["cont_names"]])
        given = {"x_cat": np.array(categories, np.int32), "x_cont": np.array(numbers, np.float32)}
        column = self._meta["y_names"].index(metric)
        return np.asarray(self._session.run(None, given)[0][:, column], dtype=np.float64)


def _condition(data: dict[str, Any]) -> tuple[str, tuple[Any, ...]]:
    if data["type"] not in ("EQ", "IN"):
        raise SystemExit(f"a condition of type {data['type']!r} on {data['child']} is not known here, only EQ and IN")
    return data["parent"], tuple(data["values"]) if data["type"] == "IN" else (data["value"],)


def _parameter(axis: dict[str, Any], when: tuple[str, tuple[Any, ...]] | None) -> Parameter:
    if axis["type"] == "categorical":
        return Parameter(axis["name"], "category", values=tuple(axis["choices"]), when=when)
    kind = {"uniform_float": "float", "uniform_int": "int"}[axis["type"]]
    return Parameter(axis["name"], kind, axis["lower"], axis["upper"], axis["log"], when=when)
