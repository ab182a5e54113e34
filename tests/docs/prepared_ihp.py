"""`ihp` that starts at once: each command is a child of one process that has imported it already.

    server   imports the command line once, then forks for each caller
    client   a script named `ihp`, which lends its terminal, folder, environment and arguments

What a child runs is `api.cli.main`, in a process of its own, as any `ihp`: spared are the two
seconds of imports, which a page of many commands would spend mostly.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import pkgutil
import socket
import struct
import sys
import threading
import traceback
from pathlib import Path
from typing import Final

CLIENT: Final = """#!{python} -IS
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    asked = json.dumps([os.getcwd(), dict(os.environ), sys.argv[1:]]).encode()
    socket.send_fds(server, [len(asked).to_bytes(4, "big")], [0, 1, 2])
    server.sendall(asked)
    sys.exit(int.from_bytes(server.recv(4), "big"))
"""
_LENGTH: Final = struct.Struct(">I")


def serve(address: str) -> None:
    """Answer until the process is ended; a line on stdout says when it is ready."""
    import api.commands  # noqa: PLC0415 - the client's module is read without it

    for found in pkgutil.iter_modules(api.commands.__path__, "api.commands."):
        importlib.import_module(found.name)
    importlib.import_module("ihp_compute.pipeline")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(address)
        server.listen()
        os.write(1, b"ready\n")
        while True:
            caller, _ = server.accept()
            with caller:
                _answer(caller)


def _answer(caller: socket.socket) -> None:
    length, files, _, _ = socket.recv_fds(caller, _LENGTH.size, 3)
    with caller.makefile("rb") as reader:
        folder, environment, arguments = json.loads(reader.read(_LENGTH.unpack(length)[0]))
    child = os.fork()
    if not child:
        _run(files, folder, environment, arguments)
    for file in files:
        os.close(file)
    kept = caller.dup()
    threading.Thread(target=_tell, args=(child, kept), daemon=True).start()


def _tell(child: int, caller: socket.socket) -> None:
    """Wait for a child, and give its exit status to who asked for it."""
    _, status = os.waitpid(child, 0)
    with caller, contextlib.suppress(BrokenPipeError):
        caller.sendall(_LENGTH.pack(os.waitstatus_to_exitcode(status) & 0xFF))


def _run(files: list[int], folder: str, environment: dict[str, str], arguments: list[str]) -> None:
    """Become the command: never returns."""
    status = 1
    try:
        for place, file in enumerate(files):
            os.dup2(file, place)
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        sys.argv = ["ihp", *arguments]
        from api.cli import main  # noqa: PLC0415 - see above

        main()
        status = 0
    except SystemExit as left:
        status = left.code if isinstance(left.code, int) else int(left.code is not None)
    except BaseException:  # noqa: BLE001 - told as an interpreter tells it
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def write_client(path: Path, address: str) -> None:
    """Write the script `ihp` that asks the server at an address."""
    path.write_text(CLIENT.format(python=sys.executable, address=address), encoding="utf-8")
    path.chmod(0o755)


if __name__ == "__main__":
    serve(sys.argv[1])
