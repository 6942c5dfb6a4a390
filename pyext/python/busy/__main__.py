"""`python -m busy` runs the command `busy` of this installation, which is a native program."""

import os
import sys

from busy._installation import NotInstalled, command


def main() -> None:
    try:
        path = command()
    except NotInstalled as reason:
        sys.exit(f"busy: {reason}")
    os.execv(path, [path, *sys.argv[1:]])


if __name__ == "__main__":
    main()
