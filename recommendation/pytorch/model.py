"""NeuMF in PyTorch.  He et al. 2017, "Neural Collaborative Filtering", sec. 3.4.

Attribute paths are the canonical names of parameters.py.
B pairs of a user and an item, D vector size.
"""

import torch
import torch.nn.functional as F
from torch import nn

from common.frameworks.pytorch import parameter


class Embedding(nn.Module):
    """A vector for each of so many users or items."""

    def __init__(self, rows, size):
        super().__init__()
        self.weight = parameter("plain", [rows, size])

    def forward(self, numbers):
        """numbers: int64 [B].  Returns [B, size]; the gradient is dense, a row for every number."""
        return F.embedding(numbers, self.weight)


class Dense(nn.Module):
    """A fully connected layer with bias."""

    def __init__(self, in_features, out_features):
        super().__init__()
        self.weight = parameter("weight", [out_features, in_features])
        self.bias = parameter("plain", [out_features])

    def forward(self, features):
        """features: [B, in].  Returns [B, out]."""
        return F.linear(features, self.weight, self.bias)


class NeuMF(nn.Module):
    """Matrix factorisation beside a multilayer perceptron, on vectors of their own.  Paper, fig. 3.
    """

    def __init__(self, config):
        super().__init__()
        vector_size = config.mlp_sizes[0] // 2
        self.mf_user = Embedding(config.num_users, config.mf_size)
        self.mf_item = Embedding(config.num_items, config.mf_size)
        self.mlp_user = Embedding(config.num_users, vector_size)
        self.mlp_item = Embedding(config.num_items, vector_size)
        sizes = zip(config.mlp_sizes, config.mlp_sizes[1:])
        self.mlp = nn.ModuleList([Dense(*pair) for pair in sizes])
        self.output = Dense(config.mf_size + config.mlp_sizes[-1], 1)

    def forward(self, users, items, record):
        """users, items: int64 [B].  Returns logits [B]; record(name, activation) sees each."""
        mf = self.mf_user(users) * self.mf_item(items)  # [B, mf_size]
        record("mf", mf)
        x = torch.cat([self.mlp_user(users), self.mlp_item(items)], dim=1)  # [B, mlp_sizes[0]]
        record("mlp_input", x)
        for index, layer in enumerate(self.mlp):
            x = F.relu(layer(x))  # [B, mlp_sizes[index + 1]]
            record(f"mlp.{index}", x)
        x = torch.cat([mf, x], dim=1)  # [B, mf_size + mlp_sizes[-1]]
        logits = self.output(x)[:, 0]  # [B]
        record("logits", logits)
        return logits


def binary_cross_entropy(logits, labels):
    """Mean over the batch of the cross-entropy of yes and no.  Paper, eq. 7.

    logits, labels: [B].  Returns a scalar.
    """
    return F.binary_cross_entropy_with_logits(logits, labels)
