"""Why a network says what it says: heat maps, activations, filters."""
