"""The receipt: the record of a run. Its JSON form is `receipt.schema.json`, made from this model.

python3 -m pipeline.records.receipt    writes the schema anew
"""

from __future__ import annotations

import json
import pathlib
import shlex
from collections.abc import Mapping
from typing import Annotated, Literal, Self

import pydantic
from pydantic import Field, JsonValue
from pydantic_core import PydanticCustomError

from components.disk import write_whole
from components.quality_gates import JudgedGate
from pipeline.datasets import SAMPLE, span_numbers
from pipeline.errors import ExitCode
from pipeline.installation.packages import minor
from pipeline.locations import DEFAULT_OUTPUT_DIR, RECEIPT_FILE
from pipeline.records.outcomes import NodeStatus, Status, Verdict

SCHEMA_FILE = pathlib.Path(__file__).with_name("receipt.schema.json")
# The id of a run is the time when it began, or the next free second.
RUN_ID_FORMAT = "%Y%m%d-%H%M%S"
# Another set of keys needs another version, or documents of the one before count as damaged.
SCHEMA_VERSION: Literal[5] = 5
# Type of the error about a JSON document without some of the keys.
MISSING_KEYS = "missing_keys"

Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Share = Annotated[float, Field(ge=0, le=1)]
# What NumPy can count with, and JSON can say exactly.
MOST_COUNTED = 2**53
Count = Annotated[int, Field(ge=0, le=MOST_COUNTED)]
Version = Annotated[int, Field(ge=0)]
# Names come from the system in any encoding; JSON takes only what UTF-8 can say.
Text = Annotated[str, pydantic.BeforeValidator(lambda text: escaped(text))]
Moment = Annotated[
    pydantic.AwareDatetime,
    pydantic.PlainSerializer(lambda moment: moment.isoformat(), return_type=str),
    pydantic.WithJsonSchema({"type": "string", "format": "date-time"}),
]


def _checked_command(command: str) -> str:
    """Refuses a command that no shell could read, since other commands are made from it."""
    shlex.split(command)
    return command


def escaped(text: object) -> object:
    """A text without lone surrogates, which stand for bytes that are not UTF-8."""
    return text.encode(errors="backslashreplace").decode() if isinstance(text, str) else text


class Part(pydantic.BaseModel):
    """A part of the receipt: frozen, and strict about its fields."""

    model_config = pydantic.ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        json_schema_serialization_defaults_required=True,
        protected_namespaces=(),
    )

    @pydantic.model_validator(mode="after")
    def _check_complete(self, info: pydantic.ValidationInfo) -> Self:
        """Refuses a JSON document without some of the keys: defaults are for runs that begin."""
        missing = [name for name in type(self).model_fields if name not in self.model_fields_set]
        if info.mode == "json" and missing:
            raise PydanticCustomError(MISSING_KEYS, "{keys} missing", {"keys": ", ".join(missing)})
        return self


class Request(Part):
    """What was asked for; `resume` asks for it again."""

    profile: str | None
    data: str
    runner: Literal["local", "beam", "cluster"]
    assignments: tuple[str, ...]
    seed: Count | None
    new_line: bool
    """Whether to replace the served model without a comparison."""


class Failure(Part):
    """Why a run did not complete."""

    node: str | None
    """The node that failed; null where the run failed outside its nodes."""
    message: Annotated[str, Field(min_length=1)]
    changes: tuple[Annotated[str, Field(pattern="^[^=]+=.")], ...] = ()
    """Changes of the configuration without which the run would fail again."""


class Engines(Part):
    """The engines that were seen at work; null where none was."""

    dag: str | None = None
    """Engine of the graph."""
    node: str | None = None
    """Engine of the Beam pipelines of the nodes."""
    address: str | None = None
    """Address of the job server or of Flink's job manager; null where the run needed none, or
    started it."""
    workers: str | None = None
    """Where the pipelines were worked on: `this process`, `pool HOST:PORT` or `image IMAGE`."""


class NodeRecord(Part):
    """How a node ended."""

    status: NodeStatus
    seconds: Annotated[float, Field(ge=0)]
    code_fingerprint: Annotated[str, Field(pattern="^[0-9a-f]{16}$")] | None
    """Fingerprint of the node's code and libraries; null where it has none or did not run."""


class DataRecord(Part):
    """The data of a run."""

    name: Annotated[str, Field(min_length=1)]
    sha256: dict[str, Sha256]
    """SHA-256 of the uncompressed content by file name, with the span's folder if any."""
    schema_sha256: Sha256
    spans: tuple[Count, ...]
    """Numbers of the spans trained on, newest last; empty where the data has none."""
    reference_span: Count | None
    """Number of the span tested on; null where the data has none."""

    @pydantic.model_validator(mode="after")
    def _check_spans(self) -> Self:
        if bool(self.spans) != (self.reference_span is not None):
            raise ValueError("it has spans but no reference span, or the reverse")
        return self

    @property
    def description(self) -> str:
        """Name and spans, for people."""
        if self.reference_span is None:
            return self.name
        return f"{self.name} ({span_numbers.describe(self.spans, self.reference_span)})"

    @property
    def span_assignments(self) -> list[str]:
        """`key=value` each: what makes a run take the same spans again."""
        if self.reference_span is None:
            return []
        return span_numbers.assignments(self.spans, self.reference_span)

    @property
    def is_sample(self) -> bool:
        """Whether it is the synthetic sample."""
        return self.name == SAMPLE


class Skipped(Part):
    """An image that was left out."""

    name: Text
    """Relative path, or source and row."""
    reason: Text


class Reading(Part):
    """What ExampleGen reports of the images that it read."""

    form: str
    """Form of the data, such as `class folders`."""
    summary: Text
    """What was recognised, in words."""
    fit: Literal["pad", "crop", "stretch"]
    """How images of another size than the schema's were fitted."""
    background: Annotated[int, Field(ge=0, le=255)]
    """Brightness of padding and of what is transparent."""
    border: Literal["dark", "bright", "mixed"]
    """Border of the training images; `predict` inverts by it."""
    border_brightness: Annotated[float, Field(ge=0, le=255)]
    """Mean brightness of the borders of the training images."""
    skipped: tuple[Skipped, ...]
    """Images that were left out, as many as are named."""
    skipped_count: Count
    """Number of all images that were left out."""


class Code(Part):
    """The code of a run."""

    revision: str | None
    dirty: bool | None
    """Whether the checkout had uncommitted changes; null outside of git."""
    sha256: Sha256
    """SHA-256 of the sources that decide what a graph computes."""
    files: dict[str, Annotated[str, Field(pattern="^[0-9a-f]{12}$")]]
    """First digits of the SHA-256 of each source file, by path."""


class Machine(Part):
    """The machine of a run."""

    processor: str
    cores: Annotated[int, Field(ge=1)]
    memory_gib: float
    system: str


class Environment(Part):
    """What results depend on beside data, code and configuration."""

    lock: str | None
    """Name of the installed lock; null where libraries were installed by hand."""
    lock_sha256: Sha256
    """SHA-256 of the installed lock, or of the names and versions of all libraries."""
    versions: dict[str, str]
    """Versions of Python, glibc and the libraries that compute."""
    threads: Annotated[int, Field(ge=1)]
    cpu_features: tuple[str, ...]
    """Features of the processor on which the results of sums depend."""
    onednn: bool
    """Whether TensorFlow used oneDNN's kernels."""
    machine: Machine

    @property
    def lock_name(self) -> str:
        """Name of the installed lock, for people."""
        return self.lock or "none: installed by hand"

    @pydantic.field_validator("versions")
    @classmethod
    def _check_versions(cls, versions: dict[str, str]) -> dict[str, str]:
        if "python" not in versions:
            raise ValueError("they do not name Python")
        return versions

    @property
    def python_minor(self) -> str:
        """Minor version of Python, such as `3.12`."""
        return minor(self.versions["python"])


class WarmStart(Part):
    """The model at whose weights a training began."""

    digest: Sha256
    version: Version | None
    """The version that serves it; null where none does any more."""


class Scores(Part):
    """Scores of a class, or means over the classes."""

    precision: Share
    recall: Share
    f1: Share
    support: Count


class SliceScores(Part):
    """Accuracy on the test images with one value in a column of the data."""

    accuracy: Share
    count: Count
    """Number of images."""
    judged: bool
    """Whether there was a gate on it."""


class SlicedColumn(Part):
    """A column of the data that divides the test images into slices."""

    threshold: Share | None
    """Minimum accuracy; null where the slices have no gates."""
    min_images: Count
    """Minimum number of images for a gate."""
    values: dict[Text, SliceScores]


class Evaluation(Part):
    """What TFMA measured on the test split."""

    accuracy: Share
    balanced_accuracy: Share
    """Mean recall of the classes with test images."""
    cross_entropy: Annotated[float, Field(ge=0)] | None
    """Mean negative log likelihood, in nats, of probabilities that Keras raises to 1e-7 where they
    are lower; null if it is not finite."""
    top_2_accuracy: Share
    count: Count
    """Number of images."""
    per_class: Annotated[dict[str, Scores], Field(min_length=1)]
    """Scores by class name, in label order."""
    macro_avg: Scores
    """Plain means of the classes' scores."""
    weighted_avg: Scores
    """Means of the classes' scores, weighted by support."""
    confusion: tuple[tuple[Count, ...], ...]
    """Counts; a row per true class, a column per predicted one, in label order."""
    slices: dict[Text, SlicedColumn] = {}
    """Scores by column of the data; empty where the configuration names none."""

    @pydantic.model_validator(mode="after")
    def _check_confusion(self) -> Self:
        classes = len(self.per_class)
        if [len(row) for row in self.confusion] != [classes] * classes:
            raise ValueError("its confusion matrix does not have a row and a column per class")
        return self


class Calibration(Part):
    """Expected calibration errors on the test split, and what was fitted."""

    temperature: Annotated[float, Field(gt=0)] | None = None
    label_smoothing: Share | None = None
    ece_before: Share | None = None
    """Error of the softmax alone."""
    ece_after: Share | None = None
    """Error of the served answers: with the temperature, and without label smoothing."""


class Recall(Part):
    """Recall of a class."""

    recall: Share
    support: Count


class CorruptionScores(Part):
    """What TFMA measured under one corruption at one strength."""

    corruption: str
    strength: Annotated[int, Field(ge=1, le=3)]
    amount: str
    """Strength in words and units."""
    accuracy: Share
    count: Count
    per_class: dict[str, Recall]


class Receipt(Part):
    """The record of a run."""

    schema_version: Literal[5] = SCHEMA_VERSION
    run_id: Annotated[str, Field(pattern="^[0-9]{8}-[0-9]{6}$")]
    sequence: Annotated[int, Field(ge=1, le=MOST_COUNTED)]
    """Position among all runs, whatever the clock said."""
    pipeline: str
    command: Annotated[str, pydantic.AfterValidator(_checked_command)]
    """Command that started the run."""
    request: Request
    attempt: Text | None
    """Name that a scheduler gave to the run; null for a run started by hand."""
    input_digest: Sha256
    """SHA-256 of data, schema, code, configuration, precision, lock and Python together."""
    host: Text
    user: Text
    began: Moment
    seconds: Annotated[float, Field(ge=0)] | None = None
    """Duration; null until the end."""
    status: Status = Status.INTERRUPTED
    verdict: Verdict = Verdict.NONE
    failure: Failure | None = None
    runner: Engines = Engines()
    gates: tuple[JudgedGate, ...] = ()
    nodes: dict[str, NodeRecord] = {}
    data: DataRecord
    config: dict[str, JsonValue]
    precision: Literal["float32", "bfloat16"]
    environment: Environment
    warm_start_from: WarmStart | None = None
    settled_epochs: Annotated[int, Field(ge=1, le=MOST_COUNTED)] | None = None
    """Number of epochs that `training.minutes` came to; null where `training.epochs` set it."""
    hyperparameters: dict[str, float] | None = None
    """Values that the Tuner chose in place of the configuration; null where none ran."""
    reading: Reading | None = None
    """Null where no images were read."""
    evaluation: Evaluation | None = None
    """Null where nothing was evaluated."""
    calibration: Calibration = Calibration()
    robustness: tuple[CorruptionScores, ...] | None = None
    """Scores on corrupted test images; null where they were not asked for."""
    model_digest: Sha256 | None = None
    """SHA-256 of the weights, in the order of their names."""
    export_digest: Sha256 | None = None
    """SHA-256 of the files of the export, as they are served."""
    digests: dict[str, Sha256] = {}
    """SHA-256 of what each artifact holds, by node and output."""
    pushed_version: Version | None = None
    served_before: Version | None
    """Newest version when the run began; null where nothing was served."""
    served_version: Version | None = None
    """Newest version when the run ended; null where nothing is served."""
    code: Code

    @pydantic.field_validator("config")
    @classmethod
    def _check_config(cls, config: dict[str, JsonValue]) -> dict[str, JsonValue]:
        """Refuses a configuration without the keys that other places count on."""
        seed = config.get("seed")
        sound = isinstance(seed, int) and not isinstance(seed, bool)
        profile = config.get("profile")
        if not sound or not profile or not isinstance(profile, str):
            raise ValueError("it has no profile, or no seed")
        try:
            json.dumps(config, allow_nan=False)
        except (ValueError, RecursionError) as error:
            raise ValueError("it has a value that cannot be written") from error
        return config

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Reads a receipt.

        Raises:
          pydantic.ValidationError: where the text is not the receipt of a run.
        """
        return cls.model_validate_json(text, strict=True)

    def to_json(self) -> str:
        """The receipt as JSON text, in ASCII: no terminal can change it."""
        return json.dumps(self.as_json_value(), indent=1, allow_nan=False)

    def as_json_value(self) -> dict[str, JsonValue]:
        """The receipt as a JSON document."""
        return self.model_dump(mode="json")

    def changed(self, **changes: object) -> Self:
        """A copy with other values of some fields.

        Raises:
          pydantic.ValidationError: where there is no such field, or a value does not fit.
        """
        return self.model_validate({**self._fields(), **changes})

    def _fields(self) -> dict[str, object]:
        return {name: getattr(self, name) for name in type(self).model_fields}

    @property
    def is_unfinished(self) -> bool:
        """Whether the run is at work, or was cut off before it could say how it ended."""
        unended = (Status.RUNNING, Status.INTERRUPTED)
        return self.status in unended and self.failure is None

    @property
    def profile(self) -> str:
        """Name of the profile."""
        return str(self.config["profile"])

    @property
    def seed(self) -> int:
        """Random seed."""
        return int(str(self.config["seed"]))

    @property
    def settled_assignments(self) -> list[str]:
        """`key=value` each: what makes a run train for the same number of epochs again.

        Empty where the speed of the machine did not settle it.
        """
        if self.settled_epochs is None:
            return []
        return ["training.minutes=null", f"training.epochs={self.settled_epochs}"]

    @property
    def exit_code(self) -> ExitCode:
        """Exit code of the command that ran it."""
        if self.status == Status.INTERRUPTED:
            return ExitCode.INTERRUPTED
        codes = {Verdict.PUSHED: ExitCode.PUSHED, Verdict.REFUSED: ExitCode.REFUSED}
        return codes.get(self.verdict, ExitCode.FAILED)

    @property
    def kept_served_version(self) -> bool:
        """Whether Pusher found the model served already and pushed no new version."""
        return self.pushed_version is not None and self.pushed_version == self.served_before

    def asks_for(self, part: str) -> bool:
        """Whether an optional part of the graph, `tuner` or `robustness`, is enabled."""
        values = self.config.get(part)
        return bool(values.get("enabled")) if isinstance(values, Mapping) else False

    @property
    def command_again(self) -> str:
        """The command of the run, with the cache: complete nodes do not run again."""
        return shlex.join(self._words_again())

    @property
    def changed_command(self) -> str | None:
        """The command with the changes without which the run would fail again; None without any."""
        changes = self.failure.changes if self.failure else ()
        flags = [word for change in changes for word in ("--set", change)]
        return shlex.join([*self._words_again(), *flags]) if flags else None

    def command_to_go_on(self, output_dir: pathlib.Path) -> str:
        """The command that continues the run, or starts it changed where it has to be."""
        if self.changed_command:
            return self.changed_command
        command = ["python3", "pipeline_runner.py", "resume", self.run_id]
        if output_dir != DEFAULT_OUTPUT_DIR:
            command += ["--output-dir", str(output_dir)]
        return shlex.join(command)

    def _words_again(self) -> list[str]:
        # What replaced a served model is compared with from then on, and --new-line refused.
        dropped = ("--no-cache", "--new-line") if self.pushed_version else ("--no-cache",)
        return [word for word in shlex.split(self.command) if word not in dropped]

    def write(self, folder: pathlib.Path) -> None:
        """Writes the receipt into the folder of its run, whole or not at all.

        Raises:
          OSError: where it cannot be written.
        """
        write_whole(folder / RECEIPT_FILE, self.to_json() + "\n")


def schema_text() -> str:
    """The JSON schema of receipts, as `receipt.schema.json` has it."""
    schema = Receipt.model_json_schema(mode="serialization")
    draft = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return json.dumps({**draft, **schema}, indent=2) + "\n"


if __name__ == "__main__":
    SCHEMA_FILE.write_text(schema_text(), encoding="utf-8")
