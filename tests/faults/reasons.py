"""The write sites that the sweep does not see in a command that goes well, and why not."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Reason:
    """Why sites are not seen.

    Attributes:
      text: The reason.
      tests: Tests that stand in for the sweep, below `tests`, as `path::name`.
      scenarios: Scenarios in which a fault leads to these sites.
      sites: Keys of the sites.
    """

    text: str
    sites: tuple[str, ...]
    tests: tuple[str, ...] = ()
    scenarios: tuple[str, ...] = ()


REASONS = (
    Reason(
        "Only a fault leads there.",
        scenarios=("compile",),
        sites=("components/disk.py::write_whole: partial.unlink",),
    ),
    Reason(
        "Only a fault leads there.",
        scenarios=("init, a new folder",),
        sites=(
            "operations/initialization/writing.py::write_all: place.rmdir",
            "operations/initialization/writing.py::_write_new: shutil.rmtree",
            "operations/initialization/writing.py::_write: path.unlink",
        ),
    ),
    Reason(
        "Only a fault leads there.",
        scenarios=("review",),
        sites=("operations/pages.py::_copy: shutil.copyfile",),
    ),
    Reason(
        "Only a fault leads there.",
        scenarios=("run, the store is lost",),
        sites=("operations/run.py::_Run._begin: shutil.rmtree",),
    ),
    Reason(
        "A node writes it into the folder of its output. Whatever happens there fails the node, "
        "or is that of a killed node: the next run gives the node a new folder. The sweep of `run` "
        "has such a node.",
        tests=(
            "graph/test_crashes.py::"
            "test_a_run_that_is_killed_in_every_node_is_resumed_to_the_same_model",
            "graph/test_crashes.py::"
            "test_a_disk_that_fills_up_in_mid_run_costs_nothing_that_was_there",
        ),
        sites=(
            "components/arrays.py::write_arrays: fileio.open",
            "components/blessing/executor.py::Executor.Do: io_utils.write_string_file",
            "components/blessing/executor.py::_bless: io_utils.write_string_file",
            "components/data_gate/catalogue.py::Catalogue._read_at: fileio.makedirs",
            "components/data_gate/catalogue.py::Catalogue._read_at: fileio.open",
            "components/data_gate/executor.py::_write_json: fileio.open",
            "components/example_gen/executor.py::Executor.Do: fileio.makedirs",
            "components/example_gen/executor.py::_write_plans: fileio.makedirs",
            "components/example_gen/executor.py::_write_plans: fileio.open",
            "components/example_gen/executor.py::_shard_reports: fileio.rmtree",
            "components/example_gen/executor.py::_write_columns: fileio.open",
            "components/example_gen/executor.py::_write_columns: pq.write_table",
            "components/example_gen/executor.py::_writers: fileio.makedirs",
            "components/example_gen/executor.py::_Writer.write: tf.io.TFRecordWriter",
            "components/example_gen/executor.py::_writers: fileio.rename",
            "components/example_gen/executor.py::_writers: fileio.rmtree",
            "components/examples.py::write_listing: fileio.open",
            "components/predictions/executor.py::Executor.Do: fileio.makedirs",
            "components/predictions/executor.py::_table_writer: fileio.open",
            "components/predictions/executor.py::_TableWriter.write: pq.ParquetWriter",
            "components/predictions/executor.py::_TableWriter.write: self._writer.write_table",
            "components/reading_report.py::write: fileio.open",
            "components/schema_gen.py::Executor.Do: fileio.open",
            "components/serving_check/executor.py::Executor.Do: io_utils.write_string_file",
            "components/shards.py::Workers.made: fileio.makedirs",
            "components/shards.py::Workers.made: fileio.rmtree",
            "components/shards.py::whole: fileio.open",
            "components/shards.py::whole: fileio.rename",
            "components/statistics_gen/executor.py::Executor.Do: io_utils.write_bytes_file",
            "components/trainer/callbacks.py::training_callbacks: keras.callbacks.TensorBoard",
            "components/trainer/export.py::export_model: archive.write_out",
            "components/trainer/export.py::_describe: fileio.makedirs",
            "components/trainer/export.py::_describe: fileio.open",
            "components/trainer/training.py::run_fn: shutil.rmtree",
            "components/trainer/training.py::_fit: os.makedirs",
            "components/trainer/training.py::_save_keras_model: classifier.save",
            "components/training_report.py::write: fileio.open",
        ),
    ),
    Reason(
        "The table of the epochs, which each epoch writes anew; a training that goes on has all of "
        "it in its snapshot.",
        tests=(
            "components/trainer/test_resumption.py::"
            "test_all_that_was_measured_is_that_of_the_unbroken_training",
        ),
        sites=(
            "components/trainer/callbacks.py::History.on_epoch_end: open",
            "components/trainer/callbacks.py::History.on_epoch_end: open #2",
        ),
    ),
    Reason(
        "No test lets it fail. A pod writes it into the folder of its output; Kubeflow takes no "
        "output of a pod that failed.",
        sites=(
            "components/kubeflow/adapter.py::prepare: fileio.makedirs",
            "components/kubeflow/adapter.py::_complete: fileio.open",
            "review/cluster/executor.py::_write: fileio.open",
        ),
    ),
    Reason(
        "No test lets it fail. The folder for snapshots in a pod; without it, the pod fails before "
        "it writes anything.",
        sites=("components/kubeflow/adapter.py::run: tempfile.TemporaryDirectory",),
    ),
    Reason(
        "A scratch file of a node, in the temporary folder of its run, which goes with the run.",
        tests=(
            "graph/test_crashes.py::"
            "test_a_disk_that_fills_up_in_mid_run_costs_nothing_that_was_there",
        ),
        sites=(
            "components/example_gen/readers/tables.py::opened_natively: "
            "tempfile.NamedTemporaryFile",
            "components/example_gen/readers/tables.py::opened_natively: shutil.copyfileobj",
            "components/examples.py::_room_for: tempfile.TemporaryFile",
            "components/examples.py::_room_for: os.posix_fallocate",
            "components/examples.py::_room_for: np.memmap",
            "components/serving_check/executor.py::_check: tempfile.TemporaryDirectory",
            "components/trainer/training.py::_save_keras_model: tempfile.TemporaryDirectory",
        ),
    ),
    Reason(
        "No test lets it fail. A node writes it that few runs have (robustness, tuner, a warm "
        "start), into the folder of its output or a temporary one, as all nodes do.",
        sites=(
            "components/robustness/executor.py::Executor.Do: fileio.makedirs",
            "components/robustness/executor.py::_write: tf.io.TFRecordWriter",
            "components/trainer/warm_start.py::_load: tempfile.TemporaryDirectory",
            "components/tuner/component.py::Executor.Do: tempfile.TemporaryDirectory",
        ),
    ),
    Reason(
        "The state of a training between its epochs. It needs Keras, which takes long to import: "
        "it has a sweep of its own.",
        scenarios=("a training",),
        tests=(
            "components/trainer/test_resumption.py::"
            "test_the_processes_that_died_writing_left_their_epoch_half_written",
            "components/trainer/test_resumption.py::"
            "test_each_death_after_the_first_left_one_snapshot_of_the_unbroken_training",
            "components/trainer/test_resumption.py::"
            "test_network_optimizer_and_random_layers_end_as_in_the_unbroken_training",
            "components/trainer/test_callbacks.py::"
            "test_weights_that_cannot_be_written_are_an_error",
            "components/trainer/test_budget.py::"
            "test_a_kill_before_the_number_is_kept_has_it_settled_anew",
        ),
        sites=(
            "components/trainer/budget.py::keep_epochs: os.makedirs",
            "components/trainer/budget.py::keep_epochs: disk.write_whole",
            "components/trainer/budget.py::keep_epochs: disk.sync",
            "components/trainer/resumption.py::BestWeights._save_model: os.makedirs",
            "components/trainer/resumption.py::_save: np.savez",
            "components/trainer/resumption.py::Snapshots.on_train_begin: shutil.rmtree",
            "components/trainer/resumption.py::Snapshots._write: os.makedirs",
            "components/trainer/resumption.py::Snapshots._write: shutil.copy",
            "components/trainer/resumption.py::Snapshots._write: open",
            "components/trainer/resumption.py::Snapshots._write: disk.sync_tree",
            "components/trainer/resumption.py::Snapshots._write: os.rename",
            "components/trainer/resumption.py::Snapshots._write: disk.sync",
            "components/trainer/resumption.py::Snapshots._write: shutil.rmtree",
        ),
    ),
    Reason(
        "SQLite writes it, and rolls back what it did not complete.",
        tests=(
            "operations/test_numbering.py::test_the_number_of_a_folder_is_not_given_again",
            "pipeline/records/test_stores.py::test_a_transaction_that_was_killed_is_rolled_back",
        ),
        sites=(
            "pipeline/records/stores.py::_check: sqlite3.connect",
            "operations/numbering.py::_raise_to: sqlite3.connect",
        ),
    ),
    Reason(
        "SQLite writes it. A digest that is not kept, or cannot be read, is made anew.",
        tests=(
            "pipeline/datasets/test_reading.py::test_a_cache_that_cannot_be_used_only_costs_time",
            "fuzzing/test_found.py::"
            "test_digests_in_a_database_whose_text_is_not_utf_8_are_forgotten",
        ),
        sites=(
            "pipeline/datasets/digest_cache.py::DigestCache._database: sqlite3.connect",
            "pipeline/datasets/digest_cache.py::DigestCache._read: self._file.unlink",
        ),
    ),
    Reason(
        "It notes the database of a pipeline, and the sweep has no server.",
        tests=(
            "pipeline/database/test_exclusion.py::"
            "test_a_full_disk_leaves_the_name_of_the_pipeline_free",
        ),
        sites=("pipeline/database/binding.py::write: write_whole",),
    ),
    Reason(
        "What came from a bucket so far goes where no reader looks, and is removed.",
        tests=(
            "components/pusher/test_bucket.py::test_what_is_not_as_published_is_never_fetched",
            "components/pusher/test_bucket.py::"
            "test_a_fetch_without_room_leaves_the_versions_that_were_there",
        ),
        sites=(
            "components/pusher/bucket.py::_fetch: target.parent.mkdir",
            "components/pusher/bucket.py::_fetch_file: target.open",
            "components/pusher/bucket.py::fetch_newest: base.mkdir",
            "components/pusher/bucket.py::fetch_newest: tempfile.TemporaryDirectory",
        ),
    ),
    Reason(
        "The record of a rollback, which the next fetch from the bucket brings.",
        tests=(
            "components/pusher/test_bucket.py::"
            "test_without_room_for_a_record_of_a_rollback_nothing_is_fetched",
        ),
        sites=(
            "components/pusher/bucket.py::_fetch_history: disk.write_whole",
            "components/pusher/bucket.py::_fetch_history: path.parent.mkdir",
        ),
    ),
    Reason(
        "The address of the bucket, which every run with one writes anew.",
        tests=("operations/test_bucket.py::test_an_address_that_cannot_be_noted_is_told",),
        sites=(
            "components/pusher/bucket.py::remember: base.mkdir",
            "components/pusher/bucket.py::remember: disk.write_whole",
        ),
    ),
    Reason(
        "It writes no file: to memory, to a descriptor that is open, or to no device.",
        sites=(
            "components/arrays.py::write_arrays: np.savez_compressed",
            "components/images.py::_probes: opened.save",
            "components/object_store.py::Folder._fetch: sync",
            "pipeline/lock.py::_opened: os.fdopen",
            "pipeline/streams.py::_open_closed_descriptors: os.open",
            "pipeline/streams.py::copy: Descriptor",
            "pipeline/streams.py::prepare: Descriptor",
            "pipeline/streams.py::prepare: Descriptor #2",
            "components/notifications/delivery.py::module: os.fdopen",
            "review/album.py::_saved: picture.save",
            "review/heatmap.py::picture: Image.fromarray(pixels).save",
        ),
    ),
    Reason(
        "The log of a run is opened with the first line after its end.",
        tests=(
            "operations/test_unfinished.py::"
            "test_a_log_that_takes_no_line_after_the_end_changes_nothing",
        ),
        sites=("operations/run.py::_logging_after_end: _LogFile",),
    ),
    Reason(
        "A command of those who change the project; the file is in Git.",
        sites=("pipeline/records/receipt.py::module: SCHEMA_FILE.write_text",),
    ),
)
BY_SITE = {site: reason for reason in REASONS for site in reason.sites}
