"""Which examples a model has seen before: the beginnings of their identities, packed into a line of text."""

from __future__ import annotations

import base64
import binascii

import numpy as np
from numpy.typing import NDArray

from zoo.data.examples import Ids

FACTS = "run-facts.json"
"""The file in which an entry that was a run keeps that."""

TRAINED_ON = "trained_on"
_BYTES = 8  # of an identity: that two of a million begin alike by chance has a probability below 1e-7


def packed_ids(ids: Ids) -> str:
    """Returns the beginnings of identities, sorted, in base64.

    Args:
        ids: uint8 [n, 32].
    """
    return base64.b64encode(np.sort(_beginnings(ids)).tobytes()).decode()


def seen_before(ids: Ids, packed: str) -> NDArray[np.bool_]:
    """Returns which identities are among those that were packed: [n].

    Args:
        ids: uint8 [n, 32].
        packed: What `packed_ids` returned; nothing is among what is no such text.

    >>> ids = np.arange(96, dtype=np.uint8).reshape(3, 32)
    >>> seen_before(ids, packed_ids(ids[1:])).tolist()
    [False, True, True]
    """
    try:
        known = base64.b64decode(packed, validate=True)
    except binascii.Error:
        known = b""
    return np.isin(_beginnings(ids), np.frombuffer(known[: len(known) // _BYTES * _BYTES], "<u8"))


def _beginnings(ids: Ids) -> NDArray[np.uint64]:
    return np.ascontiguousarray(ids[:, :_BYTES]).view("<u8")[:, 0]
