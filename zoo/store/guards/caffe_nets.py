"""The guards of the two files of a Caffe net: its definition is text, its weights are protobuf.

What a layer computes is not looked at, nor whether the two belong together: that is seen by whoever builds the net.
Format: https://github.com/BVLC/caffe/blob/master/src/caffe/proto/caffe.proto
"""

from __future__ import annotations

import re
from pathlib import Path

from zoo.errors import IntegrityError
from zoo.store.guards.refusals import explained
from zoo.store.guards.texts import refuse_other_than_text
from zoo.store.guards.wire import BYTES, VARINT, Wire, level, wire_of
from zoo.store.unpacking import Source, opened

_LARGEST_DEFINITION = 16 << 20
_GAP = rb"\s*(?:#[^\n]*\n\s*)*"
_LAYERS = re.compile(
    rb"(?:^|\xef\xbb\xbf|[\s;,}>\"'\d])(?:layers?"
    + _GAP
    + rb"(?::"
    + _GAP
    + rb")?[{<]|input(?:_shape|_dim)?"
    + _GAP
    + rb"[:{<])"
)

_NET_LEVEL = {1: BYTES, 2: BYTES, 3: BYTES, 5: VARINT, 6: BYTES, 7: VARINT, 8: BYTES, 100: BYTES}
_LAYER, _OLD_LAYER = 100, 2  # numbers of the field; the older one may hold the oldest
_LAYER_LEVEL = {1: BYTES, 2: BYTES, 3: BYTES, 4: BYTES, 7: BYTES}
_OLD_LAYER_LEVEL = {1: BYTES, 2: BYTES, 3: BYTES, 4: BYTES, 5: VARINT, 6: BYTES}
_OLDEST_LAYER_LEVEL = {1: BYTES, 2: BYTES, 50: BYTES}


def check_prototxt(path: Path) -> None:
    """Sees whether a file is the definition of a Caffe net: text, with a layer or an input.

    Raises:
        IntegrityError: It is not.
    """
    with explained(str(path), "the definition of a Caffe net"), opened(path) as source:
        if source.size > _LARGEST_DEFINITION:
            raise IntegrityError(f"it has {source.size:,} bytes, and a definition has {_LARGEST_DEFINITION:,} at most")
        refuse_other_than_text(source, encoding="latin-1")
        if not is_prototxt(source):
            raise IntegrityError("it has no layer and no input")


def is_prototxt(source: Source) -> bool:
    """Returns whether a line of a file begins a layer or an input, as in every definition of a net."""
    return source.size <= _LARGEST_DEFINITION and bool(_LAYERS.search(source.read_at(0, source.size)))


def check_caffemodel(path: Path, name: str = "") -> None:
    """Sees whether a file is a whole caffemodel: a net with layers, of which at least one has weights.

    Raises:
        IntegrityError: It is not.
        UnsafeFileError: It has more fields than a model needs.
    """
    with wire_of(path, name, "the weights of a Caffe net") as wire:
        refuse_other_than_caffemodel(wire)


def refuse_other_than_caffemodel(wire: Wire) -> None:
    """Sees whether the first levels of a file are those of a Caffe net with weights.

    Raises:
        IntegrityError: They are not.
        UnsafeFileError: It has more fields than a model needs.
    """
    net = level(wire, _NET_LEVEL)
    blobs = [blob for layer in net[_LAYER] for blob in level(wire, _LAYER_LEVEL, layer.start, layer.stop)[7]]
    for layer in net[_OLD_LAYER]:
        found = level(wire, _OLD_LAYER_LEVEL, layer.start, layer.stop)
        blobs += found[6]
        for oldest in found[1]:
            blobs += level(wire, _OLDEST_LAYER_LEVEL, oldest.start, oldest.stop)[50]
    if not blobs:
        raise IntegrityError("it has no layer with weights")
