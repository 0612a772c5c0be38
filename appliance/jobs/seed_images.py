"""SeedImages' media as build-iso operations: a folder a SeedImage, a file and its checksum in it.

The file is there when the build is done, and not before; while there is none, the operations say how far it
is. Nothing is kept besides, so a restart in the middle finds what it left.
"""

import asyncio
import shutil
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.protocol.client_config import render_registration
from appliance.controllers.media import Build, Medium
from appliance.files import make_private_directory
from appliance.hosts.reply import describe_registration
from appliance.jobs.build_iso import part_of
from appliance.operations import Operation, Operations
from appliance.resources.machine_registration import MachineRegistration

KIND = "build-iso"


@dataclass(frozen=True, slots=True)
class SeedImageBuilder:
    """`controllers.media.MediaBuilder` over the appliance's operations."""

    operations: Operations
    directory: Path
    ca_pem: str

    def render_registration(self, registration: MachineRegistration) -> bytes:
        if not registration.status.registration_url:
            return b""
        return render_registration(describe_registration(registration, ca_pem=self.ca_pem))

    async def look(self, medium: Medium) -> Build:
        path = self._path(medium)
        operation = self._find(path)
        # The operation first: a file of an attempt before the crash may be there while it is made again.
        if operation is not None and not operation.is_final:
            return Build("building")
        if await asyncio.to_thread(path.is_file):
            return Build("built")
        if operation is None or operation.state == "succeeded":
            return Build("absent")
        error = operation.error
        message = f"{error.message} {error.hint}".strip() if error else f"the build was {operation.state}"
        return Build("failed", message, operation.finished_at)

    async def start(self, medium: Medium) -> None:
        path = self._path(medium)
        operation = self._find(path)
        if operation is not None and not operation.is_final:
            return
        await asyncio.to_thread(make_private_directory, self.directory)
        await self.operations.start(KIND, _render_params(medium, path))

    async def remove(self, owner: str, *, keep: str = "") -> None:
        folder = self.directory / owner
        for operation in self.operations.list():
            output = str(operation.params.get("output", ""))
            is_kept = keep and output == str(folder / keep)
            if not operation.is_final and output.startswith(f"{folder}/") and not is_kept:
                await self.operations.cancel(operation.id)
        kept = {keep, f"{keep}.sha256", part_of(folder / keep).name} if keep else set()
        await asyncio.to_thread(_remove_files, folder, kept)

    async def sweep(self, owners: Collection[str]) -> None:
        """Remove the folders of SeedImages that are gone, as after the restore of an older store."""
        folders = [path for path in self.directory.glob("*") if path.name not in owners]
        for folder in folders:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    def _path(self, medium: Medium) -> Path:
        return self.directory / medium.owner / medium.name

    def _find(self, path: Path) -> Operation | None:
        """The newest build of this file."""
        for operation in self.operations.list():
            if operation.kind == KIND and operation.params.get("output") == str(path):
                return operation
        return None


def _render_params(medium: Medium, path: Path) -> dict[str, Any]:
    return {
        "output": str(path),
        "registration": medium.registration,
        "namespace": medium.namespace,
        "baseImage": medium.base_image,
        "platform": medium.platform,
        "cloudConfig": medium.cloud_config.decode(),
        "limit": medium.limit,
        "withChecksum": True,
    }


def _remove_files(folder: Path, kept: Collection[str]) -> None:
    """Everything but what is kept, then the folder if nothing is."""
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        if path.name not in kept:
            path.unlink(missing_ok=True)
    if not kept:
        folder.rmdir()
