"""Ray as the service and batches start it, or join it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import ray

ROOT = Path(__file__).parents[2]
# of the memory that processes share, where a cluster of this machine is begun
STORE_BYTES = 256 << 20
# a busy machine takes longer to start a process than Ray allows, which would kill it and begin anew for ever
PATIENCE = {
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "300",
    "RAY_SERVE_PROXY_HEALTH_CHECK_TIMEOUT_S": "60",
    "RAY_worker_register_timeout_seconds": "300",
    "RAY_health_check_timeout_ms": "60000",
}


def start_ray(address: str | None) -> None:
    """Join the cluster of an address; without one begin a cluster on this machine, whatever others run there."""
    for name, value in {"RAY_USAGE_STATS_ENABLED": "0", **PATIENCE}.items():
        os.environ.setdefault(name, value)
    if ray.is_initialized():
        return
    options: dict[str, Any] = {} if address else {"object_store_memory": STORE_BYTES, "include_dashboard": False}
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    ray.init(
        address=address or "local",
        log_to_driver=False,
        configure_logging=False,
        runtime_env={"env_vars": {"PYTHONPATH": path}},
        **options,
    )
