"""Training on several devices: each has a copy of the network and computes a part of every batch.

The copies stay the same: gradients are summed over all parts before each step, and every loss is
divided by the size of the whole batch. So a step is that of one device, up to the order in which
numbers are added. TensorFlow's strategies hold the copies and add them up: MirroredStrategy for the
devices of one process, MultiWorkerMirroredStrategy for several processes.

Each process reads the rows of its own part alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from tlcli.errors import Problem, RunError
from tlcli.networks.devices import Devices, choose_devices, device_numbers
from tlcli.networks.framework import keras, tf
from tlcli.system import console
from tlcli.training.batches import Pick

Array = npt.NDArray[Any]


class WorkerGroup(Protocol):
    """The processes that train a run together, as one of them sees them.

    Attributes:
        number: which of them this is, from 0.
        count: how many there are.
        servers: the host and port of TensorFlow of each.
    """

    number: int
    count: int
    servers: tuple[str, ...]

    def sum(self, numbers: Sequence[float]) -> list[float]:
        """The sums of what each gives, the same bits on all of them."""
        ...

    def share(self, content: bytes | None) -> bytes:
        """What worker 0 gives, on all of them."""
        ...

    def agree(self, what: str, value: Any) -> None:
        """Raise `RunError` on all of them where one has another value than worker 0."""
        ...

    def finish(self) -> None:
        """Wait until worker 0 has come to its end."""
        ...

    def lost(self, error: BaseException) -> RunError | None:
        """The error that an error of TensorFlow stands for, where a worker was lost."""
        ...


class Replicas:
    """The copies of a network that train together.

    Args:
        strategy: TensorFlow's; None for one copy alone, with which nothing is different from
            training without this class.
        group: the processes, if they are several.
    """

    def __init__(self, strategy: Any = None, group: WorkerGroup | None = None) -> None:
        self._strategy, self.group = strategy, group
        self.count: int = strategy.num_replicas_in_sync if strategy else 1

    def building(self) -> AbstractContextManager[Any]:
        """The block in which a network is built."""
        if self._strategy is None:
            return nullcontext()
        keras.utils.clear_session(free_memory=False)  # within the block it would end it
        return self.scope()

    def scope(self) -> AbstractContextManager[Any]:
        """The block in which variables that training changes are made."""
        return self._strategy.scope() if self._strategy else nullcontext()

    def sum_variable(self, dtype: Any) -> Any:
        """A variable that each copy adds to; its value is the sum."""
        if self._strategy is None:
            return tf.Variable(0, dtype=dtype)
        with self.scope():
            return tf.Variable(
                0, dtype=dtype, trainable=False, aggregation=tf.VariableAggregation.SUM,
                synchronization=tf.VariableSynchronization.ON_READ,
            )  # fmt: skip

    def mean(self, losses: Any) -> Any:
        """Within a step: what the losses of this part add to the mean over the whole batch."""
        if self._strategy is None:
            return tf.reduce_mean(losses)
        context = tf.distribute.get_replica_context()
        whole = context.all_reduce(tf.distribute.ReduceOp.SUM, tf.cast(tf.size(losses), tf.float32))
        return tf.reduce_sum(losses) / tf.cast(whole, losses.dtype)

    def forward(self, compute: Callable[[Any], Any], x: Any) -> Any:
        """Within a step: what `compute` gives for the photos of this part, which may be none.

        For none it computes one row of zeros and drops the result. With oneDNN, TensorFlow 2.21
        aborts in the gradient of max pooling over an empty batch
        (https://github.com/tensorflow/tensorflow/issues/126128).
        """
        if self._strategy is None:
            return compute(x)
        n = tf.shape(x)[0]
        padding = [[0, tf.maximum(1 - n, 0)], *([0, 0] for _ in x.shape[1:])]
        return compute(tf.pad(x, padding))[:n]

    def part(self, penalty: Any) -> Any:
        """Within a step: the part of a penalty that one copy adds, so that their sum is all."""
        return penalty if self._strategy is None else penalty / self.count

    def sum_gradients(self, gradients: Sequence[Any]) -> Sequence[Any]:
        """Within a step: gradients summed over all parts of the batch."""
        if self._strategy is None:
            return gradients
        context = tf.distribute.get_replica_context()
        return list(context.all_reduce(tf.distribute.ReduceOp.SUM, list(gradients)))

    def adopt(self, optimizer: Any) -> Any:
        """The optimizer, which takes gradients that are summed already.

        By itself Keras clips the gradients of each part, and sums them afterwards.
        """
        if self._strategy is not None:
            inner = getattr(optimizer, "inner_optimizer", optimizer)
            for each in {id(level): level for level in (optimizer, inner)}.values():
                each._all_reduce_sum_gradients = list
        return optimizer

    def compile(
        self,
        step: Callable[..., None],
        signature: Sequence[Any],
        tracing: Callable[[], AbstractContextManager[Any]],
    ) -> Callable[..., None]:
        """The compiled step: activations, then what there is for each photo of the whole batch.

        `tracing` is the block in which TensorFlow reads the step.
        """
        if self._strategy is None:
            with tracing():
                compiled: Callable[..., None] = tf.function(
                    step, input_signature=signature
                ).get_concrete_function()
            return compiled

        def on_all(*parts: Any) -> None:
            with tracing():
                self._strategy.run(step, args=parts)

        on_parts = tf.function(on_all, reduce_retracing=True)

        def call(x: Any, *inputs: Any) -> None:
            bounds = self._bounds(len(inputs[0]))
            # All rows of the batch, or those of this process alone.
            first = 0 if len(x) == len(inputs[0]) else bounds[self._first]
            on_parts(self._place(x, bounds - first), *(self._place(y, bounds) for y in inputs))

        return call

    def own_picks(self, picks: Iterable[Pick], *, mixed: bool) -> list[Pick]:
        """What this process reads of each batch: all of it where photos are mixed."""
        if self.group is None or mixed:
            return list(picks)
        own = []
        for positions, views in picks:
            bounds = self._bounds(len(positions))
            part = slice(bounds[self._first], bounds[self._first + self._local])
            own.append((positions[part], views[part]))
        return own

    @property
    def _local(self) -> int:
        """How many copies this process has."""
        return self.count // (self.group.count if self.group else 1)

    @property
    def _first(self) -> int:
        return self._local * (self.group.number if self.group else 0)

    def _bounds(self, n: int) -> Array:
        """Where the part of each copy begins in a batch of n photos, and the last one ends."""
        return np.arange(self.count + 1) * n // self.count

    def _place(self, values: Any, bounds: Array) -> Any:
        """A part of the values for each copy of this process."""

        def part(context: Any) -> Any:
            number = context.replica_id_in_sync_group
            return tf.convert_to_tensor(values[bounds[number] : bounds[number + 1]])

        return self._strategy.experimental_distribute_values_from_function(part)


#: One copy of the network, on the device that TensorFlow takes by itself.
ALONE = Replicas()


def make_replicas(devices: Devices, group: WorkerGroup | None = None) -> Replicas:
    """The copies on the devices of this process, and of all processes of a group.

    `devices` is 'all', a number of them, or a list of their numbers. Must be called before
    TensorFlow computes anything. Raises `RunError` where the machine has no such devices.
    """
    if group is not None:
        return Replicas(_join_strategy(group, devices), group)
    if devices == 1:
        return ALONE
    chosen = choose_devices(devices)
    if len(chosen) == 1 and devices == "all":
        return ALONE
    console.note(f"training on {', '.join(chosen)}")
    return Replicas(tf.distribute.MirroredStrategy(chosen))


def _join_strategy(group: WorkerGroup, devices: Devices) -> Any:
    # Nothing may have been computed, so that these are not the devices that TensorFlow opens.
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        chosen = device_numbers(devices, [gpu.name for gpu in gpus])
        tf.config.set_visible_devices([gpus[number] for number in chosen], "GPU")
    cluster = tf.train.ClusterSpec({"worker": [*group.servers]})
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        cluster, task_type="worker", task_id=group.number, rpc_layer="grpc"
    )
    communication = tf.distribute.experimental.CommunicationImplementation
    options = tf.distribute.experimental.CommunicationOptions(
        implementation=communication.AUTO if gpus else communication.RING
    )
    try:
        return tf.distribute.MultiWorkerMirroredStrategy(resolver, options)
    except tf.errors.OpError as error:
        address = group.servers[group.number]
        what = f"TensorFlow cannot listen here: {str(error).splitlines()[0]}"
        raise RunError(Problem(address, what, "name another port in --workers")) from error


@contextmanager
def group_errors(group: WorkerGroup | None) -> Iterator[None]:
    """Turn an error of TensorFlow into one line about the worker that was lost, if that is why."""
    try:
        yield
    except Exception as error:
        lost = group.lost(error) if group is not None else None
        if lost is None:
            raise
        raise lost from error
