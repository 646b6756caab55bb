"""KerasHub: its layers as parts of our graphs, and its presets. Open `layers` first, then `parts` and `presets`."""
