"""Choosing by measurement: where to cut, which base, which rate, which head."""
