"""A machine without an adapter fails these tests: a skipped test would hide a missing driver."""

from __future__ import annotations

import pytest

from py_rwkv.devices.wgpu_device import WgpuDevice


@pytest.fixture(scope="session", autouse=True)
def adapter_summary() -> str:
    """The name of the adapter the tests run on."""
    import wgpu

    try:
        return str(wgpu.gpu.request_adapter_sync(power_preference="high-performance").summary)
    except Exception as error:
        pytest.fail(f"No GPU adapter: {error}. A software one will do: `make test-setup` (Debian: apt-get install mesa-vulkan-drivers).")


@pytest.fixture(scope="session")
def wgpu_device(adapter_summary: str) -> WgpuDevice:
    """One device for all tests; each allocates what it needs."""
    return WgpuDevice()
