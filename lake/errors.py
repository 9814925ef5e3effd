"""Say what was found, what was expected, where, and what to do next: the errors this package raises on purpose."""


class LakeError(Exception):
    """Report a problem that the user can mend; its text is the whole message, so the command line prints no traceback."""


class RawFileError(LakeError):
    """Report a raw file that does not hold what its survey declares."""


class SurveyError(LakeError):
    """Report a survey declaration that contradicts itself or the vocabulary of columns."""


class CheckError(LakeError):
    """Report a built table that failed its audit and therefore stays unpublished."""


class StandingError(LakeError):
    """Report that what a survey stands on, another survey's files or a table of sources, is not in the lake."""


class OutageError(LakeError):
    """Report that the disk, the store or the cluster went away or is full: no fault of any one table, so all work stops."""


class BusyError(LakeError):
    """Report that another writer holds the lake."""


def listing(names: object, limit: int = 12) -> str:
    """Join names for a message, shortened to `limit` of them."""
    every = [str(name) for name in names] if not isinstance(names, str) else [names]  # type: ignore[attr-defined]
    shown = ", ".join(every[:limit])
    return f"{shown} ... ({len(every)} in all)" if len(every) > limit else shown or "none"
