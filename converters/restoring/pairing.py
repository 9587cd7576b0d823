"""Which variable of a source goes into which of a model: chosen by regular expressions, found by names.

A name is looked for as it is; then spelled as other programs spell it (`hidden1.kernel`, `hidden1/kernel:0`,
`hidden1/weights`); and then below any scopes (`dnn/hidden1/kernel`), where that leaves no choice. Shapes are no names:
which variable is meant is never concluded from them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from zoo.converters.restoring.patterns import Patterns, Selection, compiled, refuse_useless
from zoo.converters.restoring.report import RestoreReport, few, spoken
from zoo.converters.restoring.sources import Source
from zoo.converters.restoring.targets import Target

from zoo.errors import UsageError

Rename = Mapping[str, str] | Callable[[str], str | None]
# What TF-Slim and nets written by hand call that which Keras calls kernel and bias, and which lies in the same way.
_ALIKE = {"weights": "kernel", "biases": "bias", "depthwise_weights": "kernel", "depthwise_kernel": "kernel"}
_OPTIMIZERS = r"Nadam|Adam|Adagrad|Adadelta|Adamax|Ftrl|RMSprop|SGD|adam\w*|rmsprop|sgd"
_BOOKKEEPING = re.compile(
    rf"(?:^|/)(?:_?optimizer(?:_weights)?|training|\.OPTIMIZER_SLOT|{_OPTIMIZERS})(?:_\d+)?(?:/|$)"
)
_SLOT = re.compile(r"/(?:\w*Adam\w*|Momentum|RMSProp\w*|Adagrad|Adadelta|Ftrl\w*|ExponentialMovingAverage)(?:_\d+)?$")


@dataclass(frozen=True)
class Pairs:
    """What goes where: names of the source by those of the model, and the rest of both."""

    names: Mapping[str, str]
    left: tuple[str, ...]
    missing: tuple[str, ...]
    unused: tuple[str, ...]

    def report(self) -> RestoreReport:
        """Returns the same as it is told when all is loaded."""
        return RestoreReport(tuple(self.names), self.left, self.missing, self.unused, self.names)


def paired(
    targets: Mapping[str, Target],
    source: Source,
    include: Patterns | None,
    exclude: Patterns | None,
    rename: Rename | None,
    known: Mapping[str, str] | None = None,
    objects: Mapping[str, str] | None = None,
) -> Pairs:
    """Returns which variable of a source goes into which of a model.

    Args:
        targets: The variables of the model.
        source: The source.
        include: As `restore` has it.
        exclude: As `restore` has it.
        rename: As `restore` has it.
        known: The model's variable for each of the source, where a table tells it.
        objects: The source's variable for some of the model, which counts where names tell of none at all.

    Raises:
        UsageError: A pattern is none, or matches nothing; two variables would go into one; or one could be any of some.
    """
    wanted, unwanted = Selection(include, "include"), Selection(exclude, "exclude")
    everything = [*targets, *source.variables]
    excluded = {name for name in everything if unwanted.matches(name)}
    included = {name for name in everything if not wanted.is_given or wanted.matches(name)}
    for selection in (wanted, unwanted):
        selection.refuse_useless(everything)
    called = renamed(source.variables, rename)
    if known is not None:
        called = {name: known[new] for name, new in called.items() if new in known}
    found = _found(
        {name: each for name, each in targets.items() if name not in excluded},
        {name: new for name, new in called.items() if name not in excluded},
        lambda target, name: target in included or name in included,
    )
    if not found:
        found = {
            target: name
            for target, name in (objects or {}).items()
            if not {target, name} & excluded and {target, name} & included
        }
    barred = {each for name, new in called.items() if name in excluded for each in _ends(_alike(new))}
    names = {target: found[target] for target in targets if target in found}
    used = set(names.values())
    chosen = {name for name in targets if name in included and name not in excluded and _alike(name) not in barred}
    return Pairs(
        names,
        left=tuple(name for name in targets if name not in names and name not in chosen),
        missing=tuple(name for name in targets if name not in names and name in chosen),
        unused=tuple(name for name in source.variables if name not in used),
    )


def is_bookkeeping(name: str) -> bool:
    """Returns whether a variable is what an optimizer keeps of others, by its name.

    >>> is_bookkeeping("hidden1/kernel/Adam_1"), is_bookkeeping("hidden1/kernel")
    (True, False)
    """
    return bool(_BOOKKEEPING.search(name) or _SLOT.search(name))


def renamed(names: Iterable[str], rename: Rename | None) -> dict[str, str]:
    """Returns what each variable of a source is called after the user has renamed it; without those given no name.

    Raises:
        UsageError: A pattern is none, or matches nothing.
    """
    if rename is None:
        return {name: name for name in names}
    if callable(rename):
        called = {name: rename(name) for name in names}
        return {name: new for name, new in called.items() if new is not None}
    patterns = [(text, compiled(text, "rename"), new) for text, new in rename.items()]
    hits = {text: False for text, *_ in patterns}
    found = {}
    for name in names:
        new = name
        for text, pattern, replacement in patterns:
            try:
                changed, count = pattern.subn(replacement, new)
            except (re.error, IndexError) as error:
                raise UsageError(f"rename cannot replace {text!r} by {replacement!r}: {error}.") from error
            hits[text] = hits[text] or bool(count)
            new = changed
        found[name] = new
    refuse_useless(hits, "rename", found)
    return found


def _found(
    targets: Mapping[str, Target], called: Mapping[str, str], is_chosen: Callable[[str, str], bool]
) -> dict[str, str]:
    """Returns the source's name for each variable of the model that has one, by the model's name."""
    found: dict[str, str] = {}
    used: set[str] = set()
    for spell in (str, _spelled, _alike):
        there = _by_spelling({name: spell(new) for name, new in called.items() if name not in used})
        for target in targets.values():
            if target.name in found:
                continue
            names = {each for key in {spell(target.name), spell(target.number)} for each in there.get(key, ())}
            candidates = sorted(name for name in names if is_chosen(target.name, name))
            if len(candidates) > 1:
                raise _ambiguous(target.name, candidates)
            if candidates:
                found[target.name] = candidates[0]
                used.add(candidates[0])
    found |= _below_scopes(targets, {name: new for name, new in called.items() if name not in used}, found, is_chosen)
    _refuse_twice(found)
    return found


def _below_scopes(
    targets: Mapping[str, Target],
    called: Mapping[str, str],
    found: Mapping[str, str],
    is_chosen: Callable[[str, str], bool],
) -> dict[str, str]:
    below: dict[str, list[str]] = {}
    for name, new in called.items():
        if is_bookkeeping(new):
            continue
        for end in _ends(_alike(new))[1:]:
            below.setdefault(end, []).append(name)
    more: dict[str, str] = {}
    for target in targets.values():
        names = below.get(_alike(target.name), ()) if target.name not in found else ()
        candidates = [name for name in names if is_chosen(target.name, name)]
        if len(candidates) > 1:
            raise _ambiguous(target.name, candidates)
        if candidates:
            more[target.name] = candidates[0]
    return more


def _ends(name: str) -> list[str]:
    """Returns a name with ever fewer scopes before it, but for the last.

    >>> _ends("net/dnn/fc/kernel")
    ['net/dnn/fc/kernel', 'dnn/fc/kernel', 'fc/kernel']
    """
    parts = name.split("/")
    return ["/".join(parts[start:]) for start in range(max(1, len(parts) - 1))]


def _ambiguous(target: str, candidates: list[str]) -> UsageError:
    return UsageError(
        f"The model's {target} could be any of {few(candidates)} in the source. Say which: leave the others away with "
        'exclude, or give it its name with rename, as in {"^online/": ""}.'
    )


def _refuse_twice(found: Mapping[str, str]) -> None:
    owners: dict[str, str] = {}
    for target, name in found.items():
        if name in owners:
            raise UsageError(
                f"{spoken(name)} of the source could be {owners[name]} or {target} of the model. Say which: give it "
                "its name with rename."
            )
        owners[name] = target


def _by_spelling(spelled: Mapping[str, str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, key in spelled.items():
        found.setdefault(key, []).append(name)
    return found


def _spelled(name: str) -> str:
    """Returns a name without what some programs add to it, and a scope that is repeated once."""
    name = re.sub(r":\d+$", "", name.removesuffix("/.ATTRIBUTES/VARIABLE_VALUE"))
    parts = name.replace(".", "/").strip("/").split("/")
    kept = [part for number, part in enumerate(parts) if not number or part != parts[number - 1]]
    return "/".join(kept)


def _alike(name: str) -> str:
    scope, slash, own = _spelled(name).rpartition("/")
    return f"{scope}{slash}{_ALIKE.get(own, own)}"
