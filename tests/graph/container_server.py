"""Runs what a container of a cluster would, each in a fork that need not import the stack again.

    python -I container_server.py PACKAGES

PACKAGES is the folder of the worker package: nothing else of the project can be imported. Reads one
request per line, a JSON object with the `arguments` of the entry point, the folder `mount` that
buckets of s3:// lie below, the file `log` for its output, and the variables of its secrets in
`environment`. Answers each with the exit code. No container can open a store of ML Metadata.
"""

import importlib
import json
import os
import sys
import traceback

sys.path.insert(0, sys.argv[1])

from kfp.dsl.types import artifact_types

entrypoint = importlib.import_module("components.kubeflow.entrypoint")
# Imported once, and not by each child.
importlib.import_module("components.environment").enter()
importlib.import_module("components.kubeflow.adapter")
metadata_store = importlib.import_module("ml_metadata.metadata_store.metadata_store")


def refuse(*arguments, **options):
    """Stands for the store that a cluster is about to lose."""
    raise AssertionError("a container asked ML Metadata")


metadata_store.MetadataStore.__init__ = refuse


def run(request):
    """Runs the entry point to its end and returns its exit code."""
    child = os.fork()
    if child == 0:
        os._exit(run_in_child(request))
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def run_in_child(request):
    """Becomes the container; returns its exit code."""
    log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.environ.update(request["environment"])
    # Where there is no cluster, nothing lies in /s3.
    artifact_types._S3_LOCAL_MOUNT_PREFIX = request["mount"]
    try:
        entrypoint.main(request["arguments"])
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def main():
    """Serves requests until the input ends."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    for line in sys.stdin:
        print(run(json.loads(line)), file=answers)


if __name__ == "__main__":
    main()
