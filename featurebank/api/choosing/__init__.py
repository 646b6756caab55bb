"""The public functions that help to choose and to decide: `advice` says what to do about the data, `race` which backbone."""
