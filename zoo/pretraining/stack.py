"""What a stacked autoencoder is made of, and the models that it is trained as; nothing here trains."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import keras
import numpy as np
from numpy.typing import NDArray

from zoo.errors import UsageError
from zoo.pretraining.blocks import Block, BlockSpec, ConvBlock, DenseBlock
from zoo.pretraining.corrupting import Corrupted, Corruption
from zoo.pretraining.networks import refuse_layers
from zoo.pretraining.steps import Inputs, standardizing
from zoo.surgery import Trunk, whole_trunk
from zoo.training import FitSettings

ReconstructionLoss = Literal["mse", "crossentropy"]
LOSSES: tuple[ReconstructionLoss, ...] = get_args(ReconstructionLoss)

_OUTPUTS = ("relu", "sigmoid", "tanh")  # activations that a decoder takes over from the layer whose output it restores
_LEAST = 1e-6  # of a mean activation, that its logarithm is finite


@dataclass(frozen=True)
class AutoencoderSettings:
    """How a stacked autoencoder is built and trained.

    Attributes:
        units: Widths of dense layers, from below.
        conv: Filters of 3x3 convolutions, each followed by max pooling; they lie below the dense layers.
        activation: Of the layers; None: `sigmoid` where `sparsity` is set, and else `relu`.
        loss: How far a reconstruction is off: `mse`, or `crossentropy` of numbers 0..1.
        tied: Whether each decoder has its encoder's kernel, transposed.
        corruption: What is done to the examples, and to the features that a higher layer restores.
        sparsity: What the mean activation of each unit over a batch is drawn to, 0 to 1; None: nothing.
        sparsity_weight: Of the mean over the units of the Kullback-Leibler divergence from that; the larger, the closer
            they come to it, and the worse is what they restore.
        finetune: Whether the whole stack is trained once more, when its layers are.
        fit: How each layer, and the whole stack, is trained.

    Raises:
        UsageError: A value that cannot be.
    """

    units: tuple[int, ...] = ()
    conv: tuple[int, ...] = ()
    activation: str | None = None
    loss: ReconstructionLoss = "mse"
    tied: bool = False
    corruption: Corruption = field(default_factory=Corruption)
    sparsity: float | None = None
    sparsity_weight: float = 0.1
    finetune: bool = False
    fit: FitSettings = field(default_factory=FitSettings)

    def __post_init__(self) -> None:
        refuse_layers(self.units, self.conv, self.applied_activation)
        if self.loss not in LOSSES:
            raise UsageError(f"Expected a loss of {', '.join(LOSSES)}; got {self.loss!r}.")
        if self.sparsity is not None and not 0 < self.sparsity < 1:
            raise UsageError(f"Expected a mean activation above 0 and below 1; got sparsity={self.sparsity}.")
        if self.sparsity is not None and self.applied_activation != "sigmoid":
            raise UsageError(
                f"Sparse codes want activations 0..1: activation sigmoid; got {self.activation!r}. Leave the "
                "activation, or the sparsity, away."
            )
        if not 0 <= self.sparsity_weight < float("inf"):
            raise UsageError(f"Expected a weight of the sparsity of 0 or more; got {self.sparsity_weight}.")

    @property
    def applied_activation(self) -> str:
        """The activation of the layers, as given or chosen."""
        return self.activation or ("relu" if self.sparsity is None else "sigmoid")


class Stack:
    """The layers of an autoencoder, with their decoders.

    Args:
        inputs: What it is to encode.
        settings: How it is built.

    Attributes:
        settings: As above.
        blocks: From the input up.
    """

    def __init__(self, inputs: Inputs, settings: AutoencoderSettings) -> None:
        self._inputs, self.settings = inputs, settings
        self._standardize = standardizing(inputs)
        if settings.loss == "crossentropy":
            _refuse_outside(inputs, standardized=self._standardize is not None)
        self.blocks: list[Block] = []
        shape = inputs.shape
        for number, (kind, width) in enumerate(_layers(settings), 1):
            block = kind(self._spec(number, width), shape)
            self.blocks.append(block)
            shape = tuple(self._coder(block).output_shape[1:])

    def trunk(self, depth: int) -> Trunk:
        """Returns the lowest layers as a trunk, with the weights that they have now."""
        source, tensors = self._encoded(self.blocks[:depth])
        return whole_trunk(keras.Model(source, tensors[-1], name="autoencoder"), self._inputs.spec)

    def training_model(self, number: int | None = None) -> keras.Model:
        """Returns what puts out the loss and squared error of each example, float32 [n, 2]; None: of the whole stack.

        Args:
            number: The block, from 1, of whose features the examples are.
        """
        blocks = self.blocks if number is None else self.blocks[number - 1 : number]
        source = keras.Input(blocks[0].shape)
        clean = self._standardize(source) if self._standardize and blocks[0] is self.blocks[0] else source
        corruption = self.settings.corruption
        seed = self.settings.fit.seed + 1000 * blocks[0].spec.number
        x = Corrupted(corruption.mask, corruption.noise, seed)(clean) if corruption else clean
        codes = []
        for block in blocks:
            codes.append(x := block.encode(x))
        for block in blocks[::-1]:
            below = x = block.decode(x)
            if block is not blocks[0]:
                x = _activated(x, block.spec.output)
        judge = _Judge(self._loss(blocks[0]), blocks[0].spec.output, self.settings)
        return keras.Model(source, judge([clean, below, *codes]), name="training")

    def models(self) -> tuple[keras.Model, keras.Model]:
        """Returns the stack with the decoder as its last unit, in layers of Keras; and one that tells what is in it.

        That puts out what is to be restored, the code of each layer, and what is restored.
        """
        source, tensors = self._encoded(self.blocks)
        layers = [layer for block in self.blocks[::-1] for layer in block.plain_decoder()]
        decoder = keras.Sequential([keras.Input(tensors[-1].shape[1:], name="codes"), *layers], name="decoder")
        restored = decoder(tensors[-1])
        for block in self.blocks:
            decoder.get_layer(f"decoder{block.spec.number}").set_weights(block.decoder_weights())
        trained = keras.Model(source, restored, name="autoencoder")
        model = keras.Model.from_config(trained.get_config())  # of layers that are called in no other model
        model.set_weights(trained.get_weights())
        return model, keras.Model(source, [*tensors, restored])

    def corrupted(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Returns some examples as the lowest layer gets them in training."""
        corruption = self.settings.corruption
        return np.asarray(Corrupted(corruption.mask, corruption.noise, self.settings.fit.seed)(x))

    def _encoded(self, blocks: Sequence[Block]) -> tuple[Any, list[Any]]:
        """Returns the input, and what is to be restored of it with the code of each block."""
        source = keras.Input(self._inputs.shape, name="examples")
        tensors = [self._standardize(source) if self._standardize else source]
        for block in blocks:
            tensors.append(block.encode(tensors[-1]))
        return source, tensors

    def _coder(self, block: Block) -> keras.Model:
        source = keras.Input(block.shape)
        return keras.Model(source, block.encode(source))

    def _spec(self, number: int, width: int) -> BlockSpec:
        settings = self.settings
        bottom = "sigmoid" if settings.loss == "crossentropy" else "linear"
        activation = settings.applied_activation
        output = bottom if number == 1 else activation if activation in _OUTPUTS else "linear"
        return BlockSpec(number, width, activation, output, settings.tied, settings.fit.seed)

    def _loss(self, block: Block) -> ReconstructionLoss:
        """Returns the loss of a block: cross-entropy only of what lies within 0..1."""
        return self.settings.loss if block.spec.output == "sigmoid" else "mse"


class _Judge(keras.layers.Layer):  # type: ignore[misc]
    """Puts out the loss and the squared error of each example: float32 [n, 2].

    A decoder that ends in a ReLU is trained without it: an output that is negative for every example would else never
    learn again. What is to be restored is not negative there, so that the ReLU can but bring it closer.

    Args:
        loss: How far a reconstruction is off.
        output: The activation that makes it of what a decoder puts out.
        settings: How codes are made sparse.
    """

    def __init__(self, loss: ReconstructionLoss, output: str, settings: AutoencoderSettings) -> None:
        super().__init__(name="judge")
        self._loss, self._output, self._settings = loss, output, settings

    def call(self, tensors: list[Any]) -> Any:
        """Returns the loss and the squared error of what was decoded; `tensors`: the clean, the decoded, the codes."""
        clean, decoded, *codes = tensors
        clean, decoded = keras.layers.Flatten()(clean), keras.layers.Flatten()(decoded)
        error = keras.ops.mean((_activated(decoded, self._output) - clean) ** 2, axis=1)
        loss = keras.ops.mean((decoded - clean) ** 2, axis=1) if self._output == "relu" else error
        if self._loss == "crossentropy":
            loss = keras.ops.mean(keras.ops.binary_crossentropy(clean, decoded, from_logits=True), axis=1)
        if (target := self._settings.sparsity) is not None:
            for code in codes:
                loss = loss + self._settings.sparsity_weight * sparsity_penalty(code, target)
        return keras.ops.stack([loss, error], axis=1)

    def get_config(self) -> dict[str, Any]:
        """Returns what can be told as plain data: it is never made again from that."""
        return {**super().get_config(), "loss": self._loss, "output": self._output}


def sparsity_penalty(code: Any, target: float) -> Any:
    """Returns the mean over units of KL(target || mean activation), in nats; 0 where every unit is active so often.

    Args:
        code: Activations 0..1, [n, ..., units]; means are taken over all axes but the last.
        target: The share that is wanted.

    >>> float(sparsity_penalty(keras.ops.ones((4, 3)) * 0.1, 0.1)) < 1e-6
    True
    """
    mean = keras.ops.clip(keras.ops.mean(code, axis=tuple(range(len(code.shape) - 1))), _LEAST, 1 - _LEAST)
    active = target * (float(np.log(target)) - keras.ops.log(mean))
    silent = (1 - target) * (float(np.log(1 - target)) - keras.ops.log(1 - mean))
    return keras.ops.mean(active + silent)


def _layers(settings: AutoencoderSettings) -> Iterator[tuple[type[Block], int]]:
    yield from ((ConvBlock, width) for width in settings.conv)
    yield from ((DenseBlock, width) for width in settings.units)


def _activated(x: Any, activation: str) -> Any:
    return x if activation == "linear" else keras.activations.get(activation)(x)


def _refuse_outside(inputs: Inputs, *, standardized: bool) -> None:
    """Refuses numbers that cross-entropy has no meaning for."""
    if standardized or (inputs.spec is not None and (inputs.spec.mean or inputs.spec.std)):
        raise UsageError("The loss crossentropy wants numbers 0..1, which these examples are not; use mse.")
