"""A masked autoencoder for XP spectra and photometry: hidden values are rebuilt from visible ones.

Shape legend: B rows, D values per row, R of them reconstructed, E embedding, H hidden width.

Masked autoencoding follows He et al. 2022 (CVPR, arXiv:2111.06377), here on tabular stellar data
with missing values. There is no fill value: a hidden or missing value enters as 0 together with a
visibility channel that says so.
"""

import torch
from torch import Tensor, nn

from models.config import Config
from models.features import Feature, reconstructed_values


class Block(nn.Module):
    """Residual block: x + W2 gelu(W1 norm(x)), with a norm of its own."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.expand = nn.Linear(width, width)
        self.contract = nn.Linear(width, width)

    def forward(self, h: Tensor) -> Tensor:
        """Map (B, H) to (B, H)."""
        result: Tensor = h + self.contract(nn.functional.gelu(self.expand(self.norm(h))))
        return result


class MaskedAutoencoder(nn.Module):
    """Encode visible values to an embedding, and decode it to all reconstructed values.

    Parameters
    ----------
    config : Config
    features : tuple of Feature
        The D inputs in order; R of them are reconstructed.

    Raises
    ------
    ValueError
        If no feature is to be reconstructed.

    Attributes
    ----------
    targets : int64 Tensor, shape (R,)
        Which of the D values are reconstructed.
    """

    targets: Tensor

    def __init__(self, config: Config, features: tuple[Feature, ...]) -> None:
        super().__init__()
        wanted = reconstructed_values(features)
        if not wanted.any():
            raise ValueError(
                f"none of the {len(features)} features is to be reconstructed, expected at least one; declare XP or photometry"
            )
        self.encoder = _stack(2 * len(wanted), config.embedding, config)
        self.decoder = _stack(config.embedding, int(wanted.sum()), config)
        self.register_buffer("targets", torch.from_numpy(wanted.nonzero()[0]), persistent=False)

    def encode(self, x: Tensor, visible: Tensor) -> Tensor:
        """Map scaled values (B, D) and their visibility (bool) to embeddings (B, E).

        What lies in x where it is not visible has no influence, not even NaN.
        """
        # `where` and not a product: 0 * NaN is NaN.
        shown = torch.where(visible, x, 0.0)
        embedding: Tensor = self.encoder(torch.cat([shown, visible.to(x.dtype)], dim=1))
        return embedding

    def decode(self, embedding: Tensor) -> Tensor:
        """Map embeddings (B, E) to the reconstructed scaled values (B, R), in the order of ``targets``."""
        reconstruction: Tensor = self.decoder(embedding)
        return reconstruction

    def forward(self, x: Tensor, visible: Tensor) -> tuple[Tensor, Tensor]:
        """Return embeddings (B, E) and reconstructions (B, R)."""
        embedding = self.encode(x, visible)
        return embedding, self.decode(embedding)


def _stack(n_in: int, n_out: int, config: Config) -> nn.Sequential:
    width = config.width
    blocks = [Block(width) for _ in range(config.blocks)]
    return nn.Sequential(nn.Linear(n_in, width), *blocks, nn.LayerNorm(width), nn.Linear(width, n_out))
