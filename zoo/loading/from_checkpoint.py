"""Loads checkpoints of TensorFlow that have no graph beside them: into a net that is known, or told by their shapes.

Every file passes its guard before a library opens it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras

from zoo.converters.restoring.layouts import LayoutLike
from zoo.converters.restoring.pairing import Rename, renamed
from zoo.converters.restoring.patterns import Patterns
from zoo.converters.restoring.report import RestoreReport, few
from zoo.converters.restoring.restorer import Known, planned
from zoo.converters.restoring.sources import Source, opened_source
from zoo.converters.slim.families import SLIM_NETS, SlimNet, find_slim, loadable_slim, recognise_slim
from zoo.converters.slim.names import slim_alpha, slim_known
from zoo.converters.slim.nets import build_slim
from zoo.errors import IntegrityError, NotFoundError, UsageError, nearest_names
from zoo.loading.building import build_architecture, roomy_copy, without_memory
from zoo.loading.dense_chains import dense_net
from zoo.loading.from_onnx import about
from zoo.loading.layer_weights import weighted_layers
from zoo.loading.restoring import guarded_weights
from zoo.loading.whole import load_archive, load_definition
from zoo.registry import Entry
from zoo.registry.architectures import ARCHITECTURES
from zoo.store.guards.places import kind_of, missing

__all__ = ["load_checkpoint", "load_slim", "loadable_slim"]


def load_checkpoint(
    prefix: Path,
    *,
    arch: str | None = None,
    activation: str | None = None,
    definition: Path | None = None,
    size: Sequence[int | None] | None = None,
    include: Patterns | None = None,
    exclude: Patterns | None = None,
    rename: Rename | None = None,
    layout: Mapping[str, LayoutLike] | None = None,
    name: str = "",
) -> tuple[keras.Model, RestoreReport]:
    """Returns the net of a TensorFlow checkpoint that has no graph, and what became of each variable.

    Args:
        prefix: What the names of its files begin with; any file of it; or its folder, if that has one alone. An `.npz`,
            `.safetensors` or `.h5` file of arrays with names will do as well.
        arch: The net that it is of: one of `keras.applications`, or of TF-Slim (`resnet_v1_50`); or the path of a
            definition. None: `definition` tells; or the names of the variables are those of TF-Slim; or it is a chain
            of dense layers by its shapes.
        activation: That of the hidden layers of such a chain, for no checkpoint tells it.
        definition: A `.json` (`model.to_json()`) or `.keras` file with the net. What the checkpoint lacks keeps the
            values of the latter.
        size: Height, width and channels of the input, where `arch` leaves it open.
        include: Regular expressions for the variables that are wanted, as `zoo.restore` has them; of a chain
            of dense layers, for those that the net is made of.
        exclude: The same for those that are left away.
        rename: What the variables' names become, as `zoo.restore` has it.
        layout: How arrays lie, as `zoo.restore` has it.
        name: What the checkpoint is called in messages; empty: its own name.

    Raises:
        UsageError: Nothing tells the net, or how its hidden layers act; or an argument cannot be right.
        NotFoundError: There is no such file.
        IntegrityError: A file is missing or damaged, or variables do not fit the net; the message lists them all.
        UnsafeFileError: A file could do harm.
    """
    if arch is not None and definition is None and Path(arch).suffix in (".json", ".keras"):
        definition, arch = Path(arch), None
    if arch is not None and definition is not None:
        raise UsageError(f"Expected one thing that tells the net; got both {arch} and {definition}.")
    chosen: dict[str, Any] = {"include": include, "exclude": exclude, "rename": rename, "layout": layout}
    with guarded_weights(prefix) as path, about(name or path.name), opened_source(path) as source:
        net = _slim_net(arch, source, rename) if definition is None else None
        if activation is not None and (told := definition or (net.name if net else arch)) is not None:
            raise UsageError(f"{told} tells what stands between its layers: leave --activation (activation) away.")
        if definition is not None:
            return _into_definition(source, definition, chosen)
        if net is not None:
            return _into_slim(source, net, size, chosen)
        if arch is not None:
            return _filled(source, _architecture(arch, size), chosen)
        return dense_net(source, activation, chosen)


def load_slim(path: Path, entry: Entry) -> keras.Model:
    """Returns the net of an entry of TF-Slim with the values of its checkpoint; it puts out logits.

    Args:
        path: The folder that the entry's archive was extracted to, or the prefix of the checkpoint.
        entry: The entry.

    Raises:
        UsageError: This version does not know the net.
        NotFoundError: There is no checkpoint.
        IntegrityError: A file is missing or damaged, or the checkpoint lacks variables of the net.
        UnsafeFileError: A file could do harm.
    """
    net = find_slim(entry.name) if loadable_slim(entry) else None
    if net is None:
        raise UsageError(f"Expected one of {', '.join(SLIM_NETS)} of TF-Slim; got {entry.name}.")
    where = _member(path, entry) if kind_of(path) == "folder" else path
    with guarded_weights(where) as prefix, about(entry.name), opened_source(prefix) as source:
        model, report = _into_slim(source, net, entry.input.size if entry.input else None, {})
        if report.missing:
            raise IntegrityError(
                f"{prefix.name} lacks {len(report.missing)} variables of {net.name}: {few(report.missing)}. Fetch it "
                f"again: zoo pull {entry.name}"
            )
    return model


# --- files ---


def _member(folder: Path, entry: Entry) -> Path:
    """Returns the prefix of the one checkpoint in a folder, or of the one that the entry names."""
    member = next((file.member for file in entry.files if file.member), None)
    found = sorted({*(each.with_suffix("") for each in folder.rglob("*.index")), *folder.rglob("*.ckpt")})
    named = [each for each in found if member in (None, each.relative_to(folder).as_posix(), each.name)]
    if len(named) != 1:
        raise NotFoundError(
            f"Expected {member or 'one checkpoint'} in what came out of the archive of {entry.name}; found "
            f"{few([each.name for each in found]) or 'none'}. Fetch it again: zoo pull {entry.name}"
        )
    return named[0]


# --- nets that are known ---


def _slim_net(arch: str | None, source: Source, rename: Rename | None) -> SlimNet | None:
    """Returns the net of TF-Slim that a checkpoint is of; None where it is of none, or not of `arch`."""
    names = set(renamed(source.variables, rename).values())
    if arch is None:
        return recognise_slim(names)
    net = find_slim(arch)
    if net is not None and (arch not in ARCHITECTURES or net.classes_from in names):
        return net
    if arch in ARCHITECTURES and (other := recognise_slim(names)) is not None:
        raise UsageError(f"This is a checkpoint of {other.name} of TF-Slim, which is not {arch}: --arch {other.name}.")
    return None


def _into_slim(
    source: Source, net: SlimNet, size: Sequence[int | None] | None, chosen: Mapping[str, Any]
) -> tuple[keras.Model, RestoreReport]:
    names = renamed(source.variables, chosen.get("rename"))
    shapes = {new: source.variables[name].shape for name, new in names.items()}
    classes, alpha = shapes.get(net.classes_from) or (1000,), slim_alpha(shapes, net)
    bare = without_memory(lambda: build_slim(net, classes[0], size, alpha))
    return _filled(source, bare, chosen, slim_known(net, bare))


def _architecture(arch: str, size: Sequence[int | None] | None) -> keras.Model:
    if arch not in ARCHITECTURES:
        near = nearest_names(arch, [*ARCHITECTURES, *SLIM_NETS])
        raise UsageError(f"Expected an architecture of keras.applications or of TF-Slim; got {arch!r}.{near}")
    return build_architecture(arch, size)


def _into_definition(source: Source, definition: Path, chosen: Mapping[str, Any]) -> tuple[keras.Model, RestoreReport]:
    loaders = {".json": load_definition, ".keras": load_archive}
    loader = loaders.get(definition.suffix.casefold())
    if loader is None:
        raise UsageError(f"Expected a model in a .json or .keras file; got {definition}.")
    if kind_of(definition) != "file":
        raise missing(definition)
    model = loader(definition, definition.name)
    return model, planned(model, source, **chosen).carry_out()


def _filled(
    source: Source, bare: keras.Model, chosen: Mapping[str, Any], known: Known | None = None
) -> tuple[keras.Model, RestoreReport]:
    """Returns a bare net with the values of a source; layers that it lacks start as in training from scratch."""
    plan = planned(bare, source, known=known, **chosen)
    plan.check()
    written = {id(move.target.variable) for move in plan.moves}
    lacking = [
        layer.name for layer in weighted_layers(bare) if not written.issuperset(id(each) for each in layer.weights)
    ]
    model = roomy_copy(bare, lacking)
    plan = planned(model, source, known=known, **chosen)
    plan.write()
    return model, plan.report
