"""The Triton kernels compiled for GPUs that need not be there; test_triton.py runs this in a process of its own."""

from unittest.mock import Mock

import pytest
import torch
from triton.backends.compiler import GPUTarget
from triton.runtime import JITFunction, driver

from bytheway import ByTheWayConfig
from bytheway.attention import triton as kernels
from bytheway.attention.layout import Layout
from bytheway.attention.measures import Anchor
from bytheway.attention.triton.guided import guided_attention

# What a program may take of a multiprocessor's shared memory on the GPUs that have the least, compute capability 8.6.
SHARED = 99 * 1024


class Elsewhere:
    """A driver of a GPU that kernels are compiled for and not launched on."""

    def __init__(self, capability):
        self.capability = capability

    def get_current_device(self):
        return self.capability

    def get_current_stream(self, device):
        return 0

    def get_current_target(self):
        return GPUTarget("cuda", self.capability, 32)


@pytest.mark.parametrize(
    ("capability", "frames", "channels", "dtype", "size"),
    [
        (90, 24, 80, torch.bfloat16, (1, 1)),
        (80, 64, 160, torch.float16, (4, 4)),
        (89, 16, 40, torch.float32, (4, 4)),
    ],
)
def test_kernels_compile(monkeypatch, capability, frames, channels, dtype, size):
    compiled = []
    monkeypatch.setattr(driver, "_active", Elsewhere(capability))
    monkeypatch.setattr(
        JITFunction,
        "__getitem__",
        lambda kernel, grid: (
            lambda *args, **kwargs: compiled.append(kernel.run(*args, grid=grid, warmup=True, **kwargs))
        ),
    )
    layout = Layout(2, 1, size)
    query, key, value = torch.zeros(3, 2 * size[0] * size[1], 1, frames, channels, dtype=dtype).unbind()
    anchor = Anchor(torch.zeros(2, 1, frames, frames, dtype=dtype), layout._replace(height_width=(1, 1)))
    guided_attention(query, key, value, layout, anchor, 0.1, ByTheWayConfig())
    assert len(compiled) == 3
    for kernel in compiled:
        assert kernel.asm["cubin"]
        assert kernel.metadata.shared <= SHARED


def test_no_compiler_is_a_warning(monkeypatch):
    """Triton needs one to reach the GPU; attention does without Triton then."""
    broken = Elsewhere(80)
    monkeypatch.setattr(broken, "get_current_device", Mock(side_effect=RuntimeError("Failed to find C compiler.")))
    monkeypatch.setattr(driver, "_active", broken)
    with pytest.warns(UserWarning, match="does not work: Failed to find C compiler"):
        assert not kernels._reaches_gpu()
    monkeypatch.setattr(driver, "_active", Elsewhere(80))
    assert kernels._reaches_gpu()
