"""The commands that take models to other formats, thin over `zoo.convert` and `zoo.export`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click
from zoo.cli.options import as_json, named_sizes
from zoo.cli.output import counted, number, quiet_tensorflow, show_json, show_pairs, size

import zoo
from zoo.registry.presets import PRESETS

if TYPE_CHECKING:
    from zoo.converters import ConversionReport

_replace = click.option("--replace", is_flag=True, help="Take the place of a model that is there already.")
_opset = click.option(
    "--opset", type=click.IntRange(13, 18), default=18, show_default=True, help="Of ONNX: the set of operators."
)
_limit = click.option(
    "--limit",
    type=click.FloatRange(0, min_open=True),
    default=1e-4,
    show_default=True,
    help="The largest difference that passes, relative to the largest output.",
)


@click.command()
@click.argument("source", metavar="SRC...", nargs=-1, required=True)
@click.argument("target", metavar="DST")
@_replace
@_opset
@_limit
@click.option(
    "--until", metavar="NODE", help="Of an ONNX or Caffe source: convert what is below and with this node or layer."
)
@click.option(
    "--shape", "shapes", multiple=True, metavar="NAME=SIZES", callback=named_sizes,
    help="Of an ONNX, Caffe or TensorFlow source: the sizes of an input, as it has them; ? varies: input=?,3,224,224.",
)  # fmt: skip
@click.option(
    "--preprocess",
    metavar="HOW",
    help="Of a Caffe source: put this inside, so that DST takes RGB pictures 0..255: "
    f"{', '.join(PRESETS)}, or a model that wants the same.",
)
@click.option("--signature", metavar="NAME", help="Of a SavedModel: what is called of it.")
@click.option("--input", "inputs", multiple=True, metavar="TENSOR", help="Of TensorFlow: where the net begins, as X:0.")
@click.option(
    "--output", "outputs", multiple=True, metavar="TENSOR",
    help="Of TensorFlow: where it ends, or an output of the signature.",
)  # fmt: skip
@as_json
def convert(source: tuple[str, ...], target: str, as_json: bool, **options: Any) -> None:
    """Write the model in the file SRC to DST, in the format of its suffix, and compare the two.

    SRC is a .onnx, .keras or whole .h5 file; the folder of a SavedModel, a frozen graph (.pb), or the prefix or any
    file of a TensorFlow checkpoint with its .meta; or the .prototxt and .caffemodel of a Caffe net, with the
    .binaryproto of its mean picture where that is to be subtracted inside. DST is a .onnx, .keras or .tflite file, or a
    folder without a suffix for a SavedModel. What differs is not written. Pictures go into and come out of DST as
    Keras has them, channels last; into an ONNX file made of a Caffe net they go as into Caffe.

    \b
    zoo convert googlenet.onnx googlenet.keras
    zoo convert flowers.keras flowers.onnx
    zoo convert deploy.prototxt net.caffemodel net.keras
    zoo convert my_model_final.ckpt my_model.keras
    zoo convert saved_model_folder net.onnx
    """
    with quiet_tensorflow():
        exported = zoo.convert(source, target, **options)
    _show(exported, as_json)


@click.command()
@click.argument("what", metavar="RUN|NAME")
@click.argument("target", metavar="DST")
@_replace
@_opset
@_limit
@as_json
def export(what: str, target: str, as_json: bool, **options: Any) -> None:
    """Write the model of a run, or one that zoo list knows, to DST, and compare the two.

    DST is a .onnx, .keras or .tflite file, or a folder without a suffix for a SavedModel. The model of a run has its
    preprocessing inside: it takes pictures 0..255 of any size that the run takes. Its labels lie beside, one a line.

    \b
    zoo export runs/digits digits.onnx
    zoo export letters-cnn letters.tflite
    """
    with quiet_tensorflow():
        exported = zoo.export(what, target, **options)
    _show(exported, as_json)


def _show(exported: zoo.Exported, as_json: bool) -> None:
    if as_json:
        show_json(_document(exported))
        return
    pairs = [
        ("written", f"{exported.path}, {size(exported.bytes)}"),
        ("format", exported.format),
        ("parameters", number(exported.parameters)),
    ]
    if exported.written:
        pairs.append(("operators", _counts(exported.written.operators)))
    pairs += [("note", each) for each in (exported.read.notes if exported.read else ())]
    steps = ", ".join(f"{error:.1e} from {step}" for step, error in exported.errors.items())
    if exported.labels:
        pairs.append(("labels", str(exported.labels)))
    show_pairs([*pairs, ("parity", f"{steps}: the largest difference {_compared_on(exported)}")])


def _compared_on(exported: zoo.Exported) -> str:
    """Returns what was compared, and how large a difference is counted."""
    if exported.difference is None:
        return "on random input, relative to the largest output"
    told = counted(exported.examples, "test example")
    return f"on {told}, relative to the largest output; {exported.difference:.1e} as it is"


def _counts(operators: Mapping[str, int]) -> str:
    ordered = sorted(operators.items(), key=lambda each: (-each[1], each[0]))
    return ", ".join(f"{count} {name}" for name, count in ordered)


def _document(exported: zoo.Exported) -> dict[str, Any]:
    return {
        "path": str(exported.path),
        "format": exported.format,
        "bytes": exported.bytes,
        "parameters": exported.parameters,
        "parity": {
            "error": exported.error,
            "steps": dict(exported.errors),
            "examples": exported.examples,
            "difference": exported.difference,
        },
        "labels": str(exported.labels) if exported.labels else None,
        "read": _report(exported.read),
        "written": _report(exported.written),
    }


def _report(report: ConversionReport | None) -> dict[str, Any] | None:
    if report is None:
        return None
    return {
        "operators": dict(report.operators),
        "layers": report.layers,
        "parameters": report.parameters,
        "transpositions": report.transpositions,
        "errors": dict(report.errors),
        "layouts": {name: list(axes) for name, axes in report.layouts.items()},
        "notes": list(report.notes),
    }
