"""A vendor's port of ResNet in plain numpy: reads a folder of records, writes its own dumps.

    python tests/parity/vendor_numpy.py RECORD [NAME [fp64|bf16]]

It knows the network, and of this repository nothing but what docs/parity.md says: the numbers are
in RECORD/config.json, the tensors to read and to write in RECORD/manifest.json.  Its device has
float64, or bf16 alone: then whatever an operation gives is rounded, as are parameters and sums;
only sums within an operation are wider.  Images are [B, C, H, W].
"""

import json
import os
import sys

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from safetensors.numpy import load_file


def main(record, name="vendor", device="fp64"):
    config, manifest = (read_json(record, file) for file in ("config", "manifest"))
    keep = to_bf16 if device == "bf16" else np.asarray
    meanings = {tensor["name"]: tensor["meaning"] for tensor in manifest["outputs"]["step_0000"]}
    outputs = os.path.join(record, "outputs", name)
    os.makedirs(outputs)

    def load(file):
        """{group: {name: array}} of an input, kept as the device keeps numbers."""
        path = os.path.join(record, "inputs", f"{file}.safetensors")
        groups = {}
        for tensor, array in load_file(path).items():
            group, _, own = tensor.rpartition("/")
            whole = array.dtype.kind in "iu"
            groups.setdefault(group.partition("/")[0], {})[own] = array if whole else keep(
                array.astype(np.float64))
        return groups

    def dump(file, groups):
        """Writes the tensors that the manifest asks for, and holds their shapes against it."""
        tensors = {f"{group}/{n}": array for group, arrays in groups.items()
                   for n, array in arrays.items()}
        tensors = {"loss" if n == "loss/" else n: np.asarray(a) for n, a in tensors.items()}
        asked = manifest["outputs"][file]
        for tensor in asked:
            assert list(tensors[tensor["name"]].shape) == tensor["shape"], tensor["name"]
        write(os.path.join(outputs, f"{file}.safetensors"),
              {tensor["name"]: tensors[tensor["name"]] for tensor in asked}, device)

    def split(parameters):
        """The groups of an initial file, whose tensors have no group in their names."""
        statistics = {n for n in parameters if f"statistic/{n}" in meanings}
        return {"parameter": {n: a for n, a in parameters.items() if n not in statistics},
                "statistic": {n: a for n, a in parameters.items() if n in statistics}}

    initial = split(load("parameters")[""])
    dump("initial", initial)
    initial["velocity"] = {n: np.zeros_like(a) for n, a in initial["parameter"].items()}
    decayed = {n for n in initial["parameter"]
               if "with weight decay" in meanings[f"parameter/{n}"]}
    for file in list(manifest["outputs"])[1:]:
        kind, _, number = file.partition("_")
        if kind == "evaluation":
            given = load(file)
            network = Network(config, given["parameter"], given["statistic"], keep)
            logits = network.forward(given["batch"]["images"], training=False)
            dump(file, {"evaluation": {"logits": logits, "classes": logits.argmax(axis=1)}})
            continue
        state = load(f"state_{number}") if int(number) else initial
        batch = load(f"batch_{number}")[""]
        network = Network(config, state["parameter"], state["statistic"], keep)
        loss = network.loss(network.forward(batch["images"], training=True), batch["labels"])
        network.backward()
        rate = config["learning_rates"][int(number)]
        after = update(config, rate, state, network.gradients, decayed, keep)
        dump(file, after | {
            "loss": {"": loss},
            "activation": network.activations,
            "gradient": network.gradients,
            "statistic": network.moved,
        })  # fmt: skip


def update(config, rate, state, gradients, decayed, keep):
    """One operation a tensor: v = momentum v + g + decay w, then w = w - rate v."""
    parameters, velocity = {}, {}
    for n, gradient in gradients.items():
        w = state["parameter"][n]
        decay = config["weight_decay"] if n in decayed else 0.0
        velocity[n] = keep(config["momentum"] * state["velocity"][n] + gradient + decay * w)
        parameters[n] = keep(w - rate * velocity[n])
    return {"parameter": parameters, "velocity": velocity}


def to_bf16(array):
    """float64 array: rounded to the nearest number of 8 bits, of two the even one."""
    bits = np.asarray(array, np.float32).view(np.uint32).astype(np.uint64)
    bits = (bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000
    return bits.astype(np.uint32).view(np.float32).astype(np.float64)


def write(path, tensors, device):
    """A safetensors file by hand: the header's length, the header, the numbers in row-major order.
    """
    header, data = {}, b""
    for name, array in tensors.items():
        word = "I64" if array.dtype.kind == "i" else "BF16" if device == "bf16" else "F64"
        if word == "BF16":
            array = (array.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
        start, data = len(data), data + array.tobytes()
        header[name] = {"dtype": word, "shape": array.shape, "data_offsets": [start, len(data)]}
    text = json.dumps(header).encode()
    with open(path, "wb") as opened:
        opened.write(len(text).to_bytes(8, "little") + text + data)


def read_json(record, file):
    with open(os.path.join(record, f"{file}.json")) as opened:
        return json.load(opened)


class Network:
    """One pass forward and back.  Each layer pushes its backward pass on a tape.

    keep: rounds what an operation gives to what the device has.
    """

    def __init__(self, config, parameters, statistics, keep):
        self.config, self.parameters, self.statistics = config, parameters, statistics
        self.keep = keep
        self.activations, self.gradients, self.moved = {}, {}, {}

    def forward(self, images, training):
        """Returns the logits [B, K]."""
        config = self.config
        self.training = training
        x = self.keep((images - np.array(config["mean_rgb"])).transpose(0, 3, 1, 2))
        x, back = self.convolution("stem", x, 2)
        tape = [back]
        x, back = self.batch_norm("stem_norm", x)
        tape.append(back)
        x, back = relu(x)
        tape.append(back)
        self.activations["stem_norm"] = x
        x, back = max_pool(x)
        tape.append(back)
        index = 0
        for layer, num_blocks in enumerate(config["blocks"]):
            for number in range(num_blocks):
                stride = 2 if layer > 0 and number == 0 else 1
                x, back = self.block(f"blocks.{index}", x, stride, number == 0)
                tape.append(back)
                index += 1
        shape = x.shape
        pooled = self.keep(x.mean(axis=(2, 3)))
        self.activations["pooled"] = pooled
        weight = self.parameters["classifier.weight"]
        logits = self.keep(pooled @ weight.T + self.parameters["classifier.bias"])
        self.activations["logits"] = logits

        def backward(d):
            self.gradients["classifier.weight"] = self.keep(d.T @ pooled)
            self.gradients["classifier.bias"] = self.keep(d.sum(axis=0))
            d = self.keep(d @ weight)
            d = np.broadcast_to(d[:, :, None, None], shape)
            d = self.keep(d / (shape[2] * shape[3]))
            for step_back in reversed(tape):
                d = step_back(d)

        self.backward_of_logits = backward
        return logits

    def loss(self, logits, labels):
        """Returns the loss; `backward` fills the gradients."""
        shifted = logits - logits.max(axis=1, keepdims=True)
        log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        smoothing, count = self.config["label_smoothing"], len(labels)
        target = np.full_like(log_p, smoothing / log_p.shape[1])
        target[np.arange(count), labels] += 1 - smoothing
        d = self.keep((np.exp(log_p) - target) / count)
        self.backward = lambda: self.backward_of_logits(d)
        return self.keep(-(target * log_p).sum() / count)

    def block(self, name, images, stride, projects):
        tape, x = [], images
        for number, own_stride in ((1, 1), (2, stride), (3, 1)):
            x, back = self.convolution(f"{name}.convolution{number}", x, own_stride)
            tape.append(back)
            x, back = self.batch_norm(f"{name}.norm{number}", x)
            tape.append(back)
            if number < 3:
                x, back = relu(x)
                tape.append(back)
            self.activations[f"{name}.norm{number}"] = x
        shortcut, short_tape = images, []
        if projects:
            shortcut, back = self.convolution(f"{name}.shortcut", images, stride)
            short_tape.append(back)
            shortcut, back = self.batch_norm(f"{name}.shortcut_norm", shortcut)
            short_tape.append(back)
            self.activations[f"{name}.shortcut_norm"] = shortcut
        x, last_back = relu(self.keep(x + shortcut))
        self.activations[name] = x

        def backward(d):
            d = last_back(d)
            short = d
            for step_back in reversed(tape):
                d = step_back(d)
            for step_back in reversed(short_tape):
                short = step_back(short)
            return self.keep(d + short)

        return x, backward

    def convolution(self, name, x, stride):
        weight = self.parameters[f"{name}.weight"]
        size = weight.shape[2]
        pad = (size - 1) // 2
        padded = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
        windows = sliding_window_view(padded, (size, size), (2, 3))[:, :, ::stride, ::stride]

        def backward(d):
            gradient = np.einsum("bohw,bchwij->ocij", d, windows, optimize=True)
            self.gradients[f"{name}.weight"] = self.keep(gradient)
            back = np.zeros_like(padded)
            height, width = d.shape[2:]
            for i in range(size):
                for j in range(size):
                    rows = slice(i, i + stride * height, stride)
                    columns = slice(j, j + stride * width, stride)
                    part = np.einsum("bohw,oc->bchw", d, weight[:, :, i, j], optimize=True)
                    back[:, :, rows, columns] += part
            return self.keep(back[:, :, pad : pad + x.shape[2], pad : pad + x.shape[3]])

        y = np.einsum("bchwij,ocij->bohw", windows, weight, optimize=True)
        return self.keep(y), backward

    def batch_norm(self, name, x):
        scale, bias = (self.parameters[f"{name}.{n}"][:, None, None] for n in ("weight", "bias"))
        moving = {n: self.statistics[f"{name}.running_{n}"] for n in ("mean", "var")}
        mean, variance = moving["mean"], moving["var"]
        if self.training:
            mean, variance = x.mean(axis=(0, 2, 3)), x.var(axis=(0, 2, 3))
            count = x.size / x.shape[1]
            old = self.config["batch_norm_momentum"]
            for n, new in (("mean", mean), ("var", variance * count / (count - 1))):
                self.moved[f"{name}.running_{n}"] = self.keep(old * moving[n] + (1 - old) * new)
        deviation = np.sqrt(variance + self.config["batch_norm_epsilon"])[:, None, None]
        normal = (x - mean[:, None, None]) / deviation

        def backward(d):
            self.gradients[f"{name}.weight"] = self.keep((d * normal).sum(axis=(0, 2, 3)))
            self.gradients[f"{name}.bias"] = self.keep(d.sum(axis=(0, 2, 3)))
            d = d * scale
            part = d.mean(axis=(0, 2, 3), keepdims=True)
            along = (d * normal).mean(axis=(0, 2, 3), keepdims=True)
            return self.keep((d - part - normal * along) / deviation)

        return self.keep(normal * scale + bias), backward


def relu(x):
    return np.maximum(x, 0), lambda d: d * (x > 0)


def max_pool(x):
    """3 x 3, stride 2, padded right and below alone."""
    padded = np.pad(x, ((0, 0), (0, 0), (0, 1), (0, 1)), constant_values=-np.inf)
    windows = sliding_window_view(padded, (3, 3), (2, 3))[:, :, ::2, ::2]
    flat = windows.reshape(*windows.shape[:4], 9)
    best = flat.argmax(axis=-1)

    def backward(d):
        back = np.zeros_like(padded)
        b, c, h, w = np.indices(best.shape)
        np.add.at(back, (b, c, 2 * h + best // 3, 2 * w + best % 3), d)
        return back[:, :, :-1, :-1]

    return flat.max(axis=-1), backward


if __name__ == "__main__":
    main(*sys.argv[1:])
