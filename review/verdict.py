"""What the page says first: how the run ended, why, and what to do next."""

from __future__ import annotations

from typing import Any

from components.quality_gates import CHANGE, CORRUPTION, OVERALL
from pipeline.records import metadata
from review import classification
from review.origin import is_sample
from review.summary import Comparison, Gate, Verdict

_SIGNIFICANT = 0.05
_CUT_OFF = "Its receipt was never finished: the run was cut off, or is still at work."
_SAMPLE_ADVICE = "The run took the drawn sample: its results say nothing about real images."


def verdict(
    receipt: dict[str, Any], gates: list[Gate] | None, comparison: Comparison | None
) -> Verdict:
    """What the page says first.

    Args:
      receipt: of the run.
      gates: how the model stands to them; None where none was judged.
      comparison: with the served model; None without one.
    """
    headline, reasons, advice = _words(receipt, gates or [], comparison)
    accuracy = classification.accuracy(receipt)
    if accuracy and is_sample(receipt):
        advice = f"{advice} {_SAMPLE_ADVICE}"
    return Verdict(
        headline=headline,
        reasons=[*reasons, *([_compared(comparison)] if comparison else [])],
        advice=advice,
        accuracy=accuracy,
        change=comparison.change if comparison else None,
        worst_class=classification.worst_class(receipt),
    )


def _words(
    receipt: dict[str, Any], gates: list[Gate], comparison: Comparison | None
) -> tuple[str, list[str], str]:
    """Headline, reasons and advice."""
    if receipt["verdict"] == "pushed":
        return _pushed(receipt, gates, comparison)
    if receipt["verdict"] == "refused":
        return _refused(gates)
    if receipt["status"] == "interrupted":
        return _interrupted(receipt)
    return _failed(receipt)


def _pushed(
    receipt: dict[str, Any], gates: list[Gate], comparison: Comparison | None
) -> tuple[str, list[str], str]:
    narrow = [gate for gate in gates if gate.noise]
    within = f", {len(narrow)} of them within the noise" if narrow else ""
    version = receipt["pushed_version"]
    headline = f"Pushed as version {version}: all {len(gates)} gates passed{within}."
    reasons = [gate.sentence for gate in narrow]
    return headline, reasons, _advice_after_push(receipt, gates, narrow, comparison)


def _advice_after_push(
    receipt: dict[str, Any],
    gates: list[Gate],
    narrow: list[Gate],
    comparison: Comparison | None,
) -> str:
    if narrow:
        return (
            "Other test images could have decided otherwise: look at what passed narrowly before "
            "you rely on the new version."
        )
    if comparison and _differs(comparison) and comparison.change.value < 0:
        return (
            "The new version is worse than the one that it replaced, though by less than the gate "
            "allows: look at the newly broken images, and decide whether you want it."
        )
    if all(gate.metric != CHANGE for gate in gates):
        before = (
            "The run began a new line of models and was compared with none"
            if receipt["request"]["new_line"]
            else "No model was served when the run began"
        )
        return (
            f"{before}, so nothing shows whether this one is an improvement: look "
            "at the classes and at the errors before you rely on it."
        )
    return "Nothing that was measured speaks against the new version."


def _refused(gates: list[Gate]) -> tuple[str, list[str], str]:
    failed = [gate for gate in gates if not gate.passed]
    reasons = [gate.sentence for gate in failed]
    if not failed:
        return (
            "Refused, although every gate passed: nothing was pushed.",
            [],
            "The log of the run says what Pusher found.",
        )
    what = _short(failed[0]) if len(failed) == 1 else f"{len(failed)} of {len(gates)} gates failed"
    return f"Refused: {what}. Nothing was pushed.", reasons, _advice_for(failed)


def _short(gate: Gate) -> str:
    if gate.metric == CHANGE:
        compared = "is worse than" if gate.value is not None else "was not compared with"
        return f"the new model {compared} the served one"
    fault = "is too low" if gate.value is not None else "was not measured"
    if gate.slice == OVERALL:
        return f"the accuracy {fault}"
    return f"the {gate.metric.removesuffix(' under corruption')} {_of(gate)} {fault}"


def _of(gate: Gate) -> str:
    return f"under {gate.slice}," if "corruption" in gate.metric else f"of {gate.slice}"


def _advice_for(failed: list[Gate]) -> str:
    if any(gate.value is None for gate in failed):
        return (
            "What was not measured does not pass. Give the test split images of every class, and "
            "see in the log of the run why a figure is missing. What is served stays as it was."
        )
    clear = [gate for gate in failed if not gate.noise]
    if not clear:
        return (
            "The shortfall may be chance: more test images would tell. Do not train again until "
            "one run passes by luck; improve the model, or lower the gate if less is enough."
        )
    if any(gate.metric == CHANGE for gate in clear):
        return (
            "Keep the served model. The images that it gets right and the new one does not show "
            "what was lost."
        )
    if all(gate.metric == CORRUPTION for gate in clear):
        return (
            "The model is good on clean images and weak on changed ones: the robustness section "
            "shows under which corruptions. Train with more augmentation of that kind, or lower "
            "the gate if such images will not come."
        )
    return (
        "Look at the images behind the confusion matrix for whether the model or the labels are "
        "at fault, and mend these. What is served stays as it was."
    )


def _interrupted(receipt: dict[str, Any]) -> tuple[str, list[str], str]:
    failure = receipt["failure"]
    return (
        # Not that nothing was pushed: it may have been cut off right after Pusher.
        "Interrupted before its end.",
        failure["message"].splitlines() if failure else [_CUT_OFF],
        f"Start it again with `{receipt['command']}`: what is complete is not run again.",
    )


def _failed(receipt: dict[str, Any]) -> tuple[str, list[str], str]:
    failure = receipt["failure"]
    reasons = failure["message"].splitlines()
    if receipt["verdict"] == "stopped":
        return (
            "Stopped by DataGate before training: the data is not fit for it.",
            reasons,
            "Mend the data as the findings say, then start the run again. What is served stays as "
            "it was.",
        )
    headline = f"Failed in {failure['node'] or 'the run itself'}: {_what_was_pushed(receipt)}."
    changed = metadata.changed_command(receipt)
    start = (
        f"As it was, it would only fail again. Start `{changed}`"
        if changed
        else f"Mend what the message names, then start `{receipt['command']}` again"
    )
    return headline, reasons, f"{start}: what is complete is not run again."


def _what_was_pushed(receipt: dict[str, Any]) -> str:
    version = receipt["pushed_version"]
    return f"version {version} was pushed before" if version else "nothing was pushed"


def _compared(comparison: Comparison) -> str:
    """What the comparison with the served model shows, in a sentence."""
    fixed, broken = comparison.only_candidate, comparison.only_baseline
    if fixed == broken == 0:
        return "The new model gets the same images right as the served one."
    counts = (
        f"Of {comparison.candidate.total:,} images, {fixed:,} became right and {broken:,} wrong "
        "against the served model"
    )
    if not _differs(comparison):
        p_value = f"(p = {comparison.p_value:.2f})"
        return f"{counts}: no more of a difference than chance explains {p_value}."
    better = "better" if fixed > broken else "worse"
    return f"{counts}: the new one is {better} by more than chance explains."


def _differs(comparison: Comparison) -> bool:
    return comparison.p_value < _SIGNIFICANT
