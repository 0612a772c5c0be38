"""Where finished media are downloaded: whoever has the token in the URL may, until the medium is gone.

Ranges, so that a broken download goes on where it broke, and the checksum beside it, as sha256sum writes it.
"""

import asyncio
import secrets
from pathlib import Path

from aiohttp import web

from appliance.resources.meta import decode
from appliance.resources.seed_image import SEED_IMAGE, SeedImage
from appliance.store.base import Store

SEED_IMAGE_PATH = "/elemental/seedimage/{token}/{name}"
CHECKSUM = ".sha256"


def add_seed_image_routes(app: web.Application, store: Store, directory: Path) -> None:
    """Mount the route; `directory` has a folder for each SeedImage, called by its uid."""

    async def download(request: web.Request) -> web.StreamResponse:
        token, name = request.match_info["token"], request.match_info["name"]
        image = await find_image(store, token)
        known = image.status.download_url.rpartition("/")[2] if image else ""
        if image is None or not known or name not in (known, f"{known}{CHECKSUM}"):
            raise web.HTTPNotFound
        path = directory / image.metadata.uid / name
        if not await asyncio.to_thread(path.is_file):
            raise web.HTTPNotFound
        is_checksum = name.endswith(CHECKSUM)
        return web.FileResponse(
            path,
            headers={
                "Content-Type": "text/plain" if is_checksum else "application/x-iso9660-image",
                "Content-Disposition": f'attachment; filename="{name}"',
                "Cache-Control": "no-store",
            },
        )

    app.router.add_get(SEED_IMAGE_PATH, download)


async def find_image(store: Store, token: str) -> SeedImage | None:
    """The SeedImage whose download has this token; how long it takes tells nothing of the tokens."""
    found = None
    for document in (await store.list(SEED_IMAGE)).items:
        image = decode(SeedImage, document)
        known = image.status.download_token
        if known and secrets.compare_digest(known.encode(), token.encode()):
            found = image
    return found
