"""Training on features, and figures of what was trained."""

from zoo.training.chunks import Part
from zoo.training.evaluation import Evaluation, evaluate, worst_mistakes
from zoo.training.fitting import fit, predict
from zoo.training.history import Epoch, FitSettings, History

__all__ = [
    "Epoch",
    "Evaluation",
    "FitSettings",
    "History",
    "Part",
    "evaluate",
    "fit",
    "predict",
    "worst_mistakes",
]
