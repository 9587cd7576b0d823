"""Losses of auxiliary tasks: scores that must differ by a margin, and distances within and between identities.

Sources: max-margin: Collobert and Weston, "A Unified Architecture for Natural Language Processing", ICML 2008;
contrastive: Hadsell, Chopra and LeCun, "Dimensionality Reduction by Learning an Invariant Mapping", CVPR 2006; triplet:
Schroff, Kalenichenko and Philbin, "FaceNet: A Unified Embedding for Face Recognition and Clustering", CVPR 2015.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import tensorflow as tf

from zoo.training import Objective

PairLoss = Literal["contrastive", "triplet"]
PAIR_LOSSES: tuple[PairLoss, ...] = get_args(PairLoss)

_LEAST = 1e-12  # of a squared distance, that its root has a slope


def margin_losses(scores: Any, margin: float) -> Any:
    """Returns by how much bad examples are not a margin below the good one, a mean over the bad ones: [n].

    Args:
        scores: Of the good example, and of those made of it: [n, 1 + bad].
        margin: How far the score of a bad one is to be below.

    >>> margin_losses(tf.constant([[2.0, 0.0, 1.5]]), 1.0).numpy().tolist()
    [0.25]
    """
    return tf.reduce_mean(tf.nn.relu(margin - scores[:, :1] + scores[:, 1:]), axis=1)


def contrastive_losses(embeddings: Any, identities: Any, margin: float) -> Any:
    """Returns the contrastive loss of each pair, with the others of a batch as what is not the same: [n].

    Of each of its two members it is half of d², d the distance from the partner, and half of the mean of
    max(0, margin - d)² over all members of pairs of another identity; nothing of these where there are none.

    Args:
        embeddings: Of both members of each pair, which have the same identity: [n, 2, dimensions].
        identities: Of the pairs: integers [n].
        margin: How far apart other identities are to be.
    """
    own, between, others = _distances(embeddings, identities)
    near = tf.nn.relu(margin - tf.sqrt(tf.maximum(between, _LEAST))) ** 2
    return _of_pairs(0.5 * (own + _mean_where(near, others)))


def triplet_losses(embeddings: Any, identities: Any, margin: float) -> Any:
    """Returns the triplet loss of each pair, each member once the anchor: max(0, d² - D² + margin), [n].

    d is the distance from the partner; D that from a member of another identity in the batch, a semi-hard one: the
    nearest of those that are farther than the partner, or the farthest where none is. 0 where there is none at all.

    Args:
        embeddings: As of `contrastive_losses`.
        identities: Likewise.
        margin: By how much the square of a distance from another identity is to be larger.
    """
    own, between, others = _distances(embeddings, identities)
    farther = tf.logical_and(others, between > own[:, None])
    nearest = tf.reduce_min(tf.where(farther, between, between.dtype.max), axis=1)
    farthest = tf.reduce_max(tf.where(others, between, between.dtype.min), axis=1)
    chosen = tf.where(tf.reduce_any(farther, axis=1), nearest, farthest)
    losses = tf.nn.relu(own - chosen + margin)
    return _of_pairs(tf.where(tf.reduce_any(others, axis=1), losses, tf.zeros_like(losses)))


def ranking(embeddings: Any, identities: Any) -> Any:
    """Returns which share of other identities is farther from a member than its partner, a mean over both: [n].

    Half of them are where distances tell nothing. Arguments are as of `contrastive_losses`.
    """
    own, between, others = _distances(embeddings, identities)
    return _of_pairs(_mean_where(tf.cast(between > own[:, None], between.dtype), others))


class VersionsObjective(Objective):
    """What is minimized where the good example is the first of several versions.

    Args:
        margin: By how much the score of the good one is to be above; None: which version it is has to be told.
    """

    def __init__(self, margin: float | None = None) -> None:
        super().__init__()
        self._margin = margin

    def losses(self, y: Any, outputs: Any) -> Any:
        """Returns the loss of each example, a mean over its versions; targets count for nothing.

        Args:
            y: Not looked at.
            outputs: Scores [n, versions, 1], or logits [n, versions, versions].
        """
        if self._margin is not None:
            return margin_losses(outputs[:, :, 0], self._margin)
        each = tf.nn.sparse_softmax_cross_entropy_with_logits(self._told(outputs), outputs)
        return tf.reduce_mean(each, axis=1)

    def scores(self, y: Any, outputs: Any) -> Any:
        """Returns the share of bad versions with a score below that of the good one, or of those that are told."""
        if self._margin is not None:
            return tf.reduce_mean(tf.cast(outputs[:, :1, 0] > outputs[:, 1:, 0], tf.float32), axis=1)
        right = tf.argmax(outputs, axis=2, output_type=tf.int32) == self._told(outputs)
        return tf.reduce_mean(tf.cast(right, tf.float32), axis=1)

    @staticmethod
    def _told(outputs: Any) -> Any:
        shape = tf.shape(outputs)[:2]
        return tf.broadcast_to(tf.range(shape[1]), shape)


class PairObjective(Objective):
    """What is minimized where examples come in pairs of one identity, which is their target.

    Args:
        loss: Which.
        margin: Of it.
    """

    def __init__(self, loss: PairLoss, margin: float) -> None:
        super().__init__()
        self.score_name = "ranking"
        self._losses, self._margin = triplet_losses if loss == "triplet" else contrastive_losses, margin

    def losses(self, y: Any, outputs: Any) -> Any:
        """Returns the loss of each pair: `y` their identities [n], `outputs` embeddings [n, 2, dimensions]."""
        return self._losses(outputs, y, self._margin)

    def scores(self, y: Any, outputs: Any) -> Any:
        """Returns the share of others that are farther away than the partner."""
        return ranking(outputs, y)


def _distances(embeddings: Any, identities: Any) -> tuple[Any, Any, Any]:
    """Returns squared distances of the 2n members, and who is of another identity.

    They are those from the partner, [2n]; those from all members, [2n, 2n]; and whether these are of another identity.
    """
    members = tf.reshape(embeddings, (-1, embeddings.shape[-1]))
    step = embeddings[:, 0] - embeddings[:, 1]
    own = tf.repeat(tf.reduce_sum(step**2, axis=1), 2)
    sizes = tf.reduce_sum(members**2, axis=1)
    between = sizes[:, None] + sizes - 2 * tf.matmul(members, members, transpose_b=True)
    of_members = tf.repeat(identities, 2)
    return own, tf.nn.relu(between), of_members[:, None] != of_members


def _mean_where(values: Any, chosen: Any) -> Any:
    """Returns the mean of each row of values that are chosen; 0 where none is."""
    counted = tf.cast(chosen, values.dtype)
    return tf.math.divide_no_nan(tf.reduce_sum(values * counted, axis=1), tf.reduce_sum(counted, axis=1))


def _of_pairs(of_members: Any) -> Any:
    return tf.reduce_mean(tf.reshape(of_members, (-1, 2)), axis=1)
