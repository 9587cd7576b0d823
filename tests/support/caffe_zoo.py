"""The nets of Caffe's Model Zoo, as their deploy.prototxt files have them, layer by layer, with fewer channels.

Each function returns the text of one, with an input of a size that leaves a few places at its end.
"""

from __future__ import annotations

from collections.abc import Callable

NETS: dict[str, tuple[Callable[[], str], tuple[int, ...]]] = {}


def _net(*shape: int) -> Callable[[Callable[[], str]], Callable[[], str]]:
    def declare(function: Callable[[], str]) -> Callable[[], str]:
        NETS[function.__name__] = function, shape
        return function

    return declare


class Text:
    """A prototxt that grows by layers, each of which reads the one before where nothing else is said."""

    def __init__(self, name: str, *shape: int) -> None:
        sizes = "\n".join(f"input_dim: {size}" for size in (10, *shape))
        self.text = f'name: "{name}"\ninput: "data"\n{sizes}\n'
        self.top = "data"

    def add(self, kind: str, name: str, given: str = "", bottoms: str = "", top: str = "") -> str:
        bottom = "".join(f'  bottom: "{each}"\n' for each in (bottoms or self.top).split())
        self.top = top or name
        lines = f'  name: "{name}"\n  type: "{kind}"\n{bottom}  top: "{self.top}"\n'
        self.text += f"layer {{\n{lines}{f'  {given}{chr(10)}' if given else ''}}}\n"
        return self.top

    def conv(self, name: str, count: int, size: int, more: str = "", bottoms: str = "") -> str:
        learning = "param { lr_mult: 1 decay_mult: 1 }"
        given = (
            f'convolution_param {{ num_output: {count} kernel_size: {size} {more} weight_filler {{ type: "xavier" }} }}'
        )
        return self.add("Convolution", name, f"{learning} {given}", bottoms)

    def relu(self, name: str) -> str:
        return self.add("ReLU", name, top=self.top)

    def pool(self, name: str, kind: str = "MAX", given: str = "kernel_size: 3 stride: 2", bottoms: str = "") -> str:
        return self.add("Pooling", name, f"pooling_param {{ pool: {kind} {given} }}", bottoms)

    def fc(self, name: str, count: int) -> str:
        return self.add("InnerProduct", name, f"inner_product_param {{ num_output: {count} }}")

    def drop(self, name: str, ratio: float = 0.5) -> str:
        return self.add("Dropout", name, f"dropout_param {{ dropout_ratio: {ratio} }}", top=self.top)

    def lrn(self, name: str, given: str = "local_size: 5 alpha: 0.0001 beta: 0.75") -> str:
        return self.add("LRN", name, f"lrn_param {{ {given} }}")

    def norm(self, name: str, in_place: bool = True) -> str:
        given = "batch_norm_param { use_global_stats: true eps: 1e-5 }"
        self.add("BatchNorm", f"bn{name}", given, top=self.top if in_place else "")
        return self.add("Scale", f"scale{name}", "scale_param { bias_term: true }", top=self.top)


@_net(3, 99, 99)
def alexnet() -> str:
    t = Text("AlexNet", 3, 99, 99)
    for number, count, size, more in ((1, 16, 11, "stride: 4"), (2, 32, 5, "pad: 2 group: 2")):
        t.conv(f"conv{number}", count, size, more)
        t.relu(f"relu{number}")
        t.lrn(f"norm{number}")
        t.pool(f"pool{number}")
    return _rest_of_alexnet(t, 24)


def _rest_of_alexnet(t: Text, count: int) -> str:
    for number, more in ((3, ""), (4, "group: 2"), (5, "group: 2")):
        t.conv(f"conv{number}", count, 3, f"pad: 1 {more}")
        t.relu(f"relu{number}")
    t.pool("pool5")
    for number in (6, 7):
        t.fc(f"fc{number}", 40)
        t.relu(f"relu{number}")
        t.drop(f"drop{number}")
    t.fc("fc8", 10)
    t.add("Softmax", "prob")
    return t.text


@_net(3, 99, 99)
def places() -> str:
    """CaffeNet's order, where a pool comes before its norm, with the classes of Places."""
    t = Text("Places205-CNN", 3, 99, 99)
    for number, count, size, more in ((1, 16, 11, "stride: 4"), (2, 32, 5, "pad: 2 group: 2")):
        t.conv(f"conv{number}", count, size, more)
        t.relu(f"relu{number}")
        t.pool(f"pool{number}")
        t.lrn(f"norm{number}")
    return _rest_of_alexnet(t, 24).replace('"fc8"', '"fc8-205"')


@_net(3, 101, 101)
def zfnet() -> str:
    t = Text("ZFNet", 3, 101, 101)
    for number, count, size, more in ((1, 16, 7, "stride: 2 pad: 1"), (2, 24, 5, "stride: 2")):
        t.conv(f"conv{number}", count, size, more)
        t.relu(f"relu{number}")
        t.lrn(f"norm{number}", "local_size: 3 alpha: 0.00005 beta: 0.75 norm_region: WITHIN_CHANNEL")
        t.pool(f"pool{number}", given="kernel_size: 3 stride: 2 pad: 1")
    return _rest_of_alexnet(t, 16).replace("group: 2", "")


@_net(3, 64, 64)
def vgg16() -> str:
    t = Text("VGG_ILSVRC_16_layers", 3, 64, 64)
    for stage, (count, depth) in enumerate(((8, 2), (12, 2), (16, 3), (24, 3), (24, 3)), 1):
        for place in range(1, depth + 1):
            t.conv(f"conv{stage}_{place}", count, 3, "pad: 1")
            t.relu(f"relu{stage}_{place}")
        t.pool(f"pool{stage}", given="kernel_size: 2 stride: 2")
    for number in (6, 7):
        t.fc(f"fc{number}", 48)
        t.relu(f"relu{number}")
        t.drop(f"drop{number}")
    t.fc("fc8", 10)
    t.add("Softmax", "prob")
    return t.text


@_net(3, 96, 96)
def nin() -> str:
    t = Text("nin_imagenet", 3, 96, 96)
    for number, count, size, more in (
        (1, 16, 11, "stride: 4"),
        (2, 24, 5, "pad: 2"),
        (3, 32, 3, "pad: 1"),
        (4, 32, 3, "pad: 1"),
    ):
        for place in range(3):
            last = 10 if (number, place) == (4, 2) else count
            t.conv(
                f"conv{number}" if not place else f"cccp{2 * number + place - 2}",
                last,
                1 if place else size,
                "" if place else more,
            )
            t.relu(f"relu{number}_{place}")
        if number < 4:
            t.pool(f"pool{number}")
        if number == 3:
            t.drop("drop")
    t.pool("pool4", "AVE", "global_pooling: true")
    t.add("Softmax", "prob")
    return t.text


@_net(3, 67, 67)
def squeezenet() -> str:
    t = Text("SqueezeNet_v1.1", 3, 67, 67)
    t.conv("conv1", 16, 3, "stride: 2")
    t.relu("relu_conv1")
    t.pool("pool1")
    for number in range(2, 10):
        name = f"fire{number}"
        t.conv(f"{name}/squeeze1x1", 8, 1)
        squeezed = t.relu(f"{name}/relu_squeeze1x1")
        t.conv(f"{name}/expand1x1", 12, 1)
        one = t.relu(f"{name}/relu_expand1x1")
        t.conv(f"{name}/expand3x3", 12, 3, "pad: 1", squeezed)
        three = t.relu(f"{name}/relu_expand3x3")
        t.add("Concat", f"{name}/concat", bottoms=f"{one} {three}")
        if number in (3, 5):
            t.pool(f"pool{number}")
    t.drop("drop9")
    t.conv("conv10", 10, 1, "pad: 1")
    t.relu("relu_conv10")
    t.pool("pool10", "AVE", "global_pooling: true")
    t.add("Softmax", "prob")
    return t.text


@_net(3, 70, 70)
def resnet50() -> str:
    t = Text("ResNet-50", 3, 70, 70)
    t.conv("conv1", 12, 7, "pad: 3 stride: 2")
    t.norm("_conv1")
    t.relu("conv1_relu")
    t.pool("pool1")
    for stage, (count, depth) in enumerate(((4, 3), (6, 4), (8, 3), (10, 2)), 2):
        for place in range(depth):
            _bottleneck(t, f"{stage}{'abcdef'[place]}", count, 1 if place or stage == 2 else 2, place == 0)
    t.pool("pool5", "AVE", "kernel_size: 3 stride: 1")
    t.fc("fc1000", 10)
    t.add("Softmax", "prob")
    return t.text


def _bottleneck(t: Text, name: str, count: int, stride: int, is_first: bool) -> None:
    source = short = t.top
    if is_first:
        t.conv(f"res{name}_branch1", 4 * count, 1, f"stride: {stride} bias_term: false", source)
        short = t.norm(f"{name}_branch1")
    for part, size, wide, more in (("a", 1, 1, f"stride: {stride}"), ("b", 3, 1, "pad: 1"), ("c", 1, 4, "")):
        t.conv(
            f"res{name}_branch2{part}", wide * count, size, f"{more} bias_term: false", source if part == "a" else ""
        )
        t.norm(f"{name}_branch2{part}")
        if part != "c":
            t.relu(f"res{name}_branch2{part}_relu")
    t.add("Eltwise", f"res{name}", bottoms=f"{short} {t.top}")
    t.relu(f"res{name}_relu")


@_net(3, 64, 64)
def mobilenet() -> str:
    t = Text("MOBILENET", 3, 64, 64)
    t.conv("conv1", 8, 3, "bias_term: false pad: 1 stride: 2")
    t.norm("_conv1", in_place=False)
    t.relu("relu1")
    channels = 8
    for number, (count, stride) in enumerate(((16, 1), (24, 2), (24, 1), (32, 2), (32, 1), (40, 2), (40, 1)), 2):
        more = f"bias_term: false pad: 1 stride: {stride} group: {channels} engine: CAFFE"
        t.conv(f"conv{number}/dw", channels, 3, more)
        t.norm(f"_conv{number}/dw", in_place=False)
        t.relu(f"relu{number}/dw")
        t.conv(f"conv{number}/sep", count, 1, "bias_term: false pad: 0 stride: 1")
        t.norm(f"_conv{number}/sep", in_place=False)
        t.relu(f"relu{number}/sep")
        channels = count
    t.pool("pool6", "AVE", "global_pooling: true")
    t.conv("fc7", 10, 1)
    t.add("Softmax", "prob")
    return t.text


@_net(3, 40, 44)
def fcn8s() -> str:
    t = Text("FCN-8s", 3, 40, 44)
    pools = {}
    for stage, count in enumerate((6, 8, 8, 10, 10), 1):
        t.conv(f"conv{stage}_1", count, 3, f"pad: {40 if stage == 1 else 1}")
        t.relu(f"relu{stage}_1")
        pools[stage] = t.pool(f"pool{stage}", given="kernel_size: 2 stride: 2")
    t.conv("fc6", 12, 3)
    t.relu("relu6")
    t.drop("drop6")
    t.conv("score_fr", 5, 1, "pad: 0")
    up = "convolution_param { num_output: 5 bias_term: false kernel_size: %d stride: %d }"
    t.add("Deconvolution", "upscore2", up % (4, 2))
    for pool, offset, size, stride in ((4, 1, 4, 2), (3, 1, 16, 8)):
        source = t.top
        score = t.conv(f"score_pool{pool}", 5, 1, "pad: 0", pools[pool])
        t.add("Crop", f"score_pool{pool}c", f"crop_param {{ axis: 2 offset: {offset} }}", f"{score} {source}")
        t.add("Eltwise", f"fuse_pool{pool}", "eltwise_param { operation: SUM }", f"{source} {t.top}")
        t.add("Deconvolution", f"upscore_pool{pool}", up % (size, stride))
    t.add("Crop", "score", "crop_param { axis: 2 offset: 31 }", f"{t.top} data")
    return t.text
