"""A model of your own, made smaller: drop the rows that matter least, store the rest in 4 bits, retrain."""

import torch
from torch import nn

from recprune import Recipe, compress
from recprune.adapters.torch import Batches


class Recommender(nn.Module):
    def __init__(self):
        super().__init__()
        self.user, self.item = nn.Embedding(5000, 32), nn.Embedding(2000, 32)

    def forward(self, user, item):
        return (self.user(user) * self.item(item)).sum(1)


drop, quantize = {"target": "*", "budget": {"uniform": 0.2}}, {"target": "*", "bits": 4}
recipe = Recipe.from_json({"steps": [{"drop_rows": drop}, {"quantize": quantize}, {"retrain": {"epochs": 3}}]})
batches = [((torch.rand(256) ** 3 * 5000).long(), (torch.rand(256) ** 3 * 2000).long()) for _ in range(50)]
data = Batches(batches, loss=lambda model, batch: nn.functional.softplus(-model(*batch)).mean())
small = compress(Recommender(), recipe, data, say=print)
print(f"{small.compression_ratio:.0f} times smaller; scores: {small.model(*batches[0])[:3].tolist()}")
