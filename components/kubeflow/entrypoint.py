"""Entry point of all containers on a cluster.

    python -m components.kubeflow.entrypoint --artifact_types JSON [arguments of TFX's entry point]

Processes that decode images import this module again, as they do with every main module. So it
imports TFX only when it runs a node.
"""

from __future__ import annotations

import sys

from components import control_groups, environment
from components.trainer import threads


def main(arguments: list[str]) -> None:
    """Runs the executor of a node.

    Args:
      arguments: Arguments of the command line, without the program.
    """
    # This must run before TFX imports TensorFlow.
    environment.enter()
    from components.kubeflow import adapter

    adapter.run(arguments)


if __name__ == "__main__":
    environment.enter()
    # TensorFlow knows nothing of the bound of the container.
    threads.share(control_groups.cores(), None)
    main(sys.argv[1:])
