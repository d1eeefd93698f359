"""NeuMF in plain PyTorch, as fast as it goes.

Tensors are resident, negatives drawn in place, and Adam is fused.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from benchmarks.peers.torch_device import DEVICE, on_device, wait

NEGATIVES = 4
SIZE = 32


class NeuMF(nn.Module):
    """GMF of 32 beside an MLP 64-32-16 over embeddings of 32 + 32."""

    def __init__(self, users: int, items: int, sparse: bool):
        super().__init__()
        self.user_gmf = nn.Embedding(users, SIZE, sparse=sparse)
        self.user_mlp = nn.Embedding(users, SIZE, sparse=sparse)
        self.item_gmf = nn.Embedding(items, SIZE, sparse=sparse)
        self.item_mlp = nn.Embedding(items, SIZE, sparse=sparse)
        self.first_user = nn.Linear(SIZE, 64)
        self.first_item = nn.Linear(SIZE, 64, bias=False)
        self.tower = nn.Sequential(
            nn.ReLU(),
            nn.Linear(64, 32),
            nn.ReLU(),
            nn.Linear(32, 16),
            nn.ReLU(),
        )
        self.output = nn.Linear(SIZE + 16, 1)
        for table in (self.user_gmf, self.user_mlp, self.item_gmf, self.item_mlp):
            nn.init.normal_(table.weight, std=0.01)

    def forward(self, user: torch.Tensor, item: torch.Tensor) -> torch.Tensor:
        """Scores [B, C] of items [B, C] for users [B].

        The user's part of the first layer is computed once.
        """
        product = self.user_gmf(user)[:, None] * self.item_gmf(item)
        user_part = self.first_user(self.user_mlp(user))[:, None]
        item_part = self.first_item(self.item_mlp(item))
        tower = self.tower(user_part + item_part)
        return self.output(torch.cat([product, tower], -1))[..., 0]


def _optimizers(model: NeuMF, sparse: bool) -> list[torch.optim.Optimizer]:
    if not sparse:
        return [torch.optim.Adam(model.parameters(), lr=0.002, fused=True)]
    tables = []
    rest = []
    for name, parameter in model.named_parameters():
        if "mlp.weight" in name or "gmf.weight" in name:
            tables.append(parameter)
        else:
            rest.append(parameter)
    return [
        torch.optim.SparseAdam(tables, lr=0.002),
        torch.optim.Adam(rest, lr=0.002, fused=True),
    ]


def epoch(options: dict[str, str]) -> Callable[[], None]:
    """One epoch; `form` is eager, compiled or sparse (gradients of the tables)."""
    shop = np.load(options["data"])
    sparse = options["form"] == "sparse"
    batch = int(options["batch"])
    user = on_device(shop["user"])
    item = on_device(shop["item"])
    items = int(shop["items"])
    model = NeuMF(int(shop["users"]), items, sparse).to(DEVICE)
    optimizers = _optimizers(model, sparse)
    scores = torch.compile(model) if options["form"] == "compiled" else model
    label = torch.zeros(batch, 1 + NEGATIVES, device=DEVICE)
    label[:, 0] = 1

    def work() -> None:
        order = torch.randperm(len(user), device=DEVICE)
        total = torch.zeros((), device=DEVICE)
        for rows in order.split(batch):
            drawn = torch.randint(items, (len(rows), NEGATIVES), device=DEVICE)
            candidates = torch.cat([item[rows][:, None], drawn], 1)
            logits = scores(user[rows], candidates)
            loss = binary_cross_entropy_with_logits(logits, label[: len(rows)])
            for optimizer in optimizers:
                optimizer.zero_grad(set_to_none=True)
            loss.backward()
            for optimizer in optimizers:
                optimizer.step()
            total += loss.detach()
        wait()

    return work


def ranking(options: dict[str, str]) -> Callable[[], None]:
    """The place of every user's held-out item among the items not seen, in blocks of users."""
    shop = np.load(options["data"])
    block = int(options["block"])
    users = int(shop["users"])
    items = int(shop["items"])
    model = NeuMF(users, items, sparse=False).eval().to(DEVICE)
    start = np.searchsorted(shop["user"], np.arange(users + 1))
    seen = on_device(shop["item"])
    test = on_device(shop["test"])
    row = on_device(shop["user"])
    everything = torch.arange(items, device=DEVICE)[None]

    @torch.inference_mode()
    def work() -> None:
        places = []
        for begin in range(0, users, block):
            end = min(begin + block, users)
            who = torch.arange(begin, end, device=DEVICE)
            scores = model(who, everything)
            own = scores.gather(1, test[who][:, None])
            part = slice(start[begin], start[end])
            scores[row[part] - begin, seen[part]] = -torch.inf
            places.append((scores > own).sum(1))
        torch.cat(places)
        wait()

    return work
