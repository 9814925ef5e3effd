"""Two networks that tell by how much the labels of a star differ between two surveys.

Shape legend: B stars, D inputs, K labels, W width.

A network gives the difference base B - base A in robustly scaled units. Its last layer starts at zero, so an untrained one
changes nothing. The published skeleton follows Thomas et al. 2024 (A&A 690, A54, doi:10.1051/0004-6361/202450198), whose
residual blocks come from ActionFinder (arXiv:2012.05250); it reaches for labels instead of differences, starts from a random
last layer, and worsens what hardly differs.
"""

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from models.translator_config import TranslatorConfig

# Published blocks from this width on drop half their values in training.
DROPOUT_FROM = 256


class ResidualBlock(nn.Module):
    """Residual block: h + W2 gelu(W1 norm(h)), with a norm of its own."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.expand = nn.Linear(width, width)
        self.contract = nn.Linear(width, width)

    def forward(self, h: Tensor) -> Tensor:
        """Map (B, W) to (B, W)."""
        result: Tensor = h + self.contract(nn.functional.gelu(self.expand(self.norm(h))))
        return result


class ResidualTranslator(nn.Module):
    """Residual blocks of one width over the inputs and over which of them are there."""

    def __init__(self, inputs: int, outputs: int, width: int, blocks: int) -> None:
        super().__init__()
        self.entry = nn.Linear(2 * inputs, width)
        self.blocks = nn.Sequential(*(ResidualBlock(width) for _ in range(blocks)))
        self.norm = nn.LayerNorm(width)
        self.head = _zero(nn.Linear(width, outputs))

    def forward(self, x: Tensor, present: Tensor) -> Tensor:
        """Map scaled inputs (B, D) and whether they are there (bool) to scaled differences (B, K).

        What lies in x where it is not there has no influence, not even NaN.
        """
        # `where` and not a product: 0 * NaN is NaN.
        shown = torch.where(present, x, 0.0)
        h = self.blocks(self.entry(torch.cat([shown, present.to(x.dtype)], dim=1)))
        result: Tensor = self.head(nn.functional.gelu(self.norm(h)))
        return result


class PublishedBlock(nn.Module):
    """Published residual block: two weight-normalised layers after a ReLU each, without any other norm."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *(nn.ReLU(), _dropout(width), weight_norm(_linear(width, width))),
            *(nn.ReLU(), _dropout(width), weight_norm(_linear(width, width))),
        )

    def forward(self, h: Tensor) -> Tensor:
        """Map (B, W) to (B, W)."""
        result: Tensor = h + self.layers(h)
        return result


class PublishedTranslator(nn.Module):
    """Published skeleton: the width doubles ``depth`` times and halves again, a residual block at every width.

    A missing input is its median, as published: it is not told apart.
    """

    def __init__(self, inputs: int, outputs: int, width: int, depth: int) -> None:
        super().__init__()
        widths = [width * 2**i for i in range(depth)]
        layers: list[nn.Module] = [_linear(inputs, width)]
        for one in widths:
            layers += [PublishedBlock(one), _linear(one, 2 * one)]
        layers.append(PublishedBlock(width * 2**depth))
        for one in reversed(widths):
            layers += [_linear(2 * one, one), PublishedBlock(one)]
        self.skeleton = nn.Sequential(*layers)
        self.head = _zero(nn.Linear(width, outputs))

    def forward(self, x: Tensor, present: Tensor) -> Tensor:
        """Map scaled inputs (B, D) and whether they are there (bool) to scaled differences (B, K)."""
        result: Tensor = self.head(self.skeleton(torch.where(present, x, 0.0)))
        return result


def network(config: TranslatorConfig, inputs: int, outputs: int) -> nn.Module:
    """Build an untrained network, which gives zero for every star."""
    build = PublishedTranslator if config.skeleton == "published" else ResidualTranslator
    return build(inputs, outputs, config.width, config.blocks)


def _linear(inputs: int, outputs: int) -> nn.Linear:
    layer = nn.Linear(inputs, outputs)
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def _dropout(width: int) -> nn.Module:
    return nn.Dropout(0.5) if width >= DROPOUT_FROM else nn.Identity()


def _zero(layer: nn.Linear) -> nn.Linear:
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
