"""Are the labels right? Photos whose features speak for another class than their label."""
