"""Applications as they run in production: a process of its own each, and a mail server."""

import contextlib
import os
import re
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
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

    def newest(self, address: str) -> str:
        """The newest mail to `address`, as HTML."""
        return self._mail[address][-1]

    def token(self, address: str) -> str:
        """The token in the newest mail to `address`."""
        found = re.search("<strong>(.+)</strong>", self.newest(address))
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
        with served(command, url=self.url, folder=self._folder, environment=self._environment):
            yield self


@contextlib.contextmanager
def served(
    command: list[str], *, url: str, folder: Path, environment: Mapping[str, str] | None = None
) -> Iterator[None]:
    """Run a Python module that serves `url`, from when it answers to the end of the block."""
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *command],
            env=environment,
            cwd=folder,
            stdout=output,
            stderr=output,
        )
    try:
        until = time.monotonic() + SECONDS
        while not _answers(url):
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"the application did not start:\n{log.read_text()}")
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(SECONDS)


def _answers(url: str) -> bool:
    with contextlib.suppress(httpx.TransportError):
        httpx.get(url)
        return True
    return False
