"""`python -m featurebank` is `featurebank`."""

from featurebank.cli import main

if __name__ == "__main__":
    main()
