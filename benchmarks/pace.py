"""How many images were worked on, and in what time."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Pace:
    """A number of images and the seconds that they took."""

    images: int
    seconds: float

    @property
    def images_per_second(self) -> float:
        """The quotient of both."""
        return self.images / self.seconds
