"""Small models written as strangers would: none of them knows recprune."""

import torch
import torch.nn.functional as F
from torch import nn

USERS, ITEMS, WIDTH = 30, 50, 8


class Tied(nn.Module):
    """One table serves the history and the candidates; reserved row 0; scores the whole catalogue by `.weight`."""

    def __init__(self):
        super().__init__()
        self.history = nn.Embedding(ITEMS, WIDTH, padding_idx=0)
        self.item = nn.Embedding(ITEMS, WIDTH, padding_idx=0)
        self.item.weight = self.history.weight
        self.out = nn.Linear(WIDTH, ITEMS, bias=False)
        self.out.weight = self.history.weight

    def forward(self, history, item):
        state = self.history(history).sum(1)
        return (state * self.item(item)).sum(1), self.out(state), state @ self.item.weight.T


class Bags(nn.Module):
    """Bags of three kinds, weights for samples, offsets with and without an end."""

    def __init__(self):
        super().__init__()
        self.sum = nn.EmbeddingBag(ITEMS, WIDTH, mode="sum", include_last_offset=True)
        self.mean = nn.EmbeddingBag(ITEMS, WIDTH, mode="mean", padding_idx=3)
        self.max = nn.EmbeddingBag(ITEMS, WIDTH, mode="max")

    def forward(self, flat, offsets, weights, table):
        first = self.sum(flat, offsets, per_sample_weights=weights)
        return torch.cat([first, self.mean(flat, offsets[:-1]), self.mean(table)[:2], self.max(table)[:2]])


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.item = nn.Embedding(ITEMS, WIDTH)
        self.gru = nn.GRU(WIDTH, 6, num_layers=2, batch_first=True, bidirectional=True)
        self.conv = nn.Conv1d(12, 5, 2)

    def forward(self, history):
        states, last = self.gru(self.item(history))
        return self.conv(states.transpose(1, 2)), last


class Fused(nn.Module):
    """One table for all fields, read at an offset for each (as torchfm does), and a bias table beside it."""

    def __init__(self):
        super().__init__()
        self.register_buffer("offsets", torch.tensor([0, USERS, USERS + ITEMS]))
        self.table = nn.Embedding(USERS + ITEMS + 4, WIDTH, max_norm=1.5)
        self.bias = nn.Embedding(USERS + ITEMS + 4, 1)
        self.tower = nn.Sequential(nn.Linear(3 * WIDTH, 7), nn.BatchNorm1d(7), nn.ReLU(), nn.Linear(7, 1))

    def forward(self, fields):
        rows = fields + self.offsets
        return self.tower(self.table(rows).flatten(1))[:, 0] + self.bias(rows).sum((1, 2))


class Raw(nn.Module):
    """Tables that are plain parameters, read by indexing, index_select, slices and whole."""

    def __init__(self):
        super().__init__()
        self.users = nn.Parameter(torch.randn(USERS, WIDTH))
        self.items = nn.Parameter(torch.randn(ITEMS, WIDTH))
        self.bias = nn.Parameter(torch.randn(ITEMS))
        self.temperature = nn.Parameter(torch.tensor(0.7))
        self.register_buffer("stats", torch.randn(ITEMS, 3))
        self.both = [self.users, self.items]

    def forward(self, user, item):
        state = self.users[user] + self.both[1].index_select(0, item)
        top = torch.cat([self.items[:5], self.items[-2:], self.items[3:4, 2:].repeat(1, 2)[:, :WIDTH]])
        score = (state @ self.items.t() + self.bias) / self.temperature
        return score, top, F.embedding(item, self.stats), self.items[int(item[0])], self.bias[item]


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.item = nn.Embedding(ITEMS, WIDTH, padding_idx=0)
        self.position = nn.Embedding(4, WIDTH)
        self.register_buffer("mask", torch.triu(torch.full((4, 4), float("-inf")), 1))
        self.block = nn.TransformerEncoderLayer(WIDTH, 2, 16, batch_first=True)

    def forward(self, history):
        x = self.item(history) + self.position.weight[None, : history.shape[1]]
        return self.block(x, src_mask=self.mask)[:, -1] @ self.item.weight.T


def numbers(high, *shape):
    return torch.randint(high, shape)


def model_and_input(name):
    """A model in evaluation mode with weights from a seed, and arguments for it."""
    torch.manual_seed(1)
    model = {c.__name__: c for c in (Tied, Bags, Recurrent, Fused, Raw, Attention)}[name]().eval()
    offsets = torch.tensor([0, 3, 3, 9, 12])
    args = {
        "Tied": lambda: (numbers(ITEMS, 5, 4), numbers(ITEMS, 5)),
        "Bags": lambda: (numbers(ITEMS, 12), offsets, torch.rand(12), numbers(ITEMS, 4, 3)),
        "Recurrent": lambda: (numbers(ITEMS, 5, 4),),
        "Fused": lambda: (torch.stack([numbers(USERS, 5), numbers(ITEMS, 5), numbers(4, 5)], 1),),
        "Raw": lambda: (numbers(USERS, 5), numbers(ITEMS, 5)),
        "Attention": lambda: (numbers(ITEMS, 5, 4),),
    }[name]()
    return model, args


NAMES = ("Tied", "Bags", "Recurrent", "Fused", "Raw", "Attention")
