"""Which nets of TF-Slim are known, told by name alone; imports no library, so that a list of models can ask."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class SlimNet:
    """A net of TF-Slim.

    Attributes:
        name: What TF-Slim calls it: `resnet_v1_50`.
        scope: What the names of its variables begin with, in the checkpoint.
        logits: The scope of its classifier.
        size: The height and width that it was trained on (pixels).
        alpha: A factor on its widths; None: as the checkpoint has them.
    """

    name: str
    scope: str
    logits: str
    size: int = 224
    alpha: float | None = 1.0

    @property
    def classes_from(self) -> str:
        """Returns the variable that tells how many classes there are: one number for each."""
        return f"{self.logits}/biases"


_VGGS = {name: SlimNet(name, name, f"{name}/fc8") for name in ("vgg_16", "vgg_19")}
_RESNETS = {name: SlimNet(name, name, f"{name}/logits") for name in ("resnet_v1_50", "resnet_v1_101", "resnet_v1_152")}
_INCEPTIONS = {
    "inception_v1": SlimNet("inception_v1", "InceptionV1", "InceptionV1/Logits/Conv2d_0c_1x1"),
    "inception_v3": SlimNet("inception_v3", "InceptionV3", "InceptionV3/Logits/Conv2d_1c_1x1", 299),
}
_MOBILENET = SlimNet("mobilenet_v1", "MobilenetV1", "MobilenetV1/Logits/Conv2d_1c_1x1", alpha=None)
SLIM_NETS: Mapping[str, SlimNet] = _VGGS | _RESNETS | _INCEPTIONS | {"mobilenet_v1": _MOBILENET}
_OTHER_NAMES = {"vgg16": "vgg_16", "vgg19": "vgg_19", "mobilenet": "mobilenet_v1"}
_MOBILENET_NAME = re.compile(r"mobilenet_v1_(\d\.\d+)(?:_(\d+))?(?:_2017)?")


class _Entry(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def source(self) -> str: ...


def find_slim(name: str | None) -> SlimNet | None:
    """Returns the net of TF-Slim of this name, or of an architecture that is the same net; None where none is known.

    >>> find_slim("slim/mobilenet_v1_0.5_160")
    SlimNet(name='mobilenet_v1', scope='MobilenetV1', logits='MobilenetV1/Logits/Conv2d_1c_1x1', size=160, alpha=0.5)
    >>> find_slim("resnet50") is None
    True
    """
    plain = (name or "").removeprefix("slim/").removeprefix("slim_")
    plain = _OTHER_NAMES.get(plain, plain)
    if match := _MOBILENET_NAME.fullmatch(plain):
        return SlimNet(_MOBILENET.name, _MOBILENET.scope, _MOBILENET.logits, int(match[2] or 224), float(match[1]))
    return SLIM_NETS.get(plain)


def loadable_slim(entry: _Entry) -> bool:
    """Returns whether this version can load the checkpoint of an entry of TF-Slim, by its name alone."""
    return entry.source == "slim" and find_slim(entry.name) is not None


def recognise_slim(variables: Iterable[str]) -> SlimNet | None:
    """Returns the net of TF-Slim that a checkpoint is of, by the names of its variables; None where it is of none."""
    names = set(variables)
    known = [net for net in SLIM_NETS.values() if net.classes_from in names and f"{net.logits}/weights" in names]
    return known[0] if len(known) == 1 else None
