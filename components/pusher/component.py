"""Pusher: publishes a blessed model as a served version."""

from __future__ import annotations

from tfx.components.pusher import component
from tfx.dsl.components.base import executor_spec

from components.pusher import executor


class VersionedPusher(component.Pusher):
    """TFX's Pusher with the executor of this package."""

    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)
