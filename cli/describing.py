"""A model of the registry in words: a row of `zoo list`, the lines of `zoo show`. Prints nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zoo.cli.output import number, size

from zoo.registry import Entry, FileSpec, InputSpec, OutputSpec, RecordedOutput

SCORE_NAMES = {"accuracy": "accuracy", "example_f1": "F1", "mae": "error"}
UNPUBLISHED = "not published"
_ZOO_FITS = {"stretch": "stretches", "center_crop": "crops"}
_HASHED_BY = {
    "publisher": "published with the file",
    "third_party": "published by others; unverified by publisher",
    "user": "of what was added",
    None: "published; by whom is not recorded",
}


def shape_text(shape: Sequence[int | None]) -> str:
    """Returns a shape as in 28x28x1, with ? where any size will do."""
    return "x".join("?" if each is None else str(each) for each in shape)


def score_text(value: float, name: str) -> str:
    """Returns a figure: a share with four places, an error (`mae`) with four digits wherever its point is."""
    return f"{value:.4g}" if name == "mae" else f"{value:.4f}"


def interval_text(interval: Sequence[float | None], name: str) -> str:
    """Returns an interval of 95 %; nothing where it is not known."""
    low, high = interval
    if low is None or high is None:
        return ""
    say = f"{{:{'.4g' if name == 'mae' else '.3f'}}}".format
    return f"95 % interval {say(low)} to {say(high)}"


def entry_json(entry: Entry) -> dict[str, Any]:
    """Returns what machines are told about an entry: what the registry says, and what follows from it."""
    return {**entry.to_json(), "can": list(entry.can), "top1": entry.top1, "bytes": entry.bytes}


def entry_row(entry: Entry) -> dict[str, str]:
    """Returns the cells of an entry's row by column; what can be loaded can be pulled too."""
    return {
        "name": entry.name,
        "source": entry.source,
        "task": entry.task,
        "input": shape_text(entry.input.size) if entry.input else "?",
        "units": number(entry.units),
        "parameters": number(entry.params),
        "top-1": "?" if entry.top1 is None else f"{entry.top1:g}",
        "size": size(entry.bytes),
        "can": entry.can[-1] if entry.can else "keep" if entry.source == "local" else "-",
        "summary": entry.summary,
    }


def entry_pairs(entry: Entry) -> list[tuple[str, str]]:
    """Returns names and values of all that is known about an entry, and where it was read."""
    nowhere = "ships with zoo" if entry.source == "embedded" else "no address is published"
    pairs = [
        ("name", entry.name),
        ("summary", entry.summary),
        ("can", _today(entry)),
        ("source", entry.source),
        ("architecture", entry.arch or UNPUBLISHED),
        ("task", entry.task),
        *_input_pairs(entry.input),
        *_output_pairs(entry.output),
        ("parameters", UNPUBLISHED if entry.params is None else number(entry.params)),
        ("units", "not counted" if entry.units is None else number(entry.units)),
        *((key, _percent(key, value)) for key, value in entry.metrics.items()),
        *([] if entry.metrics else [("accuracy", UNPUBLISHED)]),
        *([("lacks", f"{', '.join(entry.lacks)}; these layers start from scratch")] if entry.lacks else []),
        *(
            [("lacks", "the weights of the classifier: headless, loaded as the net below it")]
            if _is_headless(entry)
            else []
        ),
        ("recorded", _recorded(entry.recorded)),
        ("size", UNPUBLISHED if entry.bytes is None else size(entry.bytes)),
        ("license", entry.license or UNPUBLISHED),
        ("cite", entry.cite or UNPUBLISHED),
        ("facts from", entry.origin or "not recorded"),
        *((f"about {field}", source) for field, source in entry.sources.items()),
        *(pair for file in entry.files for pair in _file_pairs(file, nowhere)),
    ]
    if entry.source != "local":
        return pairs
    return [(name, value.replace(UNPUBLISHED, "not known")) for name, value in pairs if value != nowhere]


def _is_headless(entry: Entry) -> bool:
    roles = {file.role for file in entry.files}
    return "weights_notop" in roles and "weights" not in roles


def _percent(metric: str, value: float) -> str:
    """Returns a published figure in percent; those of other data than ImageNet are recorded as shares of 1."""
    return f"{value if metric.startswith('imagenet_') else 100 * value:g} %"


def _recorded(recorded: RecordedOutput | None) -> str:
    if recorded is None:
        return "no output; zoo verify --deep has nothing to compare with"
    what = "texts" if recorded.dtype == "string" else "random numbers"
    return (
        f"output {shape_text(recorded.shape)} for {shape_text(recorded.input)} {what} (seed {recorded.seed}), "
        f"root mean square {recorded.output.rms:.4g}; compare: zoo verify --deep"
    )


def _today(entry: Entry) -> str:
    if entry.source == "local" and "load" not in entry.can:
        return "be kept; this version cannot load it"
    if entry.source == "local" and entry.units is None:
        return "be loaded, but not cut: zoo.load_model"
    if "load" in entry.can and entry.source == "onnx" and not _tells_preprocessing(entry.input):
        return (
            "be loaded: zoo.load_model; its preprocessing is not published, so zoo.transfer asks for it (preprocessing)"
        )
    if "load" in entry.can:
        return f"be transferred: zoo transfer {entry.name}"
    if "pull" in entry.can:
        return f"be pulled: zoo pull {entry.name}; not yet loaded or transferred"
    return "neither be pulled, for no address is published, nor loaded yet"


def _tells_preprocessing(spec: InputSpec | None) -> bool:
    return spec is not None and spec.scale is not None and spec.color is not None


def _input_pairs(spec: InputSpec | None) -> list[tuple[str, str]]:
    if spec is None:
        return [("input", f"no picture, or {UNPUBLISHED}")]
    resizable = "lower units take other sizes" if spec.resizable else "other sizes: not known to work"
    return [
        ("input", f"{input_text(spec)}; {resizable}"),
        ("resizing", _resizing(spec)),
        ("preprocessing", preprocessing_text(spec)),
        *([("mean picture", spec.mean_file)] if spec.mean_file else []),
    ]


def input_text(spec: InputSpec) -> str:
    """Returns which pictures a model takes: their size and colours."""
    color = spec.color or ("gray" if spec.size[2] == 1 else f"colour order {UNPUBLISHED}")
    return f"{shape_text(spec.size)} {color}"


def _resizing(spec: InputSpec) -> str:
    """Returns the way to the right size, and which part of it is zoo's own choice."""
    if None in spec.size[:2]:
        return "none; any size will do"
    zoo_fits = f"zoo {_ZOO_FITS[spec.applied_fit]}"
    if spec.fit is None and spec.resize is None:
        return f"{UNPUBLISHED}; {zoo_fits}, {spec.applied_resize}"
    fit = "stretched" if spec.fit else f"whether cropped: {UNPUBLISHED}, {zoo_fits}"
    if spec.fit == "center_crop":
        to = spec.resize_to
        side = "the size" if to is None else f"shorter side {to}" if isinstance(to, int) else shape_text(to)
        fit = f"resized to {side}, then centre crop"
    if spec.resize is None:
        return f"{fit}; interpolation {UNPUBLISHED}, zoo takes {spec.applied_resize}"
    return f"{fit}; {spec.resize}"


def preprocessing_text(spec: InputSpec) -> str:
    """Returns how pixel values x, 0..255, become what the model sees."""
    if spec.scale is None:
        return f"numbers {UNPUBLISHED}"
    text = "x" if spec.scale == 1 else f"x * {spec.scale:.6g}"
    if spec.mean or spec.mean_file:
        text += f" - {_values(spec.mean) if spec.mean else 'the mean picture'}"
    return f"({text}) / {_values(spec.std)}" if spec.std else text


def _values(values: Sequence[float]) -> str:
    return f"[{', '.join(f'{value:g}' for value in values)}]"


def _output_pairs(output: OutputSpec) -> list[tuple[str, str]]:
    if output.features:
        return [("output", f"{output.features} features")]
    if output.classes is None:
        return [("classes", UNPUBLISHED)]
    scores = {True: "logits", False: "probabilities", None: f"logits or probabilities: {UNPUBLISHED}"}[output.logits]
    first = {True: "; class 0 is background", False: "", None: f"; whether class 0 is background: {UNPUBLISHED}"}
    labels = output.labels or f"labels {UNPUBLISHED}"
    return [("classes", f"{number(output.classes)} ({labels}); {scores}{first[output.background]}")]


def _file_pairs(file: FileSpec, nowhere: str) -> list[tuple[str, str]]:
    hashed = f"{file.hash}, {_HASHED_BY[file.hash_from]}" if file.hash else "unverified by publisher"
    known = f"reported: {file.reported}" if file.urls else f"{nowhere}; {file.reported}"
    reported = nowhere if file.reported == nowhere else known
    return [
        (f"file ({file.role})", f"{file.name}, {f'size {UNPUBLISHED}' if file.bytes is None else size(file.bytes)}"),
        ("", hashed),
        *([("", f"in it: {file.member}")] if file.member else []),
        *(("", url) for url in file.urls),
        *([("", reported)] if file.reported else [] if file.urls else [("", nowhere)]),
    ]
