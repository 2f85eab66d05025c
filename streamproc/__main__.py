"""`python -m streamproc` is the command `streamproc`."""

from streamproc.cli.entry import main

if __name__ == "__main__":
    main()
