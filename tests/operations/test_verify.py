"""Two runs held against each other, digest by digest."""

import json
import socket

import pytest

from components.notifications.sending import ADDRESSES_VARIABLE
from operations import verify
from pipeline.errors import ConfigurationError, ExitCode, LockHeldError, VerificationError
from pipeline.nodes import NODES
from pipeline.records.receipt import NodeRecord

OTHER = "0" * 64


@pytest.fixture
def receipt(pushed_receipt):
    """The receipt of a run of all nodes."""
    names = ("Trainer.model", "ExampleGen.examples", "Predictions.predictions")
    nodes = {node: ended(None if node == "Resolver" else "a" * 16) for node in NODES}
    return pushed_receipt.changed(nodes=nodes, digests=dict.fromkeys(names, "e" * 64))


def ended(fingerprint):
    return NodeRecord(status="complete", seconds=1.0, code_fingerprint=fingerprint)


def changed(receipt, part, **values):
    """The receipt with other values in one of its parts."""
    return receipt.changed(**{part: getattr(receipt, part).model_copy(update=values)})


def reasons(receipt, again):
    return list(verify.compare(receipt, again).reasons)


def test_equal_runs_are_identical_and_differ_in_nothing(receipt):
    found = verify.compare(receipt, receipt)
    assert found.identical
    assert found.exit_code == 0
    assert found.first_difference is None
    assert found.reasons == ()


def test_the_first_difference_is_the_first_in_the_graph(receipt):
    again = receipt.changed(digests=dict.fromkeys(receipt.digests, OTHER))
    found = verify.compare(receipt, again)
    assert not found.identical
    assert found.exit_code == ExitCode.DIFFERENT
    assert found.first_difference == "ExampleGen.examples"
    order = ["ExampleGen.examples", "Trainer.model", "Predictions.predictions"]
    assert list(found.artifacts) == order


def test_an_artifact_that_is_missing_differs(receipt):
    digests = {name: value for name, value in receipt.digests.items() if name != "Trainer.model"}
    again = receipt.changed(digests=digests)
    assert verify.compare(receipt, again).first_difference == "Trainer.model"
    assert verify.compare(again, receipt).first_difference == "Trainer.model"


def test_what_may_be_the_reason_is_named(receipt):
    data, environment = receipt.data, receipt.environment
    training = {**receipt.config["training"], "epochs": 99}
    again = receipt.changed(
        config={**receipt.config, "training": training, "seed": 8}, precision="bfloat16"
    )
    again = changed(again, "data", sha256={**data.sha256, "train-images.gz": OTHER})
    again = changed(again, "code", revision="1234", dirty=True, sha256=OTHER)
    again = changed(
        again,
        "environment",
        versions={**environment.versions, "keras": "0.0", "python": "3.99.1"},
        lock=None,
        lock_sha256=OTHER,
        cpu_features=("other",),
        threads=99,
        onednn=not environment.onednn,
    )
    found = "\n".join(reasons(receipt, again))
    for words in (
        "data: train-images.gz holds something else",
        "1234 now; with uncommitted changes",
        "configuration: training: epochs: ",
        "seed: 7 then, 8 now",
        'precision: "float32" then, "bfloat16" now',
        "installed versions: python: ",
        '; keras: "',
        f"lock: {json.dumps(environment.lock)} then, null now",
        "content of the lock: ",
        "features of the processor: ",
        "threads: ",
        "oneDNN: ",
    ):
        assert words in found


def test_a_reason_is_named_once(receipt):
    """The configuration also has the seed."""
    again = receipt.changed(config={**receipt.config, "seed": 8})
    assert reasons(receipt, again) == ["seed: 7 then, 8 now"]


@pytest.fixture
def edited(receipt):
    """The receipt of the same run with edited code."""
    files = {**receipt.code.files, "components/trainer/model.py": "0" * 12}
    again = changed(receipt, "code", sha256=OTHER, files=files, dirty=False)
    other = dict.fromkeys(("Evaluator", "Trainer"), ended("b" * 16))
    return again.changed(nodes={**again.nodes, **other})


def test_the_source_files_that_differ_are_named_and_the_first_node_that_runs_them(receipt, edited):
    files = {**edited.code.files, "components/trainer/new.py": "0" * 12}
    del files["pipeline/gates.py"]
    edited, receipt = changed(edited, "code", files=files), changed(receipt, "code", dirty=False)
    revision = receipt.code.revision
    assert reasons(receipt, edited) == [
        "code: components/trainer/model.py holds something else than then",
        "code: components/trainer/new.py was not there then",
        "code: pipeline/gates.py is there no more",
        "code: Trainer is the first node that runs other code",
        f"code: revision {revision} then, {revision} now",
    ]


@pytest.mark.parametrize("path", ["pipeline/records/digests.py", "pipeline_runner.py"])
def test_an_edit_outside_of_what_a_graph_computes_is_named_too(receipt, path):
    """What digests artifacts, or sets up a run, may make two runs differ all the same."""
    again = changed(receipt, "code", files={**receipt.code.files, path: "0" * 12})
    assert reasons(receipt, again)[0] == f"code: {path} holds something else than then"


@pytest.mark.parametrize(
    "change",
    [
        {"lock_sha256": OTHER},
        {"threads": 99},
        {"cpu_features": ("other",)},
        {"versions": {"python": "3.99.1"}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_no_node_is_named_where_its_fingerprint_differs_for_another_reason_too(
    receipt, edited, change
):
    found = reasons(receipt, changed(edited, "environment", **change))
    assert "code: components/trainer/model.py holds something else than then" in found
    assert not [reason for reason in found if "first node" in reason]


def test_another_patch_version_of_python_is_in_no_fingerprint(receipt, edited):
    environment = receipt.environment
    versions = {**environment.versions, "python": f"{environment.python_minor}.99"}
    found = reasons(receipt, changed(edited, "environment", versions=versions))
    assert "code: Trainer is the first node that runs other code" in found


def test_a_schema_of_other_content_is_named(receipt):
    again = changed(receipt, "data", schema_sha256=OTHER)
    assert reasons(receipt, again) == ["schema: the file holds something else than then"]


def test_a_node_that_only_one_of_the_runs_has_differs(receipt):
    again = receipt.changed(
        nodes={**receipt.nodes, "Tuner": ended("a" * 16)},
        digests={**receipt.digests, "Tuner.best_hyperparameters": "f" * 64},
    )
    for pair in ((receipt, again), (again, receipt)):
        assert verify.compare(*pair).first_difference == "Tuner.best_hyperparameters"


@pytest.fixture
def verified(receipt, keep_receipt, output_dir, progress, monkeypatch):
    """Verifies a run whose repetition is made up."""
    keep_receipt(receipt)

    def verify_with(repeat):
        def run(request, _, notifier):
            repeat(request, notifier)
            return receipt

        monkeypatch.setattr(verify, "run", run)
        return verify.verify("latest", output_dir, progress)

    return verify_with


def test_a_run_that_is_not_complete_says_how_to_go_on(keep_receipt, output_dir, receipt, progress):
    keep_receipt(receipt, status="interrupted", verdict="none")
    command = f"python3 pipeline_runner.py resume {receipt.run_id} --output-dir {output_dir}"
    with pytest.raises(ConfigurationError, match="is interrupted; expected a complete") as caught:
        verify.verify("latest", output_dir, progress)
    assert str(caught.value).endswith(f"Go on first, with: {command}")


def test_a_run_that_began_at_other_weights_says_what_to_verify(
    keep_receipt, output_dir, receipt, progress
):
    keep_receipt(receipt, warm_start_from={"digest": "e" * 64, "version": 7})
    with pytest.raises(ConfigurationError, match=r"warm_start; expected .* Verify a run without"):
        verify.verify("latest", output_dir, progress)


def test_a_run_that_did_not_train_to_the_bit_is_not_verified(
    keep_receipt, output_dir, receipt, progress
):
    """Its repetition would differ, and nothing that the receipts know of would say why."""
    training = {**receipt.config["training"], "deterministic": False}
    keep_receipt(receipt, config={**receipt.config, "training": training})
    with pytest.raises(ConfigurationError, match=r"--no-deterministic.* Verify another run"):
        verify.verify("latest", output_dir, progress)


def test_a_repetition_that_fails_is_told_with_its_failure(
    keep_receipt, output_dir, receipt, progress, monkeypatch
):
    keep_receipt(receipt)
    failure = {"node": "Trainer", "message": "the loss became nan"}
    again = receipt.changed(status="failed", verdict="none", failure=failure)
    monkeypatch.setattr(verify, "run", lambda *_: again)
    with pytest.raises(VerificationError, match=r"cannot be run again: the loss became nan\. Exp"):
        verify.verify("latest", output_dir, progress)


def test_epochs_that_the_speed_settled_are_not_settled_again(
    keep_receipt, output_dir, receipt, progress, monkeypatch
):
    """Another number would make another model, though only the load of the machine differs."""
    config = {**receipt.config, "training": {**receipt.config["training"], "minutes": 5.0}}
    keep_receipt(receipt, config=config, settled_epochs=11)
    asked = []
    monkeypatch.setattr(
        verify, "run", lambda request, *_: asked.extend(request.assignments) or receipt
    )
    verify.verify("latest", output_dir, progress)
    assert {"training.minutes=null", "training.epochs=11"} <= set(asked)


def test_a_key_that_an_earlier_version_did_not_know_is_no_difference(receipt):
    training = {**receipt.config["training"], "minutes": None}
    again = receipt.changed(config={**receipt.config, "training": training})
    assert reasons(receipt, again) == reasons(again, receipt) == []


def test_the_same_epochs_are_the_same_whatever_settled_them(receipt):
    training = receipt.config["training"]
    settled = receipt.changed(
        config={**receipt.config, "training": {**training, "minutes": 5.0}}, settled_epochs=11
    )
    again = receipt.changed(
        config={**receipt.config, "training": {**training, "minutes": None, "epochs": 11}}
    )
    assert reasons(settled, again) == []


def test_nobody_is_told_of_a_verification(verified, monkeypatch, caplog):
    # Nothing listens on the discard port: a message to it would be missed, and a line logged.
    monkeypatch.setenv(ADDRESSES_VARIABLE, "json://127.0.0.1:9")
    assert verified(lambda request, notifier: notifier.alarm("title", "text")).identical
    assert not caplog.records


def test_what_a_killed_verification_left_is_removed(verified, output_dir):
    left = output_dir / f"{verify.scratch_prefix()}left"
    (left / "clothes").mkdir(parents=True)
    seen = []
    assert verified(lambda request, notifier: seen.append(request.output_dir)).identical
    assert seen[0].name.startswith(".verify-")
    assert not list(output_dir.glob(".verify-*"))


def test_what_is_of_another_machine_stays(verified, output_dir, monkeypatch):
    """It may be at work: locks on files may not reach it."""
    with monkeypatch.context() as patch:
        patch.setattr(socket, "gethostname", lambda: "elsewhere")
        other = output_dir / f"{verify.scratch_prefix()}other"
    other.mkdir()
    assert verified(lambda *_: None).identical
    assert list(output_dir.glob(".verify-*")) == [other]


def test_a_new_line_of_models_is_repeated_where_nothing_is_served(verified, locations, receipt):
    """So there is no line of models to leave."""
    asked = changed(receipt, "request", new_line=True)
    asked.write(locations.runs / receipt.run_id)
    seen = []
    verified(lambda request, notifier: seen.append(request.new_line))
    assert seen == [False]


def test_one_verification_at_a_time(verified, output_dir, progress):
    def again(request, notifier):
        with pytest.raises(LockHeldError, match="in use by verify"):
            verify.verify("latest", output_dir, progress)
        assert request.output_dir.exists()

    assert verified(again).identical


def test_files_of_another_revision_with_equal_sources_are_no_reason(receipt):
    again = changed(receipt, "code", revision="1234", dirty=True)
    assert reasons(receipt, again) == []


def test_a_verification_copies_nothing_to_the_bucket(verified, receipt):
    """Others serve from there. The bucket says nothing of the results, either."""
    seen = []
    assert verified(lambda request, notifier: seen.append(request.assignments)).identical
    assert seen[0][-1] == "serving.bucket=null"
    with_bucket = {**receipt.config, "serving": {"bucket": "s3://models/clothes"}}
    assert reasons(receipt.changed(config=with_bucket), receipt) == []
