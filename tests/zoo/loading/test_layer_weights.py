"""Files of weights that are not what they should be, and such that are, in one of the ways people have them."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from published import picture, weight_file

from zoo.errors import IntegrityError
from zoo.loading import nonfinite_layers, recognise_weights
from zoo.loading.weights import load_weights

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of Keras 2
    pytest.mark.filterwarnings("ignore:`input_shape` is undefined or non-square"),
]

ARCH = "mobilenet_v3_small"  # the smallest: 10 MB


@pytest.fixture
def changed(tmp_path: Path) -> Callable[[Callable[[h5py.File], None]], Path]:
    """Returns a function that changes a copy of published weights, and gives its path."""

    def change(edit: Callable[[h5py.File], None]) -> Path:
        path = tmp_path / "weights.h5"
        shutil.copy(weight_file(ARCH), path)
        with h5py.File(path, "r+") as file:
            edit(file)
        return path

    return change


def names(group: Any, attribute: str) -> list[str]:
    return [name if isinstance(name, str) else name.decode() for name in group.attrs[attribute]]


def set_names(group: Any, attribute: str, values: list[str]) -> None:
    group.attrs[attribute] = [name.encode() for name in values]


def datasets(file: h5py.File) -> list[str]:
    return [f"{layer}/{name}" for layer in names(file, "layer_names") for name in names(file[layer], "weight_names")]


def recast(file: h5py.File, dtype: str, only: str = "") -> None:
    for path in datasets(file):
        if only in path:
            values = file[path][()]
            del file[path]
            file[path] = values.astype(dtype)


def output(model: keras.Model) -> np.ndarray[Any, Any]:
    return np.asarray(model(picture((224, 224, 3)), training=False))


@functools.cache
def published() -> keras.Model:
    """Returns the net as its publisher's weights make it; what tests change, they load themselves."""
    return load_weights(weight_file(ARCH), ARCH)


def assert_published(model: keras.Model, dtype: str = "float32") -> None:
    """Asserts that a net of this architecture has the published weights, rounded to a type, in every place."""
    for mine, theirs in zip(model.weights, published().weights, strict=True):
        np.testing.assert_array_equal(mine, np.asarray(theirs).astype(dtype))


@pytest.fixture(scope="module")
def five(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray[Any, Any]]:
    """Weights of five classes as Keras 3 writes them, and the kernel of the first layer in them."""
    path = tmp_path_factory.mktemp("five") / "flowers.weights.h5"
    model = keras.applications.MobileNetV3Small(weights=None, classes=5)
    model.save_weights(path)
    return path, model.get_weights()[0]


def test_a03_another_nets_weights_name_the_first_layer_and_both_shapes() -> None:
    with pytest.raises(IntegrityError, match=r"'conv'.*3x3x3x16.*3x3x3x32.*Nothing was loaded") as caught:
        load_weights(weight_file("mobilenet"), ARCH)

    assert "layer 1 " in str(caught.value)


def test_a03_another_number_of_classes_is_named_where_it_shows() -> None:
    with pytest.raises(IntegrityError, match=r"'logits'.*1x1x1024x10, 10;.*1x1x1024x1000, 1000"):
        load_weights(weight_file(ARCH), ARCH, classes=10)


def test_a03_headless_weights_are_no_whole_net() -> None:
    headless = weight_file(ARCH, top=False)

    with pytest.raises(IntegrityError, match=r"88 layers with weights, the file 86.*Not in the file: conv_2, logits"):
        load_weights(headless, ARCH)
    assert recognise_weights(headless, ARCH, (224, 224, 3)).role == "weights_notop"


def test_a04_layers_in_another_order_go_where_their_names_say(changed: Any) -> None:
    """Two layers of one shape change places in the list; Keras would exchange their weights without a word."""
    one, other = "expanded_conv_4/expand", "expanded_conv_5/expand"

    def exchange(file: h5py.File) -> None:
        order = names(file, "layer_names")
        first, second = order.index(one), order.index(other)
        assert file[one][one]["kernel:0"].shape == file[other][other]["kernel:0"].shape
        order[first], order[second] = order[second], order[first]
        set_names(file, "layer_names", order)

    assert_published(load_weights(changed(exchange), ARCH))


def test_a04_layers_in_another_order_are_refused_where_names_do_not_tell_all(changed: Any) -> None:
    """One renamed layer, and the others cannot be paired by name alone."""

    def exchange(file: h5py.File) -> None:
        order = names(file, "layer_names")
        first, second = order.index("expanded_conv_4/expand"), order.index("expanded_conv_5/expand")
        order[first], order[second] = order[second], order[first]
        file.move("Logits", "top")
        order[order.index("Logits")] = "top"
        set_names(file, "layer_names", order)

    with pytest.raises(IntegrityError, match=r"another order.*'expanded_conv_4_expand'.*'expanded_conv_5/expand'"):
        load_weights(changed(exchange), ARCH)


def test_a04_a_missing_layer_is_named_and_may_be_lacking_only_when_told(changed: Any) -> None:
    def remove(file: h5py.File) -> None:
        set_names(file, "layer_names", [name for name in names(file, "layer_names") if name != "Logits"])

    path = changed(remove)
    with pytest.raises(IntegrityError, match="Not in the file: logits"):
        load_weights(path, ARCH)

    assert recognise_weights(path, ARCH).lacks == ("logits",)
    model, again = (load_weights(path, ARCH, lacks=("logits",)) for _ in range(2))
    kernel, twice = (np.asarray(each.get_layer("logits").kernel) for each in (model, again))
    assert kernel.any()  # as training from scratch would start
    np.testing.assert_array_equal(kernel, twice)  # and always the same
    np.testing.assert_array_equal(model.get_layer("conv_2").kernel, published().get_layer("conv_2").kernel)


def test_a04_a_missing_tensor_is_named(changed: Any) -> None:
    def remove(file: h5py.File) -> None:
        del file["Conv"]["Conv"]["kernel:0"]

    with pytest.raises(IntegrityError, match=r"'Conv/kernel:0'.*'Conv'"):
        load_weights(changed(remove), ARCH)


@pytest.mark.slow
def test_a04_a_layer_that_is_listed_and_not_there_is_named(changed: Any) -> None:
    def remove(file: h5py.File) -> None:
        del file["Logits"]

    with pytest.raises(IntegrityError, match="lists the layer 'Logits'"):
        load_weights(changed(remove), ARCH)


def test_a05_layers_with_nan_and_infinity_are_named(changed: Any) -> None:
    def spoil(file: h5py.File) -> None:
        file["Conv"]["Conv"]["kernel:0"][0, 0, 0, 0] = np.nan
        file["Logits"]["Logits"]["bias:0"][3] = -np.inf

    assert nonfinite_layers(load_weights(changed(spoil), ARCH)) == ["conv", "logits"]


@pytest.mark.parametrize(
    "dtype", [pytest.param("<f8", marks=pytest.mark.slow), pytest.param(">f4", marks=pytest.mark.slow), ">f8"]
)
def test_a07_wider_and_big_endian_weights_are_the_same(dtype: str, changed: Any) -> None:
    path = changed(lambda file: recast(file, dtype))

    assert_published(load_weights(path, ARCH))


@pytest.mark.slow
def test_a07_half_precision_is_what_the_rounded_net_says(changed: Any) -> None:
    """The judge is the net itself with rounded weights."""
    assert_published(load_weights(changed(lambda file: recast(file, "<f2")), ARCH), "float16")


@pytest.mark.parametrize(
    "dtype", [pytest.param("<i1", marks=pytest.mark.slow), "|V2", pytest.param("string", marks=pytest.mark.slow)]
)
def test_a07_weights_that_are_quantized_bfloat16_or_texts_are_refused(dtype: str, changed: Any) -> None:
    """HDF5 knows no bfloat16; libraries write it as two bytes of no kind."""

    def recast_kernel(file: h5py.File) -> None:
        values = file["Conv"]["Conv"]["kernel:0"][()]
        del file["Conv"]["Conv"]["kernel:0"]
        kind = h5py.string_dtype() if dtype == "string" else np.dtype(dtype)
        file["Conv"]["Conv"].create_dataset("kernel:0", values.shape, kind)

    with pytest.raises(IntegrityError, match=r"'conv'.*float32 was expected.*save the model in float32"):
        load_weights(changed(recast_kernel), ARCH)


def test_a07_values_beyond_the_range_are_refused(changed: Any) -> None:
    def enlarge(file: h5py.File) -> None:
        recast(file, "<f8", only="Conv/Conv/kernel")
        file["Conv"]["Conv"]["kernel:0"][0, 0, 0, 0] = 1e300

    with pytest.raises(IntegrityError, match="beyond the range of float32"):
        load_weights(changed(enlarge), ARCH)


def test_names_of_old_files_say_nothing_and_the_order_does(changed: Any) -> None:
    """As in the published VGG16: `block1_conv1_W_1:0`."""

    def rename(file: h5py.File) -> None:
        for layer in names(file, "layer_names"):
            new = []
            for number, name in enumerate(names(file[layer], "weight_names")):
                new.append(f"{layer.replace('/', '_')}_{number}_1:0")
                file[layer].move(name, new[-1])
            set_names(file[layer], "weight_names", new)

    assert_published(load_weights(changed(rename), ARCH))


@pytest.mark.slow
def test_compressed_weights_are_read(changed: Any) -> None:
    def compress(file: h5py.File) -> None:
        for path in datasets(file):
            values = file[path][()]
            del file[path]
            file.create_dataset(
                path, data=values, compression="gzip" if values.ndim else None, shuffle=bool(values.ndim)
            )

    assert_published(load_weights(changed(compress), ARCH))


@pytest.mark.parametrize("top", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_weights_of_keras_3_are_loaded_too(top: bool, tmp_path: Path) -> None:
    function = keras.applications.MobileNetV3Small
    size = (224, 224, 3)
    source = function(weights=None, include_top=top, input_shape=size)
    path = tmp_path / "net.weights.h5"
    source.save_weights(path)

    found = recognise_weights(path, ARCH, size)
    model = load_weights(path, ARCH, size, found.classes, headless=not top)

    assert found.role == ("weights" if top else "weights_notop")
    for layer in (each for each in model.layers if each.weights):
        for mine, theirs in zip(layer.weights, source.get_layer(layer.name).weights, strict=True):
            np.testing.assert_array_equal(mine, theirs)
    if top:
        np.testing.assert_array_equal(output(model), output(source))


@pytest.mark.slow
def test_weights_of_keras_3_of_another_net_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.weights.h5"
    keras.applications.MobileNet(weights=None, alpha=0.25, input_shape=(32, 32, 3), classes=7).save_weights(path)

    with pytest.raises(IntegrityError, match=rf"not a file of {ARCH}.*'conv'"):
        recognise_weights(path, ARCH)
    with pytest.raises(IntegrityError, match=rf"not a file of {ARCH}.*'conv'"):
        load_weights(path, ARCH)


def test_weights_of_another_width_are_named_with_both_shapes(tmp_path: Path) -> None:
    """In files of Keras 3, which number layers, and of Keras 2, which name them; the net is called as by its user."""
    import tf_keras

    new, old = tmp_path / "net.weights.h5", tmp_path / "net.h5"
    options: dict[str, Any] = {"weights": None, "alpha": 0.5, "input_shape": (32, 32, 3), "classes": 7}
    keras.applications.MobileNet(**options).save_weights(new)
    tf_keras.applications.MobileNet(**options).save_weights(old)

    published = "not a file of mobilenet: .*{}.*Of mobilenet only the published width"
    with pytest.raises(IntegrityError, match=published.format("'conv1': in the net of shapes 3x3x3x32; .*3x3x3x16")):
        recognise_weights(new, "mobilenet")
    with pytest.raises(IntegrityError, match=published.format("'conv1', has weights of shapes 3x3x3x32; .*3x3x3x16")):
        recognise_weights(old, "mobilenet")


@pytest.mark.parametrize(
    "dtype",
    [
        pytest.param("i1", marks=pytest.mark.slow),
        pytest.param("?", marks=pytest.mark.slow),
        pytest.param("c8", marks=pytest.mark.slow),
        "beyond",
    ],
)
def test_a07_numbers_of_another_kind_in_weights_of_keras_3_are_refused(dtype: str, five: Any, tmp_path: Path) -> None:
    """Keras turns whatever is there into float32, and says nothing."""
    path = shutil.copy(five[0], tmp_path / "net.weights.h5")
    with h5py.File(path, "r+") as file:
        group = file["layers/conv2d/vars"]
        values = group["0"][()]
        del group["0"]
        group["0"] = 1e300 * values.astype("f8") if dtype == "beyond" else values.astype(dtype)

    with pytest.raises(IntegrityError, match=r"conv2d/vars/0'.*(float32 was expected|beyond the range of float32)"):
        load_weights(path, ARCH, classes=5)


@pytest.mark.parametrize("dtype", [">f4", ">f8"])
@pytest.mark.slow
def test_a07_other_floats_in_weights_of_keras_3_are_the_same(dtype: str, five: Any, tmp_path: Path) -> None:
    path = shutil.copy(five[0], tmp_path / "net.weights.h5")
    with h5py.File(path, "r+") as file:
        group = file["layers/conv2d/vars"]
        values = group["0"][()]
        del group["0"]
        group["0"] = values.astype(dtype)

    np.testing.assert_array_equal(load_weights(path, ARCH, classes=5).get_weights()[0], five[1])


def test_the_number_of_classes_is_read_from_the_file(five: Any) -> None:
    assert recognise_weights(five[0], ARCH).classes == 5


def test_a_rival_from_scratch_starts_from_the_nets_own_initializers() -> None:
    """The loaded net was made of zeros; that must not show."""
    kernels = [layer.kernel_initializer for layer in published().layers if hasattr(layer, "kernel_initializer")]
    assert {type(each).__name__ for each in kernels} == {"GlorotUniform"}
