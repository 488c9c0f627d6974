"""The machine under tlcli: terminal, files, locks, signals, threads, downloads, random numbers."""
