"""SASRec in plain PyTorch at its best.

Attention is fused, without a mask; the softmax is full, at known positions; AdamW is fused.
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy, scaled_dot_product_attention

from benchmarks.peers.torch_device import DEVICE, on_device, wait


class Block(nn.Module):
    """Pre-norm attention that looks backwards, then two layers of the same width.

    Source: the SASRec paper.
    """

    def __init__(self, width: int, heads: int, dropout: float):
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.norm_wide = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.wide = nn.Sequential(
            nn.Linear(width, width),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(width, width),
            nn.Dropout(dropout),
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, L, D] to the same."""
        rows, length, width = x.shape
        shape = (rows, length, 3, self.heads, width // self.heads)
        qkv = self.qkv(self.norm(x)).view(shape)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        mixed = scaled_dot_product_attention(query, key, value, is_causal=True)
        mixed = mixed.transpose(1, 2)
        mixed = mixed.reshape(rows, length, width)
        x = x + self.dropout(self.out(mixed))
        return x + self.wide(self.norm_wide(x))


class SASRec(nn.Module):
    """Token and place embeddings, blocks, and scores against the same item table.

    Row 0 of the table is padding and the start.
    """

    def __init__(
        self,
        items: int,
        length: int,
        width: int,
        heads: int,
        layers: int,
        dropout: float,
    ):
        super().__init__()
        self.item = nn.Embedding(items + 1, width)
        self.place = nn.Embedding(length, width)
        nn.init.normal_(self.item.weight, std=width**-0.5)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.Sequential(
            *[Block(width, heads, dropout) for _ in range(layers)]
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, token: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
        """Scores [known positions, items] of tokens [B, L]."""
        x = self.dropout(self.item(token) + self.place.weight[: token.shape[1]])
        return self.norm(self.blocks(x))[known] @ self.item.weight[1:].T


def windows(shop: Any, length: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens and targets int64 [U, length]: every event is a target.

    They are padded at the end, by token 0 and target -1.
    """
    user = shop["user"]
    item = shop["item"]
    column = np.arange(len(user)) - np.searchsorted(user, user)
    target = np.full((int(shop["users"]), length), -1, np.int64)
    target[user, column] = item
    token = np.zeros_like(target)
    token[:, 1:] = target[:, :-1] + 1
    return on_device(token), on_device(target)


def epoch(options: dict[str, str]) -> Callable[[], dict[str, float]]:
    """A number of steps of a shuffled epoch, scaled to the whole.

    `form` is eager, compiled, or bfloat16 (compiled, with autocast).
    """
    shop = np.load(options["data"])
    batch = int(options["batch"])
    steps = int(options["steps"])
    shape = {
        name: int(options[name]) for name in ("length", "width", "heads", "layers")
    }
    token, target = windows(shop, shape["length"])
    model = SASRec(int(shop["items"]), dropout=float(options["dropout"]), **shape)
    model.to(DEVICE)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.001, fused=True)
    is_eager = options["form"] == "eager"
    scores = model if is_eager else torch.compile(model, dynamic=True)
    is_short = options["form"] == "bfloat16"
    whole = -(-len(token) // batch)

    def work() -> dict[str, float]:
        begin = perf_counter()
        done = min(steps, whole)
        order = torch.randperm(len(token), device=DEVICE)
        for rows in order.split(batch)[:done]:
            known = target[rows] >= 0
            positive = target[rows][known]
            with torch.autocast(DEVICE, torch.bfloat16, enabled=is_short):
                found = scores(token[rows], known)
            loss = cross_entropy(found.float(), positive)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
        wait()
        taken = perf_counter() - begin
        return {"seconds": taken * whole / done, "step": taken / done, "steps": whole}

    return work
