"""Verified files of models on this machine."""

from zoo.store.embedded import Artifact, pull

__all__ = ["Artifact", "pull"]
