"""A vendor's port of ResNet in plain numpy: reads a folder of records, writes its own dumps.

    python tests/parity/vendor_numpy.py RECORD [NAME]

It knows the network, and of this repository nothing but what docs/parity.md says: the numbers are
in RECORD/config.json, the tensors to read and to write in RECORD/manifest.json.  Everything in
float64; images are [B, C, H, W].
"""

import json
import os
import sys

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from safetensors.numpy import load_file, save_file


def main(record, name="vendor"):
    config, manifest = (read_json(record, file) for file in ("config", "manifest"))
    os.makedirs(os.path.join(record, "outputs", name))

    def load(file):
        return load_file(os.path.join(record, "inputs", f"{file}.safetensors"))

    def dump(file, tensors):
        """Writes the tensors that the manifest asks for, and holds their shapes against it."""
        asked = manifest["outputs"][file]
        for tensor in asked:
            assert list(np.shape(tensors[tensor["name"]])) == tensor["shape"], tensor["name"]
        # safetensors writes a transposed array's raw buffer: contiguous ones alone are right.
        written = {t["name"]: np.array(tensors[t["name"]], order="C") for t in asked}
        save_file(written, os.path.join(record, "outputs", name, f"{file}.safetensors"))

    parameters = {n: array.astype(np.float64) for n, array in load("parameters").items()}
    first, *steps = manifest["outputs"]
    dump(first, {f"parameter/{n}": a for n, a in parameters.items()})
    meanings = {tensor["name"]: tensor["meaning"] for tensor in manifest["outputs"][steps[0]]}
    velocity = {n: np.zeros_like(a) for n, a in parameters.items() if f"velocity/{n}" in meanings}
    batches = [file for file in manifest["inputs"] if file != "parameters"]
    for step, batch, rate in zip(steps, map(load, batches), config["learning_rates"], strict=True):
        network = Network(config, parameters)
        loss = network.forward(batch["images"], batch["labels"])
        network.backward()
        for n, gradient in network.gradients.items():
            decayed = "with weight decay" in meanings[f"parameter/{n}"]
            decay = config["weight_decay"] if decayed else 0.0
            velocity[n] = config["momentum"] * velocity[n] + gradient + decay * parameters[n]
            parameters[n] = parameters[n] - rate * velocity[n]
        tensors = {"loss": loss}
        tensors |= {f"activation/{n}": a for n, a in network.activations.items()}
        tensors |= {f"gradient/{n}": a for n, a in network.gradients.items()}
        tensors |= {f"velocity/{n}": a for n, a in velocity.items()}
        tensors |= {f"parameter/{n}": a for n, a in parameters.items()}
        dump(step, tensors)


def read_json(record, file):
    with open(os.path.join(record, f"{file}.json")) as opened:
        return json.load(opened)


class Network:
    """One pass forward and back.  Each layer pushes its backward pass on a tape."""

    def __init__(self, config, parameters):
        self.config, self.parameters = config, parameters
        self.activations, self.gradients = {}, {}

    def forward(self, images, labels):
        config = self.config
        x = (images - np.array(config["mean_rgb"])).transpose(0, 3, 1, 2)
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
        x = x.mean(axis=(2, 3))
        self.activations["pooled"] = pooled = x
        weight = self.parameters["classifier.weight"]
        logits = x @ weight.T + self.parameters["classifier.bias"]
        self.activations["logits"] = logits
        shifted = logits - logits.max(axis=1, keepdims=True)
        log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        smoothing, count = config["label_smoothing"], len(labels)
        target = np.full_like(log_p, smoothing / log_p.shape[1])
        target[np.arange(count), labels] += 1 - smoothing

        def backward():
            d = (np.exp(log_p) - target) / count
            self.gradients["classifier.weight"] = d.T @ pooled
            self.gradients["classifier.bias"] = d.sum(axis=0)
            d = d @ weight
            d = np.broadcast_to(d[:, :, None, None], shape) / (shape[2] * shape[3])
            for step_back in reversed(tape):
                d = step_back(d)

        self.backward = backward
        return -(target * log_p).sum() / count

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
        x, last_back = relu(x + shortcut)
        self.activations[name] = x

        def backward(d):
            d = last_back(d)
            short = d
            for step_back in reversed(tape):
                d = step_back(d)
            for step_back in reversed(short_tape):
                short = step_back(short)
            return d + short

        return x, backward

    def convolution(self, name, x, stride):
        weight = self.parameters[f"{name}.weight"]
        size = weight.shape[2]
        pad = (size - 1) // 2
        padded = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
        windows = sliding_window_view(padded, (size, size), (2, 3))[:, :, ::stride, ::stride]

        def backward(d):
            self.gradients[f"{name}.weight"] = np.einsum("bohw,bchwij->ocij", d, windows)
            back = np.zeros_like(padded)
            height, width = d.shape[2:]
            for i in range(size):
                for j in range(size):
                    rows = slice(i, i + stride * height, stride)
                    columns = slice(j, j + stride * width, stride)
                    back[:, :, rows, columns] += np.einsum("bohw,oc->bchw", d, weight[:, :, i, j])
            return back[:, :, pad : pad + x.shape[2], pad : pad + x.shape[3]]

        return np.einsum("bchwij,ocij->bohw", windows, weight, optimize=True), backward

    def batch_norm(self, name, x):
        scale = self.parameters[f"{name}.weight"][:, None, None]
        mean, variance = x.mean(axis=(0, 2, 3)), x.var(axis=(0, 2, 3))
        count = x.size / x.shape[1]
        old = self.config["batch_norm_momentum"]
        for statistic, new in (("mean", mean), ("var", variance * count / (count - 1))):
            key = f"{name}.running_{statistic}"
            self.parameters[key] = old * self.parameters[key] + (1 - old) * new
        deviation = np.sqrt(variance + self.config["batch_norm_epsilon"])[:, None, None]
        normal = (x - mean[:, None, None]) / deviation

        def backward(d):
            self.gradients[f"{name}.weight"] = (d * normal).sum(axis=(0, 2, 3))
            self.gradients[f"{name}.bias"] = d.sum(axis=(0, 2, 3))
            d = d * scale
            part = d.mean(axis=(0, 2, 3), keepdims=True)
            along = (d * normal).mean(axis=(0, 2, 3), keepdims=True)
            return (d - part - normal * along) / deviation

        return normal * scale + self.parameters[f"{name}.bias"][:, None, None], backward


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
