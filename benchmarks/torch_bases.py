"""The bases of the benchmarks as torchvision has them, cut where Keras' are.

They need PyTorch, which lives in an environment of its own: `--torch PYTHON` of the benchmarks.
"""

from __future__ import annotations

from itertools import chain
from typing import Any

import torch
from torch import nn
from torchvision import models


def split_base(name: str) -> tuple[nn.Sequential, nn.Sequential, int]:
    """The layers up to the boundary of `sides.BOUNDARIES`, those above, and channels at the end."""
    if name == "VGG16":
        layers = models.vgg16(weights=None).features
        return layers[:24], layers[24:], 512
    if name == "ResNet50":
        net = models.resnet50(weights=None)
        for block in (net.layer2, net.layer3, net.layer4):
            # As in Keras, the first convolution of the block has the stride, not the second.
            block[0].conv1.stride, block[0].conv2.stride = (2, 2), (1, 1)
        start = [net.conv1, net.bn1, net.relu, net.maxpool]
        return (
            nn.Sequential(*start, net.layer1, net.layer2, net.layer3),
            nn.Sequential(net.layer4),
            2048,
        )
    net = models.inception_v3(weights=None, aux_logits=False, init_weights=False)
    children = dict(net.named_children())
    names = list(children)
    above = names.index("Mixed_7a")
    trunk = nn.Sequential(*(children[each] for each in names[:above]))
    return trunk, nn.Sequential(net.Mixed_7a, net.Mixed_7b, net.Mixed_7c), 2048


def freeze_batch_norm(net: nn.Module) -> list[nn.Parameter]:
    """Put batch norm into inference mode; returns the parameters of everything else."""
    norms = [norm for norm in net.modules() if isinstance(norm, nn.BatchNorm2d)]
    for norm in norms:
        norm.eval()
    frozen = {id(parameter) for parameter in chain(*(norm.parameters() for norm in norms))}
    return [parameter for parameter in net.parameters() if id(parameter) not in frozen]


def row_shape(trunk: nn.Module, size: int) -> tuple[int, ...]:
    """(channels, height, width) of what a trunk makes of a photo of `size` pixels."""
    with torch.inference_mode():
        shape: Any = trunk.eval()(torch.zeros(1, 3, size, size)).shape[1:]
    return tuple(shape)
