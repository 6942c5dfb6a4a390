"""Slide 11: a client of Parallel Python is killed during a job. Its node survives, and serves the next client.

usage: slide11_pp_disconnect.py CASE SECONDS

CASE is pp. The abandoned job of the first client sleeps for SECONDS / 3. The node is a process on 127.0.0.1. It serves
only clients with its secret.
"""

import os
import re
import sys
import time

import pp_nodes
from bounded import read_text, start, temporary_file, terminate, wait_until
from reporting import main

JOBS, TIMEOUT_S = 5, 30


def abandoned_job(path, seconds):
    """Reports the worker that runs it, and lasts long enough for the client to be killed meanwhile."""
    with open(path, "a") as reports:
        reports.write("%d " % os.getpid())
    time.sleep(seconds)


def job(i):
    return i * i, os.getpid(), os.getppid()


def first_client(path, port, seconds):
    """Runs in the process that will be killed."""
    server = pp_nodes.client([int(port)], 0)
    server.submit(abandoned_job, (path, float(seconds)), (), ("os", "time"))()


def pp(seconds):
    reports, path = temporary_file()
    output, _ = temporary_file()
    nodes = pp_nodes.nodes(1)
    (node,) = nodes
    try:
        client = start([sys.executable, __file__, CLIENT, path, str(node.port), str(seconds / 3.0)], output)
        try:
            if not wait_until(lambda: read_text(reports), TIMEOUT_S):
                raise AssertionError("the first client's job did not start: %s" % read_text(output)[-500:])
        finally:
            before = len(read_text(node.output))
            client.kill()
            terminate(client)
        # The node's threads that wait for the client fail at once; the one that runs the job fails later, when it
        # sends the result.
        wait_until(lambda: errors(node, before), TIMEOUT_S)
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
            "same_worker": {pid for _, pid, _ in answers} == {int(read_text(reports))},
        }
    finally:
        pp_nodes.terminate_all(nodes)


def errors(node, before):
    """Returns the errors that the node's threads have logged after the first `before` characters."""
    return re.findall(r"^\w+Error: .*", read_text(node.output)[before:], re.MULTILINE)


CLIENT = "first-client"

if __name__ == "__main__":
    if sys.argv[1:2] == [CLIENT]:
        first_client(*sys.argv[2:])
    else:
        main({"pp": pp})
