"""`python -m tlcli` is the `tlcli` command."""

from tlcli.cli import main

if __name__ == "__main__":
    main()
