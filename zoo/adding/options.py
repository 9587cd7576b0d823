"""Which of the options about weights and graphs are of use to what is offered; the others are refused, not dropped."""

from __future__ import annotations

from zoo.adding.told import Told
from zoo.errors import UsageError
from zoo.store.guards.formats import Format, Offered

FORMATS: dict[Format, str] = {
    "keras": "Keras 3 archive",
    "h5": "HDF5",
    "onnx": "ONNX",
    "savedmodel": "SavedModel",
    "caffe": "Caffe",
    "checkpoint": "TensorFlow checkpoint",
    "graph": "TensorFlow graph",
    "npz": ".npz",
    "safetensors": "safetensors",
}
WEIGHTS: tuple[Format, ...] = ("h5", "npz", "safetensors", "checkpoint")
_GRAPHS: tuple[Format, ...] = ("savedmodel", "graph", "checkpoint")
_CHOOSING = "--include, --exclude, --rename and --layout (include ...)"


def refuse_useless(told: Told, offered: Offered) -> None:
    """Refuses options that say something about files of another format, or that others of them make useless.

    Raises:
        UsageError: There is one.
    """
    uses = {
        "--signature (signature)": (told.signature, ("savedmodel",)),
        "--input X:0 (tensors)": (told.tensors, _GRAPHS),
        "--output (outputs)": (told.outputs, _GRAPHS),
        "--shape (shapes)": (told.shapes, _GRAPHS),
        "--limit (limit)": (told.limit is not None, _GRAPHS),
        "--activation (activation)": (told.activation, WEIGHTS),
        _CHOOSING: (told.chooses_variables, WEIGHTS),
        "--allow-partial (allow_partial)": (told.allow_partial, WEIGHTS),
    }
    for option, (value, formats) in uses.items():
        if value and offered.format not in formats:
            raise UsageError(
                f"{option} is for {', '.join(FORMATS[each] for each in formats)}, and this is "
                f"{FORMATS[offered.format]}. Leave it away."
            )
    if offered.format in WEIGHTS:
        (_refuse_beside_graph if is_by_graph(told, offered) else _refuse_beside_weights)(told, offered)


def is_by_graph(told: Told, offered: Offered) -> bool:
    """Returns whether a checkpoint is taken as the graph beside it has it, and not as the values of a net."""
    is_chain = told.activation and told.chooses_variables
    return has_graph(offered) and told.arch is None and not is_chain


def has_graph(offered: Offered) -> bool:
    """Returns whether what is offered is a checkpoint with its graph beside it."""
    return offered.format == "checkpoint" and any(path.suffix == ".meta" for _, path in offered.files)


def _refuse_beside_graph(told: Told, offered: Offered) -> None:
    """Refuses what chooses among values where a graph tells the whole net."""
    name = offered.prefix or ""
    if told.chooses_variables:
        raise UsageError(
            f"{name} has its graph beside it, {name}.meta, which tells the whole net, so that {_CHOOSING} choose "
            "nothing. For its lower layers say where it is to end, as in --output dnn/hidden3/Elu:0 (Python: outputs); "
            "or add it whole, and then: zoo transfer NAME --reuse 'hidden[123]'. To put its values into another net, "
            "say which: --arch; or --activation, for a chain of dense layers"
        )
    for option, value in (("--activation", told.activation), ("--allow-partial", told.allow_partial)):
        if value:
            raise UsageError(
                f"{name} has its graph beside it, {name}.meta, which tells what stands between its layers, and lacks "
                f"none. Leave {option} away."
            )


def _refuse_beside_weights(told: Told, offered: Offered) -> None:
    """Refuses what is said of a graph where there is none, or where it is not used."""
    of_graphs = {
        "--input X:0": told.tensors, "--output": told.outputs, "--shape": told.shapes,
        "--limit": told.limit is not None,
    }  # fmt: skip
    for option, value in of_graphs.items():
        if value:
            name = offered.prefix or offered.files[0][1].name
            if has_graph(offered):
                raise UsageError(
                    f"{option} is for a graph, and that of {name} is not used where --arch, or --activation with "
                    "--include and the like, tell the net. Leave one of both away."
                )
            raise UsageError(
                f"{option} is for a graph, and there is none beside {name} ({name}.meta). Get that, or leave {option} "
                "away."
            )
    if told.arch is not None and told.activation is not None:
        raise UsageError(
            f"--arch {told.arch} tells the whole net, --activation (activation) is for a chain of dense layers that "
            "nothing else tells. Leave one of them away."
        )
    if told.allow_partial and not told.tells_net and offered.format != "checkpoint":  # whose names may tell it
        raise UsageError(
            "--allow-partial lets weights lack layers of a net, and nothing tells which net this is. Say it: --arch "
            "(Python: arch), or leave it away."
        )
