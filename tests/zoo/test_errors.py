from __future__ import annotations

import pickle

import pytest

from zoo import errors
from zoo.errors import (
    BusyError,
    CutError,
    DataError,
    DiskError,
    IntegrityError,
    MissingClassError,
    NotConvertible,
    NotFoundError,
    OfflineError,
    TrainingError,
    UnsafeFileError,
    UsageError,
    ZooError,
    nearest_names,
)

EXIT_CODES: list[tuple[type[ZooError], int]] = [
    (ZooError, 1),
    (UsageError, 2),
    (CutError, 2),
    (NotFoundError, 3),
    (OfflineError, 3),
    (IntegrityError, 4),
    (MissingClassError, 4),
    (NotConvertible, 4),
    (UnsafeFileError, 5),
    (DiskError, 6),
    (BusyError, 7),
    (DataError, 8),
    (TrainingError, 9),
]


@pytest.mark.parametrize(("kind", "code"), EXIT_CODES)
def test_an_error_has_the_exit_code_of_the_design_and_is_a_zoo_error(kind: type[ZooError], code: int) -> None:
    assert kind.exit_code == code
    assert issubclass(kind, ZooError)


def test_every_error_of_the_module_is_in_the_table_above_and_in_the_docstring() -> None:
    defined = {value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, ZooError)}

    assert defined == {kind for kind, _ in EXIT_CODES}
    assert all(kind.__name__ in str(errors.__doc__) for kind in defined)


@pytest.mark.parametrize(
    ("kind", "builtin"),
    [
        (UsageError, ValueError),
        (NotFoundError, LookupError),
        (DiskError, OSError),
        (DataError, ValueError),
        (TrainingError, ArithmeticError),
    ],
)
def test_callers_that_know_only_pythons_own_errors_catch_ours(kind: type[ZooError], builtin: type[Exception]) -> None:
    assert issubclass(kind, builtin)


@pytest.mark.parametrize("kind", [kind for kind, _ in EXIT_CODES])
def test_an_error_reads_as_its_message_also_after_a_trip_between_processes(kind: type[ZooError]) -> None:
    error = pickle.loads(pickle.dumps(kind("Expected 'a'; got 'b'.")))

    assert type(error) is kind
    assert str(error) == "Expected 'a'; got 'b'."


def test_nearest_names_offers_a_slip_of_the_finger() -> None:
    assert nearest_names("vgg61", ["resnet50", "vgg16"]) == " Did you mean vgg16?"


def test_nearest_names_offers_at_most_three() -> None:
    offered = nearest_names("vgg1", ["vgg11", "vgg13", "vgg16", "vgg19"])

    assert offered.count("vgg") == 3


@pytest.mark.parametrize("wanted", ["VGG16", "vgg-16", "vgg_16", "V.G.G.16", "keras/vgg16"])
def test_nearest_names_sees_through_ways_of_writing(wanted: str) -> None:
    assert nearest_names(wanted, ["resnet50", "slim/vgg_16", "vgg19"]) == " Did you mean slim/vgg_16?"


def test_nearest_names_leaves_out_what_is_much_less_like_than_the_best() -> None:
    assert nearest_names("resnet50", ["ResNet-50", "resnet101v2"]) == " Did you mean ResNet-50?"


def test_nearest_names_takes_names_that_can_be_read_once() -> None:
    assert nearest_names("a/vgg61", iter(["vgg16"])) == " Did you mean vgg16?"


def test_nearest_names_is_silent_where_nothing_is_near() -> None:
    assert nearest_names("zebra", ["vgg16"]) == ""
    assert nearest_names("zebra", []) == ""
