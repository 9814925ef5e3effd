"""Keep account of every file that a survey's declaration asks for: whether it is there, whole, and what became of it."""

import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lake.declaration import Http
from lake.download import FetchError, GaveUpError, Link, Watch, download
from lake.errors import LakeError
from lake.orders import Order
from lake.storage import Storage
from lake.survey import Survey

PENDING, DONE, ABSENT, FAILED = "pending", "done", "absent", "failed"
# Of tens of thousands of files it takes a tenth of a second to write: at most this share of the time goes into it.
_SHARE = 0.05


def account_key(survey: str) -> str:
    """Return the key of the account of a survey's fetched files.

    >>> account_key("gaia_dr3_xp")
    'raw/gaia_dr3_xp.fetch.json'
    """
    return f"raw/{survey}.fetch.json"


class Account:
    """The account of a survey's fetched files, written whole again and again, so that a killed run is continued.

    Of queries every change is written at once, for their jobs must not be lost. Of files on a server those of the last
    moments may be, which costs no more than to fetch these files again: `save` them at the end.

    Attributes
    ----------
    files
        File name -> what is known of it:

        - ``state``: pending, done, absent or failed; ``tries`` in all runs, ``error`` of the last that failed, ``fetched`` (UTC);
        - ``url`` (without user, password and query), or ``query`` and ``service``;
        - ``bytes``, ``sha256``, ``md5`` as they came; ``rows`` of a query's result;
        - ``version`` of the file whose half is there (ETag or date);
        - ``job`` and ``table`` as long as they are at the service; ``cut`` if a result overflowed and is to be asked for in two.
    """

    def __init__(self, storage: Storage, survey: Survey) -> None:
        self._storage, self._survey, self._lock = storage, survey.name, threading.Lock()
        key = account_key(survey.name)
        held = storage.read_json(key) if storage.exists(key) else {"files": {}}
        files = held.get("files") if isinstance(held, dict) else None
        if not isinstance(files, dict) or not all(isinstance(entry, dict) and "state" in entry for entry in files.values()):
            raise LakeError(
                f"{storage.root}/{key}: not an account of fetched files; restore it, or delete it and run `gaialake fetch "
                f"{survey.name}` again"
            )
        self.files: dict[str, dict[str, Any]] = files
        self._patient, self._due, self._unsaved = isinstance(survey.fetch, Http), 0.0, False

    def of(self, name: str) -> dict[str, Any]:
        """Return what is known of a file."""
        return dict(self.files.get(name, {}))

    def change(self, name: str, **fields: Any) -> None:
        """Change what is known of a file; None removes a field."""
        with self._lock:
            entry = {"state": PENDING, "tries": 0, **self.files.get(name, {}), **fields}
            self.files[name] = {field: value for field, value in entry.items() if value is not None}
            self._unsaved = True
            if not self._patient or time.monotonic() >= self._due:
                self._write()

    def save(self) -> None:
        """Write what was not written yet."""
        with self._lock:
            if self._unsaved:
                self._write()

    def _write(self) -> None:
        begun = time.monotonic()
        self._storage.write_json(account_key(self._survey), {"survey": self._survey, "files": self.files})
        ended = time.monotonic()
        self._due, self._unsaved = ended + (ended - begun) / _SHARE, False

    def tried(self, name: str) -> None:
        """Count one more try of a file."""
        self.change(name, tries=self.of(name).get("tries", 0) + 1)

    def is_whole(self, order: Order) -> bool:
        """Tell whether a file was fetched by this very request, and is still there in its full length."""
        entry = self.of(order.name)
        size = self._storage.size(f"raw/{self._survey}/{order.name}")
        return entry.get("state") == DONE and self.is_of(order) and size is not None and size == entry.get("bytes")

    def is_of(self, order: Order) -> bool:
        """Tell whether what is known of a file is of this request: the same query, or the checksums that are published."""
        entry = self.of(order.name)
        if order.query:
            return (entry.get("query"), entry.get("service")) == (order.query, order.service)
        return all(theirs in ("", entry.get(kind)) for kind, theirs in (("md5", order.md5), ("sha256", order.sha256)))


@dataclass
class Work:
    """One survey being fetched.

    Attributes
    ----------
    given_up
        Files given up in a row because the server did not answer.
    """

    storage: Storage
    survey: Survey
    account: Account
    watch: Watch
    given_up: int = 0

    def path(self, name: str) -> Path:
        """Return where a whole file goes."""
        return self.storage.path(f"raw/{self.survey.name}/{name}")

    def part(self, name: str) -> Path:
        """Return where a half file waits."""
        return self.storage.path(f"raw/{self.survey.name}.part/{name}")

    def download(self, link: Link, name: str) -> None:
        """Fetch a file into its part, with account of every try."""
        try:
            download(
                link,
                self.part(name),
                self.watch,
                version=self.account.of(name).get("version", ""),
                remember=lambda version: self.account.change(name, version=version or None),
                tried=lambda: self.account.tried(name),
            )
        except GaveUpError:
            raise
        except FetchError:
            self.account.tried(name)
            raise
        self.account.tried(name)

    def forget_part(self, name: str) -> None:
        """Throw a half file away."""
        self.part(name).unlink(missing_ok=True)
        self.account.change(name, version=None)
