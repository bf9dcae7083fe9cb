"""What is to happen once a candidate's parameters have been set, which scikit-learn does within its own function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def after_set_params(estimator: Any, change: Callable[[Any], Any]) -> None:
    """Have *change* called with *estimator* once its parameters have been set, the next time only.

    Of several changes the first that was asked for comes first.
    """
    earlier = vars(estimator).get("set_params")

    def set_params(**parameters: Any) -> Any:
        if earlier is None:
            del estimator.set_params  # this function; the class has the real one
        else:
            estimator.set_params = earlier
        estimator.set_params(**parameters)
        change(estimator)
        return estimator

    estimator.set_params = set_params
