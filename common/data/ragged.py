"""Arrays of different lengths as one flat array: sentences, reviews, sounds."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Ragged:
    """N one-dimensional arrays, concatenated: item n is values[starts[n]:starts[n + 1]].

    values: [sum of the lengths], of any type, in memory or mapped from a file.
    starts: int64 [N + 1], from 0 on.
    """

    values: np.ndarray
    starts: np.ndarray

    def __len__(self):
        return len(self.starts) - 1

    def __getitem__(self, number: int) -> np.ndarray:
        if number < 0:  # or the slice is empty
            raise IndexError(f"item {number}: expected 0 or more")
        return self.values[self.starts[number] : self.starts[number + 1]]

    def lengths(self) -> np.ndarray:
        """int64 [N]: the length of each item."""
        return np.diff(self.starts)

    def fill(self, numbers: np.ndarray, length: int, dtype: type) -> np.ndarray:
        """dtype [B, length]: the items of these numbers, each followed by zeros.

        A number below 0 gives a row of zeros.  Raises ValueError for an item longer than length.
        """
        filled = np.zeros((len(numbers), length), dtype)
        for row, number in enumerate(numbers):
            if number >= 0:
                item = self[number]
                filled[row, : len(item)] = item
        return filled
