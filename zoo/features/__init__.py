"""The feature cache: what the frozen part of a network puts out, kept on disk."""

from zoo.features.cache import FeatureCache
from zoo.features.features import Features, FeatureStats

__all__ = ["FeatureCache", "FeatureStats", "Features"]
