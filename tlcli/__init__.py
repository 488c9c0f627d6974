"""tlcli: fine-tune pretrained image classifiers on your own photos, from a YAML recipe."""

from tlcli._version import __version__

__all__ = ["__version__"]
