"""The rules for what opens files in a graph of TensorFlow: savers of checkpoints, and tables with an asset.

Every SavedModel has operations that write and read checkpoints, in a saver that nobody calls to compute something. They
are allowed there alone, so that neither calling the model nor loading it can make it open another file:

1. No function of the object graph has them or calls one that has.
2. What waits for them in the graph itself only hands on what was written or read, and is named by no signature and by
   nothing that is run when the model is loaded.
3. It waits for no placeholder but the name of the file, on which nothing else depends. So whatever is computed from an
   input of the net is not among it, also where no signature tells what the net puts out, as beside a checkpoint.
4. That name comes from a placeholder, or from constants that are relative paths without `..`, as "model" is.
5. Restoring the variables writes nothing.

A table may be filled from an asset: from the file in the folder that is put in place of the graph's text when the model
is loaded, or is bound to the function in the object graph. What the signatures compute does not wait for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from zoo.errors import IntegrityError, UnsafeFileError
from zoo.names import path_fault
from zoo.store.guards.graph_names import IN_ASSETS, IN_PATHS, Names, Source, constant_node
from zoo.store.guards.graph_outlines import Body, Node, Outline
from zoo.store.guards.tensorflow_operations import CHECKPOINT_NAMES, TABLE_NAMES, WRITING
from zoo.store.unpacking import shown

_PLACEHOLDERS = ("Placeholder", "PlaceholderV2", "PlaceholderWithDefault")
_HANDING_ON = {
    "Assign",
    "AssignVariableOp",
    "LookupTableImport",
    "LookupTableImportV2",
    "Identity",
    "IdentityN",
    "Cast",
}
_HANDING_ON |= {"ExpandDims", "NoOp", "Pack", "Reshape", "ShardedFilespec", "Squeeze"}
_NAMING = frozenset(IN_PATHS) | {"RegexFullMatch", "StaticRegexFullMatch", "PlaceholderWithDefault"}


class Place(NamedTuple):
    """Where an operation stands, in words for messages."""

    operation: str
    node: str
    function: str

    def __str__(self) -> str:
        where = f" of its function {shown(self.function)}" if self.function else ""
        return f"the operation {shown(self.operation)[1:-1]} (node {shown(self.node)}{where})"


def refuse_unsafe_files(outline: Outline, texts: Callable[[Node], list[str] | None]) -> None:
    """Sees whether a graph opens files only as savers and tables do.

    Args:
        outline: The graph.
        texts: Returns the texts of a constant; None where they are written in another way than as texts.

    Raises:
        UnsafeFileError: It could open others, or at other times.
        IntegrityError: Something that it refers to is missing.
    """
    names = Names(outline)
    _refuse_other_tables(outline, names)
    savers = _Savers(outline)
    savers.refuse_exposed()
    file_names = _file_names(outline, names, texts)
    if savers.nodes:
        savers.refuse_users(file_names)
        savers.refuse_writing_restore()


# --- savers ---


class _Savers:
    """The nodes of the graph itself that read or write checkpoints, by themselves or by calling functions."""

    def __init__(self, outline: Outline) -> None:
        self._outline = outline
        self._inside = _inside(outline, CHECKPOINT_NAMES)
        self._writing = _inside(outline, WRITING)
        self.nodes = {name: place for name in outline.top.nodes if (place := _place(outline, self._inside, name))}

    def refuse_exposed(self) -> None:
        """Refuses functions with them that the object graph names, or that TensorFlow may put in place of others."""
        for name, place in self._inside.items():
            if name in self._outline.exposed or "api_implements" in self._outline.functions[name].attributes:
                raise UnsafeFileError(f"its function {shown(name)}, which can be called, leads to {place}")

    def refuse_users(self, file_names: set[str]) -> None:
        """Refuses what waits for them and is no part of a saver; `file_names` are the nodes that make their names."""
        top = self._outline.top
        after = _downstream(top, self.nodes)
        for name in sorted(after):
            operation = top.nodes[name].operation
            if operation not in _HANDING_ON and name not in self.nodes:
                raise UnsafeFileError(
                    f"its node {shown(name)} ({shown(operation)[1:-1]}) waits for {self._cause(name)}"
                )
        if named := sorted(after & (self._outline.signature | self._outline.collected)):
            raise UnsafeFileError(
                f"{shown(named[0])}, which a signature or a collection names, waits for {self._cause(named[0])}, so "
                "that using the model would open files"
            )
        given = {name for name in file_names if top.nodes[name].operation in _PLACEHOLDERS}
        for name in sorted(_upstream(top, after) - given):
            if top.nodes[name].operation in _PLACEHOLDERS:
                raise UnsafeFileError(f"{next(iter(self.nodes.values()))} waits for the input {shown(name)}")
        for name in sorted(_downstream(top, given) - after - given):
            if top.nodes[name].operation not in _NAMING or name in self._outline.signature:
                raise UnsafeFileError(f"its node {shown(name)} takes the name of the file that a saver opens")

    def _cause(self, name: str) -> Place:
        """Returns what a node waits for."""
        return next(self.nodes[each] for each in sorted(_upstream(self._outline.top, [name])) if each in self.nodes)

    def refuse_writing_restore(self) -> None:
        """Refuses a saver whose restoring of variables writes a file."""
        for name in sorted(_upstream(self._outline.top, {self._outline.restore or ""})):
            if place := _place(self._outline, self._writing, name, WRITING):
                raise UnsafeFileError(f"restoring its variables waits for {place}")


def _file_names(outline: Outline, names: Names, texts: Callable[[Node], list[str] | None]) -> set[str]:
    """Returns the nodes of the graph itself that make the names of checkpoints, which must be harmless ones."""
    nodes: set[str] = set()
    for place, body, inputs in _openers(outline, CHECKPOINT_NAMES):
        for tensor in inputs:
            sources, way = names.sources(body, tensor, IN_PATHS)
            nodes |= way
            for source in sources:
                if fault := _fault_of_name(outline, source, texts):
                    raise UnsafeFileError(f"{place} {fault}")
    return nodes & outline.top.nodes.keys()


def _fault_of_name(outline: Outline, source: Source, texts: Callable[[Node], list[str] | None]) -> str | None:
    """Returns why a saver's file may not be called so; None where it may."""
    match source.kind:
        case "placeholder":
            return None
        case "constant":
            found = texts(constant_node(outline, source))
            if not found:
                return "opens a file whose name cannot be read in the graph"
            faults = [(text, fault) for text in found if (fault := path_fault(text))]
            return f"opens {shown(faults[0][0])}: {faults[0][1]}" if faults else None
    return f"opens a file whose name is {source}"


# --- tables ---


def _refuse_other_tables(outline: Outline, names: Names) -> None:
    for place, body, inputs in _openers(outline, TABLE_NAMES):
        for tensor in inputs:
            sources, _ = names.sources(body, tensor, IN_ASSETS)
            if others := sorted(str(source) for source in sources if not _is_asset(outline, source)):
                raise UnsafeFileError(f"{place} fills a table from {others[0]}, which is no asset in the folder")
    inside = _inside(outline, TABLE_NAMES)
    top = outline.top
    for name in sorted(_upstream(top, outline.signature & top.nodes.keys())):
        if place_ := _place(outline, inside, name, TABLE_NAMES):
            raise UnsafeFileError(f"a signature waits for {place_}, which belongs where the model is loaded")


def _is_asset(outline: Outline, source: Source) -> bool:
    if source.kind == "object":
        return int(source.name) in outline.asset_objects
    return source.kind in ("constant", "placeholder") and source.name in outline.assets


# --- graphs ---


def _openers(
    outline: Outline, operations: Mapping[str, tuple[int, ...]]
) -> Iterable[tuple[Place, Body, tuple[str, ...]]]:
    """Yields each node with one of these operations, and those of its inputs that name files."""
    for body in outline.bodies:
        for node in body.nodes.values():
            if node.operation in operations:
                place = Place(node.operation, node.name, body.name)
                at, data = operations[node.operation], node.data
                if max(at) >= len(data):
                    raise IntegrityError(f"{place} has no input that names its file")
                yield place, body, tuple(data[each] for each in at)


def _inside(outline: Outline, operations: Iterable[str]) -> dict[str, Place]:
    """Returns the functions that have such an operation, or lead to one that has, with the first of these."""
    operations = frozenset(operations)
    found: dict[str, Place] = {}
    callers: dict[str, set[str]] = {}
    for body in outline.functions.values():
        for node in body.nodes.values():
            if node.operation in operations:
                found.setdefault(body.name, Place(node.operation, node.name, body.name))
            for name in {node.operation, *node.functions} & outline.functions.keys():
                callers.setdefault(name, set()).add(body.name)
    left = list(found)
    while left:
        name = left.pop()
        for caller in callers.get(name, ()):
            if caller not in found:
                found[caller] = found[name]
                left.append(caller)
    return found


def _place(
    outline: Outline, inside: Mapping[str, Place], name: str, operations: Iterable[str] = CHECKPOINT_NAMES
) -> Place | None:
    """Returns which of the operations a node of the graph itself is or leads to."""
    node = outline.top.nodes[name]
    if node.operation in operations:
        return Place(node.operation, node.name, "")
    return next((inside[each] for each in (node.operation, *node.functions) if each in inside), None)


def _upstream(top: Body, names: Iterable[str]) -> set[str]:
    """Returns these nodes and all that they wait for."""
    found: set[str] = set()
    left = list(names)
    while left:
        name = left.pop()
        if name not in found and name in top.nodes:
            found.add(name)
            left += top.nodes[name].sources
    return found


def _downstream(top: Body, names: Iterable[str]) -> set[str]:
    """Returns these nodes and all that wait for them."""
    users: dict[str, list[str]] = {}
    for node in top.nodes.values():
        for source in node.sources:
            users.setdefault(source, []).append(node.name)
    found: set[str] = set()
    left = list(names)
    while left:
        name = left.pop()
        if name not in found:
            found.add(name)
            left += users.get(name, [])
    return found
