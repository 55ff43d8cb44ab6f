"""The review of a run as plain typed data: the form of `review.json`.

`review.collect` makes it from artifacts and ML Metadata, `review.page` renders it. It has
everything that the page shows; the page computes nothing. A section that is missing is None, and
`Summary.missing` says why in words.
"""

from __future__ import annotations

import pathlib
from collections.abc import Sized
from typing import Literal

import pydantic

from components.disk import write_whole
from components.files import read_regular
from pipeline.records.outcomes import NodeStatus, Status, Verdict

SCHEMA_VERSION: Literal[8] = 8
REVIEW_FILE = "review.json"
# Level of every interval, two-sided.
CONFIDENCE = 0.95
# Of more classes, the page shows those that need a look; the others are folded.
_MANY = 20


def has_many(entries: Sized) -> bool:
    """Whether classes, gates or rows are too many to show all of them side by side."""
    return len(entries) > _MANY


class Part(pydantic.BaseModel):
    """A part of the summary: frozen, strict about its fields, and with finite numbers only.

    JSON has neither infinity nor NaN.
    """

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Interval(Part):
    """A confidence interval.

    Attributes:
      low: Lower end.
      high: Upper end.
    """

    low: float
    high: float


class Proportion(Part):
    """A share of a number of images, with its Wilson interval (Wilson 1927).

    Attributes:
      value: hits / total; 0 where total is 0.
      hits: Number of images that count.
      total: Number of all images.
      interval: Interval of the share; from 0 to 1 where total is 0.
    """

    value: float
    hits: int
    total: int
    interval: Interval


class Estimate(Part):
    """A number other than a share, with its interval.

    Attributes:
      value: The number.
      interval: Interval of the number.
    """

    value: float
    interval: Interval


class Sheet(Part):
    """Images of one size in one picture, row by row; large images are shown smaller.

    Attributes:
      format: Format of the picture.
      content: File of the picture, base64.
      height: Height of one image in the picture, in pixels.
      width: Width of one image in the picture, in pixels.
      columns: Number of images in a row of the sheet.
      count: Number of images in the sheet.
    """

    format: Literal["png", "jpeg"]
    content: str
    height: int
    width: int
    columns: int
    count: int


class Choice(Part):
    """A class and the probability that the model gives it."""

    name: str
    probability: float


class ImageRecord(Part):
    """A test image that the page shows; its position in `Summary.images` is its place in the sheet.

    Attributes:
      example_id: Id of the example.
      label: Name of the true class, as the data has it.
      choices: The model's first three choices, best first (fewer where there are fewer classes);
        probabilities are rounded to six decimals.
      baseline: First choice of the served model; None where none was served.
    """

    example_id: str
    label: str
    choices: list[Choice]
    baseline: Choice | None


class Node(Part):
    """How a node of the run ended; `seconds` is its own duration."""

    name: str
    status: NodeStatus
    seconds: float


class Failure(Part):
    """What failed: the node, if it was one, and the message, which may have several lines."""

    node: str | None
    message: str


class Run(Part):
    """Which run this is.

    Attributes:
      id: Id of the run.
      pipeline: Name of the pipeline.
      profile: Name of the configuration's profile.
      began: Time of the start in ISO 8601, with time zone.
      seconds: Duration of the run; None where it was cut off.
      status: How far the run came.
      verdict: What the run decided.
      command: Command that started the run.
      data: Name of the data set, with its spans if any.
      is_sample: Whether the data is the synthetic sample, whose results say nothing about real
        images.
      pushed_version: Version that was pushed; None where none was.
      failure: What failed; None where nothing did.
      nodes: Nodes in the order of the graph.
    """

    id: str
    pipeline: str
    profile: str
    began: str
    seconds: float | None
    status: Status
    verdict: Verdict
    command: str
    data: str
    is_sample: bool
    pushed_version: int | None
    failure: Failure | None
    nodes: list[Node]


class WorstClass(Part):
    """The class with the lowest recall."""

    name: str
    recall: Proportion


class Change(Part):
    """Change of the accuracy; the interval is None where the answers to each image are missing."""

    value: float
    interval: Interval | None


class Conclusion(Part):
    """How the run ended, in words: what the page says first.

    Attributes:
      headline: Outcome in one sentence.
      reasons: A sentence for each gate that failed, if the model was refused; for each gate that
        passed within the noise, if it was pushed; else the lines of the failure. The last sentence
        is about the comparison with the served model.
      advice: What the reader should do next, in a sentence or two.
      accuracy: Accuracy on the test split; None where nothing was evaluated.
      change: Change of the accuracy against the served model; None where none was measured.
      change_note: Why there is no change, or no interval of it; None where there are both.
      worst_class: Class with the lowest recall; None where nothing was evaluated.
    """

    headline: str
    reasons: list[str]
    advice: str
    accuracy: Proportion | None
    change: Change | None
    change_note: str | None
    worst_class: WorstClass | None


class Gate(Part):
    """A threshold, and how the model compares with it.

    Attributes:
      metric: What is measured.
      slice: `overall`, a class name, a corruption, or `column=value`.
      value: Measured value; None where there is none, which never passes.
      interval: Interval of the value; None where it has none.
      threshold: Lowest value that passes.
      margin: value - threshold, 0 if only rounding makes it negative; None without a value.
      passed: Blessing's decision.
      noise: Whether the interval covers the threshold and values below it, so that other test
        images of the same kind could have led to the other decision; None without an interval,
        but false for the change against the same model.
      sentence: All of this in words.
    """

    metric: str
    slice: str
    value: float | None
    interval: Interval | None
    threshold: float
    margin: float | None
    passed: bool
    noise: bool | None
    sentence: str


class Gallery(Part):
    """Images to look at.

    Attributes:
      count: Number of images in all.
      images: Positions in `Summary.images` of the images that are shown.
    """

    count: int
    images: list[int]


class ClassChange(Part):
    """A class in the new and in the served model, on the same images.

    Attributes:
      name: Name of the class.
      candidate: Recall of the new model.
      baseline: Recall of the served model.
      change: candidate - baseline, with an interval for paired answers (Newcombe 1998).
      newly_fixed: Number of images that only the new model gets right.
      newly_broken: Number of images that only the served model gets right.
    """

    name: str
    candidate: Proportion
    baseline: Proportion
    change: Estimate
    newly_fixed: int
    newly_broken: int


class Comparison(Part):
    """Two models on the same test images.

    Attributes:
      candidate_name: Name of the candidate on the page.
      baseline_name: Name of the baseline on the page.
      candidate: Accuracy of the candidate.
      baseline: Accuracy of the baseline.
      change: candidate - baseline, with an interval for paired answers (Newcombe 1998).
      both_right: Number of images that both get right.
      only_candidate: Number of images that only the candidate gets right.
      only_baseline: Number of images that only the baseline gets right.
      both_wrong: Number of images that neither gets right.
      p_value: P-value of McNemar's exact test, two-sided (McNemar 1947): the probability of a
        difference at least as large between models that are equally good.
      classes: Classes, those that changed most first; those without test images last.
      newly_broken: Images that only the baseline gets right, most confident errors first.
      newly_fixed: Images that only the candidate gets right, most confident first.
    """

    candidate_name: str
    baseline_name: str
    candidate: Proportion
    baseline: Proportion
    change: Estimate
    both_right: int
    only_candidate: int
    only_baseline: int
    both_wrong: int
    p_value: float
    classes: list[ClassChange]
    newly_broken: Gallery
    newly_fixed: Gallery


class ClassScores(Part):
    """A row of the classification report.

    Attributes:
      name: Name of the class.
      precision: Share of the images predicted as this class that belong to it.
      recall: Share of the images of this class that are predicted as it.
      f1: Harmonic mean of both. Its interval follows from the Wilson interval of the Jaccard index
        J, since F1 = 2 J / (1 + J) rises with J.
      support: Number of images of this class.
    """

    name: str
    precision: Proportion
    recall: Proportion
    f1: Estimate
    support: int


class AverageScores(Part):
    """Means over the classes' scores, plain (`macro`) or weighted by support."""

    name: str
    precision: float
    recall: float
    f1: float
    support: int


class Report(Part):
    """The classification report.

    Attributes:
      accuracy: Accuracy on all images.
      balanced_accuracy: Mean recall of the classes with test images; None where all classes have
        the same number, so that it is the accuracy.
      top_2_accuracy: Share of images whose label is among the first two choices.
      cross_entropy: Mean negative log likelihood, in nats, of probabilities that Keras raises to
        1e-7 where they are lower; None if it is not finite.
      classes: Scores of each class, lowest recall first; those without test images last.
      averages: Macro and weighted averages.
    """

    accuracy: Proportion
    balanced_accuracy: Estimate | None
    top_2_accuracy: float
    cross_entropy: float | None
    classes: list[ClassScores]
    averages: list[AverageScores]


class Slice(Part):
    """The test images with one value in a column of the data.

    Attributes:
      value: The value; `(missing)` for images without one.
      accuracy: Accuracy on these images.
      judged: Whether there was a gate on it.
      passed: Whether it passed; None where it was not judged, and not required to be.
    """

    value: str
    accuracy: Proportion
    judged: bool
    passed: bool | None


class SlicedColumn(Part):
    """A column of the data that divides the test images into slices.

    Attributes:
      name: Name of the column.
      threshold: Lowest accuracy that passes; None where the slices have no gates.
      min_images: Minimum number of images for a gate.
      slices: What refused the model first, then the weakest, then those with fewer images.
    """

    name: str
    threshold: float | None
    min_images: int
    slices: list[Slice]


class Cell(Part):
    """A cell of the confusion matrix; `share` is its share of the images of `label`."""

    label: str
    predicted: str
    count: int
    share: float
    gallery: Gallery


class Confusion(Part):
    """The confusion matrix.

    Attributes:
      class_names: Names of rows and columns, in label order.
      order: Labels in the order in which the page shows them: where there are many, classes that
        are confused stand side by side.
      rows: Cells by label, each row in the order of the predicted classes. Of many classes, these
        are the cells with images and those that the page shows.
      shown: Predicted classes whose cells the page shows, by label: of many, the label itself and
        what it is most often taken for, most often first.
      pairs: The cells off the diagonal with the most images, most first.
      confident_errors: Errors in which the model is surest of the wrong class.
    """

    class_names: list[str]
    order: list[int]
    rows: list[list[Cell]]
    shown: list[list[int]]
    pairs: list[Cell]
    confident_errors: Gallery

    def places(self) -> list[dict[int, int]]:
        """Where in its row the cell of each predicted class is, by label."""
        numbers = {name: number for number, name in enumerate(self.class_names)}
        return [
            {numbers[cell.predicted]: place for place, cell in enumerate(row)} for row in self.rows
        ]


class CalibrationBin(Part):
    """Images whose first choice has a probability in [low, high); in [low, high] in the last bin.

    Attributes:
      low: Lower end.
      high: Upper end.
      confidence: Mean probability of the first choice; None where the bin is empty.
      accuracy: Share of right first choices.
    """

    low: float
    high: float
    confidence: float | None
    accuracy: Proportion


class CoveragePoint(Part):
    """The accuracy if only the surest answers are used.

    Attributes:
      coverage: Share of images that are answered.
      threshold: Lowest probability of a first choice among the answers.
      accuracy: Share of right answers.
    """

    coverage: float
    threshold: float
    accuracy: float


class Calibration(Part):
    """Whether the scores can be trusted as probabilities.

    Attributes:
      ece: Expected calibration error of the first choice, in equal bins (Guo et al. 2017), with a
        seeded basic bootstrap interval.
      ece_before: The same of the softmax alone, uncalibrated; None where it is not known.
      temperature: Divisor of the logits; None where it is not known.
      cross_entropy: Mean negative log likelihood, in nats, of probabilities that Keras raises to
        1e-7 where they are lower; None if it is not finite.
      bins: Bins of the reliability diagram.
      coverage: Points of the coverage curve, from all images to the surest few.
    """

    ece: Estimate
    ece_before: float | None
    temperature: float | None
    cross_entropy: float | None
    bins: list[CalibrationBin]
    coverage: list[CoveragePoint]


class CorruptionScores(Part):
    """Accuracy on the test split under one corruption at one strength.

    Attributes:
      corruption: Name of the corruption.
      strength: Strength, 1 to 3.
      amount: Strength in words and units, such as `+-2 pixels`.
      accuracy: Accuracy on all images.
      classes: Recall by class name.
    """

    corruption: str
    strength: int
    amount: str
    accuracy: Proportion
    classes: dict[str, Proportion]


class Robustness(Part):
    """Accuracy under corruptions; `clean` is the accuracy on the unchanged test split."""

    clean: Proportion
    scores: list[CorruptionScores]
    examples: Sheet | None
    examples_about: list[str]


class SplitCounts(Part):
    """Numbers of images of a split, in all and by class; `before` is from the run before."""

    name: str
    count: int
    classes: dict[str, int]
    before: dict[str, int] | None


class Finding(Part):
    """A finding of DataGate; `check` is the name of one of its checks."""

    check: str
    line: str


class Drift(Part):
    """How far a feature of the training split moved since the served model was trained.

    Attributes:
      feature: Name of the feature.
      measure: Name of the distance.
      value: The distance.
      threshold: Distance above which DataGate reports drift.
    """

    feature: str
    measure: str
    value: float
    threshold: float


class SkippedImage(Part):
    """An image that was left out of the data.

    Attributes:
      name: Relative path, or source and row.
      reason: What is wrong with it.
    """

    name: str
    reason: str


class ReadData(Part):
    """What ExampleGen read.

    Attributes:
      summary: What was recognised, in words.
      border: Border of the training images: dark, bright or mixed.
      border_brightness: Mean brightness of their borders, 0 to 255.
      fit: How images of another size were fitted: pad, crop or stretch.
      skipped: Images that were left out, as many as are named.
      skipped_count: Number of all images that were left out.
    """

    summary: str
    border: str
    border_brightness: float
    fit: str
    skipped: list[SkippedImage]
    skipped_count: int


class Imbalance(Part):
    """How uneven the classes of the training split are.

    Attributes:
      largest: Name of the class with the most images.
      largest_count: Number of its images.
      smallest: Name of the class with the fewest images.
      smallest_count: Number of its images, above 0.
      ratio: Quotient of the two numbers.
    """

    largest: str
    largest_count: int
    smallest: str
    smallest_count: int
    ratio: float


class Data(Part):
    """The data of the run.

    Attributes:
      reading: What was read; None in the record of a run that did not get there.
      splits: Splits in the order train, val, test.
      imbalance: Largest and smallest class to train on; None where no class has twice the images of
        another one.
      run_before: Id of the run that the data is compared with; None where there is none.
      class_distance: Total variation distance between the class shares of the training split in
        this run and in the run before; None without a run before.
      same_files: Whether all files are those of the run before; None without one.
      findings: Findings of DataGate.
      drifts: Drift of the training split since the served model; None where it was not measured.
    """

    reading: ReadData | None
    splits: list[SplitCounts]
    imbalance: Imbalance | None = None
    run_before: str | None
    class_distance: float | None
    same_files: bool | None
    findings: list[Finding]
    drifts: list[Drift] | None


class SimilarPair(Part):
    """Two images that are nearly or exactly the same.

    Attributes:
      first: Example id of the first.
      second: Example id of the second.
      first_split: Split of the first: train, val or test.
      second_split: Split of the second.
      first_label: Class name of the first.
      second_label: Class name of the second.
      distance: Root mean square difference of pixels, 0 to 255; 0 for the same image.
    """

    first: str
    second: str
    first_split: str
    second_split: str
    first_label: str
    second_label: str
    distance: float


class SimilarCount(Part):
    """Numbers of near-duplicate pairs between two splits, or within one.

    Each copy of an image is counted once, in a pair with the first of its kind.

    Attributes:
      first_split: train, val or test.
      second_split: The same split or a later one.
      exact: Number of pairs that are the same byte by byte.
      near: Number of pairs that differ a little.
      other_label: Number of pairs, exact or near, whose labels differ.
      complete: Whether no near pair can be missing; False also where that is not known.
    """

    first_split: str
    second_split: str
    exact: int
    near: int
    other_label: int
    complete: bool = False


class LabelError(Part):
    """A test image whose label the model contradicts with great confidence.

    Attributes:
      example_id: Id of the example.
      label: Name of the true class, as the data has it.
      predicted: Name of the class that the model predicts.
      probability: Probability of the predicted class.
    """

    example_id: str
    label: str
    predicted: str
    probability: float


class Suspects(Part):
    """Possible errors of the data.

    Attributes:
      label_errors: The surest label errors, surest first. `Confusion.confident_errors` begins with
        them.
      label_error_count: Number of label errors in all.
      label_error_confidence: Probability above which a wrong answer counts as a label error.
      similar_counts: Numbers of similar pairs, by pair of splits; None where nothing is known.
      similar_pairs: The first similar pairs: different labels first, then pairs across splits,
        then the most alike.
      similar_searched: Number of different images among which near-duplicates were searched; None
        where nothing is known.
      similar_of: Number of different images; None where nothing is known.
      similar_images: First and second image of each pair, side by side; None without pairs.
    """

    label_errors: list[LabelError]
    label_error_count: int
    label_error_confidence: float
    similar_counts: list[SimilarCount] | None
    similar_pairs: list[SimilarPair]
    similar_searched: int | None
    similar_of: int | None
    similar_images: Sheet | None


class Epoch(Part):
    """Measurements of an epoch of training; losses include label smoothing, but no penalties."""

    epoch: int
    loss: float
    accuracy: float
    validation_loss: float
    validation_accuracy: float
    learning_rate: float


class Training(Part):
    """How the model was trained.

    Attributes:
      epochs: Epochs in their order.
      chosen_epoch: Epoch whose weights are used: the one with the lowest validation loss.
      planned_epochs: Number of epochs in the configuration, or that its minutes came to.
      budget_seconds: Time for the training; None where it had a number of epochs instead.
      label_smoothing: Share of each label that the losses spread over all classes.
      seconds: Duration of Trainer; None where it was cached.
      augmented: An original and its augmented variants in each row; None without any.
      augmentation: Strength of each augmentation, in words, by name.
      hyperparameters: Values that Tuner chose, by name; None without a Tuner.
      warm_start_from: Model from whose weights training began, in words; None for random ones.
    """

    epochs: list[Epoch]
    chosen_epoch: int
    planned_epochs: int
    budget_seconds: float | None
    label_smoothing: float
    seconds: float | None
    augmented: Sheet | None
    augmentation: dict[str, str]
    hyperparameters: dict[str, str] | None
    warm_start_from: str | None


class FeatureMaps(Part):
    """Feature maps of the blocks of the network for one image.

    Attributes:
      example_id: Id of the image.
      label: Class name of the image.
      image: The image, alone in its sheet.
      blocks: Feature maps by block name, first block first; each is scaled to its own range.
    """

    example_id: str
    label: str
    image: Sheet
    blocks: dict[str, Sheet]


class Inside(Part):
    """A look inside: `samples` are random test images, answered right or wrong."""

    samples: Gallery
    feature_maps: list[FeatureMaps]


class PastRun(Part):
    """A run of the same pipeline; `accuracy` is None where nothing was evaluated."""

    id: str
    began: str
    status: Status
    verdict: Verdict
    accuracy: Proportion | None
    seconds: float | None
    pushed_version: int | None


class Lineage(Part):
    """Where the model comes from, and how to make it again.

    Attributes:
      data: SHA-256 by file.
      revision: Revision of the code; None outside of a checkout.
      dirty: Whether the checkout had uncommitted changes; None outside of a checkout.
      lock: Name of the installed lock; None where libraries were installed by hand.
      lock_sha256: SHA-256 of the installed lock, or of the installed versions.
      seed: Random seed.
      precision: Precision of training.
      machine: Facts about the machine, by name.
      versions: Versions of Python, glibc and the main libraries, by name.
      parameters: The whole configuration, by dotted key; where the Tuner or a time for the training
        took the place of a value, the one that the run trained with.
      digests: SHA-256 of each artifact's content.
      model_digest: SHA-256 of the weights; None without a model.
      commands: Commands that reproduce the run.
      warm_start_from: Digest of the model with whose weights training began, which has to be served
        for the commands to make the same model; None for random weights.
    """

    data: dict[str, str]
    revision: str | None
    dirty: bool | None
    lock: str | None
    lock_sha256: str
    seed: int
    precision: str
    machine: dict[str, str]
    versions: dict[str, str]
    parameters: dict[str, str]
    digests: dict[str, str]
    model_digest: str | None
    commands: list[str]
    warm_start_from: str | None


class Summary(Part):
    """The review of one run, section by section in the order of the page.

    Attributes:
      schema_version: Version of this form.
      run: The run.
      class_names: Names of the classes, in label order; empty where they are not known.
      sheet: The test images that galleries show; None without any.
      images: Descriptions of these images.
      history: The last hundred runs of the pipeline up to this one, oldest first.
      slices: Slices by columns of the data; None also where the run was asked for none.
      missing: Reasons why a section is None, by its name; why a part of one is, by a dotted name
        such as `training.augmented`; why no images are shown, by `sheet`.
    """

    schema_version: Literal[8] = SCHEMA_VERSION
    run: Run
    class_names: list[str]
    sheet: Sheet | None
    images: list[ImageRecord]
    verdict: Conclusion
    gates: list[Gate] | None
    comparison: Comparison | None
    report: Report | None
    slices: list[SlicedColumn] | None
    confusion: Confusion | None
    calibration: Calibration | None
    robustness: Robustness | None
    data: Data | None
    suspects: Suspects | None
    training: Training | None
    inside: Inside | None
    history: list[PastRun]
    lineage: Lineage
    missing: dict[str, str]


class RunComparison(Part):
    """Two runs side by side: `runs compare A B`.

    Attributes:
      schema_version: Version of this form.
      first: The baseline.
      second: The candidate.
      comparison: Comparison on the same test images; None where these differ or are gone.
      missing: Why `comparison` is None; None where it is not.
      accuracies: Accuracies of first and second; None where nothing was evaluated.
      parameters: Parameters that differ, by dotted key, with the values in first and in second.
      facts: Everything else that differs (data, code, seed, ...), in the same form.
      sheet: The images that the galleries show; None without any.
      images: Descriptions of these images.
    """

    schema_version: Literal[8] = SCHEMA_VERSION
    first: Run
    second: Run
    comparison: Comparison | None
    missing: str | None
    accuracies: tuple[Proportion | None, Proportion | None]
    parameters: dict[str, tuple[str, str]]
    facts: dict[str, tuple[str, str]]
    sheet: Sheet | None
    images: list[ImageRecord]


def write_summary(folder: pathlib.Path, summary: Summary) -> None:
    """Writes the summary into the folder of its run, whole or not at all."""
    write_whole(folder / REVIEW_FILE, summary.model_dump_json() + "\n")


def stored_summary(folder: pathlib.Path) -> Summary | None:
    """Reads the summary in the folder of a run; None where there is none of this form."""
    try:
        return Summary.model_validate_json(read_regular(folder / REVIEW_FILE))
    except (OSError, ValueError):
        return None
