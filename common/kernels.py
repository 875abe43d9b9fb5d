"""The kinds of problems that kernels are timed on: numbers alone, no framework and no application.

Each kind is a frozen dataclass and has
    kind                    its name in kernels.json
    directions              what can be timed of it: forward; inputs and weights, the gradients of
                            these; backward, where one kernel gives all gradients
    flops(direction)        additions and multiplications that the direct way needs, each one; an
                            exponential, a root or a comparison counts as one too
    bytes(direction, itemsize)   those read and written at the least: each array once, of numbers
                            of `itemsize` bytes; an index has INDEX
    words()                 its sizes in words
A step's list holds Use: a problem, in which direction, how often, in which layer.
"""

from dataclasses import dataclass
from math import prod

FORWARD, INPUTS, WEIGHTS, BACKWARD = "forward", "inputs", "weights", "backward"
GATES = {"vanilla": 1, "gru": 3, "lstm": 4}
INDEX = 8  # bytes
# Of one weight: numbers read, numbers written, operations.  Weight decay is among them.
UPDATES = {"sgd": (3, 2, 6), "adam": (4, 3, 13), "lars": (3, 2, 13),
           "nesterov": (4, 2, 10)}  # and the norm of all gradients, to clip them


@dataclass(frozen=True)
class Use:
    """A kernel that one training step runs."""

    problem: object
    direction: str
    count: int                     # of a step
    layer: str                     # canonical name; of a function without weights its own
    part: str                      # of the step: forward, backward or update
    owns: tuple[str, ...] = ()     # trained weights that stand in the list here, and only here
    shares: tuple[str, ...] = ()   # those that stand elsewhere, and are read here too


@dataclass(frozen=True)
class Gemm:
    """C = op(A) op(B), and + C where it accumulates.  op(A): [batch, m, k]; op(B): [batch, k, n].

    All three directions of a dense layer are products: each is a problem of its own.
    sparsity: the share of A that is 0, and is not stored.
    """

    m: int
    n: int
    k: int
    transpose_a: bool = False      # A is stored as [k, m]
    transpose_b: bool = False      # B is stored as [n, k]
    batch: int = 1
    accumulates: bool = False      # beta = 1
    sparsity: float = 0.0

    kind = "gemm"
    directions = (FORWARD,)

    def flops(self, direction):
        return 2 * self.batch * self.m * self.n * round(self.k * (1.0 - self.sparsity))

    def bytes(self, direction, itemsize):
        stored = round(self.m * self.k * (1.0 - self.sparsity))
        numbers = stored + self.k * self.n + self.m * self.n * (1 + self.accumulates)
        return self.batch * numbers * itemsize

    def words(self):
        names = "NT"[self.transpose_a] + "NT"[self.transpose_b]
        batch = f", batch {self.batch}" if self.batch > 1 else ""
        beta = ", accumulates" if self.accumulates else ""
        sparse = f", {self.sparsity:.0%} zeros" if self.sparsity else ""
        return f"{self.m} x {self.n} x {self.k} {names}{batch}{beta}{sparse}"


@dataclass(frozen=True)
class Convolution:
    """A convolution [batch, channels, height, width] -> [batch, filters, ...]; no bias.

    1-D: dimensions 1, height and its kernel 1.  A transposed convolution's forward is the direction
    `inputs` of the convolution that it turns round, and its gradient of inputs `forward`.
    """

    batch: int
    channels: int
    height: int
    width: int
    filters: int
    kernel_height: int
    kernel_width: int
    stride_height: int = 1
    stride_width: int = 1
    pad_height: int = 0            # on both sides alike
    pad_width: int = 0
    dimensions: int = 2

    kind = "convolution"
    directions = (FORWARD, INPUTS, WEIGHTS)

    def output_height(self):
        return (self.height + 2 * self.pad_height - self.kernel_height) // self.stride_height + 1

    def output_width(self):
        return (self.width + 2 * self.pad_width - self.kernel_width) // self.stride_width + 1

    def flops(self, direction):
        """Alike in all directions; those on zeros of the padding count, as in DeepBench."""
        outputs = self.batch * self.filters * self.output_height() * self.output_width()
        return 2 * outputs * self.channels * self.kernel_height * self.kernel_width

    def bytes(self, direction, itemsize):
        inputs = self.batch * self.channels * self.height * self.width
        outputs = self.batch * self.filters * self.output_height() * self.output_width()
        weights = self.filters * self.channels * self.kernel_height * self.kernel_width
        return (inputs + outputs + weights) * itemsize

    def words(self):
        if self.dimensions == 1:
            size, kernel = f"{self.width}", f"{self.kernel_width}"
            stride, pad = f"{self.stride_width}", f"{self.pad_width}"
        else:
            size, kernel = (f"{self.height} x {self.width}",
                            f"{self.kernel_height} x {self.kernel_width}")
            stride = f"{self.stride_height} x {self.stride_width}"
            pad = f"{self.pad_height} x {self.pad_width}"
        return (f"batch {self.batch}, {self.channels} -> {self.filters} channels, {size}, "
                f"kernel {kernel}, stride {stride}, padding {pad}")


@dataclass(frozen=True)
class Recurrent:
    """One recurrent layer over all its steps.  Backward gives all gradients.

    projects: the product of the inputs is part of it; without, inputs are hidden and added as they
    are, as DeepBench means its lists.  relu: in place of tanh.
    """

    cell: str                      # vanilla, gru or lstm
    hidden: int
    inputs: int
    steps: int
    batch: int
    bidirectional: bool = False
    projects: bool = True
    relu: bool = False

    kind = "recurrent"
    directions = (FORWARD, BACKWARD)

    def flops(self, direction):
        """Of the products alone.  Backward: the gradients of inputs and of weights."""
        features = self.hidden + (self.inputs if self.projects else 0)
        ways = 1 + self.bidirectional
        forward = 2 * GATES[self.cell] * self.hidden * features * self.batch * self.steps * ways
        return forward if direction == FORWARD else 2 * forward

    def bytes(self, direction, itemsize):
        features = self.hidden + (self.inputs if self.projects else 0)
        ways = 1 + self.bidirectional
        weights = ways * GATES[self.cell] * self.hidden * features
        inputs = self.steps * self.batch * self.inputs
        outputs = self.steps * self.batch * self.hidden * ways
        if direction == FORWARD:
            return (weights + inputs + outputs) * itemsize
        return (2 * weights + 2 * inputs + 2 * outputs) * itemsize

    def words(self):
        ways = ", both ways" if self.bidirectional else ""
        own = "" if self.projects else ", inputs added as they are"
        relu = ", ReLU" if self.relu else ""
        return (f"{self.cell} {self.inputs} -> {self.hidden}, {self.steps} steps, "
                f"batch {self.batch}{ways}{own}{relu}")


@dataclass(frozen=True)
class Attention:
    """softmax(Q K^T / sqrt(size) + mask) V, whole.  Backward gives the gradients of Q, K and V."""

    batch: int
    heads: int
    queries: int
    keys: int
    size: int                      # of a head
    causal: bool = False
    masked: bool = False           # a mask [batch, 1, 1, keys] is added to the scores
    dropout: float = 0.0           # share of the weights

    kind = "attention"
    directions = (FORWARD, BACKWARD)

    def flops(self, direction):
        """Of the products, two forward and four backward; a causal one's unseen pairs count."""
        product = 2 * self.batch * self.heads * self.queries * self.keys * self.size
        return 2 * product if direction == FORWARD else 4 * product

    def bytes(self, direction, itemsize):
        numbers = 2 * self.batch * self.heads * (self.queries + self.keys) * self.size
        return (numbers if direction == FORWARD else 2 * numbers) * itemsize

    def words(self):
        causal = ", causal" if self.causal else ""
        mask = ", masked" if self.masked else ""
        dropout = f", dropout {self.dropout:g}" if self.dropout else ""
        return (f"batch {self.batch}, {self.heads} heads of {self.size}, {self.queries} queries, "
                f"{self.keys} keys{causal}{mask}{dropout}")


@dataclass(frozen=True)
class EmbeddingLookup:
    """Rows of a table [rows, size].  Its gradient is dense: as large as the table."""

    rows: int
    size: int
    lookups: int

    kind = "embedding"
    directions = (FORWARD, WEIGHTS)

    def flops(self, direction):
        return 0 if direction == FORWARD else self.lookups * self.size

    def bytes(self, direction, itemsize):
        found = self.lookups * self.size
        numbers = 2 * found if direction == FORWARD else found + self.rows * self.size
        return numbers * itemsize + self.lookups * INDEX

    def words(self):
        return f"{self.lookups} of {self.rows} rows of {self.size}"


@dataclass(frozen=True)
class SoftmaxCrossEntropy:
    """A row's cross-entropy with one class, from logits [rows, classes]; smoothed or not."""

    rows: int
    classes: int
    smoothed: bool = False

    kind = "softmax_cross_entropy"
    directions = (FORWARD, BACKWARD)

    def flops(self, direction):
        """Forward: greatest, difference, exponential, sum.  Backward: quotient, difference."""
        return (4 if direction == FORWARD else 2) * self.rows * self.classes

    def bytes(self, direction, itemsize):
        logits = self.rows * self.classes
        numbers = logits + self.rows if direction == FORWARD else 2 * logits
        return numbers * itemsize + self.rows * INDEX

    def words(self):
        return f"{self.rows} x {self.classes}{', smoothed' if self.smoothed else ''}"


@dataclass(frozen=True)
class Ctc:
    """Connectionist temporal classification of logits [steps, batch, symbols]."""

    batch: int
    steps: int
    symbols: int                   # with the blank
    labels: int                    # of the longest utterance

    kind = "ctc"
    directions = (FORWARD, BACKWARD)

    def flops(self, direction):
        """Of each state of each step: three ways in, added as logarithms; backward the same."""
        return 8 * self.batch * self.steps * (2 * self.labels + 1)

    def bytes(self, direction, itemsize):
        logits = self.batch * self.steps * self.symbols
        numbers = logits + self.batch if direction == FORWARD else 2 * logits
        return numbers * itemsize + self.batch * self.labels * INDEX

    def words(self):
        return (f"batch {self.batch}, {self.steps} steps, {self.symbols} symbols, "
                f"{self.labels} labels")


@dataclass(frozen=True)
class BatchNorm:
    """Batch norm in training of [batch, channels, height, width].  Backward gives all gradients."""

    batch: int
    channels: int
    height: int = 1
    width: int = 1

    kind = "batch_norm"
    directions = (FORWARD, BACKWARD)

    def flops(self, direction):
        """Forward: sum, difference, square, sum, scale, shift.  Backward: the gradient's ten."""
        size = self.batch * self.channels * self.height * self.width
        return (6 if direction == FORWARD else 10) * size

    def bytes(self, direction, itemsize):
        size = self.batch * self.channels * self.height * self.width
        return (2 if direction == FORWARD else 3) * size * itemsize

    def words(self):
        return f"batch {self.batch}, {self.channels} channels, {self.height} x {self.width}"


@dataclass(frozen=True)
class LayerNorm:
    """Layer norm of [rows, size], with scale and offset.  Backward gives all gradients."""

    rows: int
    size: int

    kind = "layer_norm"
    directions = (FORWARD, BACKWARD)

    def flops(self, direction):
        return (6 if direction == FORWARD else 10) * self.rows * self.size

    def bytes(self, direction, itemsize):
        return (2 if direction == FORWARD else 3) * self.rows * self.size * itemsize

    def words(self):
        return f"{self.rows} x {self.size}"


@dataclass(frozen=True)
class Pooling:
    """The greatest or the mean of each window of [batch, channels, height, width].

    pad_before, pad_after: above and to the left; below and to the right.
    """

    batch: int
    channels: int
    height: int
    width: int
    kernel_height: int
    kernel_width: int
    stride_height: int
    stride_width: int
    pad_before: int = 0
    pad_after: int = 0
    greatest: bool = True          # else the mean

    kind = "pooling"
    directions = (FORWARD, BACKWARD)

    def output_height(self):
        padded = self.height + self.pad_before + self.pad_after
        return (padded - self.kernel_height) // self.stride_height + 1

    def output_width(self):
        padded = self.width + self.pad_before + self.pad_after
        return (padded - self.kernel_width) // self.stride_width + 1

    def flops(self, direction):
        outputs = self.batch * self.channels * self.output_height() * self.output_width()
        if direction == BACKWARD and self.greatest:
            return outputs
        return outputs * self.kernel_height * self.kernel_width

    def bytes(self, direction, itemsize):
        inputs = self.batch * self.channels * self.height * self.width
        outputs = self.batch * self.channels * self.output_height() * self.output_width()
        # Which place of a window was the greatest is kept, and read again.
        kept = outputs * INDEX if self.greatest else 0
        return (inputs + outputs) * itemsize + kept

    def words(self):
        return (f"{'max' if self.greatest else 'mean'}, batch {self.batch}, "
                f"{self.channels} channels, {self.height} x {self.width}, kernel "
                f"{self.kernel_height} x {self.kernel_width}, stride "
                f"{self.stride_height} x {self.stride_width}, "
                f"padding {self.pad_before} before, {self.pad_after} after")


@dataclass(frozen=True)
class RoiAlign:
    """Bilinear means of regions, bins x bins each, samples^2 points a bin.  Backward: of the maps.
    """

    batch: int
    channels: int
    maps: tuple[tuple[int, int], ...]  # (height, width) of each level
    regions: int                   # of each picture
    bins: int
    samples: int = 2               # on each side of a bin

    kind = "roi_align"
    directions = (FORWARD, BACKWARD)

    def outputs(self):
        return self.batch * self.regions * self.bins**2 * self.channels

    def flops(self, direction):
        """A point has four corners, each multiplied and added."""
        return 8 * self.samples**2 * self.outputs()

    def bytes(self, direction, itemsize):
        """Forward reads what the regions touch, at the least a number for each it gives."""
        cells = self.batch * self.channels * sum(map(prod, self.maps))
        touched = self.outputs() if direction == FORWARD else cells
        return (self.outputs() + touched) * itemsize

    def words(self):
        maps = ", ".join(f"{height} x {width}" for height, width in self.maps)
        return (f"batch {self.batch}, {self.regions} regions of {self.bins} x {self.bins} bins, "
                f"{self.samples**2} points a bin, {self.channels} channels of {maps}")


@dataclass(frozen=True)
class Suppression:
    """Non-maximum suppression of boxes, sorted by falling score, in each row of a batch."""

    batch: int
    boxes: int
    threshold: float

    kind = "suppression"
    directions = (FORWARD,)

    def flops(self, direction):
        """Of each pair the overlap: its sides, areas, quotient, and whether it is too much."""
        return self.batch * self.boxes * (self.boxes - 1) // 2 * 16

    def bytes(self, direction, itemsize):
        return self.batch * self.boxes * (4 * itemsize + 1)

    def words(self):
        return f"batch {self.batch}, {self.boxes} boxes, over {self.threshold:g}"


@dataclass(frozen=True)
class TopK:
    """The k greatest of each row, in order; k = columns sorts it."""

    rows: int
    columns: int
    k: int

    kind = "top_k"
    directions = (FORWARD,)

    def flops(self, direction):
        """A comparison of each number at the least."""
        return self.rows * self.columns

    def bytes(self, direction, itemsize):
        return self.rows * (self.columns * itemsize + self.k * (itemsize + INDEX))

    def words(self):
        return f"{self.k} of {self.columns}, {self.rows} rows"


@dataclass(frozen=True)
class Elementwise:
    """A chain of operations on numbers one by one.

    name: of CHAINS, which say what it computes.  A chain has one backward, which may be absent
    where the list does not hold it.
    """

    name: str
    size: int

    kind = "elementwise"
    directions = (FORWARD, BACKWARD)

    def flops(self, direction):
        return CHAINS[self.name][direction][2] * self.size

    def bytes(self, direction, itemsize):
        reads, writes, _ = CHAINS[self.name][direction]
        return (reads + writes) * self.size * itemsize

    def words(self):
        return f"{self.name} of {self.size}"


# {name: {direction: (arrays read, arrays written, operations) for each number}}
# relu: max(x, 0).  add: a + b, of which backward is nothing: see the lists.  add_relu:
# max(a + b, 0).  clip: min(max(x, 0), 20).  elu: x where x > 0, else exp(x) - 1.  product: a b.
# dropout: x m / (1 - share), m drawn.  sigmoid_cross_entropy: of a logit and its label.
CHAINS = {
    "relu": {FORWARD: (1, 1, 1), BACKWARD: (2, 1, 1)},
    "add": {FORWARD: (2, 1, 1), BACKWARD: (2, 1, 1)},
    "add_relu": {FORWARD: (2, 1, 2), BACKWARD: (2, 1, 1)},
    "clip": {FORWARD: (1, 1, 2), BACKWARD: (2, 1, 2)},
    "elu": {FORWARD: (1, 1, 3), BACKWARD: (2, 1, 3)},
    "product": {FORWARD: (2, 1, 1), BACKWARD: (3, 2, 2)},
    "dropout": {FORWARD: (1, 2, 3), BACKWARD: (2, 1, 2)},
    "sigmoid_cross_entropy": {FORWARD: (2, 1, 6), BACKWARD: (2, 1, 4)},
}


@dataclass(frozen=True)
class OptimizerUpdate:
    """One update of all weights.  sizes: how many each tensor has."""

    method: str                    # of UPDATES
    sizes: tuple[int, ...]

    kind = "optimizer"
    directions = (FORWARD,)

    def flops(self, direction):
        return UPDATES[self.method][2] * sum(self.sizes)

    def bytes(self, direction, itemsize):
        reads, writes, _ = UPDATES[self.method]
        return (reads + writes) * sum(self.sizes) * itemsize

    def words(self):
        return f"{self.method}, {sum(self.sizes)} weights in {len(self.sizes)} tensors"


@dataclass(frozen=True)
class AllReduce:
    """The sum of as many numbers over all processes.  FLOPs and bytes are one process's."""

    size: int
    processes: int = 2

    kind = "all_reduce"
    directions = (FORWARD,)

    def flops(self, direction):
        return self.size * (self.processes - 1) // self.processes

    def bytes(self, direction, itemsize):
        """Sent and received by a ring."""
        return 4 * self.size * (self.processes - 1) // self.processes * itemsize

    def words(self):
        return f"{self.size} numbers, {self.processes} processes"


def dense(layer, rows, inputs, outputs, weights, first=False, count=1, owner=True):
    """[Use] of a dense layer, x [rows, inputs] weight^T, weight [outputs, inputs], as frameworks
    with such weights run it: forward NT, the gradient of inputs NN, that of weights TN.

    weights: their names.  first: its inputs need no gradient.  owner: they stand nowhere else.
    """
    names = {"owns" if owner else "shares": tuple(weights)}
    forward = Gemm(rows, outputs, inputs, False, True)
    of_inputs = Gemm(rows, inputs, outputs)
    of_weights = Gemm(outputs, inputs, rows, True, False)
    uses = [Use(forward, FORWARD, count, layer, "forward", **names)]
    if not first:
        uses.append(Use(of_inputs, FORWARD, count, layer, "backward"))
    return uses + [Use(of_weights, FORWARD, count, layer, "backward")]


def convolution(layer, problem, weights, first=False, count=1, owner=True, trained=True):
    """[Use] of a convolution.  See dense.  trained: else no gradient of its weights is taken."""
    names = {"owns" if owner else "shares": tuple(weights)} if trained else {}
    uses = [Use(problem, FORWARD, count, layer, "forward", **names)]
    if not first:
        uses.append(Use(problem, INPUTS, count, layer, "backward"))
    if trained:
        uses.append(Use(problem, WEIGHTS, count, layer, "backward"))
    return uses


def both(layer, problem, weights=(), count=1):
    """[Use] forward and backward of what has one backward."""
    return [Use(problem, FORWARD, count, layer, "forward", tuple(weights)),
            Use(problem, BACKWARD, count, layer, "backward")]


def updates(specification, method, more=0):
    """[Use] of the optimizer, and of the all-reduce of all gradients where there are processes.

    more: numbers that travel with the gradients.
    """
    sizes = {name: prod(one.shape) for name, one in specification.items() if one.trained}
    update = OptimizerUpdate(method, tuple(sizes.values()))
    return [Use(update, FORWARD, 1, "optimizer", "update", shares=tuple(sizes)),
            Use(AllReduce(sum(sizes.values()) + more), FORWARD, 0, "all_reduce", "update")]


def total_flops(uses):
    """FLOPs of a step's products: those that counters count."""
    counted = ("gemm", "convolution", "recurrent", "attention")
    return sum(use.count * use.problem.flops(use.direction) for use in uses
               if use.problem.kind in counted)
