"""Are the labels right, and which photos are to get one? By the features of photos."""
