"""Inside each framework: where the axes of a canonical array lie, and the way there and back."""

import json
import subprocess
import sys

import numpy as np
import pytest

from common.parameters import Parameter
from tests.common import fake


@pytest.mark.parametrize("precision", ["fp32", "fp64"])
@pytest.mark.parametrize(
    ("role", "shape", "layouts"),
    [
        ("plain", (2, 3, 4), {}),
        ("weight", (2, 3), {"tensorflow": (3, 2), "paddlepaddle": (3, 2)}),
        ("weight", (2, 3, 4), {"tensorflow": (4, 3, 2)}),
        ("weight", (2, 3, 4, 5), {"tensorflow": (4, 5, 3, 2)}),
        ("weight", (2, 3, 4, 5, 6), {"tensorflow": (4, 5, 6, 3, 2)}),
        ("activation", (2, 3), {}),
        ("activation", (2, 3, 4, 5), {"tensorflow": (2, 4, 5, 3)}),
    ],
)
def test_a_canonical_array_goes_there_and_comes_back(framework, precision, role, shape, layouts):
    framework.start(fake.config_of("", precision=precision))
    array = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    specification = {"x": Parameter(shape, role, "zeros", True, False)}
    for make in (framework.parameter, framework.buffer):
        tensor = make(role, shape)
        framework._fill({"x": tensor}, {"x": array}, specification)
        name = framework.__name__.rpartition(".")[2]
        own = framework.get(tensor)
        assert own.shape == layouts.get(name, shape)
        back = framework.to_canonical(tensor, role)
        assert back.flags["C_CONTIGUOUS"]
        assert back.dtype == own.dtype == {"fp32": np.float32, "fp64": np.float64}[precision]
        np.testing.assert_array_equal(back, array)
        back[...] = 0.0  # a copy: the tensor keeps its values
        np.testing.assert_array_equal(framework.to_canonical(tensor, role), array)


def test_one_process_is_the_whole(framework):
    framework.start(fake.config_of(""))
    assert (framework.rank(), framework.world_size()) == (0, 1)
    assert framework.gather({"a": 1}) == [{"a": 1}]
    tensors = framework.put({"x": np.arange(3.0)})
    assert framework.average(tensors) is tensors
    facts = framework.describe()
    assert facts["framework"] == framework.__name__.rpartition(".")[2]
    assert facts["device"] == "cpu"
    assert facts["threads"] >= 1
    assert framework.peak_memory_bytes() > 10 * 2**20
    framework.stop()


def test_no_secret_of_the_environment_is_described(framework, monkeypatch):
    for name in ("TF_VAR_password", "FLAGS_token", "OMP_KEY", "MKL_KEY", "MALLOC_KEY", "TOKEN"):
        monkeypatch.setenv(name, "secret")
    monkeypatch.setenv("OMP_PROC_BIND", "close")
    framework.start(fake.config_of(""))
    facts = framework.describe()
    assert "secret" not in json.dumps(facts)
    assert facts["environment"]["OMP_PROC_BIND"] == "close"


def test_sigterm_lets_a_run_clear_up(framework):
    """Whatever the framework's import did to it."""
    code = f"""
import os, signal, sys, time
from common.errors import told
def body():
    import {framework.__name__}
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(60)
sys.exit(told(body))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 130
    assert done.stderr.splitlines()[-1] == "error: interrupted."


def test_who_gathers_waits_first_for_those_who_take_longer(framework, monkeypatch):
    """PaddlePaddle's own collective has no more patience than 30 seconds."""
    if not hasattr(framework, "meet"):
        pytest.skip("PaddlePaddle alone needs it")
    asked = []
    sums = iter([1, 1, 2])

    class Store:
        def add(self, name, number):
            asked.append((name, number))
            return next(sums)

    monkeypatch.setattr(framework.paddle.framework.core, "create_or_get_global_tcp_store", Store)
    monkeypatch.setattr(framework, "world_size", lambda: 2)
    monkeypatch.setattr(framework.distributed, "all_gather_object",
                        lambda values, value: values.extend([value, len(asked)]))
    assert framework.gather("a") == ["a", 3]
    assert [number for _, number in asked] == [1, 0, 0] and len({name for name, _ in asked}) == 1
    sums = iter([2])
    assert framework.gather("b") == ["b", 4]
    assert asked[3][0] != asked[0][0]  # another meeting
