"""The confusion matrix of many classes as a picture: a pixel for each cell."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image

from review.summary import Confusion

# Red, green and blue; both can be told from the light and from the dark paper.
_RECOGNISED = (63, 127, 196)
_CONFUSED = (208, 122, 46)
# Even a single error can be seen.
_LEAST_OPACITY = 0.3
_SQUARE_ROOT = 0.5


def picture(confusion: Confusion) -> str:
    """Draws the matrix in the order of the page, rows by label, as a PNG file in base64.

    The opacity of a pixel rises with the share of the row, and empty cells are transparent.
    """
    order = np.array(confusion.order)
    shares, is_empty = np.zeros((len(order), len(order))), np.ones((len(order), len(order)), bool)
    for label, (row, places) in enumerate(zip(confusion.rows, confusion.places(), strict=True)):
        for choice, place in places.items():
            shares[label, choice] = row[place].share
            is_empty[label, choice] = row[place].count == 0
    shares, is_empty = (each[order][:, order] for each in (shares, is_empty))
    # Most shares are small; their square roots differ more.
    opacity = _LEAST_OPACITY + (1 - _LEAST_OPACITY) * shares**_SQUARE_ROOT
    pixels = np.empty((*shares.shape, 4), np.uint8)
    pixels[..., :3] = _CONFUSED
    pixels[np.diag_indices(len(order))] = (*_RECOGNISED, 0)
    pixels[..., 3] = np.rint(255 * np.where(is_empty, 0, opacity))
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG", optimize=True)
    return base64.b64encode(content.getvalue()).decode()
