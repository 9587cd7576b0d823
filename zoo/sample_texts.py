"""Texts that are the same on every machine and for ever: a function of a shape and a seed.

NumPy's `RandomState` is frozen (NEP 19), so other versions draw the same words; the words must stay as they are here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_FREQUENT = (
    "the be to of and a in that have I it for not on with he as you do at this but his by from they we say her she or "
    "an will my one all would there their what so up out if about who get which go me when make can like time no just "
    "him know take people into year your good some could them see other than then now look only come its over think "
    "also back after use two how our work first well way even new want because any these give day most us great bad "
    "film book story music house water world country school state family student group hand part place case week"
)
_FEWEST, _MOST = 4, 24  # words in a text


def fixed_texts(shape: Sequence[int], seed: int) -> NDArray[Any]:
    """Returns texts of 4 to 24 frequent English words each, drawn at random.

    Args:
        shape: Of the array of texts.
        seed: Of the random numbers.

    >>> fixed_texts((2,), 1).tolist()[0]
    'the would you for his up which good when use from music'
    """
    words = _FREQUENT.split()
    random = np.random.RandomState(seed)
    counts = _FEWEST + np.floor(random.random_sample(math.prod(shape)) * (_MOST - _FEWEST + 1)).astype(int)
    texts = [" ".join(words[int(each * len(words))] for each in random.random_sample(int(count))) for count in counts]
    return np.array(texts, dtype=object).reshape(tuple(shape))
