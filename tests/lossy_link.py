"""Runs a command beside a network link that delays every packet and loses some: the kernel's netem does it, where it is built in.

usage: lossy_link.py [--loss PERCENT] [--delay MILLISECONDS] command [argument…]

The link is a TUN device, 10.99.0.1, and sends back what goes to 10.99.0.2 as if it came from there. So a server that listens at
10.99.0.1 is reached by way of 10.99.0.2, in one process or in two. What is asked of the link is for each way. It needs the right to
make a network device: `unshare --map-root-user --net` gives it.
"""

import argparse
import fcntl
import os
import random
import select
import struct
import subprocess
import sys
import time
from collections import deque

TUNSETIFF = 0x400454CA
IFF_TUN = 0x0001
IFF_NO_PI = 0x1000
# The longest packet that comes, and how many may be on their way, as in the buffer of a router: more are lost.
MTU = 1500
MOST = 2000

arguments = argparse.ArgumentParser()
arguments.add_argument("--loss", type=float, default=1.0)
arguments.add_argument("--delay", type=float, default=20.0)
arguments.add_argument("command", nargs=argparse.REMAINDER)
options = arguments.parse_args()
loss, delay = options.loss / 100, options.delay / 1000

device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH", b"lossy", IFF_TUN | IFF_NO_PI))
for line in ("link set lo up", "address add 10.99.0.1/24 dev lossy", f"link set lossy mtu {MTU} up"):
    subprocess.run(["ip", *line.split()], check=True)

command = subprocess.Popen(options.command)
ready = select.poll()
ready.register(device, select.POLLIN)
on_the_way = deque()
carried = lost = 0
while command.poll() is None:
    now = time.monotonic()
    while on_the_way and on_the_way[0][0] <= now:
        os.write(device, on_the_way.popleft()[1])
        carried += 1
    wait = on_the_way[0][0] - now if on_the_way else 0.1
    # In whole milliseconds, and never longer than until the next packet is due.
    if not ready.poll(int(wait * 1000)):
        continue
    try:
        for _ in range(64):
            packet = os.read(device, MTU)
            # IPv4 alone: the device has no other address. No checksum minds an exchange of the two addresses.
            if packet[0] >> 4 != 4:
                continue
            if random.random() < loss or len(on_the_way) >= MOST:
                lost += 1
            else:
                on_the_way.append((time.monotonic() + delay, packet[:12] + packet[16:20] + packet[12:16] + packet[20:]))
    except BlockingIOError:
        pass
print(f"the link carried {carried} packets and lost {lost}", flush=True)
sys.exit(command.returncode)
