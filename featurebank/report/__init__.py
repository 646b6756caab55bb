"""Pages for people: one HTML file each, which needs no other file, no network and no script."""
