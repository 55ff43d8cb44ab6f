"""Fuzzes all readers of untrusted files in turn, each for an equal share of the time.

A program of the tests, not of the benchmarks: it begins from the files that the tests write, which
no shipped package may import.
"""

from __future__ import annotations

import argparse
import json
import logging
import pathlib
import sys
import warnings

from tests.fuzzing import fuzz
from tests.fuzzing.readers import READERS


def main() -> int:
    """Returns the exit code: 1 with findings."""
    options = _parser().parse_args()
    logging.getLogger().addHandler(logging.NullHandler())
    warnings.simplefilter("ignore")
    if options.replay:
        kind = fuzz.replay(options.replay)
        print(kind or "The reader keeps its promises.")
        return int(kind is not None)
    names = [options.reader] if options.reader else list(READERS)
    share = 60 * options.minutes / len(names)
    results: dict[str, fuzz.Result] = {}
    for name in names:

        def show(cases: int, findings: int, name: str = name) -> None:
            line = f"\r{name}: {cases} cases, {findings} findings, {share:.0f} s"
            print(f"{line:<70}", end="", file=sys.stderr, flush=True)

        results[name] = fuzz.fuzz(name, options.seed, share, options.findings, show)
        # After each reader: whoever stops the last one keeps the others.
        if options.summary:
            _write_summary(options, results)
    print(file=sys.stderr)
    columns = ("cases", "CPU s", "answered", "refused", "findings")
    print(f"{'reader':<18}" + "".join(f"{column:>10}" for column in columns))
    for name, result in results.items():
        print(f"{name:<18}" + "".join(f"{value:>10.0f}" for value in _figures(result).values()))
    folders = [folder for result in results.values() for folder in result.findings]
    for folder in folders:
        print(f"\n{(folder / 'report.json').read_text()}")
        print(f"Replay it with: .venv/bin/python -m tests.fuzzing --replay {folder}")
    return int(bool(folders))


def _figures(result: fuzz.Result) -> dict[str, float]:
    return {
        "cases": result.cases,
        "cpu_seconds": round(result.cpu_seconds, 1),
        "answered": result.cases - result.refused - len(result.findings),
        "refused": result.refused,
        "findings": len(result.findings),
    }


def _write_summary(options: argparse.Namespace, results: dict[str, fuzz.Result]) -> None:
    readers = {name: _figures(result) for name, result in results.items()}
    document = {"seed": options.seed, "minutes": options.minutes, "readers": readers}
    options.summary.write_text(json.dumps(document, indent=1) + "\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m tests.fuzzing", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5, help="Minutes for all readers.")
    parser.add_argument("--reader", choices=READERS, help="One reader alone.")
    parser.add_argument("--seed", type=int, default=1, help="Random seed.")
    parser.add_argument(
        "--findings", type=pathlib.Path, default="outputs/fuzzing", help="Folder of findings."
    )
    parser.add_argument("--summary", type=pathlib.Path, help="JSON file for the figures.")
    parser.add_argument("--replay", type=pathlib.Path, help="Folder of a finding to replay.")
    return parser


if __name__ == "__main__":
    sys.exit(main())
