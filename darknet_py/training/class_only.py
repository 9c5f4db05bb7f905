"""Images with a class and no box in the training of a detector, beside images with objects (YOLO9000)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..augmentation.detection import DetectionAugmentation
from ..data.classification_list import KEY, ClassificationList, check_classes, class_of_image
from ..data.labels import Problem
from ..errors import ConfigError, DataError
from ..layers import Head
from ..network import Network
from .loader import Array
from .sources import Objects


@dataclass(frozen=True)
class ObjectsAndClasses:
    """The source of both kinds of images. All are drawn equally often, so a list that is too short is repeated.

    A path is searched for its class when it is drawn, as lists can be long. Of an image without one class the loader
    says so, and draws another one.

    Attributes:
        objects: the images with objects.
        classification: the images with a class.
        labels: names of the classes.
        problems: of the labels.
    """

    objects: Objects
    classification: ClassificationList
    labels: Sequence[str]
    problems: Sequence[Problem]

    @property
    def _with_objects(self) -> int:
        """Number of images with objects, repetitions included."""
        return max(len(self.objects), round(len(self.classification.images) / self.classification.ratio))

    def __len__(self) -> int:
        """Images, repetitions included."""
        with_class = max(len(self.classification.images), round(len(self.objects) * self.classification.ratio))
        return self._with_objects + with_class

    def _image_with_class(self, index: int) -> str:
        """The file of an image with a class; empty if it is one with objects."""
        if index < self._with_objects:
            return ""
        return self.classification.images[(index - self._with_objects) % len(self.classification.images)]

    def image(self, index: int) -> str:
        """The file."""
        return self._image_with_class(index) or self.objects.image(index % len(self.objects))

    def target(self, index: int) -> Array:
        """The objects, float32 [n, 5]; or the class, float32 [1, 5] with 0 for the box."""
        if image := self._image_with_class(index):
            return np.array([[0, 0, 0, 0, class_of_image(image, self.labels)]], np.float32)
        return self.objects.target(index % len(self.objects))


def mix_class_only(head: Head, objects: Objects, classification: ClassificationList) -> ObjectsAndClasses:
    """Mix images with a class and no box into images with objects.

    Raises:
        DataError: The head has no class tree, or the images belong to another one.
    """
    if not head.tree_names:
        raise DataError(f"{KEY}=: expected a network whose last head has a class tree (tree=), found none")
    check_classes(classification.images, head.tree_names)
    problems = list(objects.problems)
    if not head.trains_class_only:
        message = "AlexeyAB's dialect drops the class, and trains on the images as images without objects"
        problems.append(Problem(f"{KEY}=", f"{message}; --dialect pjreddie trains on the class"))
    return ObjectsAndClasses(objects, classification, head.tree_names, problems)


def check_class_only(network: Network, augmentation: DetectionAugmentation) -> None:
    """Raise ConfigError if images are combined, or form sequences or pairs: a class belongs to one whole image."""
    net = network.options
    if augmentation.source_count > 1 or net.track or net.contrastive:
        raise ConfigError(
            f"{network.config.path}: [net] mosaic, mixup, detector_cutmix, track, contrastive: expected 0 to train on "
            "images that have a class and no box"
        )
