"""What a person sees of a run: nodes and epochs as they go, live on a terminal."""

from __future__ import annotations

import contextlib
import logging
import re
import time
from collections.abc import Iterator, Sequence
from typing import Any, TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from operations.preparation import Progress
from pipeline import streams
from pipeline.nodes import TRAINER, TUNER

# Both of TFX's runners say which node begins, in these words.
_NODE_BEGINS = re.compile(r"^(?:Component|node) (\S+) is running\.$")
_NODE_ENDS = re.compile(r"^(?:Component|node) (\S+) is finished\.$")


class LiveProgress(Progress):
    """Follows the log of a run and shows where it stands.

    On a terminal it is a table that changes in place, elsewhere a line per event.
    """

    def __init__(self, stream: TextIO):
        """Shows everything on `stream`."""
        super().__init__(logging.INFO)
        # A descriptor of its own: the stream's is sent to the log while libraries print.
        self._console = Console(file=streams.copy(stream))
        self._nodes: Sequence[str] = ()
        self._began: dict[str, float] = {}
        self._ended: dict[str, float] = {}
        self._epoch: dict[str, Any] = {}
        self._trial = "first trial"
        self._live: Live | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Takes a log record; only nodes, trials and epochs are of interest."""
        progress = getattr(record, "progress", None)
        if progress:
            self._epoch_ends(progress, record.getMessage())
            return
        if hasattr(record, "trial"):
            self._trial = record.getMessage()
            self._show(f"        {self._trial}")
            return
        message = record.getMessage() if record.levelno == logging.INFO else ""
        if match := _NODE_BEGINS.match(message):
            self._began[match[1]] = time.monotonic()
            self._show("")
        elif match := _NODE_ENDS.match(message):
            self._node_ends(match[1])

    def close(self) -> None:
        """Gives the descriptor back; nothing can be shown any more."""
        self._console.file.close()
        super().close()

    def notify(self, line: str) -> None:
        """Shows a line above whatever else is shown."""
        self._console.print(Text(line), soft_wrap=True)

    @contextlib.contextmanager
    def showing(self, nodes: Sequence[str]) -> Iterator[None]:
        """Shows the progress of `nodes` until the block ends."""
        self._nodes = nodes
        if not self._console.is_terminal:
            yield
            return
        with Live(console=self._console, get_renderable=self._render, refresh_per_second=4) as live:
            self._live = live
            yield
            self._live = None

    def _node_ends(self, node: str) -> None:
        self._ended[node] = time.monotonic()
        seconds = self._ended[node] - self._began.get(node, self._ended[node])
        self._show(f"[{len(self._ended):2d}/{len(self._nodes)}] {node:<16} {seconds:7.1f} s")

    def _epoch_ends(self, progress: dict[str, Any], message: str) -> None:
        self._epoch = progress
        left = progress["seconds"] * (progress["epochs"] - progress["epoch"])
        self._show(f"        {message}, about {left:.0f} s left")

    def _show(self, line: str) -> None:
        if self._live:
            self._live.refresh()
        elif line:
            self.notify(line)

    def _render(self) -> Group:
        table = Table.grid(padding=(0, 2))
        for node in self._nodes:
            table.add_row(*self._row(node))
        parts: list[Table | Text] = [table]
        if self._runs(TUNER):
            parts.append(Text(self._trial))
        if self._runs(TRAINER):
            parts.append(self._epochs())
        return Group(*parts)

    def _runs(self, node: str) -> bool:
        return node in self._began and node not in self._ended

    def _row(self, node: str) -> tuple[Text, Text, Text]:
        if node in self._ended:
            seconds, mark, style = self._ended[node] - self._began[node], "done", "green"
        elif node in self._began:
            seconds, mark, style = time.monotonic() - self._began[node], "running", "bold cyan"
        else:
            return Text(node, "dim"), Text("waiting", "dim"), Text("")
        return Text(node, style), Text(mark, style), Text(f"{seconds:.1f} s", justify="right")

    def _epochs(self) -> Table:
        epoch, epochs = self._epoch.get("epoch", 0), self._epoch.get("epochs", 1)
        left = self._epoch.get("seconds", 0.0) * (epochs - epoch)
        line = Table.grid(padding=(0, 2))
        text = (
            "first epoch"
            if not epoch
            else (
                f"epoch {epoch}/{epochs}  loss {self._epoch.get('loss', 0):.4f}  "
                f"validation accuracy {self._epoch.get('val_accuracy', 0):.4f}  "
                f"about {left:.0f} s left"
            )
        )
        line.add_row(ProgressBar(epochs, epoch, width=30), Text(text))
        return line
