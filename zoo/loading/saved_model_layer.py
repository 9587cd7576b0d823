"""A SavedModel as one frozen layer of Keras: for what no layers can be made of, such as what is computed on texts.

The layer's config tells the digest of the SavedModel's files, and no path. The files themselves lie in the `assets` of
the `.keras` archive; the guard of SavedModels looks at them each time before TensorFlow does.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from zoo.errors import IntegrityError
from zoo.loading.endpoints import Endpoint, Shape
from zoo.loading.saved_model_files import Content, content_of, content_of_assets
from zoo.store.guards.keras_assets import SAVED_MODEL_LAYER
from zoo.store.unpacking import shown

TEXT = "string"
"""The dtype of an input that takes texts."""

_PACKAGE, _, _NAME = SAVED_MODEL_LAYER.partition(">")


@keras.saving.register_keras_serializable(package=_PACKAGE, name=_NAME)
class SavedModelLayer(keras.layers.Layer):  # type: ignore[misc]
    """A SavedModel as a layer: it computes, and nothing in it trains. Made by `opaque_model`.

    Args:
        sha256: The digest of the SavedModel's files (hex); see `saved_model_digest`.
        signature: What is called of it; `__call__` for the module itself.
        output: Which of its outputs; "" for the only one.
        input_dtype: Of what goes in: `string` for texts.
        example: The shape of one example; () for texts.
        column: Whether it takes texts as a column, [n, 1].
        result: The shape of what comes out for one example, as float32.
        parameters: How many numbers its variables hold, for people.
        **options: Those of every layer.
    """

    def __init__(
        self,
        sha256: str,
        signature: str,
        output: str,
        input_dtype: str,
        example: Sequence[int | None],
        column: bool,
        result: Sequence[int | None],
        parameters: int = 0,
        **options: Any,
    ) -> None:
        super().__init__(**{**options, "trainable": False, "autocast": False})
        self._endpoint = Endpoint(
            str(signature), str(output), str(input_dtype), _shape(example), bool(column), _shape(result)
        )
        self._sha256, self.parameters = str(sha256), int(parameters)
        self._content: Content | None = None
        self._run: Any = None
        self._saved_model: Any = None

    def take(self, content: Content) -> None:
        """Takes a SavedModel for this layer.

        Raises:
            IntegrityError: It is another one than the config tells.
        """
        endpoint, run = content.endpoint(self._endpoint.signature, self._endpoint.output)
        if content.sha256 != self._sha256 or endpoint != self._endpoint:
            raise IntegrityError(
                f"The SavedModel of layer {shown(self.name)} is not as its config tells: expected {self._endpoint}; "
                f"found {endpoint}. Load the SavedModel anew, and save the model again."
            )
        self._content, self._run = content, run
        self._saved_model = content.module  # so that what is exported has its variables and tables

    def take_of(self, other: SavedModelLayer) -> None:
        """Takes the SavedModel that another layer has."""
        self.take(other._known())

    def _known(self) -> Content:
        if self._content is None:
            raise IntegrityError(
                f"Layer {shown(self.name)} has no SavedModel: it was built from its config alone, or loaded from a "
                "file that has no room for one. Load the model from its .keras file."
            )
        return self._content

    def call(self, inputs: Any) -> Any:
        """Returns what the SavedModel puts out for a batch, float32 [n, ...]."""
        self._known()
        return tf.stop_gradient(tf.ensure_shape(self._run(inputs), (None, *self._endpoint.output_shape)))

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        """Returns the shape of what comes out, the batch included."""
        return (input_shape[0], *self._endpoint.output_shape)

    def compute_output_spec(self, inputs: Any) -> Any:
        """Returns what comes out, without its values: a batch of what the config tells."""
        return keras.KerasTensor(self.compute_output_shape(inputs.shape), dtype="float32")

    def save_assets(self, folder: str) -> None:
        """Writes the SavedModel's files into a folder."""
        self._known().write(Path(folder))

    def load_assets(self, folder: str | None) -> None:
        """Reads the SavedModel's files from a folder, after the guard of SavedModels.

        Raises:
            UnsafeFileError: They could do harm.
            IntegrityError: They are missing, damaged, or others than the config tells.
        """
        if folder is None:
            raise IntegrityError(f"The file has no SavedModel for layer {shown(self.name)}. Get it again.")
        self.take(content_of_assets(Path(folder), self._sha256, self.name))

    def get_config(self) -> dict[str, Any]:
        """Returns what the layer is made of: digests, names and shapes; no path."""
        endpoint = self._endpoint
        return {
            **super().get_config(),
            "sha256": self._sha256,
            "signature": endpoint.signature,
            "output": endpoint.output,
            "input_dtype": endpoint.input_dtype,
            "example": list(endpoint.input_shape),
            "column": endpoint.column,
            "result": list(endpoint.output_shape),
            "parameters": self.parameters,
        }


def _shape(sizes: Sequence[int | None]) -> Shape:
    return tuple(None if each is None else int(each) for each in sizes)


def opaque_model(
    folder: str | os.PathLike[str], signature: str | None = None, *, output: str | None = None, name: str | None = None
) -> keras.Model:
    """Returns the SavedModel in a folder as a model of one layer, which cannot be cut inside, and does not train.

    Args:
        folder: The SavedModel. As long as the model is used, nobody may change it.
        signature: What is called of it: the name of a signature, or `__call__` for the module itself; None: the module
            where it can be called with one tensor, or else `serving_default`, `default`, or the only signature.
        output: Which of its outputs; None: the only one, or `default`.
        name: What the model is called; None: as the folder.

    Returns:
        A model of texts (dtype string, shape ()) or numbers; what comes out is float32.

    Raises:
        UnsafeFileError: The SavedModel could do harm.
        UsageError: There is no such signature or output, or several and none was said.
        IntegrityError: It is damaged, or takes or gives something else than one tensor with an example in each row.
        DiskError: It cannot be read.
    """
    folder = Path(folder)
    name = name or folder.resolve().name
    content = content_of(folder, shown(str(folder)))
    endpoint, _ = content.endpoint(signature, output)
    plain = re.sub(r"[^\w.-]+", "_", name).strip("_") or "saved_model"
    layer = SavedModelLayer(
        content.sha256, endpoint.signature, endpoint.output, endpoint.input_dtype, endpoint.input_shape,
        endpoint.column, endpoint.output_shape, content.parameters, name="saved_model",
    )  # fmt: skip
    layer.take(content)
    kind = "texts" if endpoint.input_dtype == TEXT else "examples"
    source = keras.Input(endpoint.input_shape, dtype=endpoint.input_dtype, name=kind)
    return keras.Model(source, layer(source), name=plain)
