"""Starts worker processes for engines on clusters, with the environment of a run.

    python -m components.worker_pool --port 50000

An engine asks the pool for a process, and gives its work to it. Beam's own command,
`apache_beam.runners.worker.worker_pool_main`, starts the `python` that it finds on the search path,
with the user's settings of Keras and TensorFlow: other answers could come from there, or none. And
Evaluator's libraries cannot be imported there before TFX.
Whoever reaches the port has code run in the name of the pool's user, so only this machine does,
unless `--host` says otherwise.
"""

from __future__ import annotations

import argparse
import atexit
import os
import pathlib
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import Any

from components import environment

_MOST_PORT = 65535
# TFX comes first: it provides a module that TFDV and TFMA need.
_WORKER = """
import sys
import tfx
from apache_beam.runners.worker.sdk_worker import SdkHarness
SdkHarness(sys.argv[1], worker_id=sys.argv[2]).run()
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Serves until SIGTERM or Ctrl-C; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m components.worker_pool",
        description="Start worker processes for an engine of Beam.",
    )
    parser.add_argument("--port", type=_port, required=True, help="Port to listen on.")
    parser.add_argument(
        "--host",
        default="localhost",
        help="Address to listen on; by default no other machine reaches the pool.",
    )
    options = parser.parse_args(arguments)
    environment.enter()
    os.environ.update(_variables())
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    place = f"port {options.port} of {options.host}"
    try:
        server = _server(f"{options.host}:{options.port}")
    except RuntimeError as error:
        print(
            f"Error: {place} cannot be listened on ({error}); expected an address and a free port "
            "of this machine. Choose another with --host or --port, or stop what uses it.",
            file=sys.stderr,
        )
        return 2
    print(f"Worker pool on {place}", file=sys.stderr, flush=True)
    stopping.wait()
    server.stop(0)
    return 0


def _server(address: str) -> Any:
    """Starts the pool. Its workers end with this process.

    Beam's own `start` listens on all addresses, and shares its port with other pools.

    Raises:
      RuntimeError: The address cannot be listened on.
    """
    # Imported here, when the environment is as it should be.
    import grpc
    from apache_beam.portability.api import beam_fn_api_pb2, beam_fn_api_pb2_grpc
    from apache_beam.runners.worker import worker_pool_main
    from apache_beam.utils import thread_pool_executor

    class Pool(worker_pool_main.BeamFnExternalWorkerPoolServicer):
        """Starts our workers in place of Beam's."""

        def StartWorker(self, request: Any, context: object) -> Any:
            worker = (_WORKER, request.control_endpoint.url, request.worker_id)
            # Where Beam's own code finds it, to stop it.
            self._worker_processes[request.worker_id] = subprocess.Popen(
                [sys.executable, "-c", *worker]
            )
            return beam_fn_api_pb2.StartWorkerResponse()

        def end_workers(self) -> None:
            for worker in self._worker_processes.values():
                worker_pool_main.kill_process_gracefully(worker)

    # The first two are Beam's own.
    options = [
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.http2.max_ping_strikes", 0),
        ("grpc.so_reuseport", 0),
    ]
    server = grpc.server(thread_pool_executor.shared_unbounded_instance(), options=options)
    server.add_insecure_port(address)
    pool = Pool(use_process=True)
    beam_fn_api_pb2_grpc.add_BeamFnExternalWorkerPoolServicer_to_server(pool, server)
    atexit.register(pool.end_workers)
    server.start()
    return server


def _port(text: str) -> int:
    if text.isdecimal() and 1 <= int(text) <= _MOST_PORT:
        return int(text)
    raise argparse.ArgumentTypeError(f"found {text!r}; expected a port from 1 to {_MOST_PORT}")


def _variables() -> dict[str, str]:
    """Environment variables of the workers."""
    root = str(pathlib.Path(__file__).resolve().parent.parent)
    return {
        "PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")])),
        # Workers talk to the engine beside them, never through a proxy.
        "no_grpc_proxy": "localhost,127.0.0.1",
        # The errors come back as exceptions, and go to the engine.
        "GRPC_VERBOSITY": "NONE",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        # As Evaluator sets it in the process of a run.
        "TF_DETERMINISTIC_OPS": "1",
    }


if __name__ == "__main__":
    sys.exit(main())
