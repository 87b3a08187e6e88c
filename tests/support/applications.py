"""examples/fastapi_app.py as it runs in production: a process of its own, and a mail server."""

import contextlib
import os
import re
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from email import message_from_bytes, policy
from pathlib import Path

import httpx
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from support.databases import Database
from support.servers import free_port

EXAMPLES = Path(__file__).parents[2] / "examples"
SECONDS = 30


class MailServer:
    """Keeps the mail that it takes, by the address; takes none to an address at full.example."""

    def __init__(self) -> None:
        self._mail: dict[str, list[str]] = defaultdict(list)
        self.port = free_port()

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address.endswith("@full.example"):
            return "452 mailbox full"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        assert isinstance(envelope.content, bytes)
        message = message_from_bytes(envelope.content, policy=policy.default)
        html = message.get_body(("html",))
        assert html is not None
        for address in envelope.rcpt_tos:
            self._mail[address].append(f"{message['Subject']}\n{html.get_content()}")
        return "250 OK"

    def subjects(self, address: str) -> list[str]:
        """The subjects of all mail to `address`."""
        return [mail.splitlines()[0] for mail in self._mail[address]]

    def token(self, address: str) -> str:
        """The token in the newest mail to `address`."""
        found = re.search("<strong>(.+)</strong>", self._mail[address][-1])
        assert found is not None, "no token in the mail"
        return found[1]

    @contextlib.contextmanager
    def running(self) -> Iterator["MailServer"]:
        controller = Controller(self, hostname="127.0.0.1", port=self.port)
        controller.start()
        yield self
        controller.stop()


class Application:
    """The example on `database`, with its settings in the environment."""

    def __init__(self, database: Database, mail: MailServer, folder: Path) -> None:
        self.database = database
        self.mail = mail
        self._folder = folder
        self.url = f"http://127.0.0.1:{free_port()}"
        self._environment = os.environ | {
            "SECRET_KEY": "a secret of the tests",
            "DATABASE_URL": database.url.render_as_string(hide_password=False),
            "SMTP_HOST": "127.0.0.1",
            "SMTP_PORT": str(mail.port),
            "PURGE_SECONDS": "0.2",
        }

    def client(self) -> httpx.Client:
        """A client of its own connections."""
        return httpx.Client(base_url=self.url, timeout=SECONDS)

    def alembic(self, *arguments: str) -> str:
        """Run the documented Alembic command; return what it says."""
        run = subprocess.run(
            [sys.executable, "-m", "alembic", "-c", EXAMPLES / "alembic.ini", *arguments],
            env=self._environment,
            cwd=self._folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.returncode == 0, run.stdout + run.stderr
        return run.stdout

    @contextlib.contextmanager
    def running(self) -> Iterator["Application"]:
        """Start it by the documented command; stop it as an operator would."""
        port = self.url.rpartition(":")[2]
        command = ["uvicorn", "fastapi_app:app", "--app-dir", str(EXAMPLES), "--port", port]
        log_file = self._folder / "log"
        with log_file.open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", *command],
                env=self._environment,
                cwd=self._folder,
                stdout=log,
                stderr=log,
            )
        try:
            self._wait_for(process, log_file)
            yield self
        finally:
            process.terminate()
            process.wait(SECONDS)

    def _wait_for(self, process: subprocess.Popen[bytes], log: Path) -> None:
        until = time.monotonic() + SECONDS
        while process.poll() is None and time.monotonic() < until:
            with contextlib.suppress(httpx.TransportError):
                httpx.get(f"{self.url}/openapi.json")
                return
            time.sleep(0.05)
        raise RuntimeError(f"the application did not start:\n{log.read_text()}")
