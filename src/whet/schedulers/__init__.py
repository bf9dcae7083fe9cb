"""How much budget, and for whom."""

from whet.schedulers.asha import ASHA
from whet.schedulers.fifo import Fifo
from whet.schedulers.freeze_thaw import FreezeThaw
from whet.schedulers.hyperband import Hyperband
from whet.schedulers.median import Median, Percentile
from whet.schedulers.racing import Racing
from whet.schedulers.stops import Divergence, Patience, Threshold
from whet.schedulers.successive_halving import SuccessiveHalving
from whet.schedulers.together import Together

__all__ = [
    "ASHA",
    "Divergence",
    "Fifo",
    "FreezeThaw",
    "Hyperband",
    "Median",
    "Patience",
    "Percentile",
    "Racing",
    "SuccessiveHalving",
    "Threshold",
    "Together",
]
