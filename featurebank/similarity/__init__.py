"""Stage: finds the images of a bank that are most similar to given images."""
