"""The command that computes features and keeps them, thin over `zoo.extract_features`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from zoo.cli.describing import shape_text
from zoo.cli.options import DATA_OPTIONS, as_json, data_options, engine_options
from zoo.cli.output import Bar, counted, number, quiet_tensorflow, show_json, show_pairs, size

import zoo
from zoo.errors import UsageError
from zoo.registry import find_loadable


@click.command()
@click.argument("name", default="letters-cnn")
@click.option("--data", default="digits", show_default=True, help="What zoo transfer --data takes.")
@click.option(
    "--freeze", default="all", show_default=True, metavar="K",
    help="Of the lowest K units: a number, a layer's name, a pattern of names, or all but the classifier.",
)  # fmt: skip
@click.option(
    "--pool", type=click.Choice(["avg", "max", "avgmax", "flatten", "map"]), default="avg", show_default=True,
    help="How feature maps become a vector; map: they stay as they are.",
)  # fmt: skip
@click.option(
    "--views", type=click.IntRange(0), default=0, show_default=True, metavar="V",
    help="Also of V augmented versions of each picture.",
)  # fmt: skip
@click.option(
    "--dtype", type=click.Choice(["float32", "float16"]), default="float32", show_default=True, help="To keep them in."
)
@engine_options
@data_options
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Also write them to this .npz file.")
@as_json
def features(name: str, data: str, out: Path | None, as_json: bool, **options: Any) -> None:
    """Keep what the lowest units of the model NAME put out for DATA; what is kept already is not computed again.

    \b
    zoo features mobilenet_v2 --data flowers/
    zoo features vgg16 --data flowers/ --freeze 10 --pool map --dtype float16
    zoo features mobilenet_v2 --data flowers/ --out flowers.npz
    """
    find_loadable(name)
    if out and out.suffix != ".npz":
        raise UsageError(f"Expected --out with a path that ends with .npz; got {str(out)!r}.")
    about_data = {key: options.pop(key) for key in DATA_OPTIONS}
    with quiet_tensorflow(), Bar() as bar:
        examples = zoo.open_data(data, progress=bar, **about_data)
        found = zoo.extract_features(name, examples, progress=bar, **options)
        written = zoo.save_features(found, out) if out else None
    stats = found.stats
    if as_json:
        show_json({
            "model": name, "data": data, "key": found.key, "shape": list(found.shape), "dtype": str(found.dtype),
            "classes": list(found.classes), "hits": stats.hits, "misses": stats.misses, "seconds": stats.seconds,
            "engine": stats.engine, "bytes": stats.bytes, "bad_files": [vars(each) for each in found.bad],
            "out": str(written) if written else None,
        })  # fmt: skip
        return
    ran = f" by {stats.engine} in {stats.seconds:.1f} s" if stats.misses else ""
    show_pairs([
        ("features", f"{number(len(found))} x {shape_text(found.shape[1:])}, {size(stats.bytes)}"),
        ("computed", f"{number(stats.hits)} found, {number(stats.misses)} computed{ran}"),
        *([("passed over", f"{counted(len(found.bad), 'file')}: zoo check {data}")] if found.bad else []),
        ("key", f"{found.key[:12]}: zoo cache show {found.key[:12]}"),
        *([("written", str(written))] if written else []),
    ])  # fmt: skip
