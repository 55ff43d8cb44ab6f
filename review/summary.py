"""What the review of a run says, as plain typed data: the form of `review.json`.

`review.collect` fills it from artifacts and ML Metadata, `review.page` renders it. Whatever stands
on the page stands here; the page computes nothing. A section that cannot be filled is None, and
`Summary.missing` says why in words.
"""

from __future__ import annotations

import pathlib

import pydantic

from pipeline.locations import write_whole

SCHEMA_VERSION = 4
REVIEW_FILE = "review.json"
# Two-sided, of every interval.
CONFIDENCE = 0.95


class Part(pydantic.BaseModel):
    """A part of the summary: frozen, and without room for what nobody declared.

    Nor for infinity and what is no number, which JSON does not know.
    """

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Interval(Part):
    """A confidence interval.

    Attributes:
      low: its lower end.
      high: its upper end.
    """

    low: float
    high: float


class Proportion(Part):
    """A share of a number of images, with its Wilson interval (Wilson 1927).

    Attributes:
      value: hits / total; 0 where total is 0.
      hits: how many of them.
      total: of how many.
      interval: of the share; from 0 to 1 where total is 0.
    """

    value: float
    hits: int
    total: int
    interval: Interval


class Estimate(Part):
    """A number with an interval that is not that of a share.

    Attributes:
      value: the number.
      interval: around it.
    """

    value: float
    interval: Interval


class Sheet(Part):
    """Images of one size in one PNG, row by row.

    Attributes:
      png: the file, base64.
      height: rows of one image, in pixels.
      width: columns of one image, in pixels.
      columns: images in a row of the sheet.
      count: images in the sheet.
    """

    png: str
    height: int
    width: int
    columns: int
    count: int


class Choice(Part):
    """A class and the probability that the model gives to it."""

    name: str
    probability: float


class ImageRecord(Part):
    """A test image that the page shows; its position in `Summary.images` is its place in the sheet.

    Attributes:
      example_id: of the example.
      label: name of the class that the data says.
      choices: the model's first three choices, best first (fewer where there are fewer classes);
        probabilities are rounded to six decimals.
      baseline: the first choice of the served model, where there is one.
    """

    example_id: str
    label: str
    choices: list[Choice]
    baseline: Choice | None


class Node(Part):
    """How a node of the run ended; `seconds` is its own duration."""

    name: str
    status: str
    seconds: float


class Failure(Part):
    """What failed: the node, where it was one, and the message, maybe of several lines."""

    node: str | None
    message: str


class Run(Part):
    """Which run this is.

    Attributes:
      id: of the run.
      pipeline: its name.
      profile: of the configuration.
      began: ISO 8601, with time zone.
      seconds: duration of the run; None where it was cut off.
      status: completed, failed or interrupted.
      verdict: pushed, refused, stopped or none.
      command: that started it.
      data: name of the data set, with its spans if any.
      is_sample: whether that is the built-in, drawn sample, whose results say nothing of real
        images.
      pushed_version: what was pushed, if anything.
      failure: what failed, if anything.
      nodes: in the order of the graph.
    """

    id: str
    pipeline: str
    profile: str
    began: str
    seconds: float | None
    status: str
    verdict: str
    command: str
    data: str
    is_sample: bool
    pushed_version: int | None
    failure: Failure | None
    nodes: list[Node]


class WorstClass(Part):
    """The class with the least recall."""

    name: str
    recall: Proportion


class Verdict(Part):
    """What the page says first.

    Attributes:
      headline: pushed, refused, stopped, failed or interrupted, in one sentence.
      reasons: of a run that refused, a sentence for each gate that did; of one that pushed, for
        each that passed within the noise; else what failed. Last, what the comparison with the
        served model shows.
      advice: what the reader should do next, in a sentence or two.
      accuracy: on the test split; None where nothing was evaluated.
      change: of the accuracy against the served model; None where there was none, or where the
        answers to each image are gone.
      worst_class: None where nothing was evaluated.
    """

    headline: str
    reasons: list[str]
    advice: str
    accuracy: Proportion | None
    change: Estimate | None
    worst_class: WorstClass | None


class Gate(Part):
    """A threshold, and how the model stands to it.

    Attributes:
      metric: what was measured.
      slice: `overall`, a class name, or a corruption.
      value: what was measured; None where nothing was, which never passes.
      interval: of the value; None where there is none for it.
      threshold: the least value that passes.
      margin: value - threshold; None without a value.
      passed: as Blessing decided.
      noise: whether the interval covers the threshold and some of what is below it, so that the
        same model could on other test images of the same kind be decided upon the other way; None
        without an interval.
      sentence: all of it in words.
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
      count: how many there are in all.
      images: positions in `Summary.images` of those that are shown.
    """

    count: int
    images: list[int]


class ClassChange(Part):
    """A class, now and in the served model, on the same images.

    Attributes:
      name: of the class.
      candidate: recall of the new model.
      baseline: recall of the served model.
      change: candidate - baseline, with an interval for paired answers (Newcombe 1998).
      newly_fixed: images that only the new model gets right.
      newly_broken: images that only the served model gets right.
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
      candidate_name: what the first is called on the page.
      baseline_name: what the second is called on the page.
      candidate: accuracy of the first.
      baseline: accuracy of the second.
      change: candidate - baseline, with an interval for paired answers (Newcombe 1998).
      both_right: number of images that both get right.
      only_candidate: that the first alone gets right.
      only_baseline: that the second alone gets right.
      both_wrong: that neither gets right.
      p_value: McNemar's exact test, two-sided (McNemar 1947): how likely a difference at least as
        large is between models that are equally good.
      classes: those that changed most first.
      newly_broken: images that only the baseline gets right, most confident errors first.
      newly_fixed: images that only the candidate gets right, most confident first.
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
      name: of the class.
      precision: hits are the images rightly given this class, of all given it.
      recall: hits are the images rightly given this class, of all that are of it.
      f1: harmonic mean of both. Its interval is the Wilson interval of the Jaccard index J, of
        which F1 = 2 J / (1 + J) is a rising function.
      support: images of this class.
    """

    name: str
    precision: Proportion
    recall: Proportion
    f1: Estimate
    support: int


class AverageScores(Part):
    """Means of the scores of all classes, plain (`macro`) or weighted by support."""

    name: str
    precision: float
    recall: float
    f1: float
    support: int


class Report(Part):
    """The classification report.

    Attributes:
      accuracy: overall.
      top_2_accuracy: share of images whose label is among the first two choices.
      cross_entropy: mean negative log likelihood, in nats.
      classes: least recall first.
      averages: macro and weighted.
    """

    accuracy: Proportion
    top_2_accuracy: float
    cross_entropy: float
    classes: list[ClassScores]
    averages: list[AverageScores]


class Cell(Part):
    """A cell of the confusion matrix, with what it holds; `share` is of the images of `label`."""

    label: str
    predicted: str
    count: int
    share: float
    gallery: Gallery


class Confusion(Part):
    """Who is taken for whom.

    Attributes:
      class_names: in label order, of rows and columns.
      rows: by label, then by predicted class; every cell.
      pairs: cells off the diagonal with the most images, most first; at most ten.
      confident_errors: errors in which the model is surest of the wrong class.
    """

    class_names: list[str]
    rows: list[list[Cell]]
    pairs: list[Cell]
    confident_errors: Gallery


class CalibrationBin(Part):
    """Images whose first choice has a probability in [low, high), in the last bin in [low, high].

    Attributes:
      low: lower end.
      high: upper end.
      confidence: mean probability of the first choice; None where the bin is empty.
      accuracy: share of right first choices.
    """

    low: float
    high: float
    confidence: float | None
    accuracy: Proportion


class CoveragePoint(Part):
    """What holds if only the surest answers are taken.

    Attributes:
      coverage: share of images that are answered.
      threshold: the least probability of a first choice that is answered.
      accuracy: share of right ones among the answered.
    """

    coverage: float
    threshold: float
    accuracy: float


class Calibration(Part):
    """Whether the scores can be trusted.

    Attributes:
      ece: expected calibration error of the first choice, in equal bins (Guo et al. 2017), with a
        seeded basic bootstrap interval.
      ece_before: the same of the softmax alone, uncalibrated; None where it is not known.
      temperature: by which logits are divided; None where it is not known.
      cross_entropy: mean negative log likelihood, in nats.
      bins: of the reliability diagram.
      coverage: from all images to the surest few.
    """

    ece: Estimate
    ece_before: float | None
    temperature: float | None
    cross_entropy: float
    bins: list[CalibrationBin]
    coverage: list[CoveragePoint]


class CorruptionScores(Part):
    """Accuracy on the test split under one corruption at one strength.

    Attributes:
      corruption: what is done to the images.
      strength: 1 to 3.
      amount: in words and units, such as `+-2 pixels`.
      accuracy: overall.
      classes: recall by class name.
    """

    corruption: str
    strength: int
    amount: str
    accuracy: Proportion
    classes: dict[str, Proportion]


class Robustness(Part):
    """Accuracy under corruptions; `clean` is that on the untouched test split."""

    clean: Proportion
    scores: list[CorruptionScores]
    examples: Sheet | None
    examples_about: list[str]


class SplitCounts(Part):
    """How many images a split has, in all and by class name; `before` is in the run before."""

    name: str
    count: int
    classes: dict[str, int]
    before: dict[str, int] | None


class Finding(Part):
    """Something that DataGate found; `check` is anomalies, drift or duplicates."""

    check: str
    line: str


class Drift(Part):
    """How far a feature of the training split moved since the served model was trained.

    Attributes:
      feature: its name.
      measure: how the distance is measured.
      value: the distance.
      threshold: from which DataGate speaks of drift.
    """

    feature: str
    measure: str
    value: float
    threshold: float


class Data(Part):
    """What was learned from and tested on.

    Attributes:
      splits: in the order train, val, test.
      run_before: id of the run that `before` and the distances are about; None where there is none.
      class_distance: total variation distance between the class shares of the training split now
        and in the run before; None without one.
      same_files: whether all files are those of the run before; None without one.
      findings: of DataGate.
      drifts: of the training split against that of the served model; empty without one.
    """

    splits: list[SplitCounts]
    run_before: str | None
    class_distance: float | None
    same_files: bool | None
    findings: list[Finding]
    drifts: list[Drift]


class SimilarPair(Part):
    """Two images that are nearly or exactly the same.

    Attributes:
      first: example id.
      second: example id.
      first_split: train, val or test.
      second_split: train, val or test.
      first_label: class name.
      second_label: class name.
      distance: root mean square difference of pixels, 0 to 255; 0 is the same image.
    """

    first: str
    second: str
    first_split: str
    second_split: str
    first_label: str
    second_label: str
    distance: float


class SimilarCount(Part):
    """How many near-duplicate pairs there are between two splits, or within one.

    Attributes:
      first_split: train, val or test.
      second_split: the same or a later one.
      exact: pairs that are the same byte by byte.
      near: pairs that differ, but hardly.
      other_label: pairs among both whose labels differ.
    """

    first_split: str
    second_split: str
    exact: int
    near: int
    other_label: int


class LabelError(Part):
    """A test image whose label the model contradicts with great confidence.

    Attributes:
      example_id: of the example.
      label: name of the class that the data says.
      predicted: name of the class that the model says.
      probability: that it gives to this class.
    """

    example_id: str
    label: str
    predicted: str
    probability: float


class Suspects(Part):
    """What may be wrong with the data.

    Attributes:
      label_errors: the first so many, surest first. `Confusion.confident_errors` begins with them.
      label_error_count: how many there are in all.
      label_error_confidence: above which probability.
      similar_counts: by pair of splits; None where they were not looked for.
      similar_pairs: the first so many: other labels first, then those across splits, then the
        most alike.
      similar_searched: among how many different images near ones were looked for.
      similar_of: how many different images there are.
      similar_images: for each pair its first and its second image, side by side; None without.
    """

    label_errors: list[LabelError]
    label_error_count: int
    label_error_confidence: float
    similar_counts: list[SimilarCount] | None
    similar_pairs: list[SimilarPair]
    similar_searched: int | None = None
    similar_of: int | None = None
    similar_images: Sheet | None


class Epoch(Part):
    """What was measured in an epoch of training; losses include label smoothing, not penalties."""

    epoch: int
    loss: float
    accuracy: float
    validation_loss: float
    validation_accuracy: float
    learning_rate: float


class Training(Part):
    """How the model was trained.

    Attributes:
      epochs: one entry each.
      chosen_epoch: whose weights are used: that with the least validation loss.
      planned_epochs: as configured.
      seconds: duration of Trainer; None where it was cached.
      augmented: each row an original and then what augmentation made of it; None without any.
      augmentation: what is done, and how strongly, by name.
      hyperparameters: what Tuner chose, by name; None without a Tuner.
      warm_start_from: the model at which training began, in words; None for fresh weights.
    """

    epochs: list[Epoch]
    chosen_epoch: int
    planned_epochs: int
    seconds: float | None
    augmented: Sheet | None
    augmentation: dict[str, str]
    hyperparameters: dict[str, str] | None
    warm_start_from: str | None


class FeatureMaps(Part):
    """What the blocks of the network see in one image.

    Attributes:
      example_id: of the image.
      label: its class name.
      image: the image itself, alone in its sheet.
      blocks: by block name, first block first; a feature map each, scaled to its own range.
    """

    example_id: str
    label: str
    image: Sheet
    blocks: dict[str, Sheet]


class Inside(Part):
    """A look inside: `samples` are drawn blindly, right and wrong ones as they come."""

    samples: Gallery
    feature_maps: list[FeatureMaps]


class PastRun(Part):
    """A run of the same pipeline; `accuracy` is None where it came to none."""

    id: str
    began: str
    status: str
    verdict: str
    accuracy: Proportion | None
    seconds: float | None
    pushed_version: int | None


class Lineage(Part):
    """Where the model comes from, and how to make it again.

    Attributes:
      data: SHA-256 by file.
      revision: of the code; None outside of a checkout.
      dirty: whether the checkout had changes that no revision has.
      lock: name of the installed lock; None where libraries were installed by hand.
      lock_sha256: of the installed lock; without one, of the installed versions.
      seed: of everything random.
      precision: what training computed in.
      machine: what it ran on, by name.
      versions: of Python, glibc and the main libraries, by name.
      parameters: the whole configuration, by dotted key.
      digests: of each artifact's content.
      model_digest: of the weights; None without a model.
      commands: that reproduce the run, a line each.
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


class Summary(Part):
    """The review of one run, section by section in the order of the page.

    Attributes:
      schema_version: of this form.
      run: which run.
      class_names: in label order; empty where the run came to none.
      sheet: the test images that galleries show; None without any.
      images: what there is to say of each of them.
      history: runs of the pipeline up to this one, oldest first; the last hundred.
      missing: why a section is None, by its name; why a part of one is, by a dotted name such as
        `training.augmented`; why no images are shown, by `sheet`.
    """

    schema_version: int = SCHEMA_VERSION
    run: Run
    class_names: list[str]
    sheet: Sheet | None
    images: list[ImageRecord]
    verdict: Verdict
    gates: list[Gate] | None
    comparison: Comparison | None
    report: Report | None
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
      first: the one that counts as the baseline.
      second: the one that counts as the candidate.
      comparison: on the same test images; None where these differ or are gone.
      missing: why `comparison` is None; None where it is not.
      accuracies: of first and second, as far as there are any.
      parameters: dotted keys whose values differ, with the value in first and in second.
      facts: what else differs between them (data, code, seed, ...), in the same form.
      sheet: the images that the galleries show.
      images: what there is to say of each of them.
    """

    schema_version: int = SCHEMA_VERSION
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
    """The summary in the folder of a run; None where there is none of this form."""
    try:
        found = Summary.model_validate_json((folder / REVIEW_FILE).read_bytes())
    except (OSError, ValueError):
        return None
    return found if found.schema_version == SCHEMA_VERSION else None
