"""Rewrites the configuration of a model that Keras 2 saved as Keras 3 says the same. JSON in, JSON out; judged later.

Keras 3 reads most of it as it is. It refuses arguments that have gone, also where they stand at the value that meant
nothing; names with slashes; and the layers into which Keras 2 put TensorFlow's functions (`x + y`, `x / 127.5`). It
takes "hard_sigmoid" for another function than Keras 2 did: that is the only name of an activation whose meaning has
changed (Keras 2.21 and 3.15 compared). What has no equal in Keras 3 is left as it is, and refused by who judges it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Record = dict[str, Any]

_ANY = object()
_CONVOLUTION = {"groups": 1, "kernel_initializer": _ANY, "kernel_regularizer": None, "kernel_constraint": None}
_CONVOLUTIONAL_LSTMS = tuple(f"ConvLSTM{rank}D" for rank in (1, 2, 3))
# Arguments that Keras 3 has no more, with the value that means what Keras 3 always does.
_GONE: dict[str, Record] = {
    **{f"DepthwiseConv{rank}D": {"groups": 1} for rank in (1, 2)},
    **{f"SeparableConv{rank}D": _CONVOLUTION for rank in (1, 2)},
    **{f"Conv{rank}DTranspose": {"groups": 1} for rank in (1, 2, 3)},
    **{name: {"time_major": False} for name in _CONVOLUTIONAL_LSTMS},
    **{name: {"time_major": False} for name in ("LSTM", "GRU", "SimpleRNN", "RNN")},
    "MultiHeadAttention": {
        "query_shape": _ANY,
        "key_shape": _ANY,
        "value_shape": _ANY,
        "softmax_robust_masking": False,
    },
}
# Layers of keras.applications, by the names under which Keras 2 registered them.
_REGISTERED = {f"Custom>{name}": name for name in ("CustomScaleLayer", "LayerScale", "StochasticDepth")}
_INITIALIZERS = "tensorflow.python.ops.init_ops_v2"

_BINARY = {
    "__operators__.add": "add", "math.add": "add",
    "__operators__.subtract": "subtract", "math.subtract": "subtract",
    "__operators__.multiply": "multiply", "math.multiply": "multiply",
    "__operators__.truediv": "divide", "math.truediv": "divide", "math.divide": "divide",
}  # fmt: skip
_MERGES = {"add": "Add", "subtract": "Subtract", "multiply": "Multiply"}
_UNARY: dict[str, tuple[str, Record]] = {
    "nn.relu": ("ReLU", {}),
    "nn.relu6": ("ReLU", {"max_value": 6.0}),
    **{
        function: ("Activation", {"activation": name})
        for name in ("sigmoid", "tanh", "silu", "selu", "elu", "softplus", "softmax")
        for function in (f"nn.{name}", f"math.{name}")
    },
}
# The name under which `zoo.loading` registers what Keras 2 called hard_sigmoid.
_HARD_SIGMOID = {
    "module": "builtins",
    "class_name": "function",
    "config": "zoo>keras2_hard_sigmoid",
    "registered_name": "function",
}
_LARGEST = 1e30
_CONSTANT = "_CONSTANT_VALUE"


def upgraded(config: Record) -> Record:
    """Returns the configuration of a whole model of Keras 2 as Keras 3 reads it.

    >>> layer = {"class_name": "LSTM", "config": {"units": 3, "time_major": False}}
    >>> upgraded({"class_name": "Sequential", "config": {"layers": [layer]}})["config"]["layers"][0]["config"]
    {'units': 3}
    """
    found: Record = with_old_meanings(_rewritten(config))
    return found


def with_old_meanings(value: Any) -> Any:
    """Returns a configuration of Keras 2 with what Keras 3 would read, but take for something else, said its way.

    >>> with_old_meanings({"class_name": "ThresholdedReLU", "config": {"theta": 0.5}})
    {'class_name': 'ReLU', 'config': {'threshold': 0.5}}
    """
    if isinstance(value, list):
        return [with_old_meanings(each) for each in value]
    if not isinstance(value, dict):
        return value
    record = {key: with_old_meanings(each) for key, each in value.items()}
    name, config = record.get("class_name"), record.get("config")
    if not isinstance(name, str) or not isinstance(config, dict):
        return record
    if name == "ThresholdedReLU":
        record["class_name"] = "ReLU"
        config["threshold"] = config.pop("theta", 1.0)
    if name in _CONVOLUTIONAL_LSTMS:
        config.setdefault("recurrent_activation", "hard_sigmoid")
    for key, each in config.items():
        if each == "hard_sigmoid" and (key == "activation" or key.endswith("_activation")):
            config[key] = dict(_HARD_SIGMOID)
    return record


def _rewritten(value: Any) -> Any:
    if isinstance(value, list):
        return [_rewritten(each) for each in value]
    if not isinstance(value, dict):
        return value
    record = {key: _rewritten(each) for key, each in value.items()}
    if not isinstance(record.get("class_name"), str) or not isinstance(record.get("config"), dict):
        return record
    record.pop("build_config", None)  # layers are built when they are called; some take more shapes now than these
    record["class_name"] = _REGISTERED.get(record["class_name"], record["class_name"])
    if record.get("module") == _INITIALIZERS:
        record["module"] = "keras.initializers"
    record["config"] = _with_what_is_left(record["class_name"], record["config"])
    if isinstance(record["config"].get("layers"), list):
        record["config"] = _as_graph(record["config"])
    return record


def _with_what_is_left(name: str, config: Record) -> Record:
    gone = _GONE.get(name, {})
    left = {
        key: each for key, each in config.items() if key not in gone or (gone[key] is not _ANY and gone[key] != each)
    }
    if name == "LeakyReLU" and "alpha" in left:
        left["negative_slope"] = left.pop("alpha")
    if name.startswith("Random"):
        left.pop("rng_type", None)
    if isinstance(left.get("axis"), list) and len(left["axis"]) == 1:
        left["axis"] = left["axis"][0]
    return left


def _as_graph(config: Record) -> Record:
    """Returns the configuration of a model with its layers, and what leads from one to the other, as in Keras 3."""
    config = _without_slashes(config)
    config["layers"] = [_as_layer(layer) for layer in config["layers"]]
    config = _counted_from_zero(config)
    config["layers"] = _with_input_layer([_with_tensors(layer) for layer in config["layers"]])
    for key in ("input_layers", "output_layers"):
        if isinstance(ends := config.get(key), list) and len(ends) == 1 and _is_tensor(ends[0]):
            config[key] = ends[0]  # Keras 3 would hand a list of one on as a list
    return config


def _with_input_layer(layers: list[Any]) -> list[Any]:
    """Returns the layers with an InputLayer of its own, where a Sequential model has the shape in its first layer."""
    shapes = [
        layer["config"].pop("batch_input_shape", None)
        if _has_config(layer) and layer.get("class_name") != "InputLayer"
        else None
        for layer in layers
    ]
    if not layers or shapes[0] is None or "inbound_nodes" in layers[0]:
        return layers
    dtype = layers[0]["config"].get("dtype", "float32")
    config = {"batch_shape": shapes[0], "dtype": dtype, "name": "input_layer"}
    return [{"class_name": "InputLayer", "config": config}, *layers]


def _with_tensors(layer: Any) -> Any:
    """Returns a layer whose calls take tensors as named arguments, as attention does, with the calls of Keras 3."""
    if not isinstance(layer, dict) or not isinstance(layer.get("inbound_nodes"), list):
        return layer

    def called(node: Any) -> Any:
        match node:
            case [[str(name), int(at), int(tensor), dict(options)]] if any(map(_is_tensor, options.values())):
                return {
                    "args": [_tensor([name, at, tensor])],
                    "kwargs": {key: _tensor(each) if _is_tensor(each) else each for key, each in options.items()},
                }
            case _:
                return node

    return {**layer, "inbound_nodes": [called(node) for node in layer["inbound_nodes"]]}


def _tensor(history: list[Any]) -> Record:
    # Shape and kind are not looked at: the tensor is that of the layer which history names.
    return {"class_name": "__keras_tensor__", "config": {"shape": [None], "dtype": "float32", "keras_history": history}}


def _without_slashes(config: Record) -> Record:
    """Returns the configuration of a model in which no layer's name has a slash."""
    taken = {name for layer in config["layers"] if (name := _name(layer)) is not None}
    names: dict[str, str] = {}
    for name in sorted(name for name in taken if "/" in name):
        new = name.replace("/", "_")
        while new in taken:
            new += "_"
        taken.add(new)
        names[name] = new
    if not names:
        return dict(config)

    def renamed(value: Any) -> Any:
        if isinstance(value, list):
            return [renamed(each) for each in value]
        if isinstance(value, dict):
            return {key: renamed(each) for key, each in value.items()}
        return names.get(value, value) if isinstance(value, str) else value

    result = dict(config)
    for key in ("input_layers", "output_layers"):
        if key in config:
            result[key] = renamed(config[key])
    result["layers"] = [_with_name(layer, names, renamed) for layer in config["layers"]]
    return result


def _with_name(layer: Any, names: dict[str, str], renamed: Callable[[Any], Any]) -> Any:
    if not _has_config(layer):
        return layer
    mine = dict(layer, config=dict(layer["config"]))
    for record in (mine, mine["config"]):
        if isinstance(record.get("name"), str):
            record["name"] = names.get(record["name"], record["name"])
    if "inbound_nodes" in mine:
        mine["inbound_nodes"] = renamed(mine["inbound_nodes"])
    return mine


def _counted_from_zero(config: Record) -> Record:
    """Returns the configuration with the calls of nested models counted from 0: in Keras 2, call 0 made them."""
    nested = {_name(layer) for layer in config["layers"] if _has_config(layer) and "layers" in layer["config"]}

    def counted(value: Any) -> Any:
        match value:
            case [str(name), int(node), int(tensor), *rest] if name in nested and node > 0:
                return [name, node - 1, tensor, *counted(rest)]
            case list():
                return [counted(each) for each in value]
            case dict():
                return {key: counted(each) for key, each in value.items()}
            case _:
                return value

    def with_nodes(layer: Any) -> Any:
        has_nodes = isinstance(layer, dict) and "inbound_nodes" in layer
        return {**layer, "inbound_nodes": counted(layer["inbound_nodes"])} if has_nodes else layer

    ends = {"output_layers": counted(config["output_layers"])} if "output_layers" in config else {}
    return {**config, **ends, "layers": [with_nodes(layer) for layer in config["layers"]]}


def _as_layer(layer: Any) -> Any:
    """Returns the layer that does what a function of TensorFlow did; a record that is no such function as it is."""
    if not _has_config(layer) or layer.get("class_name") != "TFOpLambda":
        return layer
    match layer.get("inbound_nodes"):
        case [[str(first), int(node), number, dict(options)]]:
            options = {key: each for key, each in options.items() if key != "name" or each is not None}
            x = number if first == _CONSTANT else [first, node, number]
            made = _made(layer["config"].get("function"), x, options)
        case _:
            made = None
    if made is None:
        return layer
    kind, config, inputs = made
    kept = {key: layer["config"][key] for key in ("name", "trainable", "dtype") if key in layer["config"]}
    nodes = [[[*each, {}] for each in inputs]]
    return {"class_name": kind, "config": kept | config, "name": layer.get("name"), "inbound_nodes": nodes}


def _made(function: Any, x: Any, options: Record) -> tuple[str, Record, list[Any]] | None:
    """Returns class, arguments and inputs of the layer that computes `function(x, **options)`; None: there is none."""
    if not isinstance(function, str):
        return None
    if function in _UNARY and not options and _is_tensor(x):
        kind, config = _UNARY[function]
        return kind, config, [x]
    if function not in _BINARY or set(options) != {"y"}:
        return None
    what, y = _BINARY[function], options["y"]
    if _is_tensor(x) and _is_tensor(y):
        return (_MERGES[what], {}, [x, y]) if what in _MERGES else None
    if _is_tensor(x):
        rescaling = _rescaling(what, y)
        return None if rescaling is None else ("Rescaling", rescaling, [x])
    if not _is_number(x) or not _is_tensor(y) or what == "divide":
        return None
    if what == "subtract":
        return "Rescaling", {"scale": -1.0, "offset": x}, [y]
    return "Rescaling", _rescaling(what, x) or {}, [y]


def _has_config(layer: Any) -> bool:
    return isinstance(layer, dict) and isinstance(layer.get("config"), dict)


def _name(layer: Any) -> str | None:
    name = layer.get("name") if isinstance(layer, dict) else None
    return name if isinstance(name, str) else None


def _is_tensor(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 3 and isinstance(value[0], str)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _LARGEST


def _rescaling(what: str, number: Any) -> Record | None:
    if not _is_number(number):
        return None
    match what:
        case "add":
            return {"scale": 1.0, "offset": number}
        case "subtract":
            return {"scale": 1.0, "offset": -number}
        case "multiply":
            return {"scale": number, "offset": 0.0}
        case _:
            return {"scale": 1 / number, "offset": 0.0} if number else None
