"""The pretrained model of a transfer: which of its files are needed, and the model out of them.

What is asked for is checked on the bare net first, so that nothing is fetched for a cut that cannot be.
"""

from __future__ import annotations

import dataclasses
import warnings
from dataclasses import dataclass
from typing import Any

import keras

from zoo.data import Examples
from zoo.data.examples import are_pictures
from zoo.data.preprocessing import refuse_unknown
from zoo.data.seen import FACTS, TRAINED_ON
from zoo.errors import IntegrityError, UsageError
from zoo.loading import bare_net, headless_layers, load_artifact, load_what_is_here, nonfinite_layers
from zoo.progress import Progress
from zoo.registry import Entry, InputSpec, find_loadable
from zoo.runs.job import Origin, Settings
from zoo.store import PullPlan, plan_pull, pull_entry
from zoo.store.documents import read_json
from zoo.surgery import Units, scaling_layer, select_units, split_units


@dataclass(frozen=True)
class Reused:
    """A pretrained model that is reused.

    Attributes:
        origin: Where it comes from, and what it wants to see.
        model: The model; bare where files of it are `missing`; it may end below its classifier.
        whole: The units of the whole net, where that is known without the model.
        missing: Files of it that must be fetched first.
    """

    origin: Origin
    model: keras.Model
    whole: Units | None = None
    missing: tuple[str, ...] = ()


def reused_in_memory(model: Any, preprocessing: InputSpec | None, examples: Examples, settings: Settings) -> Reused:
    """Returns a model that the caller has built; warns where nothing says how pictures become numbers.

    Raises:
        UsageError: It is no Keras model.
        IntegrityError: It has weights that are not finite.
    """
    if not isinstance(model, keras.Model):
        raise UsageError(f"Expected a model's name or a built keras.Model; got {type(model).__name__} {model!r}.")
    _refuse_nonfinite(model, model.name, settings)
    if preprocessing is None and are_pictures(examples):
        preprocessing = _plain_spec(model)
        shape = tuple(model.inputs[0].shape[1:]) if len(getattr(model, "inputs", None) or ()) == 1 else ()
        if len(shape) == 3 and scaling_layer(model) is None:
            gray = ', color="gray"' if shape[2] == 1 else ""
            warnings.warn(
                f"Pictures go into {model.name} as they are, 0..255, for nothing says what it was trained to see, and "
                "it does not begin with a Rescaling or Normalization. Say it, as in preprocessing=zoo.InputSpec("
                f"{shape}{gray}, scale=1 / 255); with scale=1 where 0..255 is right.",
                stacklevel=4,  # who called zoo.transfer or zoo.plan
            )
    return Reused(Origin(model.name, "memory", {}, preprocessing), model)


def _plain_spec(model: keras.Model) -> InputSpec | None:
    """Returns what pictures become for a model of which only the input's shape is known: that size, no scaling."""
    wanted = getattr(model, "input_shape", None)
    if not isinstance(wanted, tuple) or len(wanted) != 4 or None in wanted[1:3] or wanted[3] not in (1, 3):
        return None
    return InputSpec(wanted[1:], color="gray" if wanted[3] == 1 else "RGB")


def reused_by_name(
    name: str, preprocessing: InputSpec | None, settings: Settings, progress: Progress | None, *, fetch: bool = True
) -> Reused:
    """Returns the model that the registry knows as `name`, with those weights at least that the settings want.

    Args:
        name: Of the model.
        preprocessing: What it wants to see, if not what its entry says; its size is the net's.
        settings: What is asked for.
        progress: Told about bytes as they come.
        fetch: Whether to fetch what is missing; the model is bare otherwise.

    Raises:
        UsageError: This version cannot load it; `CutError` where it cannot be cut so. Nothing is fetched then.
        DataError: Nothing says how pictures become numbers. Nothing is fetched then either.
        NotFoundError: There is no such model, or its files cannot be had.
        IntegrityError: A file of it is damaged, another model's, or has weights that are not finite.
    """
    entry = find_loadable(name)
    if preprocessing is not None:
        entry = dataclasses.replace(entry, input=preprocessing)
    if entry.input is not None:
        refuse_unknown(entry.input)  # before anything large is fetched for what cannot be
    digests = {spec.name: spec.hash for spec in entry.files if spec.hash}
    origin = Origin(entry.name, entry.source, digests, entry.input)
    net = None if entry.source in ("slim", "tfhub") else bare_net(entry)  # only their files tell what they are
    if net is None:
        model = load_artifact(pull_entry(entry, progress=progress)) if fetch else load_what_is_here(entry)
        _refuse_nonfinite(model, entry.name, settings)
        whole = split_units(model, headless=True) if entry.ends_in_features else None
        return Reused(dataclasses.replace(origin, trained_on=_trained_on(entry)), model, whole)
    units = split_units(net, headless=entry.ends_in_features or None)
    reuse, _ = select_units(units, settings.reuse, settings.freeze, name=entry.name)
    headless, plan = _needed(entry, units, reuse)
    missing = tuple(step.file.name for step in plan.steps if step.action == "fetch")
    if missing and not fetch:
        return Reused(origin, net, units, missing)
    model = load_artifact(pull_entry(entry, headless=headless, progress=progress))
    _refuse_nonfinite(model, entry.name, settings)
    return Reused(origin, model, units)


def _trained_on(entry: Entry) -> str | None:
    """Returns what an entry's model was trained on, if it is that of a run."""
    if entry.source != "local" or not any(file.name == FACTS for file in entry.files):
        return None
    facts = read_json(pull_entry(entry).files["definition"])
    told = facts.get(TRAINED_ON) if isinstance(facts, dict) else None
    return told if isinstance(told, str) else None


def _needed(entry: Entry, units: Units, reuse: int) -> tuple[bool, PullPlan]:
    """Returns whether the headless file is enough for the lowest `reuse` units, and what pulling does then."""
    whole = plan_pull(entry.name) if any(file.role == "weights" for file in entry.files) else None
    known = headless_layers(entry)
    enough = all(
        layer.name in known
        for calls in units.calls[:reuse]
        for layer in (call.layer for call in calls)
        if getattr(layer, "weights", None)
    )
    if whole and not (known and enough):
        return False, whole
    headless = plan_pull(entry.name, headless=True)
    if whole and whole.missing == 0 and headless.missing != 0:
        return False, whole  # what is here is not fetched once more
    return True, headless


def _refuse_nonfinite(model: keras.Model, name: str, settings: Settings) -> None:
    if not settings.allow_nonfinite and (layers := nonfinite_layers(model)):
        shown = ", ".join(layers[:5]) + (" ..." if len(layers) > 5 else "")
        raise IntegrityError(
            f"{name} has weights that are NaN or infinite, in {len(layers)} layers: {shown}. What passes through them "
            "means nothing. Get another copy; or insist, with --reuse below them: --allow-nonfinite (Python: "
            "allow_nonfinite=True)"
        )
