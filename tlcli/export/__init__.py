"""Runs as files for other runtimes."""
