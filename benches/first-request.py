"""How long a program takes from its start to the first byte it sends to the engine's socket, in ms, one line a run.

first-request.py SOCKET RUNS PROGRAM ARGUMENT...
"""

import os
import socket
import subprocess
import sys
import time


def measure(path: str, command: list[str]) -> float:
    """One run in ms, on a socket of its own. The program may fail as it likes once it has asked."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        listener.settimeout(10)
        began = time.monotonic()
        program = subprocess.Popen(
            command,
            env={**os.environ, "DOCKER_HOST": f"unix://{path}"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            with listener.accept()[0] as connection:
                connection.recv(1)
                return (time.monotonic() - began) * 1000
        finally:
            program.kill()
            program.wait()
            os.unlink(path)


def main() -> None:
    path, runs, command = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
    for _ in range(runs):
        print(f"{measure(path, command):.2f}")


main()
