"""Pretrained weights from any source: found, fetched, verified, read from any form of file."""
