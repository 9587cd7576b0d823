"""Reads graphs of TensorFlow as far as their guards ask: nodes, functions, and who else names these.

What stands twice where readers would take one of them is refused, or both are kept.
Formats: meta_graph.proto, graph.proto, function.proto, saver.proto and saved_object_graph.proto of TensorFlow.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from zoo.errors import IntegrityError, UnsafeFileError
from zoo.store.guards.message_trees import PAIR, Tree, leaves, numbers, pair
from zoo.store.guards.wire import BYTES, Field, Wire, level
from zoo.store.unpacking import shown

_Value = TypeVar("_Value")
_TREE: Tree = {
    "attribute": {2: "value"},
    "value": {1: "list", 8: "tensor", 10: "reference"},
    "list": {8: "tensor", 9: "reference"},
    "reference": {1: "function", 2: "attribute"},
    "signature": {1: "of tensor", 2: "of tensor"},
    "of tensor": {2: "tensor info"},
    "tensor info": {1: "name", 4: "sparse tensor", 5: "composite tensor"},
    "sparse tensor": {1: "name", 2: "name", 3: "name"},
    "composite tensor": {2: "tensor info"},
    "collection": {1: "nodes", 5: "messages"},
    "nodes": {1: "name"},
    "messages": {1: "message"},
    "message": {2: "content"},
    "object": {6: "polymorphic function", 8: "concrete function"},
    "polymorphic function": {1: "function"},
    "concrete function": {1: "function"},
}
_NODE = {1: BYTES, 2: BYTES, 3: BYTES, 5: BYTES}
_FUNCTION = {1: BYTES, 3: BYTES, 5: BYTES}
_KINDS_OF_OBJECT = dict.fromkeys((4, 5, 6, 7, 8, 9, 10, 12, 13), BYTES)  # 13: a class that makes it, whatever it is
_ASSET = 5
_VARIABLE = "VarHandleOp"
_RUN_WITH_ASSETS = ("__saved_model_init_op", "__saved_model_train_op")  # no signatures to call
_ASSETS = "saved_model_assets"


@dataclass(frozen=True)
class Node:
    """A node of a graph.

    Attributes:
        name: Its name.
        operation: What it does, or the function that it calls.
        inputs: As written: `x`, `x:1`, or `^x` where it only waits for `x`.
        functions: What its attributes name as functions.
        tensors: Where the tensors in its attributes lie.
        variable: By which name a variable is shared with others; empty for what is none.
    """

    name: str
    operation: str
    inputs: tuple[str, ...]
    functions: tuple[str, ...] = ()
    tensors: tuple[Field, ...] = ()
    variable: str = ""

    @property
    def data(self) -> tuple[str, ...]:
        """Returns the inputs that it takes values from."""
        return tuple(each for each in self.inputs if not each.startswith("^"))

    @property
    def sources(self) -> set[str]:
        """Returns the names of all nodes that it waits for."""
        return {node_of(each) for each in self.inputs}


@dataclass(frozen=True)
class Body:
    """The nodes of a function of the library; or of the graph itself, whose name is empty."""

    name: str
    arguments: tuple[str, ...]
    nodes: dict[str, Node]
    attributes: frozenset[str] = frozenset()


@dataclass
class Outline:
    """What a graph has.

    Attributes:
        top: The graph itself.
        functions: The library, by name.
        signature: Nodes that the signatures name.
        collected: Nodes that are run when the model is loaded, and others that collections name.
        restore: The node that restores the variables.
        assets: Files of assets by the node that is fed their path.
        asset_files: The names of all assets.
        exposed: Functions that the object graph names, with the objects bound to their last arguments.
        asset_objects: Objects that are assets, by their numbers.
    """

    top: Body
    functions: dict[str, Body]
    signature: set[str] = field(default_factory=set)
    collected: set[str] = field(default_factory=set)
    restore: str | None = None
    assets: dict[str, str] = field(default_factory=dict)
    asset_files: list[str] = field(default_factory=list)
    exposed: dict[str, tuple[int, ...]] = field(default_factory=dict)
    asset_objects: set[int] = field(default_factory=set)

    @property
    def bodies(self) -> list[Body]:
        """Returns the graph and its functions."""
        return [self.top, *self.functions.values()]


def node_of(tensor: str) -> str:
    """Returns the node that a tensor is of, or that is waited for.

    >>> node_of("scope/x:1"), node_of("^y")
    ('scope/x', 'y')
    """
    return tensor.removeprefix("^").partition(":")[0]


def graph_outline(wire: Wire, graphs: Iterable[Field]) -> Outline:
    """Returns what a graph has that is in no SavedModel and beside no checkpoint.

    Args:
        wire: The file.
        graphs: Where the graph lies: protobuf puts several together.

    Raises:
        IntegrityError: It is damaged.
        UnsafeFileError: It has more fields than a model needs, or names that are longer than any.
    """
    nodes, functions = [], []
    for graph in graphs:
        found = level(wire, PAIR, graph.start, graph.stop)
        nodes += found[1]
        for library in found[2]:
            functions += level(wire, {1: BYTES}, library.start, library.stop)[1]
    bodies = (_function(wire, each) for each in functions)
    return Outline(Body("", (), _nodes(wire, nodes)), _named((body.name, body) for body in bodies))


def meta_graph_outline(wire: Wire, start: int, stop: int) -> Outline:
    """Returns what a graph has that lies from `start` to `stop` with all that a SavedModel says about it.

    Raises:
        IntegrityError: It is damaged.
        UnsafeFileError: It has more fields than a model needs, or names that are longer than any.
    """
    found = level(wire, dict.fromkeys(range(2, 8), BYTES), start, stop)
    outline = graph_outline(wire, found[2])
    collected = _add_collections(outline, wire, found[4])
    _add_assets(outline, wire, found[6], is_fed=True)
    _add_assets(outline, wire, collected, is_fed=not found[6])
    for entry in found[5]:
        key, value = pair(wire, entry)
        names = {node_of(wire.text(each)) for _, each in leaves(wire, _TREE, "signature", [value])}
        (outline.collected if key in _RUN_WITH_ASSETS else outline.signature).update(names)
    savers = [each for saver in found[3] for each in level(wire, {3: BYTES}, saver.start, saver.stop)[3]]
    if savers:
        outline.restore = node_of(wire.text(savers[-1]))
    _add_objects(outline, wire, found[7])
    return outline


def texts_in(wire: Wire, node: Node) -> list[str] | None:
    """Returns the texts of a constant; None where they are written in another way than as texts."""
    texts = []
    for tensor in node.tensors:
        found = level(wire, {4: BYTES, 8: BYTES}, tensor.start, tensor.stop)
        if any(each.stop > each.start for each in found[4]):
            return None
        texts += [wire.text(each) for each in found[8]]
    return texts


# --- nodes and functions ---


def _nodes(wire: Wire, fields: list[Field]) -> dict[str, Node]:
    return _named((node.name, node) for node in (_node(wire, each) for each in fields))


def _named(pairs: Iterable[tuple[str, _Value]]) -> dict[str, _Value]:
    """Returns a dictionary of pairs, no two of which may have one name."""
    found: dict[str, _Value] = {}
    for name, value in pairs:
        if name in found:
            raise IntegrityError(f"two nodes or functions of it are called {shown(name)}")
        found[name] = value
    return found


def _node(wire: Wire, place: Field) -> Node:
    found = level(wire, _NODE, place.start, place.stop)
    if len(found[1]) != 1 or len(found[2]) != 1:
        raise IntegrityError("a node of it has no name or no operation, or several")
    functions, tensors = [], []
    for kind, each in leaves(wire, _TREE, "attribute", found[5]):
        if kind == "function":
            functions.append(wire.text(each))
        else:
            tensors.append(each)
    name, operation = wire.text(found[1][0]), wire.text(found[2][0])
    inputs = tuple(wire.text(each) for each in found[3])
    variable = _shared_name(wire, found[5]) or name if operation == _VARIABLE else ""
    return Node(name, operation, inputs, tuple(functions), tuple(tensors), variable)


def _shared_name(wire: Wire, attributes: list[Field]) -> str:
    """Returns the attribute by which nodes that make variables may share one; empty where there is none."""
    found = ""
    for entry in attributes:
        key, value = pair(wire, entry)
        if key == "shared_name":
            texts = level(wire, {2: BYTES}, value.start, value.stop)[2]
            if found or len(texts) > 1:
                raise UnsafeFileError("a variable of it tells twice by which name it is shared")
            found = wire.text(texts[0]) if texts else ""
    return found


def _function(wire: Wire, place: Field) -> Body:
    found = level(wire, _FUNCTION, place.start, place.stop)
    signatures = [level(wire, PAIR, each.start, each.stop) for each in found[1]]
    if len(signatures) != 1 or len(signatures[0][1]) != 1:
        raise IntegrityError("a function of it has no name, or several")
    name, arguments = wire.text(signatures[0][1][0]), []
    for argument in signatures[0][2]:
        names = level(wire, {1: BYTES}, argument.start, argument.stop)[1]
        if len(names) != 1:
            raise IntegrityError(f"an argument of its function {shown(name)} has no name, or several")
        arguments.append(wire.text(names[0]))
    attributes = frozenset(pair(wire, each)[0] for each in found[5])
    return Body(name, tuple(arguments), _nodes(wire, found[3]), attributes)


# --- what a SavedModel says about its graph ---


def _add_collections(outline: Outline, wire: Wire, entries: list[Field]) -> list[Field]:
    """Adds the nodes that collections name; returns the assets that one of them tells of."""
    assets = []
    for entry in entries:
        key, value = pair(wire, entry)
        for kind, each in leaves(wire, _TREE, "collection", [value]):
            if kind == "name":
                outline.collected.add(node_of(wire.text(each)))
            elif key == _ASSETS:
                assets.append(each)
    return assets


def _add_assets(outline: Outline, wire: Wire, assets: list[Field], is_fed: bool) -> None:
    for asset in assets:
        found = level(wire, PAIR, asset.start, asset.stop)
        files = [wire.text(each) for each in found[2]]
        if len(files) != 1:
            raise IntegrityError("an asset of it has no file, or several")
        outline.asset_files += files
        for _, each in leaves(wire, _TREE, "tensor info", found[1]) if is_fed else ():
            outline.assets[node_of(wire.text(each))] = files[0]


def _add_objects(outline: Outline, wire: Wire, graphs: list[Field]) -> None:
    fields = [level(wire, PAIR, graph.start, graph.stop) for graph in graphs]
    for number, each in enumerate(each for found in fields for each in found[1]):
        kinds = level(wire, _KINDS_OF_OBJECT, each.start, each.stop)
        if [kind for kind, found in kinds.items() for _ in found] == [_ASSET]:
            outline.asset_objects.add(number)
        for _, function in leaves(wire, _TREE, "object", [each]):
            outline.exposed[wire.text(function)] = ()
    told = set()
    for entry in (entry for found in fields for entry in found[2]):
        name, value = pair(wire, entry)
        if name in told:
            raise UnsafeFileError(f"it tells twice what its function {shown(name)} is bound to")
        told.add(name)
        outline.exposed[name] = tuple(numbers(wire, value, 2))
