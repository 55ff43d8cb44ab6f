"""Fuzzes all readers of untrusted files in turn, each for an equal share of the time.

A program of the tests, not of the benchmarks: it begins from the files that the tests write, which
no shipped package may import.
"""

from __future__ import annotations

import argparse
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
    print(file=sys.stderr)
    print(f"{'reader':<18}{'cases':>9}{'cases/s':>9}{'findings':>10}")
    for name, result in results.items():
        rate = result.cases / result.seconds
        print(f"{name:<18}{result.cases:>9}{rate:>9.0f}{len(result.findings):>10}")
    folders = [folder for result in results.values() for folder in result.findings]
    for folder in folders:
        print(f"\n{(folder / 'report.json').read_text()}")
        print(f"Replay it with: .venv/bin/python -m tests.fuzzing --replay {folder}")
    return int(bool(folders))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m tests.fuzzing", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5, help="Minutes for all readers.")
    parser.add_argument("--reader", choices=READERS, help="One reader alone.")
    parser.add_argument("--seed", type=int, default=1, help="Random seed.")
    parser.add_argument(
        "--findings", type=pathlib.Path, default="outputs/fuzzing", help="Folder of findings."
    )
    parser.add_argument("--replay", type=pathlib.Path, help="Folder of a finding to replay.")
    return parser


if __name__ == "__main__":
    sys.exit(main())
