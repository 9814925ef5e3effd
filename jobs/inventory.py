"""Read what a plan needs of a lake, each thing once: raw files, builds, manifests, the catalogue."""

from collections.abc import Callable
from contextlib import ExitStack
from functools import cached_property
from typing import Any

from jobs.terminal import Steps, progress
from lake.errors import LakeError
from lake.ledger import RawFile, raw_files
from lake.manifest import Manifest, files_gone, read_manifest
from lake.root import Lake, held_builds, read_catalog
from lake.storage import ledger_key
from lake.survey import Survey, surveys


class Inventory:
    """What was read of a lake so far.

    Parameters
    ----------
    save
        Whether to keep the hashes of raw files that were touched; only who holds the lake's lock may.
    quiet
        Whether to show no progress of hashing.
    """

    def __init__(self, lake: Lake, *, save: bool = False, quiet: bool = False) -> None:
        self.storage, self.grid, self._save, self._quiet = lake.storage, lake.grid, save, quiet
        self._files: dict[str, tuple[RawFile, ...]] = {}
        self._builds: dict[str, list[str]] = {}
        self._manifests: dict[tuple[str, str], Manifest] = {}
        self._gone: dict[tuple[str, str], list[str]] = {}

    @cached_property
    def registered(self) -> tuple[Survey, ...]:
        """The surveys that have raw files in this lake, registered or in its own ``raw/`` folder."""
        own = set(self.storage.names("raw"))
        return tuple(
            survey
            for survey in surveys().values()
            if ledger_key(survey.name).rsplit("/", 1)[-1] in own
            or (survey.name in own and self.storage.names(f"raw/{survey.name}"))
        )

    @cached_property
    def _catalog(self) -> dict[str, Any]:
        return read_catalog(self.storage)

    @cached_property
    def published(self) -> dict[str, str]:
        """Table -> its published build."""
        held = {name: one["metadata"].get("build") for name, one in self._catalog.get("sources", {}).items()}
        return {name: build for name, build in held.items() if build is not None}

    @cached_property
    def held(self) -> dict[str, str]:
        """Table -> the build that a roll-back took back."""
        return held_builds(self._catalog)

    def files(self, survey: Survey) -> tuple[RawFile, ...]:
        """Return a survey's raw files; those that were touched are hashed.

        Raises
        ------
        LakeError
            If one of them is gone or cannot be read.
        """
        if survey.name not in self._files:
            with ExitStack() as shown:
                shows = None if self._quiet else _hashing(survey.name, shown)
                try:
                    found = raw_files(self.storage, survey, shows, save=self._save)
                except OSError as error:
                    # They may lie on a disk of their own, so this is no outage of the lake's.
                    raise LakeError(
                        f"{survey.name}: its raw files cannot be read ({error}); mend their disk or their mode, or name others "
                        f"with `gaialake ingest {survey.name} --replace --raw PATH...`"
                    ) from error
            self._files[survey.name] = tuple(found)
        return self._files[survey.name]

    def builds(self, table: str) -> list[str]:
        """Return the ids of a table's finished builds."""
        if table not in self._builds:
            names = self.storage.names(f"tables/{table}")
            self._builds[table] = [name.removesuffix(".json") for name in names if name.endswith(".json")]
        return self._builds[table]

    def manifest(self, table: str, build: str) -> Manifest:
        """Return the manifest of a build."""
        if (table, build) not in self._manifests:
            self._manifests[table, build] = read_manifest(self.storage, table, build)
        return self._manifests[table, build]

    def manifests(self, table: str) -> list[Manifest]:
        """Return the manifests of all finished builds of a table."""
        return [self.manifest(table, build) for build in self.builds(table)]

    def gone(self, manifest: Manifest) -> list[str]:
        """Return the keys of a build's files that are not in their place, or not of their size."""
        name = (manifest.table, manifest.build)
        if name not in self._gone:
            self._gone[name] = files_gone(self.storage, manifest.partitions)
        return self._gone[name]

    def latest(self, table: str) -> Manifest | None:
        """Return the build that others are compared with: the published one, otherwise that which was made last."""
        published = self.published.get(table)
        if published in self.builds(table):
            return self.manifest(table, str(published))
        return max(self.manifests(table), key=lambda one: one.created, default=None)


def _hashing(name: str, shown: ExitStack) -> Callable[[int, int], None]:
    """Return what shows the progress of hashing; nothing is shown where no file was touched."""
    steps: list[Steps] = []

    def tick(_done: int, total: int) -> None:
        if not steps:
            steps.append(shown.enter_context(progress(f"hash files of {name}", total)))
        steps[0].advance()

    return tick
