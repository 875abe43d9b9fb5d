"""Inside each framework: what `start` asks of it for a GPU, though there is none here."""

import datetime
import json

import pytest

from common.packs import PACK_BYTES
from tests.common import fake


class PyTorch:
    """It finds a GPU; what is asked of it is global, and put back."""

    def __init__(self, framework, patch):
        self.torch, self.asked = framework.torch, []
        patch.setattr(framework, "_device", framework._device)
        patch.setattr(self.torch.cuda, "is_available", lambda: True)
        patch.setattr(self.torch.cuda, "set_device", lambda device: None)
        patch.setattr(self.torch.backends.cudnn, "benchmark", False)
        patch.setattr(framework.distributed, "init_process_group", self.group)
        patch.setenv("WORLD_SIZE", "2")

    def group(self, backend, timeout=datetime.timedelta(minutes=10)):
        assert timeout > datetime.timedelta(hours=3)  # one may wait so long while others play
        self.asked.append(backend)

    def set_tf32(self, on):
        self.torch.backends.fp32_precision = "tf32" if on else "ieee"

    def tf32(self):
        backends = self.torch.backends
        products, convolutions = backends.cuda.matmul, backends.cudnn.conv
        return [one.fp32_precision == "tf32" for one in (products, convolutions)]

    def close(self):
        self.torch.backends.fp32_precision = "none"


class TensorFlow:
    """The same."""

    def __init__(self, framework, patch):
        self.tf, self.asked = framework.tf, []
        patch.setattr(framework, "_strategy", None)
        patch.setattr(self.tf.config, "list_physical_devices", lambda kind: [kind])
        patch.setattr(self.tf.config, "set_visible_devices", lambda *given: None)
        patch.setattr(self.tf.config.experimental, "set_memory_growth", lambda *given: None)
        patch.setattr(self.tf.distribute, "MultiWorkerMirroredStrategy", self.strategy)
        place = {"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 0}}
        patch.setenv("TF_CONFIG", json.dumps(place))

    def strategy(self, communication_options):
        assert communication_options.bytes_per_pack == PACK_BYTES
        self.asked.append(communication_options.implementation.value.lower())

    def set_tf32(self, on):
        self.tf.config.experimental.enable_tensor_float_32_execution(on)

    def tf32(self):
        return [self.tf.config.experimental.tensor_float_32_execution_enabled()] * 2

    def close(self):
        self.set_tf32(True)


class PaddlePaddle:
    """The same; a build for the CPU gives none of these flags back, so they are noted."""

    def __init__(self, framework, patch):
        self.flags, self.asked = {}, []
        patch.setattr(framework.paddle, "is_compiled_with_cuda", lambda: True)
        patch.setattr(framework.paddle.device.cuda, "device_count", lambda: 1)
        patch.setattr(framework.paddle, "set_device", lambda name: None)
        patch.setattr(framework.paddle, "set_flags", self.flags.update)
        # Its launcher has told it which.
        patch.setattr(framework.distributed, "init_parallel_env", lambda: self.asked.append(None))
        patch.setenv("PADDLE_TRAINERS_NUM", "2")

    def set_tf32(self, on):
        self.flags |= {f"FLAGS_{name}_allow_tf32": on for name in ("cublas", "cudnn")}

    def tf32(self):
        return [self.flags[f"FLAGS_{name}_allow_tf32"] for name in ("cublas", "cudnn")]

    def close(self):
        pass


@pytest.fixture
def gpu(framework, monkeypatch):
    """The framework, which finds a GPU and another process."""
    kinds = {"pytorch": PyTorch, "tensorflow": TensorFlow, "paddlepaddle": PaddlePaddle}
    found = kinds[framework.__name__.rpartition(".")[2]](framework, monkeypatch)
    yield found
    found.close()


@pytest.mark.parametrize(("precision", "on"), [("fp32", False), ("bf16", False), ("tf32", True)])
def test_tf32_is_on_where_it_is_asked_for(precision, on, framework, gpu):
    """In products and in convolutions, whatever was set before."""
    gpu.set_tf32(not on)
    assert gpu.tf32() == [not on] * 2
    framework.start(fake.config_of("", device="cuda", precision=precision))
    assert gpu.tf32() == [on] * 2


def test_gpus_talk_by_nccl(framework, gpu):
    framework.start(fake.config_of("", device="cuda"))
    name = framework.__name__.rpartition(".")[2]
    assert gpu.asked == [None if name == "paddlepaddle" else "nccl"]


def test_processes_without_gpus_do_not(framework, gpu):
    framework.start(fake.config_of("", device="cpu"))
    names = {"pytorch": "gloo", "tensorflow": "auto", "paddlepaddle": None}
    assert gpu.asked == [names[framework.__name__.rpartition(".")[2]]]
