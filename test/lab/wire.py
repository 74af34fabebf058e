#!/usr/bin/env python3
"""A lossy, slow wire in user space, for kernels without tc netem.

usage: wire.py --loss SHARE --delay MS UP:DOWN [UP:DOWN ...]

Frames that come in on tap UP (from a node) are dropped with probability SHARE and leave on tap
DOWN after MS milliseconds; frames the other way pass at once. Prints `ready` when all taps are
open. Ends with a signal.
"""

import argparse
import collections
import fcntl
import os
import random
import select
import struct
import time

TUNSETIFF = 0x400454CA
IFF_TAP = 0x0002
IFF_NO_PI = 0x1000
FRAME_MAX = 65536
QUEUE_MAX = 20000


def open_tap(name):
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH", name.encode(), IFF_TAP | IFF_NO_PI))
    return fd


def pass_on(fd, frame):
    try:
        os.write(fd, frame)
    except BlockingIOError:
        pass  # A full tap loses frames, as a full switch does.


def drain(source):
    while True:
        try:
            yield os.read(source, FRAME_MAX)
        except BlockingIOError:
            return


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--loss", type=float, required=True)
    parser.add_argument("--delay", type=float, required=True)
    parser.add_argument("links", nargs="+")
    args = parser.parse_args()
    delay = args.delay / 1000
    ups, downs = {}, {}
    for link in args.links:
        up, down = (open_tap(name) for name in link.split(":"))
        ups[up] = down
        downs[down] = up
    poller = select.poll()
    for fd in [*ups, *downs]:
        poller.register(fd, select.POLLIN)
    queue = collections.deque()  # One delay for all: frames leave in order.
    print("ready", flush=True)
    while True:
        wait = max(0, (queue[0][0] - time.monotonic()) * 1000) if queue else None
        for fd, _ in poller.poll(wait):
            if fd in downs:
                for frame in drain(fd):
                    pass_on(downs[fd], frame)
                continue
            due = time.monotonic() + delay
            for frame in drain(fd):
                if random.random() >= args.loss and len(queue) < QUEUE_MAX:
                    queue.append((due, ups[fd], frame))
        now = time.monotonic()
        while queue and queue[0][0] <= now:
            _, fd, frame = queue.popleft()
            pass_on(fd, frame)


main()
