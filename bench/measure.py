"""Wall time, processor time, memory and temporary disk of a command and of all that it starts."""
import contextlib
import os
import re
import resource
import signal
import subprocess
import sys
import threading
import time

TICK = os.sysconf("SC_CLK_TCK")
started = []


def start(argv, **options):
    """Starts a server that ends with the bench, however that ends."""
    process = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "--", *argv], start_new_session=True, **options)
    started.append(process)
    return process


def stop(process):
    for pid in tree(process.pid):
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)
    process.wait()
    started.remove(process)


def stop_all():
    for process in list(started):
        stop(process)


def stat(pid, thread=None):
    """Parent and ticks of a process or a thread: its own, and those of its ended children."""
    with open(f"/proc/{pid}/stat" if thread is None else f"/proc/{pid}/task/{thread}/stat") as f:
        fields = f.read().rpartition(")")[2].split()
    return int(fields[1]), int(fields[11]) + int(fields[12]), int(fields[13]) + int(fields[14])


def tree(root):
    children = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError, IndexError):
                children.setdefault(stat(name)[0], []).append(int(name))
    found = [root]
    for pid in found:
        found += children.get(pid, [])
    return found


def cpu_of(root):
    total = 0
    for pid in tree(root):
        with contextlib.suppress(OSError, IndexError):
            _, own, children = stat(pid)
            total += own + children
    return total / TICK


def busy():
    """What all cores have spent on anything."""
    with open("/proc/stat") as f:
        user, nice, system, _, _, irq, soft, *_ = map(int, f.readline().split()[1:])
    return (user + nice + system + irq + soft) / TICK


def memory(pid):
    """Resident memory of a process, now and at its most, in MiB."""
    with open(f"/proc/{pid}/status") as f:
        text = f.read()
    return tuple(int(re.search(rf"{name}:\s+(\d+)", text)[1]) / 1024 for name in ("VmRSS", "VmHWM"))


class Watch(threading.Thread):
    """Looks at a process and all below it, ten times a second."""

    def __init__(self, root):
        super().__init__(daemon=True)
        self.root, self.done, self.began = root, threading.Event(), time.monotonic()
        self.tree_rss = self.largest = self.own = self.disk = 0
        self.threads, self.names = {}, {}

    def run(self):
        pids, listed = [self.root], 0
        while not self.done.wait(0.1):
            now = time.monotonic()
            # The list of all processes costs more than all else here. What is started is mostly started at once.
            if now - self.began < 2 or now - listed > 0.5:
                pids, listed = tree(self.root), now
            rss, disk = 0, {}
            for pid in pids:
                with contextlib.suppress(OSError, ValueError, TypeError, IndexError):
                    here, most = memory(pid)
                    rss += here
                    self.largest = max(self.largest, most)
                    if pid == self.root:
                        self.own = max(self.own, most)
                    self.look_at_files(pid, disk)
                    self.look_at_threads(pid)
            self.tree_rss = max(self.tree_rss, rss)
            self.disk = max(self.disk, sum(disk.values()))

    def look_at_files(self, pid, disk):
        """Regular files that are open for writing, also those without a name."""
        for fd in os.listdir(f"/proc/{pid}/fd"):
            info = os.stat(f"/proc/{pid}/fd/{fd}")
            if info.st_mode & 0o170000 == 0o100000:
                with open(f"/proc/{pid}/fdinfo/{fd}") as f:
                    writes = int(re.search(r"flags:\s+(\d+)", f.read())[1], 8) & 3
                if writes:
                    disk[info.st_dev, info.st_ino] = info.st_blocks * 512

    def look_at_threads(self, pid):
        for thread in os.listdir(f"/proc/{pid}/task"):
            # Each time: before it is named, or has become its program, it bears its parent's name.
            with open(f"/proc/{pid}/task/{thread}/comm") as f:
                self.names[thread] = f.read().strip()
            self.threads[thread] = stat(pid, thread)[1] / TICK

    def cpu_by_thread(self):
        sums = {}
        for thread, seconds in self.threads.items():
            name = self.names[thread]
            sums[name] = sums.get(name, 0) + seconds
        return sums


def measure(argv, env, aside=()):
    """Runs it once. `aside` are the processes that serve it: a database, then a store."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    others, machine, own = [cpu_of(pid) for pid in aside], busy(), time.process_time()
    began = time.monotonic()
    process = subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True)
    started.append(process)
    watch = Watch(process.pid)
    watch.start()
    said = process.stdout.read().decode()
    status = process.wait()
    wall = time.monotonic() - began
    watch.done.set()
    watch.join()
    started.remove(process)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if status:
        sys.exit(f"{argv} ended with {status}:\n{said[-2000:]}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    served = [cpu_of(pid) - before for pid, before in zip(aside, others)] or [0]
    foreign = busy() - machine - cpu - sum(served) - (time.process_time() - own)
    return {
        "wall": wall, "cpu": cpu, "served": served[0], "store": sum(served[1:]), "foreign": max(0, foreign) / wall / os.cpu_count(),
        "tree": watch.tree_rss, "largest": watch.largest, "own": watch.own, "disk": watch.disk / 1e6, "threads": watch.cpu_by_thread(), "said": said,
    }
