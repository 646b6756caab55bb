"""Networks of Keras: their graph, their cut points, and how they are built. Open `network` first."""
