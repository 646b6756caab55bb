"""What a network's graph says about its features, whatever library it is of. Open `features` first."""
