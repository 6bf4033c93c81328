"""The devices of this machine: what is told of one holds on each."""

import torch

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
FASTEST = DEVICES[-1]
