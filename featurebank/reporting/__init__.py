"""Stage: writes a report on banks and their runs as one HTML file."""
