"""What the figures were measured on."""

from __future__ import annotations

import os
from datetime import date

import torch

from research.machine import processor, versions


def describe(device: torch.device) -> dict[str, str]:
    """Hardware, threads and how they wait for work, load, versions and date, as they stand now."""
    cpu = f"{processor()}, {os.cpu_count()} cores"
    return {
        "hardware": cpu if device.type == "cpu" else f"{torch.cuda.get_device_name(device)}; {cpu}",
        "threads": str(torch.get_num_threads()),
        # Threads that wait actively take the processor from whatever else runs, one another included.
        "OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "not set"),
        "load before": f"{os.getloadavg()[0]:.1f}",
        "versions": versions(("torch", "diffusers")),
        "date": date.today().isoformat(),
    }
