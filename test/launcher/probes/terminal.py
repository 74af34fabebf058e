"""Job control: an interactive shell on a terminal of its own runs COMMAND sh -c ...

Types Ctrl-C, a line, Ctrl-Z, fg, Ctrl-C, and prints what came of each. Waits for output and for the
state of processes, never for time; a step that does not come ends the program after 25 seconds."""

import os
import pty
import select
import shlex
import signal
import sys
import time

PROGRAM = (
    'trap "echo caught-int" INT; trap "echo resu""med" CONT; echo rea""dy; '
    'while [ -z "$x" ]; do read x; done; trap - INT; echo "got <$x>"; while :; do read y; done'
)
LIMIT_S = 25


def shell():
    pid, fd = pty.fork()
    if pid == 0:
        os.execvp("bash", ["bash", "--norc", "--noediting", "-i"])
    return pid, fd


class Terminal:
    def __init__(self):
        self.pid, self.fd = shell()
        self.text = b""

    def type(self, text):
        os.write(self.fd, text.encode())

    def wait(self, what):
        """Reads up to and with `what`; returns what came before it."""
        while what not in self.text:
            ready, _, _ = select.select([self.fd], [], [], LIMIT_S)
            if not ready:
                print("missing", what, "in", self.text)
                os.kill(self.pid, signal.SIGKILL)
                sys.exit(1)
            self.text += os.read(self.fd, 4096)
        before, _, self.text = self.text.partition(what)
        return before

    def wait_stopped(self, group):
        """Until every process of the job is stopped. The shell waits for the first of them alone; one
        that has yet to act on the signal would still take a byte of what is typed next."""
        end = time.monotonic() + LIMIT_S
        while set(states(group)) != {"T"}:
            if time.monotonic() > end:
                print("not stopped:", states(group))
                os.kill(self.pid, signal.SIGKILL)
                sys.exit(1)
            time.sleep(0.01)


def states(group):
    """State of each process of a process group."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/stat" % name) as f:
                state, _, pgrp = f.read().rpartition(")")[2].split()[:3]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(pgrp) == group:
            found.append(state)
    return found


def main():
    t = Terminal()
    t.type("PS1='PROM''PT$ '\n")
    t.wait(b"PROMPT$ ")
    t.type(shlex.join(sys.argv[1:] + ["sh", "-c", PROGRAM]) + "\n")
    t.wait(b"ready")
    t.type("\x03")
    t.wait(b"caught-int")
    t.type("hello\n")
    print("caught again:", b"caught-int" in t.wait(b"got <hello>"))
    job = os.tcgetpgrp(t.fd)
    t.type("\x1a")
    t.wait(b"Stopped")
    t.wait(b"PROMPT$ ")
    t.wait_stopped(job)
    print("stopped")
    t.type("fg\n")
    t.wait(b"resumed")
    print("resumed")
    t.type("\x03")
    t.wait(b"PROMPT$ ")
    t.type("echo co''de $?\n")
    t.wait(b"code ")
    print("code", t.wait(b"\r").decode())
    t.type("exit\n")
    os.waitpid(t.pid, 0)


main()
