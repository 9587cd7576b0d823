"""Follows a text in a graph of TensorFlow back to where it comes from, through nodes, calls and what is bound to them.

So is told which file an operation can open. What may be opened is not decided here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from zoo.errors import IntegrityError
from zoo.store.guards.graph_outlines import Body, Node, Outline, node_of
from zoo.store.unpacking import shown

_PLACEHOLDERS = ("Placeholder", "PlaceholderV2", "PlaceholderWithDefault")
_CALLS = ("PartitionedCall", "StatefulPartitionedCall")
_OF_A_VARIABLE = {"ReadVariableOp", "AssignVariableOp", "VarIsInitializedOp", "DestroyResourceOp"}

Through: TypeAlias = Mapping[str, slice]
"""Operations that are followed, with those of their inputs that make up the text."""

IN_PATHS: Through = {
    **dict.fromkeys(("Identity", "ShardedFilename", "ShardedFilespec", "ExpandDims", "Reshape"), slice(0, 1)),
    **dict.fromkeys(("StringJoin", "Pack"), slice(None)),
    **dict.fromkeys(("Select", "SelectV2"), slice(1, 3)),
}
"""What savers make the paths of their files with."""

IN_ASSETS: Through = {"Identity": slice(0, 1), "ReadVariableOp": slice(0, 1)}
"""What stands between an asset and who opens it."""


@dataclass(frozen=True)
class Source:
    """Where a text comes from.

    Attributes:
        kind: What it is.
        name: The name of that node; of the operation that makes it in a way that is not followed; of the function
            whose caller gives it; or the number of the object that is bound.
    """

    kind: Literal["constant", "placeholder", "operation", "caller", "object"]
    name: str

    def __str__(self) -> str:
        name = shown(self.name.rpartition("\0")[2])
        match self.kind:
            case "operation":
                return f"made by the operation {name[1:-1]}"
            case "caller":
                return f"given by the caller of its function {name}"
            case "object":
                return f"bound to the object {name[1:-1]}"
        return f"the {self.kind} {name}"


class Names:
    """Follows texts in one graph."""

    def __init__(self, outline: Outline) -> None:
        self._outline = outline
        self._callers: dict[str, list[tuple[Body, Node]]] = {}
        for body in outline.bodies:
            for node in body.nodes.values():
                for name in {node.operation, *node.functions} & outline.functions.keys():
                    self._callers.setdefault(name, []).append((body, node))

    def sources(self, body: Body, tensor: str, through: Through) -> tuple[set[Source], set[str]]:
        """Returns where a tensor comes from, and the nodes of the graph itself on the way.

        Args:
            body: The graph, or the function that has the tensor.
            tensor: The input of a node.
            through: Which operations are followed.

        Raises:
            IntegrityError: A node or argument is missing.
        """
        found: set[Source] = set()
        seen: set[tuple[str, str]] = set()
        left = [(body, tensor)]
        while left:
            body, tensor = left.pop()
            if (body.name, tensor) in seen:
                continue
            seen.add((body.name, tensor))
            for each in self._steps(body, tensor, through):
                if isinstance(each, Source):
                    found.add(each)
                else:
                    left.append(each)
        return found, {node_of(tensor) for name, tensor in seen if not name}

    def _steps(self, body: Body, tensor: str, through: Through) -> Iterator[Source | tuple[Body, str]]:
        """Yields what a tensor is made of: sources, or other tensors."""
        if tensor in body.arguments:
            yield from self._given(body, body.arguments.index(tensor))
            return
        node = body.nodes.get(node_of(tensor))
        if node is None:
            raise IntegrityError(f"a node of it takes {shown(tensor)}, which it does not have")
        if node.operation in _PLACEHOLDERS:
            yield Source("placeholder", node.name)
            yield from ((body, each) for each in node.data)
        elif node.operation == "Const":
            yield Source("constant", node.name) if not body.name else Source("constant", f"{body.name}\0{node.name}")
        elif node.operation == "VarHandleOp" and through is IN_ASSETS and self._is_plain_variable(body, node):
            yield from self._assigned(node)
        elif node.operation in through and node.data:
            yield from ((body, each) for each in node.data[through[node.operation]])
        else:
            yield Source("operation", node.operation)

    def _given(self, body: Body, at: int) -> Iterator[Source | tuple[Body, str]]:
        """Yields what the callers of a function give as one of its arguments, and what is bound to it."""
        for caller, node in self._callers.get(body.name, ()):
            is_call = node.operation == body.name or (node.operation in _CALLS and node.functions == (body.name,))
            if is_call and len(node.data) == len(body.arguments):
                yield caller, node.data[at]
            else:
                yield Source("operation", node.operation)
        if body.name in self._outline.exposed:
            bound = self._outline.exposed[body.name]
            number = at - (len(body.arguments) - len(bound))
            yield Source("object", str(bound[number])) if number >= 0 else Source("caller", body.name)

    def _is_plain_variable(self, body: Body, node: Node) -> bool:
        """Returns whether a variable is one of the graph itself alone, and nothing can set it unseen."""
        makers = [each for body in self._outline.bodies for each in body.nodes.values() if each.variable]
        users = [each for each in body.nodes.values() if node.name in map(node_of, each.data)]
        return (
            not body.name
            and [each.variable for each in makers].count(node.variable) == 1
            and all(each.operation in _OF_A_VARIABLE and node_of(each.data[0]) == node.name for each in users)
        )

    def _assigned(self, node: Node) -> Iterator[tuple[Body, str]]:
        top = self._outline.top
        for each in top.nodes.values():
            if each.operation == "AssignVariableOp" and len(each.data) == 2 and node_of(each.data[0]) == node.name:
                yield top, each.data[1]


def constant_node(outline: Outline, source: Source) -> Node:
    """Returns the node of a source that is a constant."""
    function, _, name = source.name.rpartition("\0")
    return (outline.functions[function] if function else outline.top).nodes[name]
