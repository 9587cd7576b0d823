"""A pretraining that is finished: the folder that it left behind, read without TensorFlow."""

from __future__ import annotations

from pathlib import Path

from zoo.runs.folder import RunFolder, readable_runs, run_folder


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
