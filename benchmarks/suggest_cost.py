"""What a suggestion costs, by the number of trials known: CPU ms of ask and tell, strategies of whet and Optuna's.

python benchmarks/suggest_cost.py [--strategies random,quasi_random] [--sizes 20,60,100] [--peers optuna-tpe]

Two spaces: 14 parameters of which 8 are conditional, and 10 numbers. A study is given n finished random trials, then
asked and told: once for the first suggestion, which takes in all the trials, and then for the median of the next ones.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from measuring import show
from searching.methods import WHET, listed, start, version_of
from searching.parameters import Config, Parameter, sampled

TREES = ("booster", ("gbtree", "dart"))
DART = ("booster", ("dart",))
SPACES = {
    "14 parameters, 8 conditional": [
        Parameter("booster", "category", values=("gblinear", "gbtree", "dart")),
        Parameter("impute", "category", values=("mean", "median", "hist")),
        Parameter("nrounds", "int", 8, 3000, log=True),
        Parameter("alpha", "float", 1e-3, 1e3, log=True),
        Parameter("lambda", "float", 1e-3, 1e3, log=True),
        Parameter("subsample", "float", 0.1, 1.0),
        Parameter("eta", "float", 1e-3, 1.0, log=True, when=TREES),
        Parameter("gamma", "float", 5e-5, 7.0, log=True, when=TREES),
        Parameter("max_depth", "int", 1, 15, when=TREES),
        Parameter("min_child_weight", "float", 1.0, 100.0, log=True, when=TREES),
        Parameter("colsample_bytree", "float", 0.01, 1.0, when=TREES),
        Parameter("colsample_bylevel", "float", 0.01, 1.0, when=TREES),
        Parameter("rate_drop", "float", 0.0, 1.0, when=DART),
        Parameter("skip_drop", "float", 0.0, 1.0, when=DART),
    ],
    "10 parameters": [
        *(Parameter(f"x{i}", "float", 0.0, 1.0) for i in range(5)),
        *(Parameter(f"r{i}", "float", 1e-4, 1.0, log=True) for i in range(3)),
        *(Parameter(f"n{i}", "int", 1, 64) for i in range(2)),
    ],
}
N_SUGGESTIONS = 5  # after the first


def loss(config: Config, parameters: list[Parameter]) -> float:
    """Return a smooth function of the config with a term for every category."""
    total = 0.0
    for k, parameter in enumerate(parameters):
        if parameter.name not in config:
            continue
        value = config[parameter.name]
        if parameter.values:
            total += 0.3 * parameter.values.index(value)
            continue
        scale = np.log if parameter.log else float
        low, high = scale(parameter.low), scale(parameter.high)
        total += (k + 1) ** -0.5 * ((scale(value) - low) / (high - low) - 0.3) ** 2
    return float(total)


def cost(method: str, parameters: list[Parameter], n: int) -> tuple[float, float]:
    """Return the CPU ms of the first suggestion after *n* trials, and the median of the next."""
    rng = np.random.default_rng(0)
    search: Any = start(method, parameters, 0, n + 1 + N_SUGGESTIONS)
    if not hasattr(search, "add"):
        raise SystemExit(f"{method} cannot be given finished trials here; only whet and Optuna can")
    configs = [sampled(parameters, rng) for _ in range(n)]
    search.add([(config, loss(config, parameters)) for config in configs])
    times = [_cpu_ms(lambda: _step(search, parameters)) for _ in range(1 + N_SUGGESTIONS)]
    return times[0], statistics.median(times[1:])


def _step(search: Any, parameters: list[Parameter]) -> None:
    handle, config = search.ask()
    search.tell(handle, loss(config, parameters))


def _cpu_ms(call: Callable[[], None]) -> float:
    began = time.process_time()
    call()
    return 1e3 * (time.process_time() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--strategies", default="random,quasi_random", help="of whet")
    parser.add_argument("--sizes", default="20,60,100,200,1000,2000,10000", help="trials known")
    parser.add_argument("--peers", default="optuna-tpe", help="of Optuna; its GPSampler up to 200 trials only")
    options = parser.parse_args()
    methods = [WHET + name for name in listed(options.strategies)] + listed(options.peers)
    for title, parameters in SPACES.items():
        for method in methods:
            rows: dict[str, object] = {}
            cost(method, parameters, 15)  # imports
            for n in map(int, options.sizes.split(",")):
                if method == "optuna-gp" and n > 200:
                    continue
                first, next_ones = cost(method, parameters, n)
                rows[f"{n} trials: CPU ms of the next suggestions"] = next_ones
                rows[f"{n} trials: of the first"] = first
            show(f"{method} {version_of(method)}, {title}", rows)


if __name__ == "__main__":
    main()
