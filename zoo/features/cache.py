"""The feature cache: what a trunk puts out for an example, computed once, ever.

Layout: `$ZOO_HOME/features/<key>/spec.json` and `<sha256>.safetensors` shards beside it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from zoo.data import Examples, Rows, open_data
from zoo.data.augmentation import Augmentation
from zoo.errors import CutError, DataError, UsageError
from zoo.features.engines import Engines, PrecisionError
from zoo.features.extraction import Extraction
from zoo.features.features import Features
from zoo.features.filling import Filling
from zoo.features.folder import FeatureFolder
from zoo.features.gathering import Version, gathered
from zoo.features.housekeeping import (
    FeatureEntry,
    Pruning,
    ShardFinding,
    list_features,
    prune_features,
    remove_features,
    verify_features,
)
from zoo.features.keys import feature_spec
from zoo.features.merging import Merged, merge_features
from zoo.features.views import View, Views
from zoo.files import zoo_home
from zoo.progress import Progress, Silent
from zoo.surgery import Trunk, whole_trunk

_DTYPES = ("float32", "float16")
_log = logging.getLogger("zoo")


class FeatureCache:
    """Features on disk, shared by every run and process on this machine.

    Args:
        home: The folder that holds `features/`; None: `$ZOO_HOME`.
        dtype: Storage dtype, `float32` or `float16`.
        engine: Who runs the trunk: `tensorflow`, `onnxruntime`, `openvino` (pip install openvino), or `auto`: the
            fastest, measured on the first examples. All but TensorFlow are compared with Keras on the first batch.
        precision: What it computes in: `float32`, or `bfloat16` (OpenVINO, on processors that have it), which is
            faster, and about 0.6 % off. It is part of the key.
        shard_bytes: A shard is written when it holds this many bytes of features,
        shard_seconds: or when this much time (s) was spent on it: what a kill can cost.

    Raises:
        UsageError: A setting that cannot be.

    >>> import tempfile, numpy, keras
    >>> trunk = keras.Sequential([keras.Input((8,)), keras.layers.Dense(3)])
    >>> with tempfile.TemporaryDirectory() as home:
    ...     features = FeatureCache(home).features(trunk, numpy.eye(8))
    ...     features.shape, features.stats.misses, FeatureCache(home).features(trunk, numpy.eye(8)).stats.misses
    ((8, 3), 8, 0)
    """

    def __init__(
        self,
        home: str | Path | None = None,
        *,
        dtype: str = "float32",
        engine: str = "tensorflow",
        precision: str = "float32",
        shard_bytes: int = 64 << 20,
        shard_seconds: float = 15.0,
    ) -> None:
        if dtype not in _DTYPES:
            raise UsageError(f"Expected a storage dtype of {' or '.join(_DTYPES)}; got {dtype!r}.")
        folder = Path(home or zoo_home()).expanduser()
        self.root = folder / "features"
        self.dtype = dtype
        self._engines = Engines(engine, precision, folder / "trunks")
        self._shard_bytes = shard_bytes
        self._shard_seconds = shard_seconds

    def features(
        self,
        trunk: Trunk | keras.Model,
        examples: Any,
        *,
        views: int = 0,
        augmentation: Augmentation | None = None,
        augmented: Rows | None = None,
        progress: Progress | None = None,
    ) -> Features:
        """Returns the features of `examples`, computing only those that are not kept yet.

        Args:
            trunk: Of a `Surgery`, or a Keras model whose own output is wanted.
            examples: What `zoo.open_data` takes.
            views: How many augmented versions of each picture to have features of, too. Row i of version v (0: the
                picture itself) is then row `i + v * n` of the result.
            augmentation: How those are made; None: flipped, cropped and coloured as `zoo.Augmentation()` says.
            augmented: Which examples have augmented versions; None: all. For the others the picture itself stands in.
            progress: Told about every example computed.

        Raises:
            DataError: Examples do not fit the trunk, or a feature is not finite (after the cast to `dtype`), or more
                files cannot be read than the examples' policy allows.
            DiskError: A shard cannot be written; those written before stay.
        """
        wanted = Views(views, augmentation or Augmentation(), augmented)
        (features,) = self._of_each([trunk], examples, progress, wanted)
        return features

    def features_of_each(
        self,
        trunks: Sequence[Trunk | keras.Model],
        examples: Any,
        *,
        views: int = 0,
        augmentation: Augmentation | None = None,
        augmented: Rows | None = None,
        progress: Progress | None = None,
    ) -> list[Features]:
        """Returns the features of `examples` for several cuts of one model, computed together in one pass.

        All but `trunks`, which are cuts of one trunk (`Trunk.at`), is as in `features`.
        """
        return self._of_each(trunks, examples, progress, Views(views, augmentation or Augmentation(), augmented))

    def cached(
        self,
        trunk: Trunk,
        examples: Any,
        *,
        views: int = 0,
        augmentation: Augmentation | None = None,
        augmented: Rows | None = None,
    ) -> int:
        """Returns how many features, of `examples` and their views as in `features`, are here; computes nothing."""
        opened, digests, count = open_data(examples).seen_by(trunk.preprocessing), trunk.digests(), 0
        for view in Views(views, augmentation or Augmentation(), augmented).of(opened):
            folder = self._folder(trunk, digests, opened, view.key, self._engines.precision)
            folder.open(read_only=True)
            count += int((folder.locate(opened.ids[view.rows])[0] >= 0).sum())
        return count

    def _of_each(
        self,
        trunks: Sequence[Trunk | keras.Model],
        examples: Any,
        progress: Progress | None,
        views: Views,
    ) -> list[Features]:
        try:
            return self._with(self._engines, trunks, examples, progress, views)
        except PrecisionError as error:  # what float32 gives has another key
            _log.warning("%s TensorFlow computes in float32.", error)
            engines = Engines("tensorflow", "float32", self.root.parent / "trunks")
            return self._with(engines, trunks, examples, progress, views)

    def _with(
        self,
        engines: Engines,
        trunks: Sequence[Trunk | keras.Model],
        examples: Any,
        progress: Progress | None,
        views: Views,
    ) -> list[Features]:
        began = time.perf_counter()
        cuts = [whole_trunk(trunk) if isinstance(trunk, keras.Model) else trunk for trunk in trunks]
        if any(cut.cuts[0] is not cuts[0].cuts[0] for cut in cuts):
            raise CutError("Expected cuts of one trunk (Trunk.at) to compute together; got trunks of several models.")
        opened = open_data(examples).seen_by(cuts[0].preprocessing)
        if not len(opened):
            raise DataError(f"Data {opened.name!r} has no examples.")
        digests = max(cuts, key=lambda cut: cut.depth).digests()
        extraction = Extraction(digests, opened, engines)
        versions = [
            self._version(cuts, digests, opened, extraction, view, engines.precision, progress or Silent())
            for view in views.of(opened)
        ]
        seconds = time.perf_counter() - began
        return [gathered(opened, versions, number, seconds, extraction) for number in range(len(cuts))]

    def _version(
        self,
        cuts: Sequence[Trunk],
        digests: Sequence[str],
        examples: Examples,
        extraction: Extraction,
        view: View,
        precision: str,
        progress: Progress,
    ) -> Version:
        """Returns one version of the examples, after what was missing of its features is computed."""
        folders = [self._folder(cut, digests, examples, view.key, precision) for cut in cuts]
        leases = [folder.lease() for folder in folders if folder.path.is_dir()]
        for folder in folders:
            folder.open()
        filling = Filling(
            extraction, cuts, folders, examples, shard_bytes=self._shard_bytes, shard_seconds=self._shard_seconds,
            progress=progress,
        )  # fmt: skip
        if any(len(filling.missing(each, view.rows)) for each in range(len(cuts))):
            leases += [folder.lease() for folder in folders]
            filling.run(view.rows, digests, self.root, view.change)
        for folder, computed in zip(folders, filling.computed, strict=True):
            folder.record_use(len(view.rows) - computed, computed)
        return Version(folders, filling.computed, filling.bad, view.rows, leases)

    def entries(self) -> list[FeatureEntry]:
        """Returns what features are kept, the last used first: whose they are, how large, how often they were found."""
        return list_features(self.root)

    def verify(self, keys: Sequence[str] = (), *, progress: Progress | None = None) -> list[ShardFinding]:
        """Returns what reading all shards again tells of each; a damaged one is moved aside, to be computed again.

        Without keys, the trunks that were converted for engines are read, too.

        Args:
            keys: Of which features (the beginning of a key is enough); none: of all.
            progress: Told about every byte.

        Raises:
            NotFoundError: There are no such features.
        """
        return verify_features(self.root, keys, progress=progress)

    def prune(
        self, max_bytes: float | None = None, *, older_than: float | None = None, dry_run: bool = False
    ) -> Pruning:
        """Removes the features that were not used for longest, but none in use, and tells which.

        Trunks that were converted for engines count like features.

        Args:
            max_bytes: Until all that are left have no more bytes than that.
            older_than: Those that were not used for so many seconds.
            dry_run: Only tell.
        """
        return prune_features(self.root, max_bytes, older_than=older_than, dry_run=dry_run)

    def remove(self, keys: Sequence[str], *, dry_run: bool = False) -> Pruning:
        """Removes features, by the beginnings of their keys, and tells which.

        Raises:
            NotFoundError: There are no such features.
            BusyError: Somebody uses them.
        """
        return remove_features(self.root, keys, dry_run=dry_run)

    def merge(self, other: str | Path, *, dry_run: bool = False) -> list[Merged]:
        """Takes over the features of another feature cache (its folder, or that of its home), each shard verified."""
        return merge_features(self.root, Path(other), dry_run=dry_run)

    def _folder(
        self, trunk: Trunk, digests: Sequence[str], examples: Examples, view: Any, precision: str
    ) -> FeatureFolder:
        spec = feature_spec(trunk, digests[trunk.depth], examples, self.dtype, precision, view)
        return FeatureFolder(self.root, spec)
