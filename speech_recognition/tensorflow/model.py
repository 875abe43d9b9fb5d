"""Deep Speech 2 in TensorFlow.  Amodei et al. 2015, sec. 3; the reference's model.py.

Attribute paths are the canonical names of parameters.py.  Nothing exists beyond a batch's `steps`:
there all activations are zero, no statistic counts them, and the backward direction starts before
them.  Of an utterance's own end the network is not told, as in the reference.
B batch, F frames, T time steps, C channels, D directions, H hidden size, S symbols.
"""

import tensorflow as tf

from common.errors import UserError
from common.frameworks.tensorflow import buffer, compute_dtype, dtype, parameter
from speech_recognition.alphabet import BLANK, SYMBOLS
from speech_recognition.config import KERNELS, STRIDES, is_fused
from speech_recognition.features import num_steps
from speech_recognition.parameters import layer_plan


class BatchNorm(tf.Module):
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

    def __call__(self, x, exists, training):
        """x: [..., T, C].  exists: [T, 1], 1 or 0.

        Returns the same shape, zero where no step exists; training moves the statistics.
        """
        x = tf.cast(x, dtype())
        mean = self.running_mean
        if training:
            count = tf.reduce_sum(exists) * tf.cast(tf.reduce_prod(tf.shape(x)[:-2]), dtype())
            mean = tf.reduce_sum(_over_rows(x) * exists, 0) / count  # [C]
        x = (x - mean) * exists  # centred
        var = self.running_var
        if training:
            var = tf.reduce_sum(_over_rows(tf.square(x)), 0) / count  # [C]
            for running, value in (
                (self.running_mean, mean),
                (self.running_var, var * (count / tf.maximum(count - 1.0, 1.0))),
            ):
                running.assign_add((1.0 - self.momentum) * (value - running))
        scale = self.weight * tf.math.rsqrt(var + self.epsilon)
        return x * scale + self.bias * exists


def _over_rows(x):
    """x: [..., T, C].  Returns its sum over all axes before, [T, C]."""
    for _ in range(x.shape.rank - 2):
        x = tf.reduce_sum(x, 0)  # one by one: TensorFlow's sum over several loses two digits
    return x


class Convolution(tf.Module):
    """A convolution over frequency and time without padding, batch norm, a clip to 0..20."""

    def __init__(self, in_channels, kernel_size, stride, config):
        super().__init__()
        channels = config.conv_channels
        self.weight = parameter("weight", [channels, in_channels, *kernel_size])
        self.bias = parameter("plain", [channels])
        self.norm = BatchNorm(channels, config)
        self.stride = stride

    def __call__(self, x, missing, training):
        """x: [B, frequency, time, C].  missing: int [1], how many steps at the end do not exist.

        Returns [B, less frequency, less time, C].
        """
        x, weight, bias = (tf.cast(y, compute_dtype()) for y in (x, self.weight, self.bias))
        # Batch norm takes the bias out again: its gradient would be nothing but rounding.
        x = tf.nn.conv2d(x, weight, self.stride, "VALID") + tf.stop_gradient(bias)
        exists = existing(tf.shape(x)[2], missing)
        x = self.norm(x, exists, training)  # [B, frequency, T, C]
        return tf.clip_by_value(x, 0.0, 20.0)


class Recurrent(tf.Module):
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
        self.by_kernel = is_fused(config) and not config.compile  # XLA has no such kernel
        if self.by_kernel and config.device == "cpu":
            raise UserError("recurrence=fused: TensorFlow has such a kernel on GPUs alone. "
                            "Leave it at auto.")

    def __call__(self, x, exists, back, training):
        """x: [T, B, in].  exists: [T, 1].  back: int64 [T], the backward direction's order.

        Returns [T, B, H], zero where no step exists.
        """
        if self.norm:
            x = _turned(self.norm(_turned(x), exists, training))
        x = tf.stack([x, tf.gather(x, back)][: self.directions])  # [D, T, B, in]
        states = self.kernel(x) if self.by_kernel else self.steps(x)  # [D, T, B, H]
        x = states[0]
        if self.directions == 2:
            x = x + tf.gather(states[1], back)  # [T, B, H]
        return x * exists[:, :, None]

    def steps(self, x):
        """All steps one by one, both directions side by side.  x: [D, T, B, in]."""
        tensors = (x, self.input_weight, self.input_bias)
        rows, weight, bias = (tf.cast(y, compute_dtype()) for y in tensors)
        rows = tf.reshape(rows, [self.directions, -1, x.shape[3]])
        products = tf.matmul(rows, weight, transpose_b=True) + bias[:, None]  # [D, T B, 3 H]
        shape = [self.directions, *tf.unstack(tf.shape(x)[1:3]), weight.shape[1]]
        products = tf.reshape(products, shape)
        products = tf.cast(products, dtype())
        return Recurrence._apply(products, self.hidden_weight, self.hidden_bias)

    def kernel(self, x):
        """The same by the framework's own kernel, once for each direction.  x: [D, T, B, in]."""
        steps, batch = tf.unstack(tf.shape(x)[1:3])
        tensors = (self.input_weight, self.hidden_weight, self.input_bias, self.hidden_bias)
        x, *tensors = (tf.unstack(tf.cast(y, compute_dtype())) for y in (x, *tensors))
        start = tf.zeros([1, batch, self.hidden_weight.shape[2]], compute_dtype())
        outputs = [
            tf.raw_ops.CudnnRNNV3(
                input=one,
                input_h=start,
                input_c=tf.zeros([], compute_dtype()),
                params=tf.concat([tf.reshape(weight, [-1]) for weight in weights], 0),
                sequence_lengths=tf.fill([batch], steps),
                rnn_mode="gru",
            ).output
            for one, *weights in zip(x, *tensors)
        ]
        return [tf.cast(output, dtype()) for output in outputs]


class Recurrence:
    """The steps of a recurrent layer, with a backward pass by hand: one product a step each way.

    All else of the backward pass is done for all steps at once, the recurrent weight's gradient
    too.
    """

    @staticmethod
    def forward(ctx, products, weight, bias):
        """products: [D, T, B, 3 H], of the inputs, with their bias.  weight: [D, 3 H, H].

        bias: [D, 3 H].  Returns [D, T, B, H].
        """
        directions, batch, size = weight.shape[0], tf.shape(products)[2], weight.shape[2]
        turned = tf.transpose(weight, [0, 2, 1])  # or each product would turn it anew
        start = tf.zeros([directions, batch, size], products.dtype)

        def step(before, new):
            now = tf.matmul(before[-1], turned) + bias[:, None]
            gates = tf.sigmoid(now[..., : 2 * size] + new[..., : 2 * size])
            reset, update = tf.split(gates, 2, axis=2)
            hidden = now[..., 2 * size :]
            candidate = tf.tanh(new[..., 2 * size :] + reset * hidden)
            state = candidate + update * (before[-1] - candidate)
            return reset, update, hidden, candidate, state

        saved = tf.scan(step, tf.transpose(products, [1, 0, 2, 3]), (start,) * 5)
        ctx.saved_tensors = weight, *saved
        return tf.transpose(saved[-1], [1, 0, 2, 3])

    @staticmethod
    def backward(ctx, gradient):
        """gradient: [D, T, B, H].  Returns those of products, weight and bias."""
        weight, reset, update, hidden, candidates, states = ctx.saved_tensors
        directions, size = weight.shape[0], weight.shape[2]
        steps, _, batch = tf.unstack(tf.shape(states)[:3])
        start = tf.zeros_like(states[0])
        before = tf.concat([start[None], states[:-1]], 0)
        # What a state's gradient is multiplied by to give that of each gate's sum.
        candidate_factors = (1.0 - update) * (1.0 - tf.square(candidates))
        factors = tf.stack(
            [
                candidate_factors * hidden * reset * (1.0 - reset),
                (before - candidates) * update * (1.0 - update),
                candidate_factors * reset,
            ],
            axis=3,
        )  # [T, D, B, 3, H]

        def step(later, here):
            gradient, factors, update = here
            now = gradient + later[1]
            sums = tf.reshape(factors * now[:, :, None], [directions, batch, 3 * size])
            return now, now * update + tf.matmul(sums, weight)

        here = (tf.transpose(gradient, [1, 0, 2, 3]), factors, update)
        state_gradients, _ = tf.scan(step, here, (start, start), reverse=True)
        sums = factors * state_gradients[:, :, :, None]  # [T, D, B, 3, H]
        candidate_sums = candidate_factors * state_gradients
        product_gradient = tf.concat([sums[..., :2, :], candidate_sums[:, :, :, None]], 3)
        sums, product_gradient, before = (
            tf.reshape(tf.transpose(x, [1, 0, 2, *range(3, x.shape.rank)]), [directions, -1, width])
            for x, width in ((sums, 3 * size), (product_gradient, 3 * size), (before, size))
        )  # [D, T B, ...]
        weight_gradient = tf.matmul(sums, before, transpose_a=True)
        bias_gradient = tf.reduce_sum(sums, 1)
        shape = [directions, steps, batch, 3 * size]
        return tf.reshape(product_gradient, shape), weight_gradient, bias_gradient

    @classmethod
    def _apply(cls, *tensors):
        """The result of forward, whose gradient backward gives.  ctx: where it finds the tensors.
        """

        @tf.custom_gradient
        def apply(*tensors):
            ctx = cls()
            return cls.forward(ctx, *tensors), lambda gradient: cls.backward(ctx, gradient)

        return apply(*tensors)


class Dense(tf.Module):
    """A fully connected layer without bias."""

    def __init__(self, in_features, out_features):
        super().__init__()
        self.weight = parameter("weight", [out_features, in_features])

    def __call__(self, x):
        """x: [T, B, in].  Returns [T, B, out]."""
        x, weight = (tf.cast(y, compute_dtype()) for y in (x, self.weight))
        return tf.tensordot(x, weight, 1)


class DeepSpeech(tf.Module):
    """The whole network: convolutions, recurrent layers, batch norm, a linear layer."""

    def __init__(self, config):
        super().__init__()
        channels, size = config.conv_channels, config.hidden_size
        plan = zip((1, channels), KERNELS, STRIDES)
        self.convolutions = [Convolution(*numbers, config) for numbers in plan]
        plan = layer_plan(config)
        self.layers = [Recurrent(*numbers, config) for numbers in plan]
        self.norm = BatchNorm(size, config)
        self.output = Dense(size, len(SYMBOLS))

    def __call__(self, spectrograms, steps, training, record):
        """spectrograms: float32 [B, F, 161].  steps: int32 [1], how many exist of the T of F.

        Returns logits [T, B, S]; record(name, activation) sees each of parameters.points.
        """
        x = tf.transpose(tf.cast(spectrograms, dtype()), [0, 2, 1])[..., None]  # [B, 161, F, 1]
        missing = num_steps(tf.shape(x)[2]) - steps
        for index, convolution in enumerate(self.convolutions):
            x = convolution(x, missing, training)
            record(f"convolutions.{index}", x)
        _, frequencies, _, channels = x.shape
        x = tf.transpose(x, [2, 0, 3, 1])
        x = tf.reshape(x, [*tf.unstack(tf.shape(x)[:2]), channels * frequencies])
        exists = existing(tf.shape(x)[0], missing)
        x = self.recur(x, exists, steps, training, record)  # [T, B, H]
        x = _turned(self.norm(_turned(x), exists, training))
        record("norm", x)
        logits = self.output(x)  # [T, B, S]
        record("logits", logits)
        return logits

    def recur(self, x, exists, steps, training, record):
        """The recurrent layers.  x: [T, B, C frequency].  exists: [T, 1].  Returns [T, B, H]."""
        # From the last step that exists to the first; the others stay where they are.
        places = tf.range(tf.shape(x)[0])
        back = tf.where(places < steps, steps - 1 - places, places)  # [T]
        for index, layer in enumerate(self.layers):
            x = layer(x, exists, back, training)
            record(f"layers.{index}", x)
        return x


def existing(total, missing):
    """[total, 1]: 1, but 0 for the last `missing`.  missing: int [1]."""
    places = tf.range(total, 0, -1)
    return tf.cast(places > missing, dtype())[:, None]


def _turned(x):
    """Steps first to utterances first, and back.  x: [T, B, ...]."""
    return tf.transpose(x, [1, 0, 2])


def ctc_loss(logits, labels, lengths):
    """Mean over the utterances of CTC's loss; 0, and so its gradient, where it is infinite.

    Graves et al. 2006.  logits: [T, B, S].  labels: int32 [B, L], behind each utterance's end 0.
    lengths: int32 [B], of T.  Returns a scalar.
    """
    losses = _ctc_losses(
        tf.nn.log_softmax(logits, axis=2),
        labels,
        lengths,
        tf.math.count_nonzero(labels, axis=1, dtype=tf.int32),
    )  # [B]
    return tf.reduce_sum(losses) / tf.cast(tf.maximum(utterances(lengths), 1), losses.dtype)


NEVER = -1e30  # the logarithm of 0, but for its gradient, which is a number


def _ctc_losses(log_probabilities, labels, lengths, num_labels):
    """The loss of each utterance, [B].  TensorFlow's own has no float64.

    Sec. 4.1 in logarithms.  P places: the labels with a blank before each and behind the last.
    """
    blanks = tf.fill(tf.shape(labels), BLANK)
    symbols = tf.reshape(tf.stack([blanks, labels], 2), [tf.shape(labels)[0], -1])
    symbols = tf.pad(symbols, [[0, 0], [0, 1]], constant_values=BLANK)  # [B, P]
    # A blank may be left out, but not between equal labels.
    skips = symbols != _later(symbols, 2, BLANK)
    heard = tf.gather(_turned(log_probabilities), symbols, axis=2, batch_dims=1)  # [B, T, P]
    exists = tf.range(tf.shape(heard)[1])[:, None] < lengths  # [T, B]

    def step(before, now):
        heard, exists = now
        twice = tf.where(skips, _later(before, 2, NEVER), NEVER)
        ways = tf.stack([before, _later(before, 1, NEVER), twice])
        return tf.where(exists, tf.reduce_logsumexp(ways, axis=0) + heard, before)

    places = tf.range(tf.shape(symbols)[1])
    start = tf.where(tf.fill(tf.shape(symbols), True) & (places == 0), 0.0, NEVER)
    now = _turned(heard), exists[:, :, None]
    sums = tf.foldl(step, now, tf.cast(start, heard.dtype))  # [B, P]
    behind = places - 2 * num_labels[:, None]
    is_end = (behind == 0) | (behind == -1)
    sums = tf.reduce_logsumexp(tf.where(is_end, sums, NEVER), axis=1)
    losses = tf.where(sums > NEVER / 2.0, -sums, 0.0)
    # reduce_logsumexp may leave a NaN out: it stays, by what the losses are made of.
    return losses + tf.stop_gradient(0.0 * tf.reduce_sum(heard, axis=[1, 2]))


def _later(x, count, first):
    """x: [B, P].  Returns the same shape: moved on by so many places, `first` before them."""
    return tf.pad(x, [[0, 0], [count, 0]], constant_values=first)[:, :-count]


def utterances(lengths):
    """How many there are: a process without any has a row of length 0.  lengths: int [B]."""
    return tf.math.count_nonzero(lengths, dtype=tf.int32)
