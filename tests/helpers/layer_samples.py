"""Samples of every section type: keys and input shapes, for tests that apply to all layers.

An option with an effect only together with another one (``bin_output`` with ``xnor``) is sampled with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from darknet_py.cfg import Dialect
from darknet_py.layers import LAYERS, Layer, Shape
from tests.helpers import random_networks

HERE = Path(__file__).parents[1] / "golden" / "cases"
TREE = str(HERE / "tree_of_204.txt")
MAP = str(HERE / "map.txt")
TREE_CLASSES = len(Path(TREE).read_text().splitlines())

A, B, ODD, SIX = Shape(4, 6, 6), Shape(4, 8, 4), Shape(6, 7, 5), Shape(6, 6, 6)
VECTOR = Shape(12, 1, 1)
GATE = Shape(4, 1, 1)
PJ = Dialect.PJREDDIE


class Sample(NamedTuple):
    """A section's name, its keys as ``key=value`` separated by spaces, and the shapes of its inputs."""

    name: str
    keys: str
    inputs: tuple[Shape, ...]
    dialect: Dialect = Dialect.ALEXEYAB

    def build(self) -> Layer:
        """Build the layer with random weights, in eval mode."""
        return random_networks.layer(self.name, self.pairs(), *self.inputs, dialect=self.dialect)

    def pairs(self) -> dict[str, str]:
        """Keys and values."""
        return dict(word.split("=", 1) for word in self.keys.split())

    @property
    def kind(self) -> type[Layer]:
        """The class."""
        return LAYERS[self.name]

    def __str__(self) -> str:
        sizes = "+".join("x".join(map(str, shape)) for shape in self.inputs)
        return f"{self.name}-{self.keys.replace(str(HERE) + '/', '')}-{sizes}-{self.dialect}".replace(" ", ",")


HEAD = "classes=3 num=3 mask=0,2 anchors=4,5,6,7,9,8"
TREE_HEAD = f"classes={TREE_CLASSES} num=1 anchors=1,2 tree={TREE}"
SMALL = "size=3 pad=1 activation=tanh"

TABLE: tuple[tuple[str, str, tuple[tuple[Shape, ...], ...], tuple[Dialect, ...]], ...] = (
    ("convolutional", f"filters=6 stride=2 batch_normalize=1 {SMALL}", ((A,), (B,), (ODD,)), ()),
    ("convolutional", "filters=6 size=3 padding=2 stride_x=2 stride_y=1 groups=2", ((A,), (ODD,)), ()),
    ("convolutional", "filters=3 size=3 dilation=2 pad=1 activation=mish flipped=1", ((A,), (ODD,)), ()),
    ("convolutional", f"filters=4 stride=2 antialiasing=1 {SMALL}", ((A,), (ODD,)), ()),
    ("convolutional", f"filters=4 stride=2 antialiasing=2 cbn=1 {SMALL}", ((A,), (B,)), ()),
    ("convolutional", "filters=4 size=3 xnor=1 bin_output=1 batch_normalize=1 activation=leaky", ((A,), (ODD,)), ()),
    ("deconvolutional", "filters=3 size=3 stride=2 pad=1 batch_normalize=1 activation=leaky", ((A,), (ODD,)), (PJ,)),
    ("deconvolutional", "filters=3 size=2 stride=2 activation=linear", ((A,), (B,)), (PJ,)),
    ("connected", "output=5 batch_normalize=1 activation=leaky", ((A,), (VECTOR,)), ()),
    ("connected", "output=5", ((ODD,),), ()),
    ("local", "filters=2 size=3 stride=2 activation=leaky", ((A,), (ODD,)), ()),
    ("local", "filters=2 size=3 pad=1 activation=leaky", ((A,), (B,)), ()),
    ("batchnorm", "", ((A,), (VECTOR,)), tuple(Dialect)),
    ("normalization", "size=3 alpha=0.5", ((A,), (ODD,)), ()),
    ("normalization", "size=4 beta=1 kappa=2", ((ODD,),), ()),
    ("activation", "activation=elu", ((A,), (VECTOR,)), ()),
    ("activation", "activation=normalize_channels_softmax", ((A,),), ()),
    ("prelu", "", ((A,), (ODD,), (VECTOR,)), ()),
    ("prelu", "shared=1", ((A,),), ()),
    ("maxpool", "size=2 stride=2", ((A,), (B,), (ODD,)), ()),
    ("maxpool", "size=3 stride_x=2 stride_y=1 padding=1", ((A,), (ODD,)), ()),
    ("maxpool", "size=3 stride=2 antialiasing=2", ((A,), (B,)), ()),
    ("maxpool", "maxpool_depth=1 out_channels=2", ((A,), (ODD,)), ()),
    ("local_avgpool", "size=3 stride=2", ((A,), (ODD,)), ()),
    ("local_avgpool", "avgpool_depth=1", ((A,), (ODD,)), ()),
    ("avgpool", "", ((A,), (ODD,), (VECTOR,)), ()),
    ("upsample", "stride=3 scale=0.5", ((A,), (ODD,)), ()),
    ("upsample", "stride=-2", ((A,), (B,)), ()),
    ("reorg", "stride=2", ((A,), (B,)), tuple(Dialect)),
    ("reorg", "stride=2 reverse=1", ((A,),), ()),
    ("reorg", "stride=2 flatten=1", ((A,),), (PJ,)),
    ("reorg", "stride=2 flatten=1 reverse=1", ((B,),), (PJ,)),
    ("reorg", "extra=3", ((A,),), (PJ,)),
    ("reorg3d", "stride=2", ((A,), (B,)), ()),
    ("reorg3d", "stride=2 reverse=1", ((Shape(16, 3, 5),),), ()),
    ("route", "layers=-1,-2", ((A, A), (ODD, ODD)), ()),
    ("route", "layers=0,1", ((A, VECTOR),), ()),
    ("route", "layers=-1,-2 groups=2 group_id=1", ((A, SIX),), ()),
    ("shortcut", "from=-2 activation=leaky", ((A, A), (A, SIX), (ODD, ODD._replace(channels=3))), ()),
    ("shortcut", "from=-2,-3 weights_type=per_channel weights_normalization=softmax", ((A, A, SIX),), ()),
    ("shortcut", "from=-2 weights_type=per_feature weights_normalization=relu activation=swish", ((A, A),), ()),
    ("shortcut", "from=-2 alpha=0.5 beta=2", ((A, Shape(6, 12, 12)), (B, Shape(3, 4, 2))), (PJ,)),
    ("scale_channels", "from=-2 activation=leaky", ((GATE, A), (GATE, B)), ()),
    ("scale_channels", "from=-2 scale_wh=1", ((Shape(1, 6, 6), A),), ()),
    ("sam", "from=-2 activation=tanh", ((A, A), (ODD, ODD)), ()),
    ("dropout", "probability=0.5", ((A,), (VECTOR,)), ()),
    ("crop", "crop_width=4 crop_height=3", ((A,), (ODD,)), ()),
    ("cost", "", ((A,), (VECTOR,)), ()),
    ("softmax", "groups=3 temperature=2", ((A,), (VECTOR,)), ()),
    ("softmax", "spatial=1", ((A,),), (PJ,)),
    ("softmax", f"tree={TREE}", ((Shape(TREE_CLASSES, 1, 1),),), ()),
    ("logistic", "", ((VECTOR,),), (PJ,)),
    ("l2norm", "", ((A,), (VECTOR,)), (PJ,)),
    ("empty", "", ((A,), (VECTOR,)), ()),
    ("implicit", "filters=5 atoms=2", ((A,),), ()),
    ("implicit_add", "filters=5", ((A,),), ()),
    ("implicit_mul", "filters=5", ((A,),), ()),
    ("shift_channels", "from=-2", ((A, GATE), (A, A)), ()),
    ("control_channels", "from=-2", ((A, GATE), (A, A)), ()),
    ("route_lhalf", "layers=-1,-2", ((A, SIX), (A, A)), ()),
    ("route2", "layers=-1,-2", ((A, SIX), (A, A)), ()),
    ("se", "reduction=2", ((A,), (ODD,)), ()),
    ("depthwise", f"filters=8 stride=2 batch_normalize=1 {SMALL}", ((A,), (B,)), ()),
    ("contrastive", "yolo_layer=-2", ((A,),), ()),
    ("history", "history_size=3", ((A,),), ()),
    ("rnn", "output=5 hidden=4 logistic=1 shortcut=1 batch_normalize=1", ((A,), (VECTOR,)), tuple(Dialect)),
    ("gru", "output=5 batch_normalize=1", ((A,), (VECTOR,)), tuple(Dialect)),
    ("lstm", "output=5 batch_normalize=1", ((A,), (VECTOR,)), tuple(Dialect)),
    ("crnn", f"output=4 hidden=2 shortcut=1 batch_normalize=1 {SMALL}", ((A,), (ODD,)), ()),
    ("crnn", "output_filters=4 hidden_filters=2 activation=leaky", ((A,), (ODD,)), (PJ,)),
    ("conv_lstm", "output=3 size=3 pad=1 peephole=1 batch_normalize=1 activation=leaky", ((Shape(2, 3, 4),),), ()),
    ("conv_lstm", "output=4 size=3 pad=1 bottleneck=1 shortcut=1 lstm_activation=leaky", ((A,),), ()),
    ("yolo", f"{HEAD} scale_x_y=1.2 nms_kind=diounms", ((Shape(16, 6, 6),), (Shape(16, 3, 5),)), tuple(Dialect)),
    ("yolo", f"{HEAD} new_coords=1", ((Shape(16, 3, 5),),), ()),
    ("Gaussian_yolo", f"{HEAD} scale_x_y=1.2 nms_kind=diounms", ((Shape(24, 6, 6),), (Shape(24, 3, 5),)), ()),
    ("region", "classes=3 num=2 anchors=1,2,3,1 softmax=1", ((Shape(16, 6, 6),), (Shape(16, 3, 5),)), tuple(Dialect)),
    ("region", TREE_HEAD, ((Shape(TREE_CLASSES + 5, 3, 4),),), tuple(Dialect)),
    ("region", "classes=3 num=2 coords=6 background=1", ((Shape(20, 3, 5),),), (PJ,)),
    ("detection", "classes=3 coords=4 num=2 side=3", ((Shape(117, 1, 1),), (Shape(13, 3, 3),)), ()),
    ("iseg", "classes=3 ids=2", ((Shape(5, 3, 4),),), (PJ,)),
)


def samples() -> Iterator[Sample]:
    """Yield one sample for each row of the table, input and dialect."""
    for name, keys, inputs, dialects in TABLE:
        for shapes in inputs:
            for dialect in dialects or (Dialect.ALEXEYAB,):
                yield Sample(name, keys, shapes, dialect)


SAMPLES = tuple(samples())
