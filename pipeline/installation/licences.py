"""The licences of installed packages: what their metadata says, as SPDX expressions.

This module uses only the standard library.
"""

from __future__ import annotations

import re
from importlib.metadata import Distribution

from pipeline.installation import packages

# Licences that the project may use without asking anybody. All but one are permissive: they ask for
# their text and the names of the authors. MPL-2.0 also asks for the source of changed files, and
# the project changes none. A licence that reaches further, such as the LGPL, is not here, since no
# locked package has one.
FITTING = frozenset(
    (
        "0BSD",
        "Apache-2.0",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "CC0-1.0",
        "CNRI-Python",
        "ISC",
        "LicenseRef-BSD",
        "MIT",
        "MIT-0",
        "MIT-CMU",
        "MPL-2.0",
        "PSF-2.0",
        "Zlib",
    )
)
# Packages whose metadata names no licence. Each was read in the file of the licence that the wheel
# comes with, below `licenses/` of its metadata.
READ_IN_THE_WHEEL = {"axe-playwright-python": "MIT", "namex": "Apache-2.0"}
# A BSD licence whose number of clauses nobody says.
_SOME_BSD = "LicenseRef-BSD"
# How metadata spells licences, in small letters.
_SPELLINGS = {
    "3-clause bsd license": "BSD-3-Clause",
    "apache 2.0": "Apache-2.0",
    "apache license 2.0": "Apache-2.0",
    "apache license version 2.0": "Apache-2.0",
    "apache license, version 2.0": "Apache-2.0",
    "apache software license": "Apache-2.0",
    "bsd": _SOME_BSD,
    "bsd 2-clause license": "BSD-2-Clause",
    "bsd 3-clause": "BSD-3-Clause",
    "bsd 3-clause license": "BSD-3-Clause",
    "bsd license": _SOME_BSD,
    "isc license": "ISC",
    "isc license (iscl)": "ISC",
    "mit license": "MIT",
    "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0",
    "psfl": "PSF-2.0",
    "python software foundation license": "PSF-2.0",
    **{name.lower(): name for name in FITTING},
}
_CLASSIFIER = "License :: "
# Classifiers that name no licence.
_APPROVALS = ("OSI Approved", "DFSG approved")
_OPERATOR = re.compile(r"(\s+(?:AND|OR)\s+|[()])")


def licence(package: Distribution) -> str | None:
    """Returns the licence of a package as an SPDX expression; None if nothing names one.

    The newest field of the metadata counts: `License-Expression`, else the first line of
    `License`, else the classifiers, of which all apply. What is not known becomes a `LicenseRef`.
    """
    return _in_metadata(package) or READ_IN_THE_WHEEL.get(packages.canonical(package.name))


def unfit(expression: str) -> list[str]:
    """Returns the licences of an SPDX expression that do not fit, even if others may be chosen."""
    names = [name.strip() for name in _OPERATOR.split(expression)[::2]]
    return [name for name in names if name and name not in FITTING]


def _in_metadata(package: Distribution) -> str | None:
    expression = _field(package, "License-Expression")
    if expression:
        return expression
    lines = [line.strip(" -") for line in _field(package, "License").splitlines()]
    named = _spelled(next(filter(None, lines), ""))
    return named or _classified(package.metadata.get_all("Classifier", []))


def _field(package: Distribution, name: str) -> str:
    return str(package.metadata.get_all(name, [""])[0])


def _spelled(text: str) -> str | None:
    """Returns the SPDX expression that a text means; None if it has an unknown licence."""
    # Every other part is an operator.
    parts = _OPERATOR.split(text)
    names = [name.strip().lower() for name in parts[::2]]
    if not any(names) or not all(name in _SPELLINGS for name in names if name):
        return None
    parts[::2] = [_SPELLINGS.get(name, "") for name in names]
    return "".join(parts)


def _classified(classifiers: list[str]) -> str | None:
    named = [each.rpartition(" :: ")[2] for each in classifiers if each.startswith(_CLASSIFIER)]
    kinds = [kind for kind in named if kind not in _APPROVALS]
    known = [_SPELLINGS.get(kind.lower(), f"LicenseRef-{_reference(kind)}") for kind in kinds]
    return " AND ".join(dict.fromkeys(known)) or None


def _reference(kind: str) -> str:
    return re.sub("[^A-Za-z0-9.-]+", "-", kind).strip("-")
