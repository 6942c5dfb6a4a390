"""How an experiment's script is called, and how it tells what it found: one JSON line.

Shared by all of them. Serves CPython 2.7 and 3.x, and needs only the standard library.
"""

from __future__ import print_function

import json
import sys


def call(cases, usage):
    """Calls the case that the command line names, as function(seconds, *rest), and returns what it returns."""
    arguments = sys.argv[1:]
    if len(arguments) < 2 or arguments[0] not in cases or not arguments[1].isdigit():
        sys.exit("usage: %s %s\nCASE is one of %s" % (sys.argv[0], usage, ", ".join(sorted(cases))))
    return cases[arguments[0]](int(arguments[1]), *arguments[2:])


class Skip(Exception):
    """This case can't be run here, for the reason given."""


def main(cases, usage="CASE SECONDS"):
    """Tells the metrics, a dict by name, that the case returns."""
    try:
        told = {"metrics": call(cases, usage)}
    except Skip as reason:
        told = {"skipped": str(reason)}
    print(json.dumps(told))
    sys.stdout.flush()
