"""Deep Speech 2's training step against the framework's own layers, and its reader on one core.

    common/in_environment.sh speech_recognition FRAMEWORK \\
        -m benchmarks.speech_recognition FRAMEWORK [--measure=reader]

step: full-size steps of ours and of the peer on utterances of one length, noise of --frames frames
(450: 210 time steps).  The peer is the network of the framework's own layers, as tutorials have it:
torch.nn.GRU; Keras's Bidirectional(GRU), by compile() and train_on_batch; paddle.nn.GRU; the
framework's CTC loss, batch norm, clipping and Nesterov's momentum.

reader: a batch of utterances of LibriSpeech's mean length, written to a folder of its own.  What
runs in turn, on one thread: reading the FLAC files alone; that, tempo and gain; that and the
spectrograms, which is a training batch; a test batch, without augmentation.
"""

import dataclasses
import functools
import os
import tempfile

import numpy as np
import soundfile
from absl import flags

from benchmarks import command
from common import timing
from common.errors import UserError
from speech_recognition import audio, augment, data, features, index, parity
from speech_recognition.alphabet import SYMBOLS
from speech_recognition.config import KERNELS, REFERENCE, STRIDES
from speech_recognition.parameters import initial_parameters, layer_plan

ROUNDS = {"step": 5, "reader": 15}
SECONDS = 12.3           # of an utterance: the mean of the three train-*


def pytorch_peer(config):
    """Layers of torch.nn, eager, or compiled as a whole."""
    import torch
    from torch import nn

    class Network(nn.Module):
        """Convolutions, bidirectional layers with batch norm between, a linear layer."""

        def __init__(self):
            super().__init__()
            channels, blocks = 1, []
            for kernel, stride in zip(KERNELS, STRIDES):
                blocks += [
                    nn.Conv2d(channels, config.conv_channels, kernel, stride),
                    nn.BatchNorm2d(config.conv_channels),
                    nn.Hardtanh(0.0, 20.0),
                ]
                channels = config.conv_channels
            self.convolutions = nn.Sequential(*blocks)
            plan = layer_plan(config)
            self.norms = nn.ModuleList([nn.BatchNorm1d(n) if norm else None for n, norm in plan])
            self.layers = nn.ModuleList(
                [nn.GRU(n, config.hidden_size, bidirectional=True) for n, _ in plan]
            )
            self.norm = nn.BatchNorm1d(config.hidden_size)
            self.output = nn.Linear(config.hidden_size, len(SYMBOLS), bias=False)

        def forward(self, spectrograms):
            x = self.convolutions(spectrograms.transpose(1, 2)[:, None])
            x = x.flatten(1, 2).permute(2, 0, 1)  # [T, B, features]
            for norm, layer in zip(self.norms, self.layers):
                if norm:
                    x = norm(x.flatten(0, 1)).view(x.shape)
                x = layer(x)[0].unflatten(2, (2, -1)).sum(2)
            return self.output(self.norm(x.flatten(0, 1)).view(x.shape))

    model = Network().to(config.device).train()
    optimizer = torch.optim.SGD(
        model.parameters(), config.learning_rate, config.momentum, nesterov=True
    )
    forward = torch.compile(model) if config.compile else model

    def step(batch):
        optimizer.zero_grad()
        batch = {name: torch.from_numpy(array).to(config.device) for name, array in batch.items()}
        with torch.autocast(config.device, torch.bfloat16, enabled=config.precision == "bf16"):
            logits = forward(batch["spectrograms"])
        labels = batch["labels"]
        loss = nn.functional.ctc_loss(
            logits.float().log_softmax(2), labels, batch["lengths"], (labels != 0).sum(1),
            reduction="sum", zero_infinity=True,
        ) / len(labels)  # fmt: skip
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
        optimizer.step()
        return loss.item()

    return step


def tensorflow_peer(config):
    """Layers of keras.layers doing the same, through compile() and train_on_batch."""
    import keras
    from keras import layers

    if config.precision == "bf16":
        keras.mixed_precision.set_global_policy("mixed_bfloat16")
    spectrograms = keras.Input([None, features.NUM_BINS])
    x = layers.Lambda(lambda x: x[..., None])(spectrograms)  # time first
    for kernel, stride in zip(KERNELS, STRIDES):
        x = layers.Conv2D(config.conv_channels, kernel[::-1], stride[::-1])(x)
        x = layers.ReLU(max_value=20.0)(layers.BatchNormalization(epsilon=1e-5, momentum=0.9)(x))
    x = layers.Reshape([-1, x.shape[2] * x.shape[3]])(x)  # [B, T, features]
    for _, norm in layer_plan(config):
        if norm:
            x = layers.BatchNormalization(epsilon=1e-5, momentum=0.9)(x)
        one = layers.GRU(config.hidden_size, return_sequences=True)
        x = layers.Bidirectional(one, merge_mode="sum")(x)
    x = layers.BatchNormalization(epsilon=1e-5, momentum=0.9)(x)
    model = keras.Model(spectrograms, layers.Dense(len(SYMBOLS), use_bias=False)(x))
    model.compile(
        optimizer=keras.optimizers.SGD(
            config.learning_rate, config.momentum, nesterov=True, global_clipnorm=config.clip_norm
        ),
        loss=keras.losses.CTC(dtype="float32"),  # of all time steps; labels end with the first 0
        jit_compile=config.compile,
    )
    return lambda batch: float(model.train_on_batch(batch["spectrograms"], batch["labels"]))


def paddlepaddle_peer(config):
    """Layers of paddle.nn doing the same; through to_static where --compile asks."""
    import paddle
    from paddle import nn

    class Network(nn.Layer):
        """Convolutions, bidirectional layers with batch norm between, a linear layer."""

        def __init__(self):
            super().__init__()
            channels, blocks = 1, []
            for kernel, stride in zip(KERNELS, STRIDES):
                blocks += [
                    nn.Conv2D(channels, config.conv_channels, kernel, stride),
                    nn.BatchNorm2D(config.conv_channels),
                    nn.Hardtanh(0.0, 20.0),
                ]
                channels = config.conv_channels
            self.convolutions = nn.Sequential(*blocks)
            plan = layer_plan(config)
            self.norms = [nn.BatchNorm1D(n) if norm else None for n, norm in plan]
            self.between = nn.LayerList([norm for norm in self.norms if norm])
            self.layers = nn.LayerList(
                [nn.GRU(n, config.hidden_size, direction="bidirect", time_major=True)
                 for n, _ in plan]
            )  # fmt: skip
            self.norm = nn.BatchNorm1D(config.hidden_size)
            self.output = nn.Linear(config.hidden_size, len(SYMBOLS), bias_attr=False)

        def forward(self, spectrograms):
            x = self.convolutions(spectrograms.transpose([0, 2, 1])[:, None])
            x = x.flatten(1, 2).transpose([2, 0, 1])  # [T, B, features]
            for norm, layer in zip(self.norms, self.layers):
                if norm:
                    x = norm(x.flatten(0, 1)).reshape(x.shape)
                forwards, backwards = layer(x)[0].chunk(2, axis=2)
                x = forwards + backwards
            return self.output(self.norm(x.flatten(0, 1)).reshape(x.shape))

    model = Network()
    optimizer = paddle.optimizer.Momentum(
        config.learning_rate,
        config.momentum,
        parameters=model.parameters(),
        use_nesterov=True,
        grad_clip=nn.ClipGradByGlobalNorm(config.clip_norm),
    )

    forward = paddle.jit.to_static(model) if config.compile else model

    def step(batch):
        batch = {name: paddle.to_tensor(array) for name, array in batch.items()}
        labels = batch["labels"]
        loss = nn.functional.ctc_loss(
            forward(batch["spectrograms"]), labels, batch["lengths"].astype("int64"),
            (labels != 0).sum(1), reduction="sum",
        ) / len(labels)  # fmt: skip
        loss.backward()
        optimizer.step()
        optimizer.clear_grad()
        return float(loss)

    return step


PEERS = {
    "pytorch": pytorch_peer,
    "tensorflow": tensorflow_peer,
    "paddlepaddle": paddlepaddle_peer,
}


def measure_step(name, config, values):
    """Times training steps on one batch of noise.  Returns the figures."""
    framework, train = command.start("speech_recognition", name, config)
    rng = np.random.default_rng(1)
    steps = features.num_steps(values.frames)
    noise = rng.standard_normal((config.batch_size, values.frames, features.NUM_BINS), np.float32)
    labels = [parity.draw_labels(rng, steps // 4) for _ in noise]
    batch = data.padded(config, noise, labels, values.frames, steps // 4)
    config = dataclasses.replace(config, num_train_utterances=config.batch_size * 1000)
    trainer = train.Trainer(config, initial_parameters(config))
    sides = {"ours": command.training_step(framework, trainer), "peer": PEERS[name](config)}
    batches = [batch] * (values.warmup + values.steps)
    seconds = command.alternate(framework, sides, batches, values.warmup)
    return timing.report(f"{name}, {steps} time steps,", seconds, config.batch_size, "utterances")


def write_utterances(folder, count):
    """A LibriSpeech folder: noise that a slow tone swells, of SECONDS, in both splits."""
    rng = np.random.default_rng(0)
    times = np.arange(int(SECONDS * audio.SAMPLE_RATE))
    swell = 1.0 + np.sin(2 * np.pi * 3 * times / audio.SAMPLE_RATE)
    for subset in ("train-clean-100", "dev-clean"):
        path = os.path.join(folder, "LibriSpeech", subset, "1", "2")
        os.makedirs(path)
        with open(os.path.join(path, "1-2.trans.txt"), "w") as transcripts:
            for number in range(count):
                name = f"1-2-{number:04}"
                samples = (rng.normal(0, 700, len(times)) * swell).astype(np.int16)
                soundfile.write(os.path.join(path, f"{name}.flac"), samples, audio.SAMPLE_RATE)
                transcripts.write(f"{name} {'WHAT IS SAID ' * 14}\n")


def measure_reader(config, values):
    """Times batches of the reader on one thread.  Returns the figures."""
    with tempfile.TemporaryDirectory() as folder:
        write_utterances(folder, config.batch_size)
        config = data.prepare(
            dataclasses.replace(
                config, data_dir=folder, num_train_utterances=None, num_eval_utterances=None
            )
        )
        utterances = index.load(config, "train")
        paths = [os.path.join(folder, utterances.path(n)) for n in range(len(utterances))]

        def augmented():
            for number, path in enumerate(paths):
                augment.augment(audio.read_audio(path, own=True), config, 1, number)

        (numbers,) = data.batches(config, "train", 1).indices
        candidates = {
            "training batch": functools.partial(data.read, config, "train", 1, numbers),
            "test batch": functools.partial(data.read, config, "test", 1, numbers),
            "files, tempo and gain": augmented,
            "files": lambda: [audio.read_audio(path, own=True) for path in paths],
        }
        seconds = timing.alternate(candidates, values.steps, values.warmup)
        return timing.report("reader, one thread,", seconds, len(paths), "utterances")


def main(argv):
    values = command.define_flags("batch_size", 8, "utterances", ROUNDS)
    flags.DEFINE_integer("frames", 450, "step: frames of an utterance; a multiple of 50",
                         features.MIN_FRAMES, flag_values=values)  # fmt: skip
    name = command.parse(values, argv, PEERS, ROUNDS)
    config = command.configure(REFERENCE, values, "batch_size")
    if values.frames % config.frame_step:
        raise UserError(f"--frames={values.frames}: expected a multiple of {config.frame_step}, "
                        "as the peer masks nothing.")
    if values.measure == "step":
        figures = measure_step(name, config, values)
    elif values.device != "cpu" or values.compile:
        raise UserError("--measure=reader: it reads on the CPU, without a framework.")
    else:
        figures = measure_reader(config, values)
    command.write(values, "speech_recognition", name, figures)


if __name__ == "__main__":
    command.run(main)
