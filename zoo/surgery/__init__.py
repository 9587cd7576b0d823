"""Units of a network, and cutting it into a frozen trunk, a tail that trains and a new head."""

from zoo.surgery.cut import Surgery, Trunk, put_before, whole_trunk
from zoo.surgery.digests import unit_digests
from zoo.surgery.graph import sublayers, training_call
from zoo.surgery.heads import POOLS, Head, Pool, Tap
from zoo.surgery.scaling import scaling_layer
from zoo.surgery.selection import Depth, refuse_to_train_opaque, select_units
from zoo.surgery.units import Unit, Units, split_units

__all__ = [
    "POOLS",
    "Depth",
    "Head",
    "Pool",
    "Surgery",
    "Tap",
    "Trunk",
    "Unit",
    "Units",
    "put_before",
    "refuse_to_train_opaque",
    "scaling_layer",
    "select_units",
    "split_units",
    "sublayers",
    "training_call",
    "unit_digests",
    "whole_trunk",
]
