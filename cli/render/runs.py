"""Prints runs: their list, one of them whole, and two of them compared."""

from __future__ import annotations

import json
import pathlib

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cli.render.tables import make_console, plain_table
from components.messages import counted, shown
from components.pusher import versions
from components.quality_gates import decimals
from components.slices import name_of
from pipeline.config import bucket_folder
from pipeline.locations import LOG_FILE, REVIEW_PAGE, Locations
from pipeline.records.outcomes import Status, Verdict
from pipeline.records.receipt import Receipt
from review.summary import (
    Comparison,
    Conclusion,
    Gate,
    Interval,
    Proportion,
    Report,
    RunComparison,
    SlicedColumn,
    Summary,
    stored_summary,
)
from review.worst import positions, urgency

# Number of images left out that are named on the terminal, and of slices by a column.
_SHOWN_SKIPPED = 5
_SHOWN_SLICES = 5
# Number of gates and of classes that are shown, those that failed and the weakest first.
_SHOWN_ROWS = 20
_STYLES = {
    Verdict.PUSHED: "bold green",
    Verdict.REFUSED: "bold yellow",
    Verdict.STOPPED: "bold red",
}


def print_run(receipt: Receipt, output_dir: pathlib.Path, as_json: bool) -> None:
    """Prints one run as its review has it, verdict first; or its receipt as JSON."""
    if as_json:
        print(receipt.to_json())
        return
    if receipt.status == Status.RUNNING:
        log = Locations(output_dir / receipt.pipeline).runs / receipt.run_id / LOG_FILE
        print(f"Run {receipt.run_id} is at work since {receipt.began.isoformat()}.\nLog  {log}")
        return
    console = make_console()
    review = _review(receipt, output_dir)
    _print_conclusion(console, review.verdict, receipt.verdict)
    if review.gates:
        shown = positions(review.gates)
        console.print(_gate_table([review.gates[number] for number in shown]))
        _print_left(console, len(shown) - _SHOWN_ROWS, "more gate")
    if review.report:
        console.print(_class_table(review.report))
        _print_left(console, len(review.report.classes) - _SHOWN_ROWS, "more class")
    if review.slices:
        console.print(_slice_table(review.slices))
        for column in review.slices:
            left = len(column.slices) - _SHOWN_SLICES
            _print_left(console, left, "more slice", f" by {column.name}")
    # Without the store of the metadata, nothing is known of the nodes.
    if receipt.nodes:
        console.print(_node_table(receipt))
    _print_places(console, receipt, output_dir)


def _print_left(console: Console, left: int, noun: str, of: str = "") -> None:
    """Says that there is more than was printed, and where."""
    if left > 0:
        line = f"{counted(left, noun)}{of}: see the review page or receipt.json."
        console.print(line, soft_wrap=True, markup=False)


def _review(receipt: Receipt, output_dir: pathlib.Path) -> Summary:
    """The review as stored; else as far as the receipt alone goes."""
    runs = Locations(output_dir / receipt.pipeline).runs
    stored = stored_summary(runs / receipt.run_id)
    if stored:
        return stored
    # Here and not above: it imports SciPy, and most runs have their review.
    from review.collect import collect

    return collect(receipt, {}, [], runs)


def print_comparison(comparison: RunComparison, path: pathlib.Path | None, as_json: bool) -> None:
    """Prints how two runs compare, and where their page is, if any; or the comparison as JSON."""
    if as_json:
        # In ASCII, as all JSON that is printed: no terminal can change it.
        print(json.dumps(json.loads(comparison.model_dump_json()), indent=1))
        return
    console = make_console()
    console.print(_sides_table(comparison))
    if comparison.comparison:
        console.print(f"\n{_paired(comparison.comparison)}")
        console.print(_changes_table(comparison.comparison))
    else:
        console.print(f"\n{escape(comparison.missing or '')}")
    if comparison.parameters or comparison.facts:
        console.print(_differences_table(comparison))
    if path:
        console.print(f"Page      {path}", soft_wrap=True, markup=False)


def print_runs(
    receipts: list[Receipt], served: dict[str, int], output_dir: pathlib.Path, as_json: bool
) -> None:
    """Prints the list of runs, newest first.

    Args:
      receipts: Receipts of the runs, oldest first.
      served: Version that each pipeline serves now, by its name.
      output_dir: Folder in which the runs were looked for.
      as_json: Whether to print the receipts as JSON.
    """
    if as_json:
        print(json.dumps([receipt.as_json_value() for receipt in reversed(receipts)], indent=1))
        return
    if not receipts:
        print(
            f"No runs below {output_dir} yet, or none that fits. Start one with: "
            "python3 pipeline_runner.py run"
        )
        return
    headings = ("run", "pipeline", "status", "verdict", "accuracy", "time", "version", "")
    table = plain_table(*headings, right=("accuracy", "time"), no_wrap=True)
    for receipt in reversed(receipts):
        is_served = served.get(receipt.pipeline, 0) == receipt.pushed_version
        table.add_row(*_run_row(receipt), "served" if is_served else "")
    console = make_console()
    console.print(table)
    # What a rollback published is the version of no run.
    shown = {(receipt.pipeline, receipt.pushed_version) for receipt in receipts}
    for name in sorted({pipeline for pipeline, _ in shown} & set(served)):
        if (name, served[name]) not in shown:
            line = f"{name} serves version {served[name]}: `lineage {served[name]}` shows it."
            console.print(line, soft_wrap=True, markup=False)


def _print_conclusion(console: Console, verdict: Conclusion, outcome: Verdict) -> None:
    console.print(f"\n[bold]{escape(verdict.headline)}[/]", style=_STYLES.get(outcome, "bold"))
    if verdict.accuracy and verdict.worst_class:
        accuracy, worst = verdict.accuracy, verdict.worst_class
        console.print(
            f"Test accuracy {accuracy.value:.4f} ({_range(accuracy.interval)}) on "
            f"{accuracy.total:,} images; weakest class {escape(worst.name)}, recall "
            f"{worst.recall.value:.3f} ({_range(worst.recall.interval, 3)})",
            soft_wrap=True,
        )
    for line in verdict.reasons:
        console.print(f"  {escape(line)}", soft_wrap=True)
    console.print(escape(verdict.advice), soft_wrap=True)


def _range(interval: Interval, decimals: int = 4) -> str:
    return f"{interval.low:.{decimals}f} to {interval.high:.{decimals}f}"


def _gate_table(gates: list[Gate]) -> Table:
    numbers = ("value", "95 % interval", "threshold", "margin")
    table = plain_table("gate", "slice", *numbers, "", right=numbers)
    # All in their order, as long as all are shown.
    order = urgency if len(gates) > _SHOWN_ROWS else lambda gate: gate.passed
    for gate in sorted(gates, key=order)[:_SHOWN_ROWS]:
        outcome = "passed" if gate.passed else "[bold yellow]refused[/]"
        digits = decimals(gate.value, gate.threshold, gate.passed)
        table.add_row(
            gate.metric,
            escape(gate.slice),
            "not measured" if gate.value is None else f"{gate.value:.{digits}f}",
            _range(gate.interval) if gate.interval else "",
            f"{gate.threshold:.{digits}f}",
            "" if gate.margin is None else f"{gate.margin:+.{digits}f}",
            f"{outcome}, within the noise" if gate.noise else outcome,
        )
    return table


def _share(proportion: Proportion) -> str:
    return _of(proportion.total, f"{proportion.value:.3f}")


def _of(images: int, number: str) -> str:
    """A number that was measured on some images; of no images there is none."""
    return number if images else "none"


def _class_table(report: Report) -> Table:
    numbers = ("precision", "recall", "f1", "support")
    table = plain_table("class", *numbers, right=numbers)
    for row in report.classes[:_SHOWN_ROWS]:
        values = (
            _share(row.precision),
            _share(row.recall),
            _of(row.support, f"{row.f1.value:.3f}"),
        )
        table.add_row(escape(row.name), *values, f"{row.support:,}")
    if report.balanced_accuracy is not None:
        table.add_row("balanced", "", f"{report.balanced_accuracy.value:.3f}")
    for mean in report.averages:
        means = (mean.precision, mean.recall, mean.f1)
        table.add_row(escape(mean.name), *(f"{value:.3f}" for value in means), f"{mean.support:,}")
    return table


def _slice_table(columns: list[SlicedColumn]) -> Table:
    """The first slices by each column: those that refused the model, then the weakest."""
    numbers = ("accuracy", "95 % interval", "threshold", "images")
    table = plain_table("slice", *numbers, "", right=numbers)
    outcomes = {True: "passed", False: "[bold yellow]refused[/]", None: "not judged"}
    for column in columns:
        for row in column.slices[:_SHOWN_SLICES]:
            accuracy, threshold = row.accuracy, column.threshold
            # Only a slice with a threshold fails.
            digits = decimals(accuracy.value, threshold or 0.0, row.passed is not False)
            table.add_row(
                escape(name_of(column.name, row.value)),
                f"{accuracy.value:.{digits}f}" if accuracy.total else "",
                _range(accuracy.interval) if accuracy.total else "",
                "" if threshold is None else f"{threshold:.{digits}f}",
                f"{accuracy.total:,}",
                "no gate" if column.threshold is None else outcomes[row.passed],
            )
    return table


def _sides_table(found: RunComparison) -> Table:
    headings = ("", "run", "pipeline", "verdict", "accuracy", "95 % interval")
    table = plain_table(*headings, no_wrap=True)
    for side, run, accuracy in zip(
        "AB", (found.first, found.second), found.accuracies, strict=True
    ):
        table.add_row(
            side,
            run.id,
            escape(run.pipeline),
            run.verdict,
            f"{accuracy.value:.4f}" if accuracy else "",
            _range(accuracy.interval) if accuracy else "",
        )
    return table


def _paired(comparison: Comparison) -> str:
    change = comparison.change
    return (
        f"B against A on the same {comparison.candidate.total:,} images: accuracy "
        f"{change.value:+.4f} ({change.interval.low:+.4f} to {change.interval.high:+.4f}), "
        f"{comparison.only_candidate:,} images newly fixed, {comparison.only_baseline:,} newly "
        f"broken, McNemar p {comparison.p_value:.3g}"
    )


def _changes_table(comparison: Comparison) -> Table:
    numbers = ("recall A", "recall B", "change", "newly fixed", "newly broken")
    table = plain_table("class", *numbers, right=numbers)
    for entry in comparison.classes:
        table.add_row(
            escape(entry.name),
            _share(entry.baseline),
            _share(entry.candidate),
            _of(entry.candidate.total, f"{entry.change.value:+.3f}"),
            str(entry.newly_fixed),
            str(entry.newly_broken),
        )
    return table


def _differences_table(found: RunComparison) -> Table:
    table = plain_table("differs", "A", "B", fold=True)
    for name, (one, other) in {**found.facts, **found.parameters}.items():
        table.add_row(escape(name), escape(one), escape(other))
    return table


def _node_table(receipt: Receipt) -> Table:
    table = plain_table("node", "status", "seconds", right=("seconds",))
    for name, node in receipt.nodes.items():
        table.add_row(name, node.status, f"{node.seconds:.1f}")
    return table


def _print_places(console: Console, receipt: Receipt, output_dir: pathlib.Path) -> None:
    locations = Locations(output_dir / receipt.pipeline)
    folder = locations.runs / receipt.run_id
    lines = [_summary_line(receipt), *_data_lines(receipt), f"Results   {folder}"]
    if (folder / REVIEW_PAGE).exists():
        lines.append(f"Review    {folder / REVIEW_PAGE}")
    if receipt.verdict == Verdict.PUSHED and receipt.pushed_version:
        lines.append(f"Pushed    {_pushed_place(locations.serving, receipt.pushed_version)}")
        if copied := _copied_place(receipt):
            lines.append(f"Copied    {copied}")
    if receipt.status != Status.COMPLETED:
        lines.append(f"Log       {folder / LOG_FILE}")
        lines.append(
            f"Go on     {receipt.command_to_go_on(output_dir)} (what is complete is not run again)"
        )
    console.print("\n".join(lines), soft_wrap=True, markup=False)


def _copied_place(receipt: Receipt) -> str | None:
    """Where in a bucket the run put its version; None where it knew no bucket."""
    serving = receipt.config.get("serving")
    asked = serving.get("bucket") if isinstance(serving, dict) else None
    if not isinstance(asked, str):
        return None
    address = bucket_folder(asked, str(receipt.config.get("name")), receipt.pipeline)
    return f"{shown(address)}/{receipt.pushed_version}"


def _data_lines(receipt: Receipt) -> list[str]:
    """What was read, and what was left out of it."""
    reading = receipt.reading
    if reading is None:
        return [f"Data      {receipt.data.description}"]
    lines = [
        f"Data      {receipt.data.description}: {reading.summary}; {reading.border} "
        f"borders (mean brightness {reading.border_brightness:.0f} of 255)"
    ]
    if reading.skipped_count:
        images = "image" if reading.skipped_count == 1 else "images"
        lines.append(f"Left out  {reading.skipped_count:,} {images} that cannot be used:")
        shown = reading.skipped[:_SHOWN_SKIPPED]
        lines += [f"          {file.name}: {file.reason}" for file in shown]
        if reading.skipped_count > len(shown):
            lines.append("          ... (log.txt of the run that read the data names more)")
    return lines


def _summary_line(receipt: Receipt) -> str:
    took = f", took {receipt.seconds:.0f} s" if receipt.seconds is not None else ""
    return (
        f"Run       {receipt.run_id} of {receipt.pipeline}, profile {receipt.profile}, "
        f"began {receipt.began.isoformat()}{took}"
    )


def _pushed_place(serving: pathlib.Path, version: int) -> str:
    """Where the version of a run lies or lay, and whether it is what is served."""
    served = versions.served_versions(serving)
    if version not in served:
        standing = "removed since"
    elif version == served[-1]:
        standing = "served now"
    else:
        standing = f"version {served[-1]} is served now"
    return f"{serving / str(version)} ({standing})"


def _run_row(receipt: Receipt) -> list[str]:
    evaluation, seconds = receipt.evaluation, receipt.seconds
    verdict = receipt.verdict
    style = _STYLES.get(verdict, "dim").removeprefix("bold ")
    return [
        escape(receipt.run_id),
        escape(receipt.pipeline),
        escape(receipt.status),
        f"[{style}]{escape(verdict)}[/]",
        f"{evaluation.accuracy:.4f}" if evaluation else "",
        "" if seconds is None else f"{seconds:.0f} s",
        str(receipt.pushed_version or ""),
    ]
