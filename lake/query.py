"""Carry one query from its launch to a file, across killed runs, and leave nothing of it at the service."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lake import tap
from lake.account import DONE, PENDING, Work
from lake.declaration import Adql
from lake.download import AbsentError, FetchError, GaveUpError
from lake.errors import RawFileError
from lake.orders import UPLOADED, Order
from lake.readers import read
from lake.received import Content, content_of, judge

# An upload is some 40 bytes an id, held several times while it is sent: one at a time.
_UPLOADING = threading.Lock()


@dataclass
class Queries:
    """The queries of one survey.

    Attributes
    ----------
    limit
        Most rows that the service gives for one of them.
    notes
        What is to be said when all is done.
    """

    work: Work
    login: tap.Login | None
    limit: int = tap.ROW_LIMIT
    notes: list[str] = field(default_factory=list)

    def service(self, url: str) -> tap.Service:
        """Open the service, for one file; a login at the declared one is shown to no other, such as a former one."""
        ours = isinstance(self.work.survey.fetch, Adql) and url == self.work.survey.fetch.service
        return tap.open_service(url, self.work.watch, self.login if ours else None)

    def fetch(self, order: Order) -> tuple[Content, int]:
        """Run a query, or find the job that an earlier run started; return what its result, now in its part, holds, and its rows.

        Whatever fails, job and table are deleted at the service; only a query that goes on is left to a later run.

        Raises
        ------
        FetchError
            If the query fails, its result is cut off or no table of the survey, or the service does not answer.
        """
        account, name = self.work.account, order.name
        found = self._found(order)
        if found is not None:
            return found
        if not account.is_of(order):
            self.leave_nothing(order.service, name)
            self.work.forget_part(name)
        inherited = "job" in account.of(name)
        account.change(
            name, state=PENDING, query=order.query, service=order.service, bytes=None, sha256=None, md5=None, rows=None
        )
        for last in (False, True):
            try:
                content, rows = self._result(order)
                break
            except (GaveUpError, tap.UnfinishedError):
                raise
            except FetchError as error:
                self.leave_nothing(order.service, name)
                self.work.forget_part(name)
                # A job of an earlier run may have been forgotten or aborted since; then another one is due.
                if last or not (isinstance(error, tap.LostError) or (inherited and isinstance(error, tap.EndedError))):
                    raise
        self.leave_nothing(order.service, name)
        return content, rows

    def _found(self, order: Order) -> tuple[Content, int] | None:
        """Return a result that a killed run had given its name, but not yet accounted for.

        Raises
        ------
        FetchError
            If another file has this name.
        """
        account, path = self.work.account, self.work.path(order.name)
        entry = account.of(order.name)
        if not path.is_file() or entry.get("state") == DONE:
            return None
        if "sha256" in entry and account.is_of(order):
            content = content_of(path)
            if content.sha256 == entry["sha256"]:
                self.work.forget_part(order.name)
                return content, int(entry["rows"])
        if "fetched" not in entry:
            raise FetchError(f"{path} is there, but was not fetched by this query; move it away, then run this again")
        return None

    def _result(self, order: Order) -> tuple[Content, int]:
        name, part = order.name, self.work.part(order.name)
        service = self.service(order.service)
        job = self.work.account.of(name).get("job") or self._launched(service, order)
        tap.wait(service, job)
        try:
            self.work.download(tap.result_link(service, job), name)
        except AbsentError as error:
            raise tap.LostError("the service lost the result of its job") from error
        content = judge(part, "")
        try:
            rows = sum(batch.table.num_rows for batch in read(part, self.work.survey))
        except RawFileError as error:
            tap.refuse_error_document(part)
            raise FetchError(str(error).replace(str(part), name)) from error
        try:
            tap.refuse_cut_off(part, rows, self.limit)
        except tap.CutOffError as error:
            self.work.account.change(name, cut=order.divisible or None)
            advice = "the next run asks for it in two halves" if order.divisible else "it cannot be cut finer: get it by hand"
            raise FetchError(f"{error}; it was not kept, and {advice}") from error
        return content, rows

    def _launched(self, service: tap.Service, order: Order) -> str:
        """Start a query, with its ids beside it, and note the job before anything else."""
        account, beside = self.work.account, self.work.part(f"{order.name}.xml")
        try:
            if order.ids is None:
                job = tap.launch(service, order.query, limit=self.limit)
            else:
                with _UPLOADING:
                    tap.write_sources(order.ids, beside)
                    job = self._launched_beside(service, order, beside)
        except AbsentError as error:
            raise FetchError(f"{service.url}: no TAP service there ({error})") from error
        finally:
            beside.unlink(missing_ok=True)
        account.change(order.name, job=job)
        return job

    def _launched_beside(self, service: tap.Service, order: Order, beside: Path) -> str:
        if service.login is None:
            return tap.launch(service, order.query, limit=self.limit, upload=beside)
        table = "gaialake_" + order.name.removesuffix(".fits").rsplit("_", 1)[-1]
        self.work.account.change(order.name, table=table)
        tap.drop(service, table)
        query = order.query.replace(UPLOADED, tap.upload(service, table, beside))
        return tap.launch(service, query, limit=self.limit)

    def leave_nothing(self, url: str, name: str) -> None:
        """Delete a file's job and table at the service; what cannot be deleted stays in the account for the next run."""
        account = self.work.account
        entry = account.of(name)
        try:
            if "job" in entry:
                tap.forget(self.service(url), entry["job"])
                account.change(name, job=None)
            if "table" in entry and self.login:
                tap.drop(self.service(url), entry["table"])
                account.change(name, table=None)
        except FetchError as error:
            self.notes.append(f"{name}: its job or table could not be deleted at {url} ({error}); the next run tries again")


def prepare(work: Work, due: Sequence[Order], login: Path | None) -> Queries:
    """Log in if asked to, learn the service's limit of rows, and delete there what earlier runs could not.

    Raises
    ------
    LakeError
        If the login fails.
    """
    request = work.survey.fetch
    if not isinstance(request, Adql):
        raise TypeError(f"{work.survey.name} is not fetched by ADQL")
    names = {order.name for order in due}
    behind = [name for name, entry in work.account.files.items() if name not in names and {"job", "table"} & set(entry)]
    queries = Queries(work, None)
    if login and (due or behind):
        if tap.is_for(login, request.service):
            queries.login = tap.log_in(request.service, login, work.watch)
        else:
            queries.notes.append(f"{request.service} was asked without a login: {login} is for another service")
    for name in behind:
        queries.leave_nothing(work.account.of(name).get("service", request.service), name)
    if due:
        queries.limit = tap.row_limit(queries.service(request.service))
    return queries
