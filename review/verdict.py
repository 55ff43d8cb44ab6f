"""What the page says first: how the run ended, why, and what to do next."""

from __future__ import annotations

from typing import NamedTuple

from components.quality_gates import (
    BALANCED_CHANGE,
    CHANGE,
    CHANGES,
    CORRUPTION,
    OF_ALL_IMAGES,
    SLICE,
)
from pipeline.records import receipt
from pipeline.records.outcomes import Status, Verdict
from pipeline.records.receipt import Receipt
from review import classification, statistics
from review.gate_table import OF_CHANGE
from review.summary import Change, ClassChange, Comparison, Conclusion, Gate
from review.worst import urgency

_SIGNIFICANT = 0.05
# More of them hide what to do next.
_MOST_REASONS = 10
_CUT_OFF = "Its receipt was never finished: the run was cut off, or is still at work."
_SAMPLE_ADVICE = "The run took the synthetic sample: its results say nothing about real images."
_NO_ANSWERS = "the answers to each image are not available"
_CHANCE_UNKNOWN = f"Since {_NO_ANSWERS}, nothing shows whether chance could explain that."


class _Words(NamedTuple):
    headline: str
    reasons: list[str]
    advice: str


def verdict(run: Receipt, gates: list[Gate] | None, comparison: Comparison | None) -> Conclusion:
    """Puts into words how a run ended.

    Args:
      run: Receipt of the run.
      gates: How the model compares with the gates; None where none was judged.
      comparison: Comparison with the served model; None without one.
    """
    words = _words(run, gates or [], comparison)
    accuracy = classification.accuracy(run)
    of_sample = accuracy is not None and run.data.is_sample
    change, change_note = _change(run, gates or [], comparison)
    return Conclusion(
        headline=words.headline,
        reasons=[*words.reasons, *([_compared(comparison)] if comparison else [])],
        advice=f"{words.advice} {_SAMPLE_ADVICE}" if of_sample else words.advice,
        accuracy=accuracy,
        change=change,
        change_note=change_note,
        worst_class=classification.worst_class(run),
    )


def _change(
    run: Receipt, gates: list[Gate], comparison: Comparison | None
) -> tuple[Change | None, str | None]:
    """Change of the accuracy against the served model, and what is to be said of it."""
    if comparison:
        change = comparison.change
        return Change(value=change.value, interval=change.interval), None
    judged = next((gate for gate in gates if gate.metric == CHANGE), None)
    if judged is None or judged.value is None:
        return None, _why_no_change(run, judged)
    note = "it is the same model" if run.kept_served_version else f"no interval: {_NO_ANSWERS}"
    return Change(value=judged.value, interval=None), note


def _why_no_change(run: Receipt, judged: Gate | None) -> str:
    if run.evaluation is None:
        return "nothing was evaluated"
    if judged:
        return "not measured"
    was_compared = run.served_before is not None and not run.request.new_line
    return _NO_ANSWERS if was_compared else "nothing to compare with"


def _words(run: Receipt, gates: list[Gate], comparison: Comparison | None) -> _Words:
    if run.verdict == Verdict.PUSHED:
        return _pushed(run, gates, comparison)
    if run.verdict == Verdict.REFUSED:
        return _refused(gates)
    if run.status == Status.INTERRUPTED or run.failure is None:
        return _interrupted(run)
    return _stopped(run.failure) if run.verdict == Verdict.STOPPED else _failed(run, run.failure)


def _pushed(run: Receipt, gates: list[Gate], comparison: Comparison | None) -> _Words:
    narrow = [gate for gate in gates if gate.noise]
    within = f", {len(narrow)} of them within the noise" if narrow else ""
    outcome = (
        f"Version {run.pushed_version} stays: it is the same model, and"
        if run.kept_served_version
        else f"Pushed as version {run.pushed_version}:"
    )
    return _Words(
        f"{outcome} all {len(gates)} gates passed{within}.",
        _sentences(narrow),
        _advice_after_push(run, gates, comparison),
    )


def _advice_after_push(run: Receipt, gates: list[Gate], comparison: Comparison | None) -> str:
    if run.kept_served_version:
        return "Nothing changed in what is served."
    if any(gate.noise for gate in gates):
        return (
            "Other test images could have decided otherwise: look at what passed narrowly before "
            "you rely on the new version."
        )
    if worse := _worse_by(gates, comparison):
        return (
            f"By {worse}, the new version is worse than the one that it replaced, though by less "
            "than the gate allows: look at the newly broken images, and decide whether you want it."
        )
    changed = next((gate for gate in gates if gate.metric == CHANGE), None)
    if changed and changed.value is not None and comparison is None:
        return (
            f"Against the served model, the accuracy changed by {changed.value:+.4f}. "
            f"{_CHANCE_UNKNOWN}"
        )
    if changed is None:
        before = (
            "The run began a new line of models and was compared with none"
            if run.request.new_line
            else "No model was served when the run began"
        )
        return (
            f"{before}, so nothing shows whether this one is an improvement: look "
            "at the classes and at the errors before you rely on it."
        )
    if comparison and (fallen := _fallen_class(comparison)):
        return (
            f"The gate of {fallen.name} allows that its recall fell: look at its newly broken "
            "images, and decide whether you want the new version."
        )
    return "No gate and no comparison with the served model speaks against the new version."


def _worse_by(gates: list[Gate], comparison: Comparison | None) -> str | None:
    """The first metric that fell by more than chance explains."""
    if comparison and _differs(comparison) and comparison.change.value < 0:
        return OF_CHANGE[CHANGE]
    balanced = [gate for gate in gates if gate.metric == BALANCED_CHANGE and gate.interval]
    fell = any(gate.interval and gate.interval.high < 0 for gate in balanced)
    return OF_CHANGE[BALANCED_CHANGE] if fell else None


def _fallen_class(comparison: Comparison) -> ClassChange | None:
    """Of the classes whose recall fell by more than chance explains, the one that lost most.

    Since each class is a test of its own, p-values are multiplied by their number (Bonferroni).
    """
    tested = [each for each in comparison.classes if each.candidate.total]
    fallen = [
        each
        for each in tested
        if each.newly_broken > each.newly_fixed
        and statistics.mcnemar(each.newly_fixed, each.newly_broken) * len(tested) < _SIGNIFICANT
    ]
    return min(fallen, key=lambda each: each.change.value, default=None)


def _refused(gates: list[Gate]) -> _Words:
    failed = [gate for gate in gates if not gate.passed]
    if not failed:
        return _Words(
            "Refused, although every gate passed: nothing was pushed.",
            [],
            "The log of the run says what Pusher found.",
        )
    what = _short(failed[0]) if len(failed) == 1 else f"{len(failed)} of {len(gates)} gates failed"
    return _Words(f"Refused: {what}. Nothing was pushed.", _sentences(failed), _advice_for(failed))


def _sentences(gates: list[Gate]) -> list[str]:
    """What the gates say; of many, those of all images, and those with the lowest margin."""
    if len(gates) <= _MOST_REASONS:
        return [gate.sentence for gate in gates]
    worst = sorted(gates, key=urgency)
    more = f"The same holds for {len(gates) - _MOST_REASONS:,} more gates."
    return [*(gate.sentence for gate in worst[:_MOST_REASONS]), more]


def _short(gate: Gate) -> str:
    if gate.metric in CHANGES:
        return _short_of_change(gate)
    fault = "is too low" if gate.value is not None else "was not measured"
    if gate.metric in OF_ALL_IMAGES:
        return f"the {gate.metric} {fault}"
    return f"the {gate.metric.removesuffix(' under corruption')} {_of(gate)} {fault}"


def _short_of_change(gate: Gate) -> str:
    if gate.value is None:
        return "the new model was not compared with the served one"
    return f"the {OF_CHANGE[gate.metric]} fell by more than is allowed"


def _of(gate: Gate) -> str:
    return f"under {gate.slice}," if "corruption" in gate.metric else f"of {gate.slice}"


def _advice_for(failed: list[Gate]) -> str:
    unmeasured = [gate for gate in failed if gate.value is None]
    if unmeasured and all(gate.metric == SLICE for gate in unmeasured):
        return (
            "A required slice with too few test images refuses every model. Add test images of it, "
            "lower min_images of gates.slices, or take it out of gates.required_slices. What is "
            "served stays as it was."
        )
    if unmeasured:
        return (
            "A gate that was not measured does not pass. Give the test split images of every "
            "class, and look in the log of the run for why a figure is missing. What is served "
            "stays as it was."
        )
    clear = [gate for gate in failed if not gate.noise]
    if not clear:
        return (
            "The shortfall may be chance: more test images would tell. Do not train again until "
            "one run passes by luck; improve the model, or lower the gate if less is enough."
        )
    changed = [gate for gate in clear if gate.metric in CHANGES]
    if any(gate.noise is not None for gate in changed):
        return (
            "Keep the served model. The images that it gets right and the new one does not show "
            "what was lost."
        )
    if changed:
        return f"Keep the served model. {_CHANCE_UNKNOWN}"
    # Nothing is praised that failed, even if within the noise.
    only = len(clear) == len(failed)
    if all(gate.metric == CORRUPTION for gate in clear):
        weak = "good on clean images and weak on changed ones" if only else "weak on changed images"
        return (
            f"The model is {weak}: the robustness section shows under which corruptions. Train "
            "with more augmentation of that kind, or lower the gate if such images will not come."
        )
    if all(gate.metric == SLICE for gate in clear):
        weak = "good on the whole and weak in some slices" if only else "weak in some slices"
        return (
            f"The model is {weak}: the section of the slices shows which. Add training images of "
            "that kind, or lower the gate if less is enough. What is served stays as it was."
        )
    return (
        "Look at the images behind the confusion matrix to see whether the model or the labels "
        "are wrong, and fix them. What is served stays as it was."
    )


def _interrupted(run: Receipt) -> _Words:
    return _Words(
        # Not that nothing was pushed: it may have been cut off right after Pusher.
        "Interrupted before its end.",
        run.failure.message.splitlines() if run.failure else [_CUT_OFF],
        f"Start it again with `{run.command_again}`: complete nodes do not run again.",
    )


def _stopped(failure: receipt.Failure) -> _Words:
    return _Words(
        "Stopped by DataGate before training: the data is not fit for it.",
        failure.message.splitlines(),
        "Fix the data as the findings say, then start the run again. The served model stays as it "
        "was.",
    )


def _failed(run: Receipt, failure: receipt.Failure) -> _Words:
    start = (
        f"Unchanged, it would fail again. Start `{run.changed_command}`"
        if run.changed_command
        else f"Fix what the message names, then start `{run.command_again}` again"
    )
    return _Words(
        f"Failed in {failure.node or 'the run itself'}: {_what_was_pushed(run)}.",
        failure.message.splitlines(),
        f"{start}: complete nodes do not run again.",
    )


def _what_was_pushed(run: Receipt) -> str:
    if run.kept_served_version:
        return f"version {run.pushed_version} stays"
    if run.pushed_version:
        return f"version {run.pushed_version} was pushed before"
    if run.served_version not in (None, run.served_before):
        # Published by this run before ML Metadata could not be read, or by another one meanwhile.
        return f"version {run.served_version} is served now"
    return "nothing was pushed"


def _compared(comparison: Comparison) -> str:
    """Puts the comparison with the served model into a sentence, and one on a class that fell."""
    fallen = _fallen_class(comparison)
    if fallen is None:
        return _compared_as_a_whole(comparison)
    return (
        f"{_compared_as_a_whole(comparison)} The recall of {fallen.name} fell from "
        f"{fallen.baseline.value:.3f} to {fallen.candidate.value:.3f}, by more than chance "
        "explains."
    )


def _compared_as_a_whole(comparison: Comparison) -> str:
    fixed, broken = comparison.only_candidate, comparison.only_baseline
    if fixed == broken == 0:
        return "The new model gets the same images right as the served one."
    counts = (
        f"Compared with the served model, {fixed:,} of {comparison.candidate.total:,} images "
        f"became right and {broken:,} wrong"
    )
    if not _differs(comparison):
        return f"{counts}: chance alone could explain that (p = {comparison.p_value:.2f})."
    better = "better" if fixed > broken else "worse"
    return f"{counts}: by accuracy, the new model is {better} by more than chance explains."


def _differs(comparison: Comparison) -> bool:
    return comparison.p_value < _SIGNIFICANT
