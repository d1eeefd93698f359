"""What the devices learn from: the log, placed once or streamed, and examples call by call."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ancf_jax.batching.negatives import with_bits
from ancf_jax.machine.parallel import (
    assemble,
    largest,
    lay,
    local_range,
    several_processes,
)
from ancf_jax.machine.sizes import steps_per_call
from ancf_jax.models.protocol import NeuralModel
from ancf_jax.prepared import Prepared
from ancf_jax.training.examples import epoch_order, examples_of, padded
from ancf_jax.training.stream import Stream, lanes
from ancf_jax.types import EventLog


class Call(NamedTuple):
    """What one call of the program gets.

    Attributes:
        log: the events.
        examples: int32 [devices, S, b, ...] of the steps, -1 padded.
        steps: how many of the S steps are to be done.
    """

    log: EventLog
    examples: Any
    steps: int


@dataclass(frozen=True)
class Feed:
    """The training events, and the order in which the devices get them.

    Attributes:
        log: the events, on every device; NumPy columns where they are streamed.
        examples: int32 [N] event numbers, or windows [R, L] of them; None where they are streamed.
        window: length of the windows that are examples; 0 where an example is one event.
        min_batch_size: examples of a step over all devices, before they are rounded up.
        stream_events: about how many events a device holds at a time, where they are streamed; 0
            for all.
        seed: of the run.
        devices: that share a step.
    """

    log: EventLog
    examples: np.ndarray | None
    window: int
    min_batch_size: int
    stream_events: int
    seed: int
    devices: int

    @property
    def streamed(self) -> bool:
        """Whether the events come to the devices in chunks."""
        return self.examples is None

    @property
    def batch_size(self) -> int:
        """Examples of a step over all devices.

        A multiple of the devices (of the lanes, where streamed), rounded up.
        """
        unit = lanes(self.devices) if self.streamed else self.devices
        return math.ceil(self.min_batch_size / unit) * unit

    @property
    def steps_per_epoch(self) -> int:
        """Steps of one pass over the examples, the last maybe partly padding.

        About so many where streamed.
        """
        if self.examples is None:
            count = len(self.log.item) / max(1, self.window)
        else:
            count = len(self.examples)
        return math.ceil(count / self.batch_size)

    def calls(
        self,
        epoch: int,
        drawn_per_step: int,
        done: int,
        most_steps: Callable[[], int],
    ) -> Iterator[Call]:
        """What each call of the program gets in an epoch.

        Args:
            epoch: counted from 0.
            drawn_per_step: candidates that are drawn for a step, which limit the steps of a call.
            done: steps of the epoch that are left out, as they are done.
            most_steps: how many the next call may do at most.
        """
        size = steps_per_call(self.steps_per_epoch, drawn_per_step)
        for log, order in self._chunks(epoch):
            begin = min(done, order.shape[1])
            done -= begin
            while begin < order.shape[1]:
                part = order[:, begin : begin + min(size, most_steps())]
                begin += part.shape[1]
                examples = padded(part, size, -1, axis=1)
                if self.streamed:
                    examples = assemble(examples, self.devices)
                yield Call(log, examples, part.shape[1])

    def _chunks(self, epoch: int) -> Iterator[tuple[EventLog, np.ndarray]]:
        """Parts of the log, on the devices, with the order of their examples.

        The order is int32 [devices, steps, b, ...], where streamed of this process's devices.
        """
        if self.examples is None:
            for log, order in self._stream.epoch(epoch):
                yield assemble(log, self.devices), order
            return
        order = epoch_order(
            self.examples,
            self.seed,
            epoch,
            self.steps_per_epoch,
            self.devices,
            self.batch_size,
        )
        yield self.log, order

    @property
    def _stream(self) -> Stream:
        return Stream(
            log=self.log,
            window=self.window,
            batch_size=self.batch_size,
            events=self.stream_events,
            seed=self.seed,
            local=local_range(self.devices),
            devices=self.devices,
            agree=largest,
        )


def feed_of(prepared: Prepared, model: NeuralModel, devices: int) -> Feed:
    """The feed of a training; the log is placed on the devices unless it is to be streamed.

    Several processes stream it in any case.
    """
    config = prepared.config
    window = model.history_length if model.unit == "window" else 0
    log = prepared.log
    examples = None
    if not (config.loop.stream or several_processes()):
        log = lay(with_bits(log, model.sizes.items), devices=devices)
        examples = examples_of(np.asarray(prepared.log.start), window)
    return Feed(
        log=log,
        examples=examples,
        window=window,
        min_batch_size=config.loop.batch_size,
        stream_events=config.loop.stream,
        seed=config.seed,
        devices=devices,
    )
