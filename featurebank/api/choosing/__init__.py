"""The public functions that help to decide: `advice` says what to do about the data, `race` which backbone to use."""
