"""The read sites that no reader of `readers.py` reaches, and why not."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Reason:
    """Why sites are not fuzzed.

    Attributes:
      text: The reason.
      sites: Keys of the sites.
    """

    text: str
    sites: tuple[str, ...]


REASONS = (
    Reason(
        "An artifact of a node. Who can write there can run code (docs/security.md).",
        (
            "components/blessing/measurement.py::read",
            "components/data_gate/catalogue.py::Catalogue._read_at",
            "components/data_gate/catalogue.py::_write_images",
            "components/data_gate/executor.py::_anomaly_findings",
            "components/data_gate/executor.py::_check_slices",
            "components/data_gate/executor.py::_drift",
            "components/digests.py::weights_digest",
            "components/evaluation_results.py::load",
            "components/evaluator/executor.py::confusions",
            "components/evaluator/executor.py::hits_by_slice",
            "components/example_gen/executor.py::_WriteShard.process",
            "components/example_gen/executor.py::_shard_reports",
            "components/example_gen/shard_report.py::parse",
            "components/examples.py::_listing",
            "components/examples.py::_records",
            "components/image_schema.py::read_artifact",
            "components/predictions/executor.py::_Ask.__call__",
            "components/predictions/executor.py::read_columns",
            "components/quality_gates.py::declared_from_json",
            "components/quality_gates.py::judged_from_json",
            "components/reading_report.py::parse",
            "components/reading_report.py::read",
            "components/rows.py::RowFile.__init__",
            "components/rows.py::RowFile.at",
            "components/schema_gen.py::Executor.Do",
            "components/statistics_gen/executor.py::_merged",
            "components/statistics_gen/executor.py::_read_schema",
            "components/trainer/budget.py::kept_epochs",
            "components/trainer/resumption.py::_read_state",
            "components/trainer/resumption.py::_restore",
            "components/trainer/seen_images.py::of_model",
            "components/trainer/warm_start.py::_load",
            "components/training_report.py::parse",
            "components/transform.py::_Executor._GetPreprocessingFn",
            "pipeline/records/results.py::_with_gates",
            "pipeline/records/results.py::_with_reading",
            "pipeline/records/results.py::_with_training",
            "pipeline/records/digests.py::_model",
            "pipeline/records/digests.py::_model_run",
            "pipeline/records/digests.py::_predictions",
            "pipeline/records/digests.py::_report",
            "pipeline/records/digests.py::_transform_graph",
            "pipeline/records/evaluation.py::read_robustness",
            "review/answers.py::read_answers",
        ),
    ),
    Reason(
        "A served model. Who can write there can run code (docs/security.md).",
        (
            "components/pusher/bucket.py::_fetch_file",
            "components/pusher/bucket.py::_manifest",
            "components/pusher/bucket.py::fetch_newest",
            "components/serving_check/probe.py::_ask",
            "components/serving_check/probe.py::_ask_as_tensorflow_1",
            "components/serving_check/probe.py::main",
            "operations/predict.py::_load",
        ),
    ),
    Reason(
        "A parameter of a node, which the graph holds. Who can write a graph can run code.",
        (
            "components/data_gate/executor.py::Executor.Do",
            "components/example_gen/collection.py::work_from_json",
            "components/example_gen/request.py::from_json",
            "components/kubeflow/served_model.py::Executor.Do",
            "components/kubeflow/served_model.py::_check_preparation",
            "components/predictions/executor.py::Executor.Do",
            "components/pusher/executor.py::Executor.Do",
            "components/slices.py::slicings_from_json",
            "components/tuner/component.py::Executor.Do",
            "review/cluster/executor.py::Executor.Do",
        ),
    ),
    Reason(
        "The launcher of the cluster passes it, and a node wrote it. Who can start a container can "
        "run code.",
        (
            "components/kubeflow/adapter.py::_complete",
            "components/kubeflow/adapter.py::run",
            "components/kubeflow/packing.py::unpack",
        ),
    ),
    Reason(
        "This process made it a moment before.",
        (
            "cli/render/runs.py::print_comparison",
            "components/examples.py::_room_for",
            "components/examples.py::serialize",
            "pipeline/datasets/sample.py::_gzip",
            "review/figures.py::to_svg",
        ),
    ),
    Reason(
        "A process that this one started, or that started this one, has written it.",
        (
            "cli/doctor.py::probe",
            "cli/doctor.py::read_answers",
            "cli/doctor.py::read_data",
            "components/serving_check/check.py::check_export",
            "components/serving_check/probe.py::module",
            "components/notifications/delivery.py::module",
            "operations/scheduling/clock.py::Clock.wait",
            "operations/scheduling/look.py::main",
            "pipeline/installation/interpreters.py::ask",
        ),
    ),
    Reason(
        "A file of the checkout.",
        (
            "components/own_code.py::sources",
            "cli/version.py::version",
            "operations/compile_request.py::_schema_location",
            "operations/scheduling/unit.py::Unit.text",
            "pipeline/datasets/find.py::_sample_folder",
            "pipeline/fingerprint.py::Sources.__init__",
            "review/page.py::_source",
        ),
    ),
    Reason(
        "A file of the environment, or a lock of the checkout that it is made of.",
        (
            "cli/doctor.py::check_packages",
            "cli/doctor.py::read_pins",
            "pipeline/installation/bill_of_materials.py::bill",
            "pipeline/installation/packages.py::installed",
            "pipeline/installation/packages.py::made_of",
            "pipeline/installation/packages.py::of_image",
            "pipeline/installation/virtual_environment.py::is_cut_short",
            "pipeline/installation/virtual_environment.py::is_recorded",
            "pipeline/installation/virtual_environment.py::missing",
            "pipeline/installation/virtual_environment.py::update",
        ),
    ),
    Reason(
        "The system says it of itself.",
        (
            "cli/doctor.py::container_memory",
            "cli/doctor.py::machine_memory",
            "cli/doctor.py::read_processor_flags",
            "cli/doctor.py::read_text",
            "components/control_groups.py::_text",
            "pipeline/installation/interpreters.py::distribution",
            "pipeline/installation/packages.py::_libstdcxx",
            "components/processor.py::_line",
        ),
    ),
    Reason(
        "It opens a file, and reads nothing of it.",
        (
            "components/disk.py::remove_partials",
            "pipeline/lock.py::_opened",
        ),
    ),
    Reason(
        "It has the bytes of a data set on a bucket, which the same parsers read.",
        (
            "components/example_gen/readers/files.py::BucketFiles.open",
            "components/example_gen/readers/files.py::RemoteFiles.open",
        ),
    ),
    Reason(
        "It has the bytes of the record of a rollback, which `rollbacks` reads.",
        ("components/pusher/bucket.py::_fetch_history",),
    ),
    Reason(
        "It has the bytes of an image file, which `images` reads.",
        ("components/example_gen/decoding.py::_content",),
    ),
    Reason(
        "The metadata store. Who can write there can run code (docs/security.md).",
        ("operations/numbering.py::_raise_to",),
    ),
)
BY_SITE = {site: reason for reason in REASONS for site in reason.sites}
