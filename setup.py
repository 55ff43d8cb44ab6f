"""The worker package: the code of the nodes, for machines without a checkout.

The final node of a cluster writes the review page and the receipt, so the review and what it needs
of the pipeline are in it, too.

    pip wheel --no-deps --wheel-dir dist .

The packages are listed one by one, so that the wheel includes neither tests nor the command line.
"""

from setuptools import setup

# `pipeline_runner.py --version` reads the version from here. In `components`, it would be part of
# the code fingerprint of every node.
VERSION = "1.0.0.dev0"

setup(
    name="image-pipeline-components",
    version=VERSION,
    description="Nodes of the image classification pipeline",
    python_requires=">=3.11,<3.14",
    packages=[
        "components",
        "components.blessing",
        "components.data_gate",
        "components.evaluator",
        "components.example_gen",
        "components.example_gen.readers",
        "components.kubeflow",
        "components.notifications",
        "components.predictions",
        "components.pusher",
        "components.robustness",
        "components.serving_check",
        "components.statistics_gen",
        "components.trainer",
        "components.tuner",
        "pipeline",
        "pipeline.database",
        "pipeline.datasets",
        "pipeline.installation",
        "pipeline.records",
        "pipeline.runners",
        "review",
        "review.cluster",
        "schema",
    ],
    package_data={
        "review": ["templates/*", "templates/sections/*"],
        "schema": ["schema.pbtxt"],
    },
    # Empty on purpose: the image of a worker has the packages of a lock file. Requirements listed
    # here would be resolved again on each worker, and those of TFX cannot be resolved everywhere.
    install_requires=[],
)
