"""Examples: where they come from, what they are known by, and how a model sees them."""

from zoo.data.bad_files import BadFile, BadFilePolicy
from zoo.data.examples import ArrayExamples, Examples, Ids, Rows, SomeExamples
from zoo.data.sources import open_data
from zoo.data.split import Split, split_examples, split_of

__all__ = [
    "ArrayExamples", "BadFile", "BadFilePolicy", "Examples", "Ids", "Rows", "SomeExamples", "Split", "open_data",
    "split_examples",
    "split_of",
]  # fmt: skip
