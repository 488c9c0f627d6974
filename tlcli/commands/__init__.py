"""The commands, one file each: they turn a command line into a call, and print its result."""
