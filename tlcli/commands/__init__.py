"""The commands, one file each: what they are asked becomes a call, what comes back is printed."""
