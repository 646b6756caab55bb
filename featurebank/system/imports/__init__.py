"""Large packages, imported with care: quietly, with featurebank's number of threads, and without a report home."""
