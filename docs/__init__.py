"""The site of featurebank: its pages, and the program that builds it."""
