"""What an exported file says about itself: how its input is made, what its outputs mean, and its network's cfg.

All values are text; those that are not plain words or numbers are JSON. ``network`` holds the cfg with the files that
it names and the input size, from which ``inference.exported_model`` decodes the outputs as the network itself would.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from .. import weights
from ..cfg import Dialect
from ..errors import DarknetError
from ..layers import Shape
from ..network import Network
from ..postprocess import Heads, uses_letterbox
from ..weights import checkpoint

_PRODUCER = "darknet_py"
INT8 = "int8"  # key of what an int8 file says about its quantisation, a JSON object with ``weight_bits``


def describe(
    network: Network,
    *,
    heads: Heads,
    outputs: Sequence[str],
    names: Sequence[str] = (),
    letterbox: bool | None = None,
    threshold: float = 0.25,
    nms: float = 0.45,
    fp16: bool = False,
    classes: Sequence[int] | None = None,
) -> dict[str, str]:
    """Return the metadata of an exported file by key.

    Args:
        network: The network.
        heads: What the file returns.
        outputs: Names of the file's outputs.
        names: Class names; empty: the network's own.
        letterbox: Whether images are letterboxed; None: by the cfg and dialect.
        threshold: Score threshold of the file, see ``export``.
        nms: IoU threshold of the file.
        fp16: Whether the file stores and computes in float16.
        classes: Numbers of the classes that the file reports; None: all.
    """
    from .._version import __version__

    layers = {id(layer): index for index, layer in enumerate(network)}
    options = [
        {
            "layer": layers[id(head)],
            "section": head.names[0],
            "classes": head.classes,
            "anchors": [list(pair) for pair in head.anchors],
            "nms_kind": str(head.nms_options.kind),
            "beta_nms": head.nms_options.beta,
            "sigma_nms": head.nms_options.sigma,
        }
        for head in network.heads
    ]
    saved = checkpoint.without_weights(network)
    source = {name: getattr(saved, name) for name in ("cfg", "cfg_name", "files", "plugins")}
    source |= {"shape": list(network.shape)}
    entries = {
        "producer": f"{_PRODUCER} {__version__}",
        "input": "RGB planes, values 0..1" if network.shape.channels == 3 else "values 0..1",
        "resize": _resize(network, letterbox),
        "boxes": "x y w h of centre and size, relative to the input",
        "names": json.dumps(list(names or network.names), ensure_ascii=False),
        "head_options": json.dumps(options),
        "dialect": str(network.dialect),
        **fingerprints(network),
        "heads": str(heads),
        "outputs": json.dumps(list(outputs)),
        "threshold": str(threshold),
        "nms": str(nms),
        "fp16": str(fp16).lower(),
        "network": json.dumps(source),
    }
    return entries if classes is None else entries | {"classes": json.dumps(list(classes))}


def _resize(network: Network, letterbox: bool | None) -> str:
    """How ``Detector`` or ``Classifier`` brings an image to the network's size."""
    if network.heads:
        return "letterbox" if uses_letterbox(network, letterbox) else "stretch"
    return "letterbox" if letterbox or (letterbox is None and network.dialect is Dialect.PJREDDIE) else "centre crop"


@dataclass(frozen=True)
class FileDescription:
    """What the metadata of an exported file say.

    Attributes:
        network: The network that was exported, without weights, for the file's input size.
        heads: What the file returns.
        letterbox: Whether images are letterboxed.
        threshold: Score threshold of a file with ``Heads.NMS``.
        weight_bits: Bits of a weight of the convolutions: 32 or 16, and 8 or 7 in an int8 file.
    """

    network: Network
    heads: Heads
    letterbox: bool
    threshold: float
    weight_bits: int = 32


def read(metadata: Mapping[str, str], path: str, size: tuple[int, int] | None = None) -> FileDescription:
    """Read the metadata that ``describe`` returned.

    Args:
        metadata: The entries of a file by key.
        path: The file, for messages.
        size: Width and height of the input in pixels; None: those of the network that was exported.

    Raises:
        DarknetError: The file was written by another program or an older version, or its metadata are damaged.
    """
    if not is_ours(metadata) or "network" not in metadata:
        found = metadata.get("producer", "none")
        raise DarknetError(
            f"{path}: its metadata do not say how images are prepared and boxes decoded: expected a file of "
            f"`darknet-py export` of this version (producer: {found:.40})"
        )
    try:
        source = json.loads(metadata["network"])
        saved = checkpoint.Checkpoint(
            {},
            source["cfg"],
            source["cfg_name"],
            metadata["dialect"],
            files=dict(source["files"]),
            plugins=dict(source["plugins"]),
        )
        shape = Shape(*map(int, source["shape"]))
        if size is None and shape.width * shape.height > 1:
            size = shape.width, shape.height
        network = checkpoint.build(saved, path, size=size)
        network.names = tuple(map(str, json.loads(metadata["names"])))
        bits = 16 if metadata["fp16"] == "true" else 32
        if INT8 in metadata:
            bits = int(json.loads(metadata[INT8])["weight_bits"])
        letterbox = metadata["resize"] == "letterbox"
        return FileDescription(network, Heads(metadata["heads"]), letterbox, float(metadata["threshold"]), bits)
    except DarknetError:
        raise
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError) as error:
        raise DarknetError(f"{path}: invalid metadata: expected those of an exported file ({error!r:.200})") from error


def is_ours(metadata: Mapping[str, str]) -> bool:
    """Whether this package wrote the metadata; other programs may use the same keys with another meaning."""
    return metadata.get("producer", "").startswith(_PRODUCER)


def fingerprints(network: Network) -> dict[str, str]:
    """Return the entries that tell networks apart: the SHA-256 of the cfg's text and of the .weights file."""
    text = network.config.text.encode("utf-8", "surrogateescape")
    return {"cfg_sha256": hashlib.sha256(text).hexdigest(), "weights_sha256": _weights_sha256(network)}


def _weights_sha256(network: Network) -> str:
    """Return the SHA-256 of the .weights file that saving the network would write."""
    major, minor, revision = network.version
    header = weights.Header(major, minor, revision, network.seen)
    total = hashlib.sha256(struct.pack(header.layout(network.dialect), *header))
    for array in weights.stored(network, transposed=header.transposed, writing=True):
        floats = array.tensor.detach().to("cpu", torch.float32).contiguous().numpy()
        total.update(floats.astype("<f4", copy=False).data)
    return total.hexdigest()
