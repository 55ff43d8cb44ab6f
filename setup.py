"""The worker package: what runs inside a node, for machines that hold no checkout.

    pip wheel --no-deps --wheel-dir dist .

Packages are named one by one, so that neither tests nor the command line reach a worker.
"""

from setuptools import setup

# `pipeline_runner.py --version` reads it here: a number in `components` would be part of every
# node's fingerprint.
VERSION = "1.0.0.dev0"

setup(
    name="image-pipeline-components",
    version=VERSION,
    description="What runs inside the nodes of the image classification pipeline",
    python_requires=">=3.11,<3.14",
    packages=[
        "components",
        "components.blessing",
        "components.data_gate",
        "components.evaluator",
        "components.example_gen",
        "components.kubeflow",
        "components.predictions",
        "components.pusher",
        "components.robustness",
        "components.serving_check",
        "components.statistics_gen",
        "components.trainer",
        "components.tuner",
        "schema",
    ],
    package_data={"schema": ["schema.pbtxt"]},
    # Empty on purpose: a worker's image holds the packages of a lock. Bounds stated
    # here would be resolved anew on each worker, and TFX's own cannot be resolved everywhere.
    install_requires=[],
)
