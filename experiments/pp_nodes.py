"""Nodes of Parallel Python on this machine: ppserver processes on 127.0.0.1. They serve only clients with their secret.

Shared by the experiments on Parallel Python. They use pp on Python 3.10 and later, and its fork ppft before.
"""

import binascii
import os
import socket
import sys

from bounded import start, temporary_file, terminate, wait_until

try:
    import ppft as pp

    SERVER = "ppft.server"
except ImportError:
    import pp

    SERVER = "pp.cli"

HOST = "127.0.0.1"
# The environment carries the secret, since every user can read a command line.
SECRET = "BUSY_PP_SECRET"
LAUNCHER = """
import os, runpy, sys
sys.argv += ["-s", os.environ["%s"]]
runpy.run_module("%s", run_name="__main__", alter_sys=True)
""" % (SECRET, SERVER)
TIMEOUT_S = 30


class Node:
    """A ppserver with one worker. The file `output` has its log, including tracebacks of errors that it survives."""

    def __init__(self):
        self.output, _ = temporary_file()
        self.port = free_port()
        # A node exits by itself after 120 s (-t) without a client, in case this script cannot end it.
        command = ["-d", "-i", HOST, "-p", str(self.port), "-w", "1", "-t", "120"]
        self.process = start([sys.executable, "-c", LAUNCHER] + command, self.output)
        self.pid = self.process.pid

    def is_listening(self):
        return is_listening(self.port)


def nodes(count):
    """Starts `count` nodes, and returns them once they listen."""
    os.environ[SECRET] = str(binascii.hexlify(os.urandom(16)).decode("ascii"))
    started = []
    try:
        for _ in range(count):
            started.append(Node())
        for node in started:
            if not wait_until(node.is_listening, TIMEOUT_S):
                raise AssertionError(
                    "a ppserver did not listen within %d s; its exit code is %s" % (TIMEOUT_S, node.process.poll())
                )
    except BaseException:
        terminate_all(started)
        raise
    return started


def terminate_all(nodes):
    for node in nodes:
        terminate(node.process)


def client(ports, local_workers):
    """Returns a job server that is connected to the nodes at these ports."""
    addresses = tuple("%s:%d" % (HOST, port) for port in ports)
    server = pp.Server(local_workers, ppservers=addresses, secret=os.environ[SECRET])
    expected = len(ports) + 1
    if not wait_until(lambda: len(server.get_active_nodes()) == expected, TIMEOUT_S):
        raise AssertionError("expected %d active nodes, found %s" % (expected, server.get_active_nodes()))
    return server


def free_port():
    """Returns a port that is free now. The kernel does not assign it again for some time."""
    probe = socket.socket()
    probe.bind((HOST, 0))
    port = probe.getsockname()[1]
    probe.close()
    return port


def is_listening(port):
    """Reads the kernel's table: the node would see a trial connection as one more client that disconnects."""
    # 0A is TCP_LISTEN, see proc(5).
    listening = ("0100007F:%04X" % port, "00000000:0000", "0A")
    with open("/proc/net/tcp") as table:
        return any(tuple(line.split()[1:4]) == listening for line in table)
