"""Has the workers of a dask cluster run busy: one worker of each host, or all workers if all are on one host.

usage: dask_hosts.py ORDER, with ORDER the JSON {"scheduler": "tcp://...", "connect_s": 10, "timeout_s": 600,
"units": [{"options": [...], "has_python": false, "operands": [...]}]}. A unit is a command line of busy without its
interpreter; each of the workers runs all units.

It prints lines of JSON. {"refused": "reason"}: there is no cluster. {"missing": "reason"}: this Python has no
distributed. Otherwise {"workers": [{"address": ..., "host_name": ...}]} comes first; then for each worker and unit, as
it ends, {"row": {"worker": 0, "unit": 0, "document": {...}, "notes": [...]}}, or "failed": "reason" in place of the
document. Nothing listens here: this process opens all connections.

Workers of one machine, by the kernel's boot id, take turns, since they would disturb each other. Different machines
work at once.
"""

import asyncio
import json
import os
import signal
import sys
import uuid
import warnings

# For distributed's own messages, in addition to the time-out of the command on a worker.
GRACE_S = 30
# How often is looked whether the workers are still there.
LOOK_S = 1
# The time-out of a worker that is asked for its name.
NAME_S = 10
LOOK = "exec(source, globals()) or look()"
WORK = "exec(source, globals()) or work(order)"


def say(**line):
    print(json.dumps(line), flush=True)


def short(error):
    text = str(error).strip() or type(error).__name__
    return text if len(text) < 500 else text[:500] + "..."


class Cluster:
    def __init__(self, client, order, source):
        self.client, self.order, self.source = client, order, source
        self.present = set()
        self.lost = None

    async def chosen(self):
        """Returns the addresses of the workers: of each host, one with the fewest tasks."""
        from distributed.comm import get_address_host

        threads = await self.client.nthreads()
        self.present = set(threads)
        tasks = await self.client.processing()
        by_host = {}
        for address in sorted(threads, key=lambda address: (len(tasks.get(address, ())), address)):
            by_host.setdefault(get_address_host(address), []).append(address)
        if len(by_host) == 1:
            return sorted(threads)
        return sorted(addresses[0] for addresses in by_host.values())

    async def named(self, address):
        """Returns the names of the worker's machine, or the reason why they are unknown."""
        try:
            asked = self.client.run(eval, LOOK, {"source": self.source}, workers=[address], nanny=False)
            answer = await asyncio.wait_for(asked, NAME_S)
            return answer[address], None
        except asyncio.TimeoutError:
            return None, f"the worker did not answer within {NAME_S} s"
        except Exception as error:
            return None, f"the worker can't be used: {short(error)}"

    async def watch(self):
        """Notice workers that leave the cluster, and the loss of the scheduler."""
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                self.present = set(await asyncio.wait_for(self.client.nthreads(), GRACE_S))
            except Exception as error:
                self.lost = f"the connection to the scheduler was lost: {short(error)}"
                return

    async def in_turn(self, numbers, addresses):
        """Runs all units on the workers of one machine, one after the other."""
        for number in numbers:
            for unit in range(len(self.order["units"])):
                say(row={"worker": number, "unit": unit, **await self.row(addresses[number], unit)})

    async def row(self, address, unit):
        """Runs one unit on one worker."""
        gone = {
            "failed": "the worker left the cluster meanwhile: it was killed, or closed, or its host was lost"
        }
        if self.lost or address not in self.present:
            return {"failed": self.lost} if self.lost else gone
        order = {**self.order["units"][unit], "timeout_s": self.order["timeout_s"]}
        future = self.client.submit(
            eval,
            WORK,
            {"source": self.source, "order": order},
            key=f"busy-{uuid.uuid4()}",
            pure=False,
            retries=0,
            priority=1000,
            workers=[address],
            allow_other_workers=False,
        )
        answer = asyncio.ensure_future(future.result())
        end = asyncio.get_running_loop().time() + self.order["timeout_s"] + GRACE_S
        try:
            while not (await asyncio.wait({answer}, timeout=LOOK_S))[0]:
                if self.lost:
                    return {"failed": self.lost}
                if address not in self.present:
                    return gone
                if asyncio.get_running_loop().time() > end:
                    waited_s = self.order["timeout_s"] + GRACE_S
                    why = f"the worker gave no answer within {waited_s:g} s: its threads may be busy with other tasks"
                    return {"failed": why}
            found = answer.result()
            return {**found, "document": json.loads(found["document"])} if "document" in found else found
        except json.JSONDecodeError as error:
            return {"failed": f"the busy of this worker wrote no JSON: {error}"}
        except (Exception, asyncio.CancelledError) as error:
            await asyncio.sleep(0)
            return gone if type(error).__name__ == "KilledWorker" else {"failed": self.lost or short(error)}
        finally:
            answer.cancel()
            if not self.lost:
                await asyncio.wait({asyncio.ensure_future(future.cancel())}, timeout=LOOK_S)


async def main(order):
    from distributed import Client

    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "dask_worker.py")) as file:
        source = file.read()
    connecting = Client(
        order["scheduler"], asynchronous=True, set_as_default=False, timeout=order["connect_s"], name="busy"
    )
    try:
        client = await asyncio.wait_for(connecting, order["connect_s"] + 2)
        cluster = Cluster(client, order, source)
        addresses = await asyncio.wait_for(cluster.chosen(), order["connect_s"])
    except (Exception, asyncio.CancelledError) as error:
        at = f"at {order['scheduler']} within {order['connect_s']:g} s"
        return say(refused=f"no scheduler of dask answers {at}: {short(error)}")
    if not addresses:
        return say(refused=f"the cluster of {order['scheduler']} has no workers")
    found = await asyncio.gather(*map(cluster.named, addresses))
    names = [known and known["host_name"] for known, _ in found]
    say(workers=[{"address": address, "host_name": name} for address, name in zip(addresses, names)])
    machines = {}
    for number, (known, reason) in enumerate(found):
        if known:
            machines.setdefault(known["machine"], []).append(number)
        for unit in range(len(order["units"]) if reason else 0):
            say(row={"worker": number, "unit": unit, "failed": reason})
    # Beyond all time-outs, nothing keeps this process alive.
    longest = max(map(len, machines.values()), default=0) * len(order["units"])
    signal.alarm(int(longest * (order["timeout_s"] + 2 * GRACE_S)) + 60)
    watch = asyncio.ensure_future(cluster.watch())
    await asyncio.gather(*(cluster.in_turn(numbers, addresses) for numbers in machines.values()))
    watch.cancel()
    return None


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    try:
        import distributed  # noqa: F401
    except ImportError as error:
        say(missing=str(error))
    else:
        asyncio.run(main(json.loads(sys.argv[1])))
        # A connection that is closed in good order is waited for, but all that is left to do was done.
        os._exit(0)
