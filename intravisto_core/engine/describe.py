"""What to send along with a question about the program."""

from __future__ import annotations

import platform
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version

import torch

from intravisto_core.engine.base import Engine
from intravisto_core.engine.local import LocalEngine
from intravisto_core.engine.remote import RemoteEngine


def diagnostics(engine: Engine) -> str:
    """Versions, machine and card, to paste into a report; no prompt, no path, no secret."""
    lines = [f"python {platform.python_version()} on {platform.system()} {platform.machine()}"]
    packages = (
        "torch",
        "transformers",
        "streamlit",
        "plotly",
        "accelerate",
        "numpy",
        "tokenizers",
        "safetensors",
    )
    for package in packages:
        try:
            lines.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            lines.append(f"{package} not installed")
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    lines.append(f"threads {torch.get_num_threads()}, GPU {gpu}")
    if isinstance(engine, RemoteEngine):
        lines.append("the model is at a service; what stands above is of this machine")
    card = asdict(engine.model)
    checks = card.pop("capabilities")
    lines += [f"{name}: {value}" for name, value in card.items()]
    lines += [f"{name}: ok={c['ok']} error={c['error']} {c['reason']}".rstrip() for name, c in checks.items()]
    if isinstance(engine, LocalEngine):
        store = engine.kept_traces.store
        lines.append(f"store: {len(store)} items, {store.nbytes} of {store.budget} bytes")
    return "\n".join(lines)
