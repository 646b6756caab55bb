"""KerasHub: its layers as parts of our graphs, and its presets. Open `library` first, then `parts` and `presets`."""
