"""Compares gilknocker's KnockKnock with that of busy.dask: the main thread holds the GIL all the time, half of it, and
never.

python knockknock.py [SECONDS]

Each measures in a process of its own. Prints a table in Markdown.
"""

import subprocess
import sys
import time

SITUATIONS = {"all the time": (1, 0), "half of the time": (1, 1), "never": (0, 1)}
PEERS = "gilknocker", "busy.dask"
STEP_S = 0.01


def measure(peer: str, situation: str, seconds: float) -> float:
    import busy

    if peer == "gilknocker":
        from gilknocker import KnockKnock
    else:
        from busy.dask import KnockKnock
    hold, release = SITUATIONS[situation]
    # As distributed calls it, by default.
    knocker = KnockKnock(polling_interval_micros=1_000)
    knocker.start()
    knocker.reset_contention_metric()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if hold:
            busy.with_lock(STEP_S)
        if release:
            time.sleep(STEP_S)
    metric = knocker.contention_metric
    knocker.stop()
    return metric


def main(seconds: str = "5") -> None:
    print(
        "| the main thread holds the GIL | truth | "
        + " | ".join(f"{peer}.KnockKnock" for peer in PEERS)
        + " |"
    )
    print("|---|---|" + "---|" * len(PEERS))
    for situation, (hold, release) in SITUATIONS.items():
        found = []
        for peer in PEERS:
            command = [sys.executable, __file__, peer, situation, seconds]
            done = subprocess.run(command, capture_output=True, text=True, timeout=float(seconds) + 60)
            found.append(
                f"{float(done.stdout):.3f}"
                if done.returncode == 0
                else (done.stderr.splitlines() or ["no output"])[-1]
            )
        print(f"| {situation} | {hold / (hold + release):.2f} | " + " | ".join(found) + " |")


if __name__ == "__main__":
    if len(sys.argv) == 4:
        print(measure(sys.argv[1], sys.argv[2], float(sys.argv[3])))
    else:
        main(*sys.argv[1:])
