"""NeuMF in plain PyTorch, as fast as it goes: tensors resident, negatives drawn in place, fused Adam."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

NEGATIVES, SIZE = 4, 32


class NeuMF(nn.Module):
    """GMF of 32 beside an MLP 64-32-16 over embeddings of 32 + 32."""

    def __init__(self, users: int, items: int, sparse: bool):
        super().__init__()
        self.user_gmf, self.user_mlp = (
            nn.Embedding(users, SIZE, sparse=sparse) for _ in range(2)
        )
        self.item_gmf, self.item_mlp = (
            nn.Embedding(items, SIZE, sparse=sparse) for _ in range(2)
        )
        self.first_user, self.first_item = (
            nn.Linear(SIZE, 64),
            nn.Linear(SIZE, 64, bias=False),
        )
        self.tower = nn.Sequential(
            nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 16), nn.ReLU()
        )
        self.output = nn.Linear(SIZE + 16, 1)
        for table in (self.user_gmf, self.user_mlp, self.item_gmf, self.item_mlp):
            nn.init.normal_(table.weight, std=0.01)

    def forward(self, user: torch.Tensor, item: torch.Tensor) -> torch.Tensor:
        """Scores [B, C] of items [B, C] for users [B]; the user's part of the first layer is computed once."""
        product = self.user_gmf(user)[:, None] * self.item_gmf(item)
        first = self.first_user(self.user_mlp(user))[:, None] + self.first_item(
            self.item_mlp(item)
        )
        return self.output(torch.cat([product, self.tower(first)], -1))[..., 0]


def _optimizers(model: NeuMF, sparse: bool) -> list[torch.optim.Optimizer]:
    tables = [
        p
        for name, p in model.named_parameters()
        if "mlp.weight" in name or "gmf.weight" in name
    ]
    if not sparse:
        return [torch.optim.Adam(model.parameters(), lr=0.002, fused=True)]
    rest = [p for p in model.parameters() if all(p is not table for table in tables)]
    return [
        torch.optim.SparseAdam(tables, lr=0.002),
        torch.optim.Adam(rest, lr=0.002, fused=True),
    ]


def epoch(options: dict[str, str]) -> Callable[[], None]:
    """One epoch; `form` is eager, compiled or sparse (gradients of the tables)."""
    shop, sparse, batch = (
        np.load(options["data"]),
        options["form"] == "sparse",
        int(options["batch"]),
    )
    user, item = (
        torch.from_numpy(shop[name].astype(np.int64)) for name in ("user", "item")
    )
    items = int(shop["items"])
    model = NeuMF(int(shop["users"]), items, sparse)
    optimizers = _optimizers(model, sparse)
    scores = torch.compile(model) if options["form"] == "compiled" else model
    label = torch.cat([torch.ones(batch, 1), torch.zeros(batch, NEGATIVES)], 1)

    def work() -> None:
        order = torch.randperm(len(user))
        total = torch.zeros(())
        for rows in order.split(batch):
            drawn = torch.randint(items, (len(rows), NEGATIVES))
            candidates = torch.cat([item[rows][:, None], drawn], 1)
            loss = binary_cross_entropy_with_logits(
                scores(user[rows], candidates), label[: len(rows)]
            )
            for optimizer in optimizers:
                optimizer.zero_grad(set_to_none=True)
            loss.backward()
            for optimizer in optimizers:
                optimizer.step()
            total += loss.detach()

    return work


def ranking(options: dict[str, str]) -> Callable[[], None]:
    """The place of every user's held-out item among all items that the user has not seen, in blocks of users."""
    shop, block = np.load(options["data"]), int(options["block"])
    users, items = int(shop["users"]), int(shop["items"])
    model = NeuMF(users, items, sparse=False).eval()
    start = np.searchsorted(shop["user"], np.arange(users + 1))
    seen, test = (
        torch.from_numpy(shop["item"].astype(np.int64)),
        torch.from_numpy(shop["test"].astype(np.int64)),
    )
    row = torch.from_numpy(shop["user"].astype(np.int64))
    everything = torch.arange(items)[None]

    @torch.inference_mode()
    def work() -> None:
        places = []
        for begin in range(0, users, block):
            who = torch.arange(begin, min(begin + block, users))
            scores = model(who, everything)
            own = scores.gather(1, test[who][:, None])
            part = slice(start[begin], start[who[-1] + 1])
            scores[row[part] - begin, seen[part]] = -torch.inf
            places.append((scores > own).sum(1))
        torch.cat(places)

    return work
