"""Slides 9-10: jobs run on the local node and on three others. Their results arrive in the order of submission.

usage: slide09_pp_remote.py CASE SECONDS

CASE is pp (Parallel Python) or dask (dask.distributed, its equivalent today).
The talk's ten jobs sleep for 1 to 3 s each; here this is so if SECONDS is 3, and in proportion otherwise. All nodes are
processes on 127.0.0.1. They serve only clients with their secret.
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
    """Returns the duration of each job. The first is the longest, so it cannot be the first to finish."""
    return [seconds / 3.0 * (1 + 2 * ((i * 7 + 9) % JOBS) / (JOBS - 1.0)) for i in range(JOBS)]


def job(i, seconds):
    """Returns the worker that ran the job, and its parent, which is the node."""
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
        pp_nodes.terminate_all(nodes)
    parents = [os.getpid()] + [node.pid for node in nodes]
    jobs = [sum(ppid == parent for _, _, ppid, _ in answers) for parent in parents]
    nodes_used = sum(map(bool, jobs))
    return dict(metrics, release=pp_nodes.pp.__version__, jobs_by_node=jobs, local_jobs=jobs[0], nodes=nodes_used)


def dask(seconds):
    """Runs the jobs on worker processes. They accept only peers with a certificate made for this run."""
    scratch = tempfile.mkdtemp()
    # The workers inherit this: no defaults written to the user's home, no files in /tmp, no HTTP pages.
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
    jobs = [sum(pid == worker for _, pid, _, _ in answers) for worker in workers]
    return dict(metrics, release=distributed.__version__, jobs_by_node=jobs, nodes=sum(map(bool, jobs)))


def start_dask(distributed, security, scratch):
    """Returns the cluster and its client, once all workers are connected.

    Retries twice, because a worker sometimes hangs at startup (2026.8 on Python 3.14).
    """
    for last in (False, False, True):
        cluster = distributed.LocalCluster(
            n_workers=REMOTE,
            threads_per_worker=1,
            host="127.0.0.1",
            protocol="tls",
            security=security,
            # Any free port for the HTTP server, which has no pages; None would be port 8787.
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
    """Prints through dask; the output of Python's own print() stays with the worker."""
    import distributed

    time.sleep(seconds)
    # Python 2 parses distributed.print as a statement.
    getattr(distributed, "print")("job %d is done" % i)
    return i, os.getpid(), os.getppid(), time.time()


def collect(submit, result, sleep_s):
    """Submits all jobs, then collects their results in the same order, together with their output."""
    start = time.time()
    submitted = [submit(i, sleep) for i, sleep in enumerate(sleep_s)]
    stdout, sys.stdout = sys.stdout, StringIO()
    try:
        answers = [result(job) for job in submitted]
        took = time.time() - start
        printed = sys.stdout.getvalue()
    finally:
        sys.stdout = stdout
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
