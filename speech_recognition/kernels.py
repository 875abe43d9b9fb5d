"""The kernels of one training step of Deep Speech 2."""

from common.kernels import (
    BatchNorm,
    Convolution,
    Ctc,
    Elementwise,
    Recurrent,
    Use,
    both,
    convolution,
    dense,
    updates,
)
from speech_recognition.alphabet import SYMBOLS
from speech_recognition.config import KERNELS, STRIDES
from speech_recognition.data import LABEL_STEP, rounded_up
from speech_recognition.features import NUM_BINS
from speech_recognition.parameters import layer_plan, specification

FRAMES, LABELS = 1230, 186  # of LibriSpeech's mean utterance of 12.3 s


def reference_sizes(config):
    """{name: number}: the sizes of a batch of utterances of FRAMES frames."""
    return {"utterances": config.batch_size, "frames": rounded_up(FRAMES, config.frame_step),
            "labels": rounded_up(LABELS, LABEL_STEP)}


def batch_sizes(config, batch):
    """The same of a batch of data.py."""
    return {"utterances": batch["spectrograms"].shape[0],
            "frames": batch["spectrograms"].shape[1], "labels": batch["labels"].shape[1]}


def problems(config, sizes=None):
    """[Use] of a step, in forward order.  sizes: of its batch; None: reference_sizes."""
    sizes = sizes or reference_sizes(config)
    batch, channels, size = sizes["utterances"], config.conv_channels, config.hidden_size
    found = []

    def norm(name, rows, features, height=1, width=1):
        found.extend(both(name, BatchNorm(rows, features, height, width),
                          (f"{name}.weight", f"{name}.bias")))

    inputs, height, width = 1, NUM_BINS, sizes["frames"]
    for index, (kernel, stride) in enumerate(zip(KERNELS, STRIDES)):
        name = f"convolutions.{index}"
        problem = Convolution(batch, inputs, height, width, channels, *kernel, *stride)
        found += convolution(name, problem, (f"{name}.weight", f"{name}.bias"), index == 0)
        inputs, height, width = channels, problem.output_height(), problem.output_width()
        norm(f"{name}.norm", batch, channels, height, width)
        found += both(f"{name}.clip", Elementwise("clip", batch * channels * height * width))
    steps = width
    for index, (features, normed) in enumerate(layer_plan(config)):
        name = f"layers.{index}"
        if normed:
            norm(f"{name}.norm", batch * steps, features)
        owns = tuple(f"{name}.{part}" for part in ("input_weight", "input_bias", "hidden_weight",
                                                   "hidden_bias"))
        problem = Recurrent("gru", size, features, steps, batch, config.bidirectional)
        found += both(name, problem, owns)
        if config.bidirectional:
            summed = Elementwise("add", steps * batch * size)
            found.append(Use(summed, "forward", 1, f"{name}.sum", "forward"))
    norm("norm", batch * steps, size)
    found += dense("output", batch * steps, size, len(SYMBOLS), ("output.weight",))
    found += both("loss", Ctc(batch, steps, len(SYMBOLS), sizes["labels"]))
    parameters = specification(config)
    statistics = sum(one.shape[0] for one in parameters.values() if not one.trained)
    return found + updates(parameters, "nesterov", statistics)
