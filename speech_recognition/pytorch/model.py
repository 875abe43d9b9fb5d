"""Deep Speech 2 in PyTorch.  Amodei et al. 2015, sec. 3; the reference's model.py.

Attribute paths are the canonical names of parameters.py.  Nothing exists beyond a batch's `steps`:
there all activations are zero, no statistic counts them, and the backward direction starts before
them.  Of an utterance's own end the network is not told, as in the reference.
B batch, F frames, T time steps, C channels, D directions, H hidden size, S symbols.
"""

import torch
import torch.nn.functional as F
from torch import nn

from common.frameworks.pytorch import buffer, dtype, parameter
from speech_recognition.alphabet import BLANK, SYMBOLS
from speech_recognition.config import KERNELS, STRIDES, is_fused
from speech_recognition.features import num_steps
from speech_recognition.parameters import layer_plan


class BatchNorm(nn.Module):
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
        x = x.to(dtype())
        mean = self.running_mean
        if training:
            count = exists.sum() * (x[..., 0].numel() // len(exists))
            mean = (x.flatten(0, -3).sum(0) * exists).sum(0) / count  # [C]
        x = torch.addcmul(-mean * exists, x, exists)  # centred
        var = self.running_var
        if training:
            var = x.square().flatten(0, -2).sum(0) / count  # [C]
            with torch.no_grad():
                self.running_mean.lerp_(mean, 1.0 - self.momentum)
                unbiased = var * (count / (count - 1.0).clamp(min=1.0))
                self.running_var.lerp_(unbiased, 1.0 - self.momentum)
        scale = self.weight * (var + self.epsilon).rsqrt()
        return torch.addcmul(self.bias * exists, x, scale)


class Convolution(nn.Module):
    """A convolution over frequency and time without padding, batch norm, a clip to 0..20."""

    def __init__(self, in_channels, kernel_size, stride, config):
        super().__init__()
        channels = config.conv_channels
        self.weight = parameter("weight", [channels, in_channels, *kernel_size])
        self.bias = parameter("plain", [channels])
        self.norm = BatchNorm(channels, config)
        self.stride = stride

    def forward(self, x, missing, training):
        """x: [B, C, frequency, time].  missing: int [1], how many steps at the end do not exist.

        Returns [B, C, less frequency, less time].
        """
        x = x.contiguous()  # else --compile fails at a second F
        # Batch norm takes the bias out again: its gradient would be nothing but rounding.
        x = F.conv2d(x, self.weight, self.bias.detach(), self.stride)
        exists = existing(x.shape[3], missing)
        x = self.norm(x.movedim(1, 3), exists, training)  # [B, frequency, T, C]
        return x.clamp(0.0, 20.0).movedim(3, 1)


class Recurrent(nn.Module):
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
        x = torch.stack([x, x.index_select(0, back)][: self.directions])  # [D, T, B, in]
        states = self.kernel(x) if self.by_kernel else self.steps(x)  # [D, T, B, H]
        x = states[0]
        if self.directions == 2:
            x = x + states[1].index_select(0, back)  # [T, B, H]
        return x * exists[:, :, None]

    def steps(self, x):
        """All steps one by one, both directions side by side.  x: [D, T, B, in]."""
        products = torch.baddbmm(
            self.input_bias[:, None], x.flatten(1, 2), self.input_weight.transpose(1, 2)
        )  # [D, T B, 3 H]
        products = products.unflatten(1, x.shape[1:3]).to(dtype())
        return Recurrence.apply(products, self.hidden_weight, self.hidden_bias)

    def kernel(self, x):
        """The same by the framework's own kernel, once for each direction.  x: [D, T, B, in]."""
        start = x.new_zeros([1, x.shape[2], self.hidden_weight.shape[2]])
        tensors = (self.input_weight, self.hidden_weight, self.input_bias, self.hidden_bias)
        training = torch.is_grad_enabled()
        return [
            torch.gru(one, start, weights, True, 1, 0.0, training, False, False)[0].to(dtype())
            for one, *weights in zip(x, *tensors)
        ]


class Recurrence(torch.autograd.Function):
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
        turned = weight.transpose(1, 2).contiguous()  # or each product would turn it anew
        gates = products.new_empty(steps, directions, batch, 3 * size)  # r, z, U_n h + c_n
        candidates = products.new_empty(steps, directions, batch, size)
        states = products.new_empty(steps + 1, directions, batch, size)
        states[0] = 0.0
        for step in range(steps):
            new, now = products[:, step], gates[step]
            torch.baddbmm(bias[:, None], states[step], turned, out=now)
            now[..., : 2 * size].add_(new[..., : 2 * size]).sigmoid_()
            reset, update, hidden = now.split(size, dim=2)
            candidate = candidates[step]
            torch.addcmul(new[..., 2 * size :], reset, hidden, out=candidate).tanh_()
            torch.lerp(candidate, states[step], update, out=states[step + 1])
        ctx.save_for_backward(weight, gates, candidates, states)
        return states[1:].transpose(0, 1)

    @staticmethod
    def backward(ctx, gradient):
        """gradient: [D, T, B, H].  Returns those of products, weight and bias."""
        weight, gates, candidates, states = ctx.saved_tensors
        steps, directions, batch, size = candidates.shape
        reset, update, hidden = gates.split(size, dim=3)
        before = states[:-1]
        # What a state's gradient is multiplied by to give that of each gate's sum.
        factors = gates.new_empty(steps, directions, batch, 3, size)
        candidate_factors = (1.0 - update) * (1.0 - candidates.square())
        factors[..., 0, :] = candidate_factors * hidden * reset * (1.0 - reset)
        factors[..., 1, :] = (before - candidates) * update * (1.0 - update)
        factors[..., 2, :] = candidate_factors * reset
        state_gradients = torch.empty_like(candidates)
        now = state_gradients[-1].copy_(gradient[:, -1])
        for step in range(steps - 1, -1, -1):
            sums = factors[step].mul_(now[:, :, None]).flatten(2)  # [D, B, 3 H]
            if step:
                earlier = torch.addcmul(gradient[:, step - 1], now, update[step])
                now = torch.baddbmm(earlier, sums, weight, out=state_gradients[step - 1])
        sums = factors.flatten(3).transpose(0, 1).flatten(1, 2)  # [D, T B, 3 H]
        weight_gradient = torch.bmm(
            sums.transpose(1, 2), before.transpose(0, 1).flatten(1, 2)
        )
        bias_gradient = sums.sum(1)
        product_gradient = sums.unflatten(1, (steps, batch))
        product_gradient[..., 2 * size :] = (candidate_factors * state_gradients).transpose(0, 1)
        return product_gradient, weight_gradient, bias_gradient


class Dense(nn.Module):
    """A fully connected layer without bias."""

    def __init__(self, in_features, out_features):
        super().__init__()
        self.weight = parameter("weight", [out_features, in_features])

    def forward(self, x):
        """x: [T, B, in].  Returns [T, B, out]."""
        return F.linear(x, self.weight)


class DeepSpeech(nn.Module):
    """The whole network: convolutions, recurrent layers, batch norm, a linear layer."""

    def __init__(self, config):
        super().__init__()
        channels, size = config.conv_channels, config.hidden_size
        plan = zip((1, channels), KERNELS, STRIDES)
        self.convolutions = nn.ModuleList([Convolution(*numbers, config) for numbers in plan])
        plan = layer_plan(config)
        self.layers = nn.ModuleList([Recurrent(*numbers, config) for numbers in plan])
        self.norm = BatchNorm(size, config)
        self.output = Dense(size, len(SYMBOLS))

    def forward(self, spectrograms, steps, training, record):
        """spectrograms: float32 [B, F, 161].  steps: int32 [1], how many exist of the T of F.

        Returns logits [T, B, S]; record(name, activation) sees each of parameters.points.
        """
        x = spectrograms.to(dtype()).transpose(1, 2)[:, None]  # [B, 1, 161, F]
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

    @torch.compiler.disable  # the compiler would write out every step
    def recur(self, x, exists, steps, training, record):
        """The recurrent layers.  x: [T, B, C frequency].  exists: [T, 1].  Returns [T, B, H]."""
        # From the last step that exists to the first; the others stay where they are.
        places = torch.arange(len(x), device=steps.device)
        back = torch.where(places < steps, steps - 1 - places, places)  # [T]
        for index, layer in enumerate(self.layers):
            x = layer(x, exists, back, training)
            record(f"layers.{index}", x)
        return x


def existing(total, missing):
    """[total, 1]: 1, but 0 for the last `missing`.  missing: int [1]."""
    places = torch.arange(total, 0, -1, device=missing.device)
    return (places > missing).to(dtype())[:, None]


def ctc_loss(logits, labels, lengths):
    """Mean over the utterances of CTC's loss; 0, and so its gradient, where it is infinite.

    Graves et al. 2006.  logits: [T, B, S].  labels: int32 [B, L], behind each utterance's end 0.
    lengths: int32 [B], of T.  Returns a scalar.
    """
    losses = F.ctc_loss(
        logits.log_softmax(dim=2),
        labels,
        lengths,
        (labels != 0).sum(dim=1),
        blank=BLANK,
        reduction="none",
        zero_infinity=True,
    )  # [B]
    return losses.sum() / utterances(lengths).clamp(min=1)


def utterances(lengths):
    """How many there are: a process without any has a row of length 0.  lengths: int [B]."""
    return (lengths > 0).sum()
