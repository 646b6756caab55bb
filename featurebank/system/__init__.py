"""What the whole package stands on and what knows nothing of it."""
