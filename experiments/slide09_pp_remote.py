"""Slides 9-10: jobs that go to three nodes beside the own one, and come back in the order in which they were submitted.

usage: slide09_pp_remote.py CASE SECONDS, with CASE pp (Parallel Python) or dask (dask.distributed, today)

The talk's ten jobs sleep 1 to 3 s each; here that long if SECONDS is 3, and in proportion else. All nodes are processes
on 127.0.0.1 that serve who knows their secret.
"""

import os
import shutil
import sys
import tempfile
import time

from reporting import main

if sys.version_info < (3,):
    from StringIO import StringIO
else:
    from io import StringIO

JOBS, REMOTE = 10, 3


def sleeps(seconds):
    """The first is the longest, so it can't be the first to be done."""
    return [seconds / 3.0 * (1 + 2 * ((i * 7 + 9) % JOBS) / (JOBS - 1.0)) for i in range(JOBS)]


def job(i, seconds):
    """Who did it: a worker, for a node that started it."""
    time.sleep(seconds)
    print("job %d is done" % i)
    return i, os.getpid(), os.getppid(), time.time()


def pp(seconds):
    import pp_nodes

    nodes = pp_nodes.nodes(REMOTE)
    server = None
    try:
        server = pp_nodes.client([node.port for node in nodes], 1)

        def submit(i, sleep):
            return server.submit(job, (i, sleep), (), ("os", "time"))

        answers, metrics = collect(submit, lambda submitted: submitted(), sleeps(seconds))
    finally:
        if server:
            server.destroy()
        pp_nodes.end_all(nodes)
    starters = [os.getpid()] + [node.pid for node in nodes]
    did = [sum(ppid == starter for _, _, ppid, _ in answers) for starter in starters]
    return dict(metrics, release=pp_nodes.pp.__version__, jobs_by_node=did, local_jobs=did[0], nodes=sum(map(bool, did)))


def dask(seconds):
    """Its workers are processes as well, and who talks to them has to show a certificate made for this run."""
    scratch = tempfile.mkdtemp()
    # For its workers too: no defaults written into the user's home, nothing into /tmp, no pages for a browser.
    os.environ.update(
        DASK_CONFIG=scratch,
        DASK_TEMPORARY_DIRECTORY=scratch,
        DASK_DISTRIBUTED__SCHEDULER__HTTP__ROUTES="[]",
        DASK_DISTRIBUTED__WORKER__HTTP__ROUTES="[]",
    )
    try:
        import distributed

        security = distributed.Security.temporary()
        cluster, client = start_dask(distributed, security, scratch)
        with cluster, client:

            def submit(i, sleep):
                return client.submit(dask_job, i, sleep, pure=False)

            answers, metrics = collect(submit, lambda submitted: submitted.result(), sleeps(seconds))
            workers = sorted(client.run(os.getpid).values())
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    did = [sum(pid == worker for _, pid, _, _ in answers) for worker in workers]
    return dict(metrics, release=distributed.__version__, jobs_by_node=did, nodes=sum(map(bool, did)))


def start_dask(distributed, security, scratch):
    """The cluster and its client, once all workers have come. Now and then one hangs as it starts (2026.8 on 3.14)."""
    for last in (False, False, True):
        cluster = distributed.LocalCluster(
            n_workers=REMOTE,
            threads_per_worker=1,
            host="127.0.0.1",
            protocol="tls",
            security=security,
            # The empty server of these pages, wherever there is room; None is port 8787.
            dashboard_address="127.0.0.1:0",
            local_directory=scratch,
        )
        client = distributed.Client(cluster)
        try:
            client.wait_for_workers(REMOTE, timeout=20)
            return cluster, client
        except (TimeoutError, distributed.TimeoutError):
            client.close()
            cluster.close()
            if last:
                raise


def dask_job(i, seconds):
    """What it prints stays with the worker, unless dask prints it. (Python 2 takes its print for a statement.)"""
    import distributed

    time.sleep(seconds)
    getattr(distributed, "print")("job %d is done" % i)
    return i, os.getpid(), os.getppid(), time.time()


def collect(submit, result, sleep_s):
    """Submits all, then takes the results in the same order, with what the jobs print."""
    start = time.time()
    submitted = [submit(i, sleep) for i, sleep in enumerate(sleep_s)]
    shown, sys.stdout = sys.stdout, StringIO()
    try:
        answers = [result(job) for job in submitted]
        took = time.time() - start
        printed = sys.stdout.getvalue()
    finally:
        sys.stdout = shown
    done = [i for _, i in sorted((end, i) for i, _, _, end in answers)]
    return answers, {
        "jobs": len(answers),
        "in_order": [i for i, _, _, _ in answers] == list(range(JOBS)),
        "done_in_order": done == list(range(JOBS)),
        "done": done,
        "printed": sum("job %d is done" % i in printed for i in range(JOBS)),
        "took_s": took,
        "one_after_another_s": sum(sleep_s),
    }


if __name__ == "__main__":
    main({"pp": pp, "dask": dask})
