"""Training on features, and figures of what was trained."""

from zoo.training.checkpoints import Checkpoint
from zoo.training.chunks import Part
from zoo.training.evaluation import Evaluation, evaluate, worst_mistakes
from zoo.training.fitting import fit, predict
from zoo.training.history import Epoch, History, joined
from zoo.training.objectives import Objective
from zoo.training.optimizers import Group
from zoo.training.settings import FitSettings, Loss, Optimizer, Schedule, Unfreeze

__all__ = [
    "Checkpoint",
    "Epoch",
    "Evaluation",
    "FitSettings",
    "Group",
    "History",
    "Loss",
    "Objective",
    "Optimizer",
    "Part",
    "Schedule",
    "Unfreeze",
    "evaluate",
    "fit",
    "joined",
    "predict",
    "worst_mistakes",
]
