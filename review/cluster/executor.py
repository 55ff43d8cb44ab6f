"""The executor of the final node: makes receipt and page as a run on one machine does.

All that it knows comes from artifacts and parameters, and nothing from ML Metadata.
"""

from __future__ import annotations

import datetime
import html
import logging
import pathlib
import socket
from collections.abc import Mapping, Sequence
from typing import Any

from tfx.dsl.components.base import base_executor
from tfx.dsl.io import fileio
from tfx.types import artifact, artifact_utils

from components import image_schema, slices
from components.kubeflow import artifacts
from components.messages import told
from pipeline import machine
from pipeline.nodes import RESOLVER, expected_nodes
from pipeline.records import provenance, results
from pipeline.records.executions import ArtifactRecord, NodeExecution
from pipeline.records.outcomes import NodeStatus
from pipeline.records.receipt import RUN_ID_FORMAT, Code, DataRecord, Receipt, Request
from review import measuring
from review.cluster.compiled import CompiledRun

_SEPARATOR = "_"

logger = logging.getLogger(__name__)


def input_name(node: str, key: str) -> str:
    """The name of the input that takes an output of another node."""
    return f"{node}{_SEPARATOR}{key}"


class Executor(base_executor.BaseExecutor):
    """Writes the receipt and the review page of a run whose nodes all ended well."""

    def Do(
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes both files.

        A model may have been pushed by now, and a cluster takes no output of a node that fails. So
        an error costs no more than what it is about: the receipt has what was known before it, and
        the page says so.
        """
        compiled = CompiledRun.model_validate_json(exec_properties["compiled"])
        nodes = read_nodes(input_dict, compiled)
        run = results.completed(_begun(compiled, nodes, exec_properties), nodes)
        schema = nodes["ImportSchemaGen"].outputs["schema"][0]
        task = results.Task(
            class_names=image_schema.read_artifact(schema.uri).class_names,
            slicings=slices.slicings_from_json(exec_properties["slices"]),
            serving=pathlib.Path(exec_properties["serving"]),
        )
        run = run.changed(served_version=results.served_version(task.serving))
        error = None
        try:
            for added in measuring.with_results(run, nodes, task):
                run = added
        except Exception as caught:
            error = caught
        seconds = (datetime.datetime.now(datetime.UTC) - run.began).total_seconds()
        run = run.changed(seconds=round(max(seconds, 0), 3))
        _write(output_dict["receipt"], run.to_json() + "\n")
        # There are no other runs here: the dashboard has the pages of each.
        nowhere = pathlib.Path(artifact_utils.get_single_uri(output_dict["page"])).parent
        page = _page_without(run, error) if error else _page(run, nodes, nowhere)
        _write(output_dict["page"], page)


def _page(run: Receipt, nodes: Mapping[str, NodeExecution], runs_folder: pathlib.Path) -> str:
    """The review page; where it cannot be made, a page that says so."""
    try:
        # Here and not above: `compile` needs the class in this module, and none of SciPy and
        # Altair.
        from review import collect, page

        summary = collect.collect(run, nodes, [], runs_folder)
        return page.render(summary, page.charts_of(summary), alone=True)
    except Exception as error:
        return _page_without(run, error)


def _page_without(run: Receipt, error: Exception) -> str:
    """A page for a run whose results could not all be read; the error also goes into the log."""
    logger.error("The review page could not be made", exc_info=error)
    version = run.pushed_version
    verdict = "The model was refused" if version is None else f"Version {version} was pushed"
    title = html.escape(f"Review of {run.pipeline}, run {run.run_id}")
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<meta charset="utf-8">\n<title>{title}</title>\n'
        f"<h1>{title}</h1>\n<p>{verdict}. The review page could not be made: "
        f"{html.escape(told(error))}</p>\n<p>The receipt has what was known of the run. The log of "
        "the node Review has the whole error.</p>\n</html>\n"
    )


def read_nodes(
    inputs: Mapping[str, Sequence[artifact.Artifact]], compiled: CompiledRun
) -> dict[str, NodeExecution]:
    """How the nodes before this one ended, as far as their artifacts say.

    All of them ended well, or this one would not run.

    Args:
      inputs: Artifacts by `input_name`.
      compiled: What is known of the graph.
    """
    made: dict[str, dict[str, list[ArtifactRecord]]] = {}
    for name, found in inputs.items():
        node, _, key = name.partition(_SEPARATOR)
        made.setdefault(node, {})[key] = [_record(each) for each in found]
    return {node: _execution(made[node]) for node in _expected(compiled)}


def _expected(compiled: CompiledRun) -> tuple[str, ...]:
    """The nodes in the order of the graph."""

    def is_enabled(part: str) -> bool:
        values = compiled.config[part]
        return isinstance(values, dict) and bool(values["enabled"])

    return expected_nodes(is_enabled("tuner"), is_enabled("robustness"))


def _record(found: artifact.Artifact) -> ArtifactRecord:
    names = found.mlmd_artifact.custom_properties
    properties = {name: found.get_custom_property(name) for name in names}
    return ArtifactRecord(found.id, found.uri, properties)


def _execution(outputs: dict[str, list[ArtifactRecord]]) -> NodeExecution:
    noted = next(iter(outputs.values()))[0].properties
    fingerprint = noted.get(artifacts.NODE_CODE_FINGERPRINT)
    return NodeExecution(
        status=NodeStatus.COMPLETE,
        # TFX has None for 0.
        seconds=float(noted[artifacts.NODE_SECONDS] or 0),
        outputs=outputs,
        code_fingerprint=str(fingerprint) if fingerprint else None,
    )


def _begun(
    compiled: CompiledRun, nodes: Mapping[str, NodeExecution], given: Mapping[str, Any]
) -> Receipt:
    """The receipt of the run without its results."""
    location, digest, seed = (given[name] for name in ("location", "data_digest", "seed"))
    config = {**compiled.config, "seed": seed}
    # It is the first node, and never taken from the cache.
    served = nodes[RESOLVER].outputs["model"][0].properties
    began = datetime.datetime.fromisoformat(str(served[artifacts.NODE_BEGAN]))
    version = served.get(artifacts.SERVED_VERSION)
    return Receipt(
        run_id=began.strftime(RUN_ID_FORMAT),
        # A cluster does not count its runs; the time puts them into the same order.
        sequence=int(began.timestamp()),
        pipeline=compiled.pipeline,
        command=compiled.command(location, seed),
        request=Request(
            profile=compiled.profile,
            data=location,
            runner="cluster",
            assignments=compiled.assignments,
            seed=seed,
            new_line=False,
        ),
        attempt=given["run"],
        input_digest=provenance.input_digest(
            config, digest, compiled.parts, compiled.schema_sha256, compiled.precision
        ),
        host=socket.gethostname(),
        user=machine.user(),
        began=began.replace(microsecond=0),
        data=DataRecord(
            name=location,
            # ExampleGen compared the files with it; that of each file is not known.
            sha256={location: digest},
            schema_sha256=compiled.schema_sha256,
            spans=(),
            reference_span=None,
        ),
        config=config,
        precision=compiled.precision,
        environment=provenance.environment(),
        served_before=None if version is None else int(version),
        code=Code(
            revision=compiled.revision,
            dirty=compiled.dirty,
            # Of the image, which may be of another revision.
            sha256=provenance.source_digest(),
            files=provenance.source_files(),
        ),
    )


def _write(output: Sequence[artifact.Artifact], text: str) -> None:
    with fileio.open(artifact_utils.get_single_uri(output), "w") as file:
        file.write(text)
