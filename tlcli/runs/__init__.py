"""The run directory: every file name and record in it, how one is begun, resumed and read."""
