"""Files of data sets: labels, lists, .data, data.yaml, COCO, VOC, CVAT, LabelMe, Label Studio, class names."""

from __future__ import annotations

import json
import pathlib
import random
import shutil
from collections.abc import Sequence
from typing import Any

from darknet_py.demo.digits import CLASS_NAMES

from ..mutations import mutate_json
from .base import TextTarget, write_text


class Labels(TextTarget):
    """A label file."""

    def make_seeds(self) -> Sequence[pathlib.Path]:
        """Boxes, class-only lines, no lines."""
        texts = {
            "boxes": "0 .5 .5 .25 .25\n3 0.123456 0.654321 0.2 0.1\n79 .1 .2 .05 .06\n",
            "classes": "3 0 0 0 0\n",
            "polygon": "1 .1 .1 .2 .1 .2 .2 .1 .2\n",
            "empty": "",
        }
        return [write_text(self.folder / f"{name}.txt", text) for name, text in texts.items()]

    def read(self, path: pathlib.Path) -> None:
        """Read the boxes."""
        from darknet_py.data.labels import LabelOptions, read_label_file

        problems: list[Any] = []
        array = read_label_file(path, problems.append, LabelOptions(80))
        assert array.shape[1:] == (5,)
        [str(problem) for problem in problems]


class Dataset(TextTarget):
    """A file that names a data set, in a folder of generated digits."""

    def make_seeds(self) -> Sequence[pathlib.Path]:
        """The .data file of a data set of four images."""
        from darknet_py.demo import digits

        self.data = digits.write_dataset(self.folder, 3, 1)
        return self.make_files()

    def make_files(self) -> Sequence[pathlib.Path]:
        """Write the seeds beside the data set."""
        return [self.data]

    def read(self, path: pathlib.Path) -> None:
        """Load both subsets."""
        from darknet_py.data.formats import load_dataset

        for subset in ("train", "valid"):
            list(load_dataset(path, subset, classes=10))


class ImageList(Dataset):
    """A list of images."""

    def make_files(self) -> Sequence[pathlib.Path]:
        """Absolute paths, paths relative to the list."""
        images = sorted(self.folder.rglob("*.png"))
        text = "".join(f"{image}\n" for image in images)
        return [
            write_text(self.folder / "absolute.txt", text),
            write_text(self.folder / "relative.txt", text.replace(f"{self.folder}/", "")),
        ]


class DataYaml(Dataset):
    """A data.yaml."""

    def make_files(self) -> Sequence[pathlib.Path]:
        """Names as a list and as a mapping."""
        head = "path: .\ntrain: train\nval: valid\ntest:\nnc: 10\n"
        names = CLASS_NAMES
        listed = f"{head}names: [{', '.join(names)}]\n"
        mapped = f"{head}names:\n" + "".join(f"  {i}: {name}  # comment\n" for i, name in enumerate(names))
        return [write_text(self.folder / "listed.yaml", listed), write_text(self.folder / "mapped.yaml", mapped)]


class JsonDataset(Dataset):
    """A data set in JSON: changed values and changed text."""

    def mutate(self, data: bytes, rng: random.Random) -> bytes:
        """Values four times of five, else the text."""
        if rng.random() < 0.2:
            return super().mutate(data, rng)
        return json.dumps(mutate_json(json.loads(data), rng)).encode()


class Coco(JsonDataset):
    """COCO annotations."""

    def make_files(self) -> Sequence[pathlib.Path]:
        """Two images with three objects."""
        images = [
            {"id": i, "file_name": str(path.relative_to(self.folder)), "width": 96, "height": 96}
            for i, path in enumerate(sorted(self.folder.rglob("*.png"))[:2])
        ]
        objects = [
            {
                "id": i,
                "image_id": i % 2,
                "category_id": i + 1,
                "bbox": [10.5, 20, 30 + i, 40],
                "area": 1200.0,
                "iscrowd": int(i == 2),
            }
            for i in range(3)
        ]
        categories = [{"id": i + 1, "name": name, "supercategory": "none"} for i, name in enumerate(CLASS_NAMES)]
        value = {"info": {}, "images": images, "annotations": objects, "categories": categories}
        return [write_text(self.folder / "coco.json", json.dumps(value))]


class Voc(Dataset):
    """A Pascal VOC folder whose first annotation is mutated."""

    def make_files(self) -> Sequence[pathlib.Path]:
        """Two images of 96 x 96 pixels, one with two objects."""
        root = self.folder / "VOC"
        for name in ("Annotations", "JPEGImages", "ImageSets/Main"):
            (root / name).mkdir(parents=True)
        for i, image in enumerate(sorted(self.folder.glob("*/*.png"))[:2]):
            shutil.copy(image, root / "JPEGImages" / f"{i}.png")
        for subset in ("train", "val"):
            write_text(root / "ImageSets" / "Main" / f"{subset}.txt", "0\n1\n")
        box = "<bndbox><xmin>10</xmin><ymin>12</ymin><xmax>50.5</xmax><ymax>60</ymax></bndbox>"
        objects = "".join(
            f"<object><name>{name}</name><difficult>{i}</difficult>{box}</object>"
            for i, name in enumerate(("dog", "cat"))
        )
        size = "<size><width>96</width><height>96</height><depth>3</depth></size>"
        for i, text in enumerate((objects, "")):
            write_text(
                root / "Annotations" / f"{i}.xml",
                f'<?xml version="1.0"?>\n<annotation><filename>{i}.png</filename>{size}{text}</annotation>\n',
            )
        self.root = root
        return [write_text(self.folder / "seed.xml", (root / "Annotations" / "0.xml").read_text())]

    def read(self, path: pathlib.Path) -> None:
        """Load the folder with the mutated annotation."""
        shutil.copy(path, self.root / "Annotations" / "0.xml")
        super().read(self.root)


class Cvat(Dataset):
    """A file of "CVAT for images"."""

    def make_files(self) -> Sequence[pathlib.Path]:
        """Two images, one with each kind of shape."""
        first, second = (path.name for path in sorted(self.folder.glob("train/*.png"))[:2])
        labels = "".join(f"<label><name>{name}</name></label>" for name in CLASS_NAMES[:3])
        shapes = (
            '<box label="one" source="manual" occluded="0" xtl="10.5" ytl="20" xbr="40" ybr="50" rotation="30"/>'
            '<polygon label="two" points="10,10;50,12.5;30,60"/><polyline label="two" points="1,2;3,4"/>'
            '<ellipse label="zero" cx="50" cy="40" rx="10" ry="20" rotation="15"/><points label="zero" points="5,5"/>'
            '<mask label="one" rle="3, 5" left="10" top="12" width="20" height="8"/><tag label="one"/>'
        )
        images = (
            f'<image id="0" name="{first}" subset="train" width="96" height="96">{shapes}</image>'
            f'<image id="1" name="{second}" subset="valid" width="96" height="96"></image>'
        )
        meta = f"<version>1.1</version><meta><task><labels>{labels}</labels></task></meta>"
        return [
            write_text(
                self.folder / "train" / "cvat.xml",
                f'<?xml version="1.0" encoding="utf-8"?>\n<annotations>{meta}{images}</annotations>\n',
            )
        ]


class LabelMe(JsonDataset):
    """A folder of LabelMe with one annotation, which is mutated."""

    def make_files(self) -> Sequence[pathlib.Path]:
        """An image of 96 x 96 pixels with each kind of shape."""
        self.root = self.folder / "labelme"
        self.root.mkdir()
        shutil.copy(min(self.folder.glob("train/*.png")), self.root / "0.png")
        shapes: list[dict[str, Any]] = [
            {"label": name, "points": points, "group_id": None, "description": "", "shape_type": kind, "flags": {}}
            for name, kind, points in (
                ("one", "rectangle", [[10.5, 20], [40, 50]]),
                ("two", "polygon", [[10, 10], [50, 12.5], [30, 60]]),
                ("two", "circle", [[40, 40], [50, 40]]),
                ("zero", "line", [[1, 2], [30, 40]]),
                ("zero", "point", [[5, 5]]),
            )
        ]
        value: dict[str, Any] = {
            "version": "5.5.0",
            "flags": {},
            "shapes": shapes,
            "imagePath": "0.png",
            "imageData": None,
        }
        return [write_text(self.folder / "seed.json", json.dumps(value | {"imageHeight": 96, "imageWidth": 96}))]

    def read(self, path: pathlib.Path) -> None:
        """Load the folder with the mutated annotation."""
        shutil.copy(path, self.root / "0.json")
        super().read(self.root)


class LabelStudio(JsonDataset):
    """Tasks of Label Studio."""

    def make_files(self) -> Sequence[pathlib.Path]:
        """Tasks with each kind of result, a cancelled annotation and predictions; the short form JSON-MIN."""
        first, second = (path.name for path in sorted(self.folder.glob("train/*.png"))[:2])
        size = {"original_width": 96, "original_height": 96, "image_rotation": 0}
        names = {"from_name": "label", "to_name": "image"}
        values = (
            ("rectanglelabels", {"x": 10.5, "y": 20, "width": 30, "height": 40, "rotation": 15}),
            ("polygonlabels", {"points": [[10, 10], [50, 12.5], [30, 60]], "closed": True}),
            ("ellipselabels", {"x": 50, "y": 40, "radiusX": 10, "radiusY": 20, "rotation": 0}),
            ("keypointlabels", {"x": 5, "y": 5}),
        )
        results = [
            {"id": kind, "type": kind, **names, **size, "value": {**value, kind: ["one"]}} for kind, value in values
        ]
        results.append({"id": "c", "type": "choices", **names, "value": {"choices": ["good"]}})
        tasks = [
            {
                "id": 1,
                "data": {"image": f"/data/upload/1/0a1b2c3d-{first}"},
                "annotations": [{"id": 1, "was_cancelled": True, "result": []}, {"id": 2, "result": results}],
            },
            {
                "id": 2,
                "data": {"image": f"/data/local-files/?d=train/{second}"},
                "annotations": [],
                "predictions": [{"model_version": "1", "score": 0.5, "result": results[:1]}],
            },
        ]
        short = [
            {
                "id": 1,
                "image": f"/data/upload/1/{first}",
                "label": [{**values[0][1], **size, "rectanglelabels": ["one"]}],
            }
        ]
        folder = self.folder / "train"
        return [
            write_text(folder / "tasks.json", json.dumps(tasks)),
            write_text(folder / "min.json", json.dumps(short)),
        ]


class Names(TextTarget):
    """A file of class names."""

    def make_seeds(self) -> Sequence[pathlib.Path]:
        """Ten names."""
        return [write_text(self.folder / "seed.names", "\n".join(CLASS_NAMES) + "\n")]

    def read(self, path: pathlib.Path) -> None:
        """Read the names."""
        from darknet_py.data.data_file import read_names

        read_names(path)
