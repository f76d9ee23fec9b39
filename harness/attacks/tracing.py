"""A network as a `passes.Program`: traced by torch.fx, known layers written out by hand.

Imported inside functions only: torch is needed at the top.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import fx, nn
from torch.fx.node import map_arg

from harness.attacks.passes import (
    Add,
    Anything,
    Conv,
    Dense,
    Line,
    Pool,
    Program,
    Relu,
    Window,
)
from harness.attacks.pooled import ConvPool, PatchPool, PoolRelu

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.attacks.passes import Op


Shape = tuple[int, ...]
Size = int | Sequence[int]
RELUS = {F.relu, torch.relu, F.relu_, torch.relu_, "relu", "relu_"}
FLATTENS = {torch.flatten, torch.reshape, "flatten", "view", "reshape"}
SUMS = {operator.add, operator.iadd, torch.add, "add", "add_"}
POOLS = {F.max_pool2d, torch.max_pool2d}
POOL_ARGUMENTS = ("kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices")
BY_TWO = Window([2, 2], [2, 2], [0, 0], [1, 1], ceil=False)


class NotTraced(Exception):
    """This network cannot be written out."""


def trace(module: nn.Module, example: torch.Tensor, dtype: torch.dtype) -> Program:
    """`module`, which is left alone, as a program whose known layers compute in `dtype`.

    Args:
        module: images to logits, in evaluation mode.
        example: (N, C, H, W) a few images, to learn the shapes between layers.
        dtype: of weights and activations.

    Raises:
        NotTraced: its Python depends on values, or an operation takes something besides tensors
            that depends on the images.
    """
    try:
        graph = fx.symbolic_trace(module)
        graph.graph.eliminate_dead_code()  # every value that is written gets a gradient
        shapes = _Shapes(graph)
        with torch.no_grad():
            shapes.run(example)
    except Exception as error:
        raise NotTraced(str(error)) from error
    return _Writer(graph, shapes.seen, dtype).program()


class _Shapes(fx.Interpreter):
    """Runs a graph and notes the shape of every value; None for what is no tensor."""

    def __init__(self, graph: fx.GraphModule) -> None:
        super().__init__(graph)
        self.seen: dict[fx.Node, Shape | None] = {}

    def run_node(self, n: fx.Node) -> Any:  # noqa: ANN401 -- any value of the user's network
        value = super().run_node(n)
        self.seen[n] = tuple(value.shape) if isinstance(value, torch.Tensor) else None
        return value


class _Writer:
    """Turns the nodes of a graph into lines."""

    def __init__(
        self, graph: fx.GraphModule, shapes: dict[fx.Node, Shape | None], dtype: torch.dtype
    ) -> None:
        self.graph, self.shapes, self.dtype = graph, shapes, dtype
        self.numbers: dict[fx.Node, int] = {}  # values that depend on the images
        self.written: set[fx.Node] = set()  # convolutions that another one's line computes
        self.lines: list[Line] = []

    def program(self) -> Program:
        """Every node in order; some are written together with those that follow them."""
        rules = (self._pooled, self._swapped, self._flattened, self._plain, self._anything)
        for node in self.graph.graph.nodes:
            if node.op == "placeholder":
                self.numbers[node] = 0
            elif node.op == "output":
                return self._ended(node.args[0])
            elif node not in self.numbers and node not in self.written and self._depends(node):
                any(rule(node) for rule in rules)
        raise NotTraced("the graph has no output")

    def _ended(self, result: object) -> Program:
        last = self.lines[-1].writes if self.lines else ()
        if not isinstance(result, fx.Node) or (self.numbers.get(result),) != last:
            raise NotTraced("the output is not the value computed last")
        return Program(tuple(self.lines))

    def _depends(self, node: fx.Node) -> bool:
        """Whether it is a tensor that depends on the images."""
        known = any(source in self.numbers for source in node.all_input_nodes)
        return known and self.shapes[node] is not None

    def _emit(self, op: Op, reads: list[fx.Node], *nodes: fx.Node) -> bool:
        """One more line; `nodes` are what it writes."""
        first = 1 + sum(len(line.writes) for line in self.lines)
        writes = tuple(range(first, first + len(nodes)))
        self.lines.append(Line(op, tuple(self.numbers[read] for read in reads), writes))
        self.numbers.update(zip(nodes, writes, strict=True))
        return True

    def _layer(self, node: fx.Node) -> nn.Module | None:
        return self.graph.get_submodule(str(node.target)) if node.op == "call_module" else None

    def _pooled(self, node: fx.Node) -> bool:
        """Convolutions with pooling by two, and ReLU before or after it."""
        found = self._conv_pool(node)
        if found is None:
            return False
        if PatchPool.suits(found.layer):
            return self._side_by_side(node, found)
        if found.relu and ConvPool.suits(found.layer, self.dtype):
            return self._emit(ConvPool(found.layer, self.dtype), self._source(node), found.last)
        return False

    def _side_by_side(self, node: fx.Node, first: _ConvPool) -> bool:
        """Those of few channels that read the same value and have one geometry become one line."""
        (source,) = self._source(node)
        found = {other: self._conv_pool(other) for other in source.users}
        same = {other: one for other, one in found.items() if one and one.like == first.like}
        self.written.update(same)
        op = PatchPool([one.layer for one in same.values()], self.dtype, relu=first.relu)
        return self._emit(op, [source], *(one.last for one in same.values()))

    def _conv_pool(self, node: fx.Node) -> _ConvPool | None:
        """What `node` and its followers are, if they are that."""
        layer = self._layer(node)
        if not (isinstance(layer, nn.Conv2d) and _plain(layer)):
            return None
        chain = _followers(node)
        relus = [self._is_relu(follower) for follower in chain]
        pools = [self._window(follower) == BY_TWO for follower in chain]
        either = (relus, pools) in (([True, False], [False, True]), ([False, True], [True, False]))
        if not either and pools[:1] != [True]:
            return None
        return _ConvPool(layer, chain[-1] if either else chain[0], either)

    def _swapped(self, node: fx.Node) -> bool:
        """ReLU beside pooling by two; or before another one: the same after it, on fewer values."""
        chain = _followers(node, 1)
        if not chain:
            return False
        window = self._window(chain[0])
        if self._window(node) == BY_TWO and self._is_relu(chain[0]):
            return self._emit(PoolRelu(), self._source(node), chain[0])
        if window is None or not self._is_relu(node):
            return False
        if window == BY_TWO:
            return self._emit(PoolRelu(), self._source(node), chain[0])
        self._emit(Pool(window), self._source(node), node)
        return self._emit(Relu(), [node], chain[0])

    def _flattened(self, node: fx.Node) -> bool:
        """Images made rows, together with the linear layer that reads them."""
        source, chain = self._source(node), _followers(node)
        shape = self.shapes[source[0]] or ()
        rows = self.shapes[node] == (*shape[:1], math.prod(shape[1:]))
        if not (rows and self._is_flatten(node)):
            return False
        layer = self._layer(chain[0]) if chain else None
        if isinstance(layer, nn.Linear) and len(shape) == 4:
            return self._emit(Dense(layer, self._precision(chain[0]), shape[1:]), source, chain[0])
        return self._emit(Anything(lambda x: x.flatten(1)), source, node)

    def _plain(self, node: fx.Node) -> bool:
        """One layer by itself, or nothing at all."""
        layer, window = self._layer(node), self._window(node)
        if isinstance(layer, nn.Identity | nn.Dropout | nn.Dropout2d):
            self.numbers[node] = self.numbers[self._source(node)[0]]
            return True
        op: Op | None = None
        if isinstance(layer, nn.Conv2d) and _plain(layer):
            op = Conv(layer, self.dtype)
        elif isinstance(layer, nn.Linear) and len(self.shapes[node] or ()) == 2:
            op = Dense(layer, self._precision(node))
        elif self._is_relu(node):
            op = Relu()
        elif window:
            op = Pool(window)
        elif _called(node, SUMS) and len(self._source(node)) == len(node.args) == 2:
            op = Add()
        return op is not None and self._emit(op, self._source(node), node)

    def _precision(self, node: fx.Node) -> torch.dtype:
        """Of a linear layer: logits are not rounded, since all that counts is how they differ."""
        hidden = all(self._is_relu(reader) for reader in node.users)
        return self.dtype if hidden else torch.float32

    def _anything(self, node: fx.Node) -> bool:
        """An operation without an entry of its own, as a function of what it reads."""
        reads = self._source(node)
        places = {read: place for place, read in enumerate(reads)}

        def call(*given: torch.Tensor) -> torch.Tensor:
            def value(source: fx.Node) -> Any:  # noqa: ANN401 -- an argument of any type
                return given[places[source]] if source in places else self._constant(source)

            args = map_arg(node.args, value)
            kwargs = map_arg(node.kwargs, value)
            if node.op == "call_module":
                return self.graph.get_submodule(str(node.target))(*args, **kwargs)
            if node.op == "call_method":
                return getattr(args[0], str(node.target))(*args[1:], **kwargs)
            return cast("Callable[..., torch.Tensor]", node.target)(*args, **kwargs)

        for source in node.all_input_nodes:
            if source not in places:
                self._constant(source)
        return self._emit(Anything(call), reads, node)

    def _constant(self, node: fx.Node) -> Any:  # noqa: ANN401 -- a tensor or anything else
        """The value of a node that does not depend on the images."""
        if node.op != "get_attr":
            raise NotTraced(f"{node.target} is not a tensor of the images' own size")
        value: Any = self.graph
        for name in str(node.target).split("."):
            value = getattr(value, name)
        return value

    def _source(self, node: fx.Node) -> list[fx.Node]:
        return [source for source in node.all_input_nodes if source in self.numbers]

    def _is_relu(self, node: fx.Node) -> bool:
        return isinstance(self._layer(node), nn.ReLU) or _called(node, RELUS)

    def _is_flatten(self, node: fx.Node) -> bool:
        return isinstance(self._layer(node), nn.Flatten) or _called(node, FLATTENS)

    def _window(self, node: fx.Node) -> Window | None:
        layer = self._layer(node)
        if isinstance(layer, nn.MaxPool2d):
            named = {name: getattr(layer, name) for name in POOL_ARGUMENTS}
            return None if named.pop("return_indices") else _window(**named)
        if not _called(node, POOLS):
            return None
        named = dict(zip(POOL_ARGUMENTS, node.args[1:], strict=False)) | node.kwargs
        plain = not named.pop("return_indices", False) and not node.all_input_nodes[1:]
        return _window(**named) if plain else None  # pyright: ignore[reportArgumentType]


class _ConvPool(NamedTuple):
    """A convolution, the node that has its pooled output, and whether a ReLU is in it."""

    layer: nn.Conv2d
    last: fx.Node
    relu: bool

    @property
    def like(self) -> tuple[object, ...]:
        """What layers of one line have in common."""
        one = self.layer
        sizes = (one.kernel_size, one.stride, one.padding, one.dilation)
        return self.relu, one.in_channels, one.groups, *sizes


def _called(node: fx.Node, known: set[Any]) -> bool:
    """Whether it calls a function or method of `known`; a module may have any name."""
    return node.op != "call_module" and node.target in known


def _followers(node: fx.Node, most: int = 2) -> list[fx.Node]:
    """Up to `most` nodes in a row, each the only reader of the one before it."""
    found: list[fx.Node] = []
    while len(found) < most and len(node.users) == 1:
        (node,) = node.users
        found.append(node)
    return found


def _plain(layer: nn.Conv2d) -> bool:
    return layer.padding_mode == "zeros" and not isinstance(layer.padding, str)


def _window(
    *,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
) -> Window:
    kernel = _pair(kernel_size)
    return Window(kernel, _pair(stride or kernel_size), _pair(padding), _pair(dilation), ceil_mode)


def _pair(size: Size) -> list[int]:
    return [size, size] if isinstance(size, int) else list(size)
