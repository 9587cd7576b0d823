"""The scopes of the convolutions of Inception v1 and v3 in TF-Slim, in the order in which it makes them.

They are lists, for no rule makes them: one block of v3 has `Conv2d_0b_1x1` and `Conv_1_0c_5x5` where the others have
`Conv2d_0a_1x1` and `Conv2d_0b_5x5`, and one of v1 has `Conv2d_0a_3x3` where the others have `Conv2d_0b_3x3`.
"""

from __future__ import annotations

from collections.abc import Mapping

# Block: the convolutions of each branch, in their order.
_V3_STEM = ("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "Conv2d_3b_1x1", "Conv2d_4a_3x3")
_ONE, _POOLED = "Conv2d_0a_1x1", "Conv2d_0b_1x1"
_DOUBLE_3 = "Conv2d_0a_1x1 Conv2d_0b_3x3 Conv2d_0c_3x3"
_SEVEN = "Conv2d_0a_1x1 Conv2d_0b_1x7 Conv2d_0c_7x1"
_DOUBLE_7 = "Conv2d_0a_1x1 Conv2d_0b_7x1 Conv2d_0c_1x7 Conv2d_0d_7x1 Conv2d_0e_1x7"
_SPLIT = "Conv2d_0a_1x1 Conv2d_0b_3x3 Conv2d_0c_1x3 Conv2d_0d_3x1"
_V3_BLOCKS: Mapping[str, tuple[str, ...]] = {
    "Mixed_5b": (_ONE, "Conv2d_0a_1x1 Conv2d_0b_5x5", _DOUBLE_3, _POOLED),
    "Mixed_5c": (_ONE, "Conv2d_0b_1x1 Conv_1_0c_5x5", _DOUBLE_3, _POOLED),
    "Mixed_5d": (_ONE, "Conv2d_0a_1x1 Conv2d_0b_5x5", _DOUBLE_3, _POOLED),
    "Mixed_6a": ("Conv2d_1a_1x1", "Conv2d_0a_1x1 Conv2d_0b_3x3 Conv2d_1a_1x1"),
    **dict.fromkeys(("Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"), (_ONE, _SEVEN, _DOUBLE_7, _POOLED)),
    "Mixed_7a": ("Conv2d_0a_1x1 Conv2d_1a_3x3", f"{_SEVEN} Conv2d_1a_3x3"),
    "Mixed_7b": (_ONE, "Conv2d_0a_1x1 Conv2d_0b_1x3 Conv2d_0b_3x1", _SPLIT, _POOLED),
    "Mixed_7c": (_ONE, "Conv2d_0a_1x1 Conv2d_0b_1x3 Conv2d_0c_3x1", _SPLIT, _POOLED),
}

# Block: for each branch its convolutions with their widths; the size of a kernel is how its scope ends.
V1_BLOCKS: Mapping[str, tuple[str, ...]] = {
    name: tuple(branches.split(", "))
    for name, branches in {
        "Mixed_3b": "Conv2d_0a_1x1:64, Conv2d_0a_1x1:96 Conv2d_0b_3x3:128, Conv2d_0a_1x1:16 Conv2d_0b_3x3:32, "
        "Conv2d_0b_1x1:32",
        "Mixed_3c": "Conv2d_0a_1x1:128, Conv2d_0a_1x1:128 Conv2d_0b_3x3:192, Conv2d_0a_1x1:32 Conv2d_0b_3x3:96, "
        "Conv2d_0b_1x1:64",
        "Mixed_4b": "Conv2d_0a_1x1:192, Conv2d_0a_1x1:96 Conv2d_0b_3x3:208, Conv2d_0a_1x1:16 Conv2d_0b_3x3:48, "
        "Conv2d_0b_1x1:64",
        "Mixed_4c": "Conv2d_0a_1x1:160, Conv2d_0a_1x1:112 Conv2d_0b_3x3:224, Conv2d_0a_1x1:24 Conv2d_0b_3x3:64, "
        "Conv2d_0b_1x1:64",
        "Mixed_4d": "Conv2d_0a_1x1:128, Conv2d_0a_1x1:128 Conv2d_0b_3x3:256, Conv2d_0a_1x1:24 Conv2d_0b_3x3:64, "
        "Conv2d_0b_1x1:64",
        "Mixed_4e": "Conv2d_0a_1x1:112, Conv2d_0a_1x1:144 Conv2d_0b_3x3:288, Conv2d_0a_1x1:32 Conv2d_0b_3x3:64, "
        "Conv2d_0b_1x1:64",
        "Mixed_4f": "Conv2d_0a_1x1:256, Conv2d_0a_1x1:160 Conv2d_0b_3x3:320, Conv2d_0a_1x1:32 Conv2d_0b_3x3:128, "
        "Conv2d_0b_1x1:128",
        "Mixed_5b": "Conv2d_0a_1x1:256, Conv2d_0a_1x1:160 Conv2d_0b_3x3:320, Conv2d_0a_1x1:32 Conv2d_0a_3x3:128, "
        "Conv2d_0b_1x1:128",
        "Mixed_5c": "Conv2d_0a_1x1:384, Conv2d_0a_1x1:192 Conv2d_0b_3x3:384, Conv2d_0a_1x1:48 Conv2d_0b_3x3:128, "
        "Conv2d_0b_1x1:128",
    }.items()
}
V1_POOLED_BEFORE = {"Mixed_3b": 3, "Mixed_4b": 3, "Mixed_5b": 2}
"""Before which blocks a maximum of so many pixels is taken, of every second."""


def inception_v3_scopes() -> tuple[str, ...]:
    """Returns the scopes of the 94 convolutions of Inception v3 that have BatchNormalization, but the auxiliary ones.

    >>> len(inception_v3_scopes())
    94
    """
    mixed = (
        f"{block}/Branch_{number}/{scope}"
        for block, branches in _V3_BLOCKS.items()
        for number, branch in enumerate(branches)
        for scope in branch.split()
    )
    return tuple(f"InceptionV3/{scope}" for scope in (*_V3_STEM, *mixed))
