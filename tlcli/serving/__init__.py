"""A server of trained models: HTTP in, the answers of `tlcli predict` out."""
