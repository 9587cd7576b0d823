"""A pretraining that is finished: the folder that it left behind, read without TensorFlow."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.runs.folder import RunFolder, readable_runs, run_folder

if TYPE_CHECKING:
    from zoo.exporting import Exported


class Pretrained(RunFolder):
    """A model that was made where there was none to reuse, read from the folder that this left behind.

    Its model takes what the preprocessing of its registry entry makes of examples; its last unit is what learning
    needed on top, and what a transfer replaces.

    Args:
        path: The folder.

    Raises:
        NotFoundError: There is none.
        IntegrityError: It is damaged.
        UsageError: A transfer left it behind.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__(path, "pretraining")

    def __repr__(self) -> str:
        return f"Pretrained({str(self.path)!r}, name={self.name!r}, method={self.method!r})"

    @property
    def name(self) -> str:
        """What its entry in the user's own registry is called."""
        return str(self.record["model"])

    @property
    def method(self) -> str:
        """How it was made: `autoencoder`, `rbm`, `auxiliary` or `pairs`."""
        return str(self.record["method"])

    @property
    def figures(self) -> dict[str, float]:
        """What was measured, on validation examples where there are such, by name."""
        return dict(self.record["figures"])

    def export(self, target: str | os.PathLike[str], **options: Any) -> Exported:
        """Writes its model in the format that the suffix says, and returns what came of it.

        Args:
            target: A `.onnx`, `.keras` or `.tflite` file, or a folder without a suffix for a SavedModel.
            **options: Those of `zoo.convert`: replace, opset, limit.

        Raises:
            ZooError: As `zoo.export` does.
        """
        from zoo.exporting import export_model

        return export_model(self.load(), target, **options)


def open_pretraining(path: str | Path) -> Pretrained:
    """Returns the pretraining in the folder `path`, or called so in `runs/`.

    Raises:
        NotFoundError: There is none.
        IntegrityError: It is damaged.
        UsageError: A transfer left it behind.
    """
    return Pretrained(run_folder(path))


def list_pretrainings(folder: str | Path = "runs") -> list[Pretrained]:
    """Returns the pretrainings in `folder`, the newest first; those that cannot be read are left out."""
    return readable_runs(Path(folder), "pretraining", Pretrained)
