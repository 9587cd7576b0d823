"""Makes today's layers of those that Caffe had before 2014 and 2015, and keeps those that a net for inference has.

Rules: https://github.com/BVLC/caffe, `upgrade_proto.cpp` and `net.cpp`, as facts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from zoo.converters.caffe.reading import CaffeFile
from zoo.converters.caffe.schema import LayerParameter, V1LayerParameter

from zoo.errors import IntegrityError

_TEST = 1  # the phase
_LONGEST_NAME = 80  # characters, in a message
_OLD = {
    "ABSVAL": "AbsVal", "ARGMAX": "ArgMax", "CONTRASTIVE_LOSS": "ContrastiveLoss", "HDF5_DATA": "HDF5Data",
    "HDF5_OUTPUT": "HDF5Output", "INNER_PRODUCT": "InnerProduct", "RELU": "ReLU", "TANH": "TanH", "MVN": "MVN",
    "LRN": "LRN", "BNLL": "BNLL", "SOFTMAX_LOSS": "SoftmaxWithLoss",
}  # fmt: skip
_OLDEST = {
    "conv": "Convolution", "pool": "Pooling", "innerproduct": "InnerProduct", "images": "ImageData", "relu": "ReLU",
    "lrn": "LRN", "tanh": "TanH", "bnll": "BNLL", "softmax_loss": "SoftmaxWithLoss", "hdf5_data": "HDF5Data",
    "hdf5_output": "HDF5Output", "padding": "Padding",
}  # fmt: skip
_OLDEST |= {
    each: each.title().replace("_", "")
    for each in (
        *("accuracy", "concat", "data", "dropout", "euclidean_loss", "flatten", "im2col", "infogain_loss"),
        *("multinomial_logistic_loss", "sigmoid", "softmax", "split", "window_data"),
    )
}


@dataclass(frozen=True)
class CaffeLayer:
    """A layer as Caffe has it today.

    Attributes:
        message: Its `LayerParameter`.
        place: How messages call it: its name, its type, and its line.
    """

    message: Any
    place: str

    @property
    def name(self) -> str:
        """Returns its name."""
        return str(self.message.name)

    @property
    def type(self) -> str:
        """Returns its type."""
        return str(self.message.type)


def layers_of(file: CaffeFile) -> list[CaffeLayer]:
    """Returns the layers of a net, in the order in which they compute; what goes in comes first.

    Raises:
        IntegrityError: It has layers of two ages, or one of a type that is none.
    """
    net = file.net
    if net.layer and net.layers:
        raise IntegrityError(
            f"{file.name} has layers of two ages, 'layer' and 'layers', which Caffe refuses too. Export it again."
        )
    messages = [_upgraded(file, number, each) for number, each in enumerate(net.layers)] or list(net.layer)
    found = [CaffeLayer(each, _place(file, number, each)) for number, each in enumerate(messages)]
    if any(each.type == "Padding" for each in found):
        found = _without_padding(found)
    return [*_inputs(file), *(each for each in found if _is_met(each.message, net.state))]


def _place(file: CaffeFile, number: int, layer: Any) -> str:
    line = f", line {file.lines[number]}" if number < len(file.lines) else ""
    return f"layer {shown(layer.name)} ({shown(layer.type)[1:-1]}) of {file.name}{line}"


def shown(name: str) -> str:
    """Returns a name as messages show it: in quotes, none of its characters acting on a terminal, and not too long."""
    return ascii(name) if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]!a}..."


def _inputs(file: CaffeFile) -> list[CaffeLayer]:
    """Returns an Input layer for each input that the net itself names."""
    net, found = file.net, []
    written = {name for layer in (*net.layer, *net.layers) for name in layer.top}
    for number, name in enumerate(net.input):
        sizes = list(net.input_shape[number].dim) if number < len(net.input_shape) else []
        sizes = sizes or list(net.input_dim[4 * number : 4 * number + 4])
        if not sizes and name in written:
            continue  # left by who took a net's layers of data away, or put them back
        layer = LayerParameter(name=name, type="Input", top=[name])
        if sizes:
            layer.input_param.shape.add(dim=sizes)
        found.append(CaffeLayer(layer, f"input {shown(name)} of {file.name}"))
    return found


def _is_met(layer: Any, state: Any) -> bool:
    """Returns whether a layer is part of the net that tests."""
    if layer.include:
        return any(_rule_is_met(rule, state) for rule in layer.include)
    return not any(_rule_is_met(rule, state) for rule in layer.exclude)


def _rule_is_met(rule: Any, state: Any) -> bool:
    stages = set(state.stage)
    return not (
        (rule.HasField("phase") and rule.phase != _TEST)
        or (rule.HasField("min_level") and state.level < rule.min_level)
        or (rule.HasField("max_level") and state.level > rule.max_level)
        or not set(rule.stage) <= stages
        or set(rule.not_stage) & stages
    )


# --- older layers ---


def _upgraded(file: CaffeFile, number: int, old: Any) -> Any:
    if old.HasField("layer"):
        return _from_oldest(file, number, old)
    names = V1LayerParameter.LayerType.DESCRIPTOR.values_by_number
    kind = names[old.type].name if old.type in names else "NONE"
    layer = LayerParameter(name=old.name, type=_OLD.get(kind) or kind.title().replace("_", ""))
    if kind == "NONE":
        raise IntegrityError(
            f"{_line(file, number)}: the layer {shown(old.name)} is of no type, or of one that older files of Caffe do "
            "not have."
        )
    for field in ("bottom", "top", "loss_weight", "include", "exclude"):
        getattr(layer, field).extend(getattr(old, field))
    for field, value in old.ListFields():
        if field.name.endswith("_param"):
            getattr(layer, field.name).CopyFrom(value)
    for name in old.param:
        layer.param.add(name=name)
    _move_transform(layer)
    return layer


def _move_transform(layer: Any) -> None:
    """Puts what older files say of how pictures become numbers where today's have it."""
    if not layer.HasField("data_param") or layer.HasField("transform_param"):
        return
    for name in ("scale", "mean_file", "crop_size", "mirror"):
        if layer.data_param.HasField(name):
            setattr(layer.transform_param, name, getattr(layer.data_param, name))


def _line(file: CaffeFile, number: int) -> str:
    return f"{file.name}, line {file.lines[number]}" if number < len(file.lines) else file.name


def _from_oldest(file: CaffeFile, number: int, outer: Any) -> Any:
    old = outer.layer
    kind = _oldest_kind(file, number, old)
    layer = LayerParameter(name=old.name, type=kind, bottom=outer.bottom, top=outer.top)
    if kind in ("Convolution", "Padding"):
        _set(layer.convolution_param, old, num_output="num_output", bias_term="biasterm", group="group")
        for new, name in {"pad": "pad", "kernel_size": "kernelsize", "stride": "stride"}.items():
            if old.HasField(name):
                getattr(layer.convolution_param, new).append(getattr(old, name))
    elif kind == "Pooling":
        _set(layer.pooling_param, old, pool="pool", kernel_size="kernelsize", stride="stride", pad="pad")
    elif kind == "InnerProduct":
        _set(layer.inner_product_param, old, num_output="num_output", bias_term="biasterm")
    elif kind == "LRN":
        _set(layer.lrn_param, old, local_size="local_size", alpha="alpha", beta="beta", k="k")
    elif kind == "Dropout":
        _set(layer.dropout_param, old, dropout_ratio="dropout_ratio")
    elif kind == "Concat":
        _set(layer.concat_param, old, concat_dim="concat_dim")
    elif "Data" in kind:
        _set(layer.transform_param, old, scale="scale", mean_file="meanfile", crop_size="cropsize", mirror="mirror")
    return layer


def _oldest_kind(file: CaffeFile, number: int, old: Any) -> str:
    if old.type not in _OLDEST:
        raise IntegrityError(
            f"{_line(file, number)}: the layer {shown(old.name)} has the type {shown(old.type)}, which Caffe's oldest "
            "files have not."
        )
    return _OLDEST[old.type]


def _set(message: Any, old: Any, **names: str) -> None:
    for new, name in names.items():
        if old.HasField(name):
            setattr(message, new, getattr(old, name))


def _without_padding(layers: Sequence[CaffeLayer]) -> list[CaffeLayer]:
    """Returns layers in which those that read a layer of padding pad by themselves, as Caffe's have since 2013."""
    pads: dict[str, tuple[int, str]] = {}
    found = []
    for layer in layers:
        message = layer.message
        if layer.type == "Padding":
            if len(message.top) != 1 or len(message.bottom) != 1:
                raise IntegrityError(f"{layer.place} should have one bottom and one top.")
            pads[message.top[0]] = (sum(message.convolution_param.pad), message.bottom[0])
            continue
        for place, name in enumerate(message.bottom):
            if name in pads:
                width, message.bottom[place] = pads[name]
                _pad(layer, width)
        for name in message.top:
            pads.pop(name, None)  # written anew
        found.append(layer)
    return found


def _pad(layer: CaffeLayer, width: int) -> None:
    if layer.type == "Convolution":
        layer.message.convolution_param.pad[:] = [width]
    elif layer.type == "Pooling":
        layer.message.pooling_param.pad = width
    else:
        raise IntegrityError(f"{layer.place} reads a layer of padding, which only a convolution or a pool can.")
