"""What a benchmark's quality is, and the check against its targets."""

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from common.errors import UserError


@dataclass(frozen=True)
class Quality:
    """One metric or several.  `compare` works batch by batch, on each process; `score` on all.

    names: of the metrics, as results show them.
    compare(predictions, batch) -> record: what one batch adds to the metrics; small, picklable.
    score(records) -> float: the metric over the whole evaluation set; with several, one for each
        of the names.
    count(records) -> int: how many examples the records speak of.
    strictly: the target itself is not enough.
    beside(records) -> {name: value}: what the log says beside the metrics.
    """

    names: tuple[str, ...]
    higher_is_better: bool
    compare: Callable[[np.ndarray, dict], Any]
    score: Callable[[list], float | tuple[float, ...]]
    count: Callable[[list], int]
    strictly: bool = False
    beside: Callable[[list], dict[str, float]] = lambda records: {}

    def values(self, records: list) -> dict[str, float]:
        """{name: value} over the whole evaluation set."""
        found = self.score(records)
        return dict(zip(self.names, found if len(self.names) > 1 else [found], strict=True))

    def targets(self, target: float | str) -> dict[str, float]:
        """{name: target} of a config's target: 0.9, or of several metrics "one=0.3,other=0.2".

        Raises UserError.
        """
        if isinstance(target, (int, float)) and len(self.names) == 1:
            return {self.names[0]: float(target)}
        wanted = ",".join(f"{name}=VALUE" for name in self.names)
        try:
            pairs = [part.split("=") for part in str(target).split(",")]
            found = {name.strip(): float(value) for name, value in pairs}
        except ValueError:
            found = {}
        if set(found) != set(self.names) or len(pairs) != len(self.names):
            raise UserError(f"target={target}: expected {wanted}.")
        return {name: found[name] for name in self.names}

    def met(self, values: dict[str, float], targets: dict[str, float]) -> bool:
        """Whether each value is as good as its target, or better.  A NaN never is."""
        enough = {(True, False): operator.ge, (True, True): operator.gt,
                  (False, False): operator.le, (False, True): operator.lt}  # fmt: skip
        better = enough[self.higher_is_better, self.strictly]
        return all(better(values[name], target) for name, target in targets.items())


def logged(values):
    """The value of eval_accuracy in MLPerf's logs: a number, or of several {NAME: number}."""
    if len(values) == 1:
        return next(iter(values.values()))
    return {name.upper(): value for name, value in values.items()}
