"""What tests of kernels in a framework share."""

import importlib
import types

import pytest


@pytest.fixture(scope="session")
def operations(framework):
    """The operations of this session's framework, which has started."""
    framework.start(types.SimpleNamespace(precision="fp32", device="cpu", seed=1, compile=False))
    name = framework.__name__.rpartition(".")[2]
    return importlib.import_module(f"kernels.{name}.operations")
