"""What a benchmark's quality is, and the check against its target."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Quality:
    """A metric.  `compare` works batch by batch, on each process; `score` on all of it at once.

    compare(predictions, batch) -> record: what one batch adds to the metric; small, picklable.
    score(records) -> float: the metric over the whole evaluation set.
    count(records) -> int: how many examples the records speak of.
    """

    name: str
    higher_is_better: bool
    compare: Callable[[np.ndarray, dict], Any]
    score: Callable[[list], float]
    count: Callable[[list], int]

    def met(self, value: float, target: float) -> bool:
        """Whether a value is as good as the target, or better.  A NaN never is."""
        return value >= target if self.higher_is_better else value <= target
