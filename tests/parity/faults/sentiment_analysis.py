"""Faults of the sequence CNN: see plant.py."""

from tests.parity.edited import Fault

ALL = ("fp64", "fp32", "bf16")
NOT_LOST = ("fp64", "fp32")  # in bf16 rounding hides it

# The greatest of each filter along axis 1, whose gradient goes whole to each of several equals.
WHOLE_TO_EACH = {
    "pytorch": (
        "x = x.unflatten(0, blocks.shape).amax(dim=1)",
        "x = x.unflatten(0, blocks.shape); most = x.amax(1); "
        "total = x.masked_fill(x != most[:, None], 0.0).sum(1); "
        "x = total - (total - most).detach()",
    ),
    "tensorflow": (
        "x = tf.reduce_max(x, axis=1)  # [B, C]",
        "most = tf.reduce_max(x, axis=1); "
        "total = tf.reduce_sum(tf.where(x == most[:, None], x, tf.zeros_like(x)), axis=1); "
        "x = total - tf.stop_gradient(total - most)",
    ),
    "paddlepaddle": (
        "x = F.max_pool2d(x[:, None], [blocks.shape[1], 1])[:, 0, 0]",
        "x = x.max(axis=1)",
    ),
}
ELU = {
    "pytorch": ("F.elu(x + self.bias, alpha=1.0)", "F.relu(x + self.bias)"),
    "tensorflow": ("tf.nn.elu(", "tf.nn.relu("),
    "paddlepaddle": ("F.elu(x + self.bias, alpha=1.0)", "F.relu(x + self.bias)"),
}
TABLE = {
    "pytorch": ("F.embedding(tokens, table)", "F.embedding(tokens % len(self.weight), table)"),
    "tensorflow": ("tf.gather(table, tokens)", "tf.gather(table, tokens % len(self.weight))"),
    "paddlepaddle": ("F.embedding(tokens, table)", "F.embedding(tokens % len(self.weight), table)"),
}
LIKELIER = {
    "pytorch": ("logits.argmax(dim=1)", "(-logits).argmax(dim=1)"),
    "tensorflow": ("tf.argmax(logits", "tf.argmax(-logits"),
    "paddlepaddle": ("logits.argmax(axis=1)", "(-logits).argmax(axis=1)"),
}
ROOT = {
    "pytorch": ("second.sqrt()", "(second / (1.0 - beta2)).sqrt()"),
    "tensorflow": ("tf.sqrt(second)", "tf.sqrt(second / (1.0 - beta2))"),
    "paddlepaddle": ("second.sqrt()", "(second / (1.0 - beta2)).sqrt()"),
}

# {fault: where it shows first, what is edited, the precisions that it must be named in}
FAULTS = {
    # Training.
    "Initialisation": Fault(
        "initial", "parameter/convolutions.1.weight", {"train": [(
            "self.network, parameters, ",
            'self.network, parameters | {"convolutions.1.weight": '
            '1.1 * parameters["convolutions.1.weight"]}, ',
        )]}, ALL,
    ),
    "APadWordBetweenReviews": Fault("step_0000", "activation/embedding", {"model": [TABLE]}, ALL),
    "EmptyPlacesInTheMaximum": Fault(
        "step_0000", "activation/convolutions.0",
        {"model": [("inner == self.empty", "inner != inner")]}, ALL,
    ),
    "ReluForElu": Fault("step_0000", "activation/convolutions.0", {"model": [ELU]}, ALL),
    "BiasBeforeTheHalo": Fault(
        "step_0000", "activation/convolutions.0",
        {"model": [("x + self.bias", "x + 1.01 * self.bias")]},
    ),
    "WindowCentredTheOtherWay": Fault(
        "step_0000", "activation/convolutions.1",
        {"model": [("halo(config)[0] - window // 2", "halo(config)[0] - (window - 1) // 2")]}, ALL,
    ),
    "HaloOffByOne": Fault(
        "step_0000", "activation/convolutions.0",
        {"model": [("self.first = halo(config)[0]", "self.first = halo(config)[0] - 1")]}, ALL,
    ),
    "LabelsTheOtherWay": Fault(
        "step_0000", "loss",
        {"train": [('logits, batch["labels"]', 'logits, 1 - batch["labels"]')]}, ALL,
    ),
    "EqualMaximaEachTakeTheGradient": Fault(
        "step_0000", "gradient/embedding.weight", {"model": [WHOLE_TO_EACH]}, NOT_LOST,
    ),
    # Optimizer.
    "FirstMomentsDecay": Fault(
        "step_0000", "optimizer/first_moment/embedding.weight",
        {"train": [("self.config.adam_beta1", "0.89")]}, ALL,
    ),
    "SecondMomentsDecay": Fault(
        "step_0000", "optimizer/second_moment/embedding.weight",
        {"train": [("self.config.adam_beta2", "0.99")]}, ALL,
    ),
    "SumsWithoutTheirShare": Fault(
        "step_0000", "optimizer/first_moment/embedding.weight",
        {"train": [("share * (1.0 - beta1) * (gradient - first)",
                    "share * (gradient - (1.0 - beta1) * first)")]}, ALL,
    ),
    "EpsilonBesideTheCorrectedRoot": Fault(
        "step_0000", "optimizer/parameter/embedding.weight",
        {"train": [
            ("rate = framework", "self.root = (1.0 - self.config.adam_beta2 ** (step + 1)) ** 0.5"
             "\n        rate = framework"),
            ("self.config.adam_epsilon", "self.config.adam_epsilon * self.root"),
        ]}, ALL,
    ),
    "BiasCorrectionLeftOut": Fault(
        "step_0000", "optimizer/parameter/embedding.weight",
        {"config": [("return config.learning_rate * root", "return config.learning_rate or root")]},
        ALL,
    ),
    "RateOfTheNextStep": Fault(
        "step_0000", "optimizer/parameter/embedding.weight",
        {"train": [("learning_rate(self.config, step)", "learning_rate(self.config, step + 1)")]},
        ALL,
    ),
    "EmbeddingNeverUpdated": Fault(
        "step_0000", "optimizer/parameter/embedding.weight",
        {"train": [("share * rate * first", 'share * rate * first * ("embedding" not in name)')]},
        ALL,
    ),
    "MomentsOfWordsNotInTheBatch": Fault(
        "step_0001", "optimizer/first_moment/embedding.weight",
        {"train": [("(seen > 0)", "(seen > -1)")]}, ALL,
    ),
    "StepsOnAnotherGradient": Fault(
        "step_0000", "optimizer/first_moment/classifier.bias",
        {"train": [("averages = framework.average(gradients, count)",
                    "averages = framework.average(gradients, count); "
                    'averages["classifier.bias"] = 0.99 * averages["classifier.bias"]')]}, ALL,
    ),
    # Evaluation.
    "EvaluationWithoutTheLastBlock": Fault(
        "evaluation_0000", "evaluation/logits",
        {"train": [('batch["blocks"], ignore)', 'batch["blocks"][:, :-1], ignore)')]}, ALL,
    ),
    "TheLessLikelyClass": Fault("evaluation_0000", "evaluation/classes", {"train": [LIKELIER]}),
    "EvaluationWithTheInitialClassifier": Fault(
        "evaluation_0000", "evaluation/logits",
        {"train": [
            ("self.loss = framework", "self.first = self.state()\n        self.loss = framework"),
            ("return tuple(map(", "self.load_state(self.first)\n        return tuple(map("),
        ]}, ALL,
    ),
    # State.
    "SecondMomentsNotRestored": Fault(
        "step_0001", "optimizer/second_moment/embedding.weight",
        {"train": [("framework.load_state(self.network, self.sums,",
                    'framework.load_state(self.network, {"first_moment": '
                    'self.sums["first_moment"]},')]}, ALL,
    ),
    "StateOfAnotherSum": Fault(
        "step_0000", "optimizer/second_moment/embedding.weight",
        {"train": [("framework.dump_state(self.network, self.sums,",
                    "framework.dump_state(self.network, {name: self.sums[\"first_moment\"] "
                    "for name in self.sums},")]}, ALL,
    ),
}  # fmt: skip
