"""Slide 11: a client of Parallel Python is killed in the middle of a job; its node lives on, and serves the next.

usage: slide11_pp_disconnect.py CASE SECONDS, with CASE pp

The job that the first client leaves behind sleeps for SECONDS / 3. The node is a process on 127.0.0.1 that serves who
knows its secret.
"""

import os
import re
import sys
import time

import pp_nodes
from bounded import end, nameless, start, text, wait_for
from reporting import main

JOBS, PATIENCE_S = 5, 30


def left_behind(path, seconds):
    """Tells where it is done, and is long enough for its client to be killed meanwhile."""
    with open(path, "a") as reports:
        reports.write("%d " % os.getpid())
    time.sleep(seconds)


def job(i):
    return i * i, os.getpid(), os.getppid()


def first_client(path, port, seconds):
    """What the process that is to be killed does."""
    server = pp_nodes.client([int(port)], 0)
    server.submit(left_behind, (path, float(seconds)), (), ("os", "time"))()


def pp(seconds):
    reports, path = nameless()
    said, _ = nameless()
    nodes = pp_nodes.nodes(1)
    (node,) = nodes
    try:
        client = start([sys.executable, __file__, CLIENT, path, str(node.port), str(seconds / 3.0)], said)
        try:
            if not wait_for(lambda: text(reports), PATIENCE_S):
                raise AssertionError("the first client's job did not start: %s" % text(said)[-500:])
        finally:
            before = len(text(node.said))
            client.kill()
            end(client)
        # Those of its threads that wait for the client notice at once, the one that has its result for it later.
        wait_for(lambda: errors(node, before), PATIENCE_S)
        server = pp_nodes.client([node.port], 0)
        answers = [submitted() for submitted in [server.submit(job, (i,), (), ("os",)) for i in range(JOBS)]]
        server.destroy()
        found = errors(node, before)
        return {
            "release": pp_nodes.pp.__version__,
            "client_ended_by": -client.returncode,
            "errors": len(found),
            "error": found[0] if found else None,
            "node_lives": node.process.poll() is None,
            "next_jobs": JOBS,
            "next_right": sum(square == i * i for i, (square, _, _) in enumerate(answers)),
            "next_by_node": sum(ppid == node.pid for _, _, ppid in answers),
            "same_worker": {pid for _, pid, _ in answers} == {int(text(reports))},
        }
    finally:
        pp_nodes.end_all(nodes)


def errors(node, before):
    """What the node's threads have raised since."""
    return re.findall(r"^\w+Error: .*", text(node.said)[before:], re.MULTILINE)


CLIENT = "first-client"

if __name__ == "__main__":
    if sys.argv[1:2] == [CLIENT]:
        first_client(*sys.argv[2:])
    else:
        main({"pp": pp})
