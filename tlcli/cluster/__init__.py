"""Several machines: workers that train one run together, and extraction on a cluster."""
