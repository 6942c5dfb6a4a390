"""A hook leaves errno as it was, also where the kernel refuses what the meter asks for. At the end of a folder,
os.scandir takes an errno other than 0 after its release for an error."""

import os
import shutil
import tempfile
import threading

from meter import close, start, stop, window

# In a tmpfs a file comes after "." and "..", so the next release is the one at the end.
folder = tempfile.mkdtemp(dir="/dev/shm")
open(os.path.join(folder, "file"), "w").close()
ends = []


def before_the_end():
    """Returns an iterator that has given its only file."""
    files = os.scandir(folder)
    next(files)
    return files


def end(files):
    try:
        ends.append(next(files, "the end"))
    except OSError as error:
        ends.append(error)


try:
    start()
    for _ in range(100):
        files = before_the_end()
        # The first release after this reserves memory.
        opened = window()
        end(files)
        close(opened)
    # So does the first event of a thread.
    threads = [threading.Thread(target=end, args=(before_the_end(),)) for _ in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stop()
finally:
    shutil.rmtree(folder)
print("kept" if ends == ["the end"] * 200 else set(map(str, ends)))
