"""Threads that call, return, recurse, and make generators and functions all the time. The function `made_N` is in the
file `made N`, at line N % 50 + 1, and its code is executed at the following line.

argv: the number of threads
stdout: `ready`. The program ends at the end of stdin.
"""

import random
import sys
import threading


def made(number):
    source = "\n" * (number % 50) + "def made_%d(n, callee):\n return callee(n) + %d\n" % (number, number)
    space = {}
    exec(compile(source, "made %d" % number, "exec"), space)
    return space["made_%d" % number]


def recurse(n):
    return recurse(n - 1) + 1 if n > 0 else 0


def count(n):
    if n > 0:
        yield n
        for number in count(n - 1):
            yield number


def generate(n):
    return sum(x for x in count(n))


def churn():
    random_number = random.Random(id(threading.current_thread()))
    while True:
        function = made(random_number.randrange(10**6))
        for _ in range(3):
            function(random_number.randrange(30), random_number.choice((recurse, generate)))
        del function


for _ in range(int(sys.argv[1])):
    thread = threading.Thread(target=churn)
    thread.daemon = True
    thread.start()
sys.setswitchinterval(0.001) if hasattr(sys, "setswitchinterval") else None
sys.stdout.write("ready\n")
sys.stdout.flush()
sys.stdin.readline()
