"""Deep Speech 2 in PaddlePaddle.  Amodei et al. 2015, sec. 3; the reference's model.py.

Attribute paths are the canonical names of parameters.py.  Nothing exists beyond a batch's `steps`:
there all activations are zero, no statistic counts them, and the backward direction starts before
them.  Of an utterance's own end the network is not told, as in the reference.
B batch, F frames, T time steps, C channels, D directions, H hidden size, S symbols.
"""

import paddle
import paddle.nn.functional as F
from paddle import nn

from common.frameworks.paddlepaddle import buffer, dtype, parameter
from speech_recognition.alphabet import BLANK, SYMBOLS
from speech_recognition.config import KERNELS, STRIDES, is_fused
from speech_recognition.features import num_steps
from speech_recognition.parameters import layer_plan


class BatchNorm(nn.Layer):
    """Batch normalisation per channel, over the steps that exist of this process's part.

    The moving variance is the unbiased one, n / (n - 1), as in the reference; of one step 0.
    """

    def __init__(self, channels, config):
        super().__init__()
        self.weight = parameter("plain", [channels])
        self.bias = parameter("plain", [channels])
        self.running_mean = buffer("plain", [channels])
        self.running_var = buffer("plain", [channels])
        self.momentum = config.batch_norm_momentum
        self.epsilon = config.batch_norm_epsilon

    def forward(self, x, exists, training):
        """x: [..., T, C].  exists: [T, 1], 1 or 0.

        Returns the same shape, zero where no step exists; training moves the statistics.
        """
        x = x.astype(dtype())
        exists = exists.expand(x.shape[-2:])  # [T, C]: a factor [T, 1] takes ten times as long
        mean = self.running_mean
        if training:
            count = exists[:, 0].sum() * (x.size // exists.size)
            mean = (x.flatten(0, -3).sum(0) * exists).sum(0) / count  # [C]
        x = x * exists - mean * exists  # centred
        var = self.running_var
        if training:
            # Over the rows first: in one go PaddlePaddle's sum loses two digits.
            var = x.square().flatten(0, -3).sum(0).sum(0) / count  # [C]
            with paddle.no_grad():
                unbiased = var * (count / (count - 1.0).clamp(min=1.0))
                for statistic, new in ((self.running_mean, mean), (self.running_var, unbiased)):
                    paddle.assign(statistic.lerp(new, 1.0 - self.momentum), statistic)
        scale = self.weight * (var + self.epsilon).rsqrt()
        return x * (scale * exists) + self.bias * exists


class Convolution(nn.Layer):
    """A convolution over frequency and time without padding, batch norm, a clip to 0..20."""

    def __init__(self, in_channels, kernel_size, stride, config):
        super().__init__()
        channels = config.conv_channels
        self.weight = parameter("weight", [channels, in_channels, *kernel_size])
        self.bias = parameter("plain", [channels])
        self.norm = BatchNorm(channels, config)
        self.stride = stride
        self.convolve = F.conv2d if config.device == "cuda" else _by_taps

    def forward(self, x, missing, training):
        """x: [B, C, frequency, time].  missing: int [1], how many steps at the end do not exist.

        Returns [B, C, less frequency, less time].
        """
        # Batch norm takes the bias out again: its gradient would be nothing but rounding.
        x = self.convolve(x, self.weight, self.bias.detach(), self.stride)
        exists = existing(x.shape[3], missing)
        x = self.norm(x.moveaxis(1, 3), exists, training)  # [B, frequency, T, C]
        return x.clamp(0.0, 20.0).moveaxis(3, 1)


def _by_taps(x, weight, bias, stride):
    """What F.conv2d(x, weight, bias, stride) gives, in less than half its time on a CPU.

    There F.conv2d copies each input once for all taps of its kernel, 451 at the first layer.  Here
    it sees a kernel of one tap in time, whose other taps are channels; sums of shifted ones follow.
    x: [B, C, frequency, time].  weight: [out, C, taps of frequency, of time].
    """
    channels, inputs, height, taps = weight.shape
    steps = (x.shape[3] - taps) // stride[1] + 1
    # A stride in time: each step's phases are channels too.
    taps = -(-taps // stride[1])
    times = steps + taps - 1
    x = _fit(x, times * stride[1]).reshape([*x.shape[:3], times, stride[1]])
    x = x.transpose([0, 1, 4, 2, 3]).flatten(1, 2)  # [B, C phases, frequency, times]
    weight = _fit(weight, taps * stride[1]).reshape([channels, inputs, height, taps, stride[1]])
    weight = weight.transpose([0, 3, 1, 4, 2]).reshape([channels * taps, -1, height, 1])
    x = F.conv2d(x, weight, stride=[stride[0], 1])  # [B, out taps, less frequency, times]
    places = x.shape[2] * times
    x = x.reshape([len(x), channels, taps * places])
    # Rows longer by one: tap k of place p stands where tap 0 has place p - k.
    x = _fit(x, taps * (places + 1)).reshape([len(x), channels, taps, places + 1]).sum(2)
    x = _fit(x, places).reshape([len(x), channels, -1, times])
    return _fit(x, steps) + bias[:, None, None]


def _fit(x, size):
    """x with its last axis cut to this size, or zeros behind it."""
    missing = size - x.shape[-1]
    if missing > 0:
        return paddle.concat([x, x.new_zeros([*x.shape[:-1], missing])], axis=-1)
    # The gradient of a slice takes twenty times as long as that of split.
    return x.split([size, -missing], axis=-1)[0] if missing else x


class Recurrent(nn.Layer):
    """Gated recurrent units in one direction, or in both and summed.  Cho et al. 2014.

    r = sigmoid(W_r x + b_r + U_r h + c_r), z = sigmoid(W_z x + b_z + U_z h + c_z),
    n = tanh(W_n x + b_n + r (U_n h + c_n)), h = (1 - z) n + z h.
    """

    def __init__(self, in_features, normed, config):
        super().__init__()
        directions, size = (2 if config.bidirectional else 1), config.hidden_size
        self.norm = BatchNorm(in_features, config) if normed else None
        self.input_weight = parameter("plain", [directions, 3 * size, in_features])
        self.input_bias = parameter("plain", [directions, 3 * size])
        self.hidden_weight = parameter("plain", [directions, 3 * size, size])
        self.hidden_bias = parameter("plain", [directions, 3 * size])
        self.directions = directions
        self.by_kernel = is_fused(config)

    def forward(self, x, exists, back, training):
        """x: [T, B, in].  exists: [T, 1].  back: int64 [T], the backward direction's order.

        Returns [T, B, H], zero where no step exists.
        """
        if self.norm:
            x = self.norm(x.transpose(0, 1), exists, training).transpose(0, 1)
        x = paddle.stack([x, x.index_select(0, back)][: self.directions])  # [D, T, B, in]
        states = self.kernel(x) if self.by_kernel else self.steps(x)  # [D, T, B, H]
        x = states[0]
        if self.directions == 2:
            x = x + states[1].index_select(0, back)  # [T, B, H]
        return x * exists[:, :, None]

    def steps(self, x):
        """All steps one by one, both directions side by side.  x: [D, T, B, in]."""
        products = paddle.baddbmm(
            self.input_bias[:, None], x.flatten(1, 2), self.input_weight.transpose(1, 2)
        )  # [D, T B, 3 H]
        products = products.unflatten(1, x.shape[1:3]).astype(dtype())
        return Recurrence.apply(products, self.hidden_weight, self.hidden_bias)

    def kernel(self, x):
        """The same by the framework's own kernel, once for each direction.  x: [D, T, B, in]."""
        size = self.hidden_weight.shape[2]
        start = x.new_zeros([1, x.shape[2], size])
        tensors = (self.input_weight, self.hidden_weight, self.input_bias, self.hidden_bias)
        testing = not paddle.is_grad_enabled()
        numbers = (0.0, False, x.shape[3], size, 1, "GRU", 0, testing)
        mask = paddle.zeros([0], "uint8")  # of dropout
        return [
            paddle._C_ops.rnn(one, [start], weights, None, mask, *numbers)[0].astype(dtype())
            for one, *weights in zip(x, *tensors)
        ]


class Recurrence(paddle.autograd.PyLayer):
    """The steps of a recurrent layer, with a backward pass by hand: one product a step each way.

    All else of the backward pass is done for all steps at once, the recurrent weight's gradient
    too.
    """

    @staticmethod
    def forward(ctx, products, weight, bias):
        """products: [D, T, B, 3 H], of the inputs, with their bias.  weight: [D, 3 H, H].

        bias: [D, 3 H].  Returns [D, T, B, H].
        """
        directions, steps, batch, size = *products.shape[:3], weight.shape[2]
        turned = weight.transpose(1, 2)  # or each product would turn it anew
        # Lists: PaddlePaddle copies the part of a tensor that is to be written into.
        gates, hiddens, candidates = [], [], []
        states = [products.new_zeros([directions, batch, size])]
        new_gates = products[..., : 2 * size].unbind(1)
        new_candidates = products[..., 2 * size :].unbind(1)
        for step in range(steps):
            now = paddle.baddbmm(bias[:, None], states[step], turned)
            gates.append((now[..., : 2 * size] + new_gates[step]).sigmoid())
            reset, update = gates[step].split(2, axis=2)
            hiddens.append(now[..., 2 * size :])  # U_n h + c_n
            candidates.append((new_candidates[step] + reset * hiddens[step]).tanh())
            states.append(paddle.lerp(candidates[step], states[step], update))
        saved = (paddle.stack(one) for one in (gates, hiddens, candidates, states))
        ctx.save_for_backward(weight, *saved)
        return paddle.stack(states[1:], axis=1)

    @staticmethod
    def backward(ctx, gradient):
        """gradient: [D, T, B, H].  Returns those of products, weight and bias."""
        weight, gates, hidden, candidates, states = ctx.saved_tensor()
        steps, _, batch, size = candidates.shape
        reset, update = gates.split(2, axis=3)
        before = states[:-1]
        # What a state's gradient is multiplied by to give that of each gate's sum.
        candidate_factors = (1.0 - update) * (1.0 - candidates.square())
        factors = paddle.concat(
            [
                candidate_factors * hidden * reset * (1.0 - reset),
                (before - candidates) * update * (1.0 - update),
                candidate_factors * reset,
            ],
            axis=3,
        ).unbind(0)
        gradients, updates = gradient.unbind(1), update.unbind(0)
        now = gradients[-1]
        state_gradients, sums = [now], []
        for step in range(steps - 1, -1, -1):
            sums.append(factors[step] * paddle.concat([now, now, now], axis=2))  # [D, B, 3 H]
            if step:
                earlier = gradients[step - 1] + now * updates[step]
                now = paddle.baddbmm(earlier, sums[-1], weight)
                state_gradients.append(now)
        state_gradients = paddle.stack(state_gradients[::-1])
        sums = paddle.stack(sums[::-1], axis=1).flatten(1, 2)  # [D, T B, 3 H]
        weight_gradient = paddle.bmm(
            sums.transpose(1, 2), before.transpose(0, 1).flatten(1, 2)
        )
        bias_gradient = sums.sum(1)
        candidate_gradient = (candidate_factors * state_gradients).transpose(0, 1)
        product_gradient = sums[..., : 2 * size].unflatten(1, (steps, batch))
        product_gradient = paddle.concat([product_gradient, candidate_gradient], axis=3)
        return product_gradient, weight_gradient, bias_gradient


class Dense(nn.Layer):
    """A fully connected layer without bias."""

    def __init__(self, in_features, out_features):
        super().__init__()
        self.weight = parameter("weight", [out_features, in_features])

    def forward(self, x):
        """x: [T, B, in].  Returns [T, B, out]."""
        return F.linear(x, self.weight)


class DeepSpeech(nn.Layer):
    """The whole network: convolutions, recurrent layers, batch norm, a linear layer."""

    def __init__(self, config):
        super().__init__()
        channels, size = config.conv_channels, config.hidden_size
        plan = zip((1, channels), KERNELS, STRIDES)
        self.convolutions = nn.LayerList([Convolution(*numbers, config) for numbers in plan])
        plan = layer_plan(config)
        self.layers = nn.LayerList([Recurrent(*numbers, config) for numbers in plan])
        self.norm = BatchNorm(size, config)
        self.output = Dense(size, len(SYMBOLS))

    def forward(self, spectrograms, steps, training, record):
        """spectrograms: float32 [B, F, 161].  steps: int32 [1], how many exist of the T of F.

        Returns logits [T, B, S]; record(name, activation) sees each of parameters.points.
        """
        x = spectrograms.astype(dtype()).transpose(1, 2)[:, None]  # [B, 1, 161, F]
        missing = num_steps(x.shape[3]) - steps
        for index, convolution in enumerate(self.convolutions):
            x = convolution(x, missing, training)
            record(f"convolutions.{index}", x)
        x = x.permute(3, 0, 1, 2).flatten(2)  # [T, B, C frequency]
        exists = existing(len(x), missing)
        x = self.recur(x, exists, steps, training, record)  # [T, B, H]
        x = self.norm(x.transpose(0, 1), exists, training).transpose(0, 1)
        record("norm", x)
        logits = self.output(x)  # [T, B, S]
        record("logits", logits)
        return logits

    def recur(self, x, exists, steps, training, record):
        """The recurrent layers.  x: [T, B, C frequency].  exists: [T, 1].  Returns [T, B, H]."""
        # From the last step that exists to the first; the others stay where they are.
        places = paddle.arange(len(x))
        steps = steps.astype(places.dtype)
        back = paddle.where(places < steps, steps - 1 - places, places)  # [T]
        for index, layer in enumerate(self.layers):
            x = layer(x, exists, back, training)
            record(f"layers.{index}", x)
        return x


def existing(total, missing):
    """[total, 1]: 1, but 0 for the last `missing`.  missing: int [1]."""
    places = paddle.arange(total, 0, -1, missing.dtype)
    return (places > missing).astype(dtype())[:, None]


def ctc_loss(logits, labels, lengths):
    """Mean over the utterances of CTC's loss; 0, and so its gradient, where it is infinite.

    Graves et al. 2006.  logits: [T, B, S].  labels: int32 [B, L], behind each utterance's end 0.
    lengths: int32 [B], of T.  Returns a scalar.
    """
    losses = F.ctc_loss(
        logits,
        labels,
        lengths.astype("int64").clamp(min=1),  # PaddlePaddle ends at a length of 0
        (labels != 0).sum(dim=1).clamp(min=1),
        blank=BLANK,
        reduction="none",
    )  # [B], 0 where infinite
    losses = losses * (lengths > 0).astype(losses.dtype)
    return losses.sum() / utterances(lengths).clamp(min=1)


def utterances(lengths):
    """How many there are: a process without any has a row of length 0.  lengths: int [B]."""
    return (lengths > 0).sum().astype(dtype())
