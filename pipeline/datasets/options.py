"""Reading options, apart from `reading`: the graph may not know where data comes from."""

from __future__ import annotations

from components.example_gen.readers.base import Options
from pipeline.config import DataConfig


def reading_options(asked: DataConfig) -> Options:
    """What the readers take of the configuration."""
    return Options(
        form=asked.form,
        path_column=asked.path_column,
        label_column=asked.label_column,
        id_column=asked.id_column,
        split_column=asked.split_column,
        outside_files=asked.outside_files,
    )
