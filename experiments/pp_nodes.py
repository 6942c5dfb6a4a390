"""Nodes of Parallel Python on this machine: ppserver processes on 127.0.0.1, which serve who knows their secret.

Shared by the experiments on Parallel Python: pp from Python 3.10 on, before that ppft, which carried it over.
"""

import binascii
import os
import socket
import sys

from bounded import end, nameless, start, wait_for

try:
    import ppft as pp

    SERVER = "ppft.server"
except ImportError:
    import pp

    SERVER = "pp.cli"

HOST = "127.0.0.1"
# By the environment, since a command line can be read by every user.
SECRET = "BUSY_PP_SECRET"
LAUNCHER = """
import os, runpy, sys
sys.argv += ["-s", os.environ["%s"]]
runpy.run_module("%s", run_name="__main__", alter_sys=True)
""" % (SECRET, SERVER)
PATIENCE_S = 30


class Node:
    """A ppserver with one worker. What it says, exceptions that it expects among it, is in `said`."""

    def __init__(self):
        self.said, _ = nameless()
        self.port = free_port()
        # Without a client for so long it ends by itself, should nobody else end it.
        command = ["-d", "-i", HOST, "-p", str(self.port), "-w", "1", "-t", "120"]
        self.process = start([sys.executable, "-c", LAUNCHER] + command, self.said)
        self.pid = self.process.pid

    def listens(self):
        return listens(self.port)


def nodes(count):
    """That many, once they listen."""
    os.environ[SECRET] = str(binascii.hexlify(os.urandom(16)).decode("ascii"))
    started = []
    try:
        for _ in range(count):
            started.append(Node())
        for node in started:
            if not wait_for(node.listens, PATIENCE_S):
                raise AssertionError("a ppserver does not listen: it exited with %s" % node.process.poll())
    except BaseException:
        end_all(started)
        raise
    return started


def end_all(nodes):
    for node in nodes:
        end(node.process)


def client(ports, local_workers):
    """A job server that has come to know the nodes at these ports."""
    addresses = tuple("%s:%d" % (HOST, port) for port in ports)
    server = pp.Server(local_workers, ppservers=addresses, secret=os.environ[SECRET])
    known = len(ports) + 1
    if not wait_for(lambda: len(server.get_active_nodes()) == known, PATIENCE_S):
        raise AssertionError("of %d nodes only these answer: %s" % (known, server.get_active_nodes()))
    return server


def free_port():
    """Free now, and not given to anyone else for some time."""
    with_name = socket.socket()
    with_name.bind((HOST, 0))
    port = with_name.getsockname()[1]
    with_name.close()
    return port


def listens(port):
    """Asked of the kernel: a connection to try it would be one more client that goes."""
    # 0A is TCP_LISTEN, see proc(5).
    listening = ("0100007F:%04X" % port, "00000000:0000", "0A")
    with open("/proc/net/tcp") as table:
        return any(tuple(line.split()[1:4]) == listening for line in table)
