"""Protobuf as text: read as protobuf's own reader does, or not at all."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest
from google.protobuf import text_format
from model_files import saved_model
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel
from tensorflow_graphs import text_module, text_module_1

from zoo.errors import IntegrityError, UnsafeFileError, ZooError
from zoo.store.guards.text_graphs import MESSAGES
from zoo.store.guards.text_messages import encoded

HEAD = b"saved_model_schema_version: 1 "


def kept(message: bytes) -> SavedModel:
    return SavedModel.FromString(message)


def pruned(message: object, kind: str) -> None:
    """Takes out of a message what guards do not read."""
    for descriptor, value in list(message.ListFields()):  # type: ignore[attr-defined]
        found = MESSAGES[kind].get(descriptor.name)
        if found is None:
            message.ClearField(descriptor.name)  # type: ignore[attr-defined]
        elif found[1] in MESSAGES and found[1] != "Any":
            is_map = descriptor.message_type and descriptor.message_type.GetOptions().map_entry
            below = MESSAGES[found[1]]["value"][1] if is_map else found[1]
            many = list(value.values()) if is_map else value if hasattr(value, "__len__") else [value]
            for each in many if below in MESSAGES else ():
                pruned(each, below)


@pytest.mark.parametrize("build", [saved_model, text_module, text_module_1])
def test_a_text_becomes_the_message_it_stands_for(tmp_path: Path, build: object) -> None:
    assert callable(build)
    whole = SavedModel.FromString((build(tmp_path / "net") / "saved_model.pb").read_bytes())
    text = text_format.MessageToString(whole)
    found = kept(encoded(text.encode(), MESSAGES, "SavedModel"))
    pruned(whole, "SavedModel")
    assert len(whole.SerializeToString()) > 1000
    for each in whole.meta_graphs:  # which the guard reads as bytes
        each.collection_def.pop("saved_model_assets", None)
    for each in found.meta_graphs:
        each.collection_def.pop("saved_model_assets", None)
    assert found == whole


@pytest.mark.parametrize(
    "text",
    [
        'meta_graphs { graph_def { node { name: "a" op: "Read" "Fi" \'le\' } } }',
        'meta_graphs < graph_def: { node: [{ name: "a" op: "\\122ead\\x46ile" }, < op: \'\\x52"\' >] } >',
        'meta_graphs{graph_def{node{name:"a",op:"b";input:["x","^y"]input:"z"}}}#{',
        'meta_graphs { # node { op: "x" }\n graph_def { node { op: "# no comment" } } }',
        'meta_graphs { object_graph_def { concrete_functions { key: "f" value { bound_inputs: [1, 0x10, 017] } } } }',
        "meta_graphs { graph_def { versions { producer: 12 } node { attr { key: 'a' value { f: -1.5e-3 } } } } }",
        "meta_graphs { graph_def { node { attr { key: 'a' value { list { f: [nan, -inf, .5, 1.] b: true } } } } } }",
        'meta_graphs { graph_def { node { op: "\\a\\b\\f\\n\\r\\t\\v\\\\\\\'\\"" } } }',
    ],
)
def test_unusual_texts_are_read_as_protobuf_reads_them(text: str) -> None:
    whole = text_format.Parse(HEAD.decode() + text, SavedModel())
    pruned(whole, "SavedModel")
    assert kept(encoded(HEAD + text.encode(), MESSAGES, "SavedModel")) == whole


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        pytest.param('meta_graphs { graph_def { node { op "x" } } }', "where none may be", id="without-colon"),
        pytest.param("meta_graphs { graph_def { node { op: x } } }", "where none may be", id="without-quotes"),
        pytest.param('meta_graphs { graph_def { node { op: "x } } }', "what is no word", id="open-quote"),
        pytest.param('meta_graphs { graph_def { node { op: "a\nb" } } }', "what is no word", id="quote-over-lines"),
        pytest.param('meta_graphs { graph_def { node { op: "\\u0052" } } }', "escape", id="unicode-escape"),
        pytest.param('meta_graphs { graph_def { node { op: "\\777" } } }', "no byte", id="escape-of-no-byte"),
        pytest.param("meta_graphs { graph_def { node { ", "where none may be", id="open-message"),
        pytest.param("meta_graphs { graph_def { node { } > }", "where none may be", id="other-bracket"),
        pytest.param("meta_graphs { } }", "where none may be", id="closed-twice"),
        pytest.param("meta_graphs: 1", "where none may be", id="number-for-message"),
        pytest.param("saved_model_schema_version { }", "where none may be", id="message-for-number"),
        pytest.param("saved_model_schema_version: 1.5", "where none may be", id="part-of-a-number"),
        pytest.param("saved_model_schema_version: 99999999999999999999", "larger than any", id="large-number"),
        pytest.param("2: 1", "where none may be", id="number-of-a-field"),
        pytest.param("meta\u00a0graphs { }", "what is no word", id="other-space"),
        pytest.param('x: "a" y: [1, 2', "where none may be", id="open-list"),
    ],
)
def test_what_is_no_such_text_is_refused(text: str, cause: str) -> None:
    with pytest.raises(IntegrityError, match=cause) as caught:
        encoded(HEAD + text.encode(), MESSAGES, "SavedModel")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("opening", ["{", "<", ": {", ": [{", "{ y <"])
@pytest.mark.parametrize("name", ["x", "meta_graphs"])
def test_x12_a_text_that_nests_deep_is_refused(name: str, opening: str) -> None:
    with pytest.raises(UnsafeFileError, match="nests more than 100"):
        encoded(f"{name} {opening} ".encode() + f"x {opening} ".encode() * 100_000, MESSAGES, "SavedModel")


def test_damaged_texts_are_read_as_protobuf_reads_them_or_refused(tmp_path: Path) -> None:
    whole = SavedModel.FromString((saved_model(tmp_path / "net") / "saved_model.pb").read_bytes())
    graph = whole.meta_graphs[0]
    del graph.graph_def.node[6:], graph.graph_def.library.function[1:], graph.object_graph_def.nodes[4:]
    graph.meta_info_def.ClearField("stripped_op_list")
    words = re.split(r"(\s+|[{}:<>\[\],]|\"[^\"]*\")", text_format.MessageToString(whole))
    chance, agreed = random.Random(0), 0
    for _ in range(150):
        text = words.copy()
        for _ in range(chance.choice((1, 1, 2, 3))):
            at = chance.randrange(len(text))
            text[at] = chance.choice((*words, "<", ">", "[", "]", "'", "# x\n", "\\", '"\\x52"', "-", "1", ""))
        data = "".join(text).encode()
        try:
            found = kept(encoded(data, MESSAGES, "SavedModel"))
        except ZooError:
            continue
        try:
            told = text_format.Parse(data, SavedModel())
        except text_format.ParseError:
            continue  # which knows all fields, and their kinds
        pruned(told, "SavedModel")
        assert found == told, data
        agreed += 1
    assert agreed > 15
