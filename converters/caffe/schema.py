"""The messages of Caffe's files, as classes of protobuf; `caffe.proto` says what they are.

They are made when this is imported: code that protoc generates would tie zoo to one version of protobuf.
"""

from __future__ import annotations

import re
from importlib import resources
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_PACKAGE = "caffe"
_KINDS = {
    kind: getattr(descriptor_pb2.FieldDescriptorProto, f"TYPE_{kind.upper()}")
    for kind in ("string", "bool", "int32", "int64", "uint32", "float", "double")
}
_LABELS = {
    label: getattr(descriptor_pb2.FieldDescriptorProto, f"LABEL_{label.upper()}") for label in ("optional", "repeated")
}
_FIELD = re.compile(r"(optional|repeated) (\w+) (\w+) = (\d+)(?: \[(.*)\])?;")
_ENUM = re.compile(r"enum (\w+) \{ (.*) \}")
_MESSAGE = re.compile(r"^message (\w+) \{\n(.*?)^\}", re.MULTILINE | re.DOTALL)


def _described(text: str) -> descriptor_pb2.FileDescriptorProto:
    """Returns what a file in the language of protobuf says, as far as `caffe.proto` uses it."""
    file = descriptor_pb2.FileDescriptorProto(name="caffe.proto", package=_PACKAGE, syntax="proto2")
    messages = dict(_MESSAGE.findall(text))
    for name, values in _ENUM.findall(_MESSAGE.sub("", text)):
        _describe_enum(file.enum_type.add(), name, values)
    for name, body in messages.items():
        message = file.message_type.add(name=name)
        for each, values in _ENUM.findall(body):
            _describe_enum(message.enum_type.add(), each, values)
        own = {each.name: f".{_PACKAGE}.{name}.{each.name}" for each in message.enum_type}
        for found in _FIELD.findall(body):
            _describe_field(message.field.add(), found, set(messages), own)
    return file


def _describe_enum(enum: descriptor_pb2.EnumDescriptorProto, name: str, values: str) -> None:
    enum.name = name
    for each, number in re.findall(r"(\w+) = (\d+);", values):
        enum.value.add(name=each, number=int(number))


def _describe_field(
    field: descriptor_pb2.FieldDescriptorProto, found: tuple[str, ...], messages: set[str], enums: dict[str, str]
) -> None:
    label, kind, field.name, number, options = found
    field.number, field.label = int(number), _LABELS[label]
    if kind in _KINDS:
        field.type = _KINDS[kind]
    elif kind in messages:
        field.type, field.type_name = field.TYPE_MESSAGE, f".{_PACKAGE}.{kind}"
    else:
        field.type, field.type_name = field.TYPE_ENUM, enums.get(kind, f".{_PACKAGE}.{kind}")
    if "packed = true" in options:
        field.options.packed = True
    if default := re.search(r"default = \"?([^\",\]]*)", options):
        field.default_value = default[1]


def _classes() -> dict[str, Any]:
    pool = descriptor_pool.DescriptorPool()
    described = _described(resources.files(__package__).joinpath("caffe.proto").read_text())
    pool.Add(described)
    return {
        each.name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{each.name}"))
        for each in described.message_type
    }


MESSAGES = _classes()
NetParameter, LayerParameter = MESSAGES["NetParameter"], MESSAGES["LayerParameter"]
V1LayerParameter, BlobProto = MESSAGES["V1LayerParameter"], MESSAGES["BlobProto"]
