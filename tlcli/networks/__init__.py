"""Pretrained networks: the table of bases, cutting and joining them, their compiled passes."""
