"""What tests are made of: photos, weights files, networks, runs."""
