"""What moves into an image that is shifted, turned or made smaller."""

from __future__ import annotations

from typing import Literal

# The brightness of the background, the nearest pixel, or the mirrored image.
Fill = Literal["background", "edge", "reflect"]
