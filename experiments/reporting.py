"""The command line of the experiment scripts, and their report: one line of JSON.

Shared by all of them. Runs on CPython 2.7 and 3.x. Needs only the standard library.
"""

from __future__ import print_function

import json
import sys


def call(cases, usage):
    """Calls the case named on the command line as function(seconds, *rest), and returns its result."""
    arguments = sys.argv[1:]
    if len(arguments) < 2 or arguments[0] not in cases or not arguments[1].isdigit():
        sys.exit("usage: %s %s\nCASE is one of %s" % (sys.argv[0], usage, ", ".join(sorted(cases))))
    return cases[arguments[0]](int(arguments[1]), *arguments[2:])


class Skip(Exception):
    """Raised with the reason if this interpreter cannot run the case."""


def main(cases, usage="CASE SECONDS"):
    """Runs the case named on the command line, and prints the metrics that it returns, or why it was skipped."""
    try:
        report = {"metrics": call(cases, usage)}
    except Skip as reason:
        report = {"skipped": str(reason)}
    print(json.dumps(report))
    sys.stdout.flush()
