"""Where channels' lists come from: the mirror's images and artifacts, or URLs that operators configured."""

from io import BytesIO

from appliance.configured_urls import UrlUnreadable, fetch
from appliance.controllers.settings import ListUnreadable
from appliance.controllers.version_list import MAX_LIST_BYTES, ListAddress
from appliance.image_files import ImageFiles, ImageUnusable, choose_list_paths
from mirror.registry import Registry


class ChannelLists:
    """`address` is the mirror's own HOST:PORT; `ca_pem` is trusted besides the system's authorities."""

    def __init__(self, registry: Registry, address: str, *, ca_pem: str = "") -> None:
        self._registry = registry
        self._address = address
        self._ca_pem = ca_pem

    def read(self, address: ListAddress) -> bytes:
        """The list's bytes. Blocks. Raises ListUnreadable."""
        try:
            if not address.is_image and "://" in address.uri and not address.uri.startswith("oci://"):
                return self._fetch(address)
            return self._read_image(address)
        except (ImageUnusable, UrlUnreadable) as error:
            raise ListUnreadable(str(error)) from error

    def _fetch(self, address: ListAddress) -> bytes:
        content = BytesIO()
        seconds = address.timeout.total_seconds()
        fetch(address.uri, content, limit=MAX_LIST_BYTES, seconds=seconds, ca_pem=self._ca_pem)
        return content.getvalue()

    def _read_image(self, address: ListAddress) -> bytes:
        image = ImageFiles(self._registry, address.uri, address=self._address)
        paths = choose_list_paths(
            image.settings(), command=address.command, args=address.args, output_file=address.output_file
        )
        for path in paths:
            content = BytesIO()
            # A blob without a title is the list itself: what an artifact of one file is.
            if image.extract({path, ""}.__contains__, content, limit=MAX_LIST_BYTES):
                return content.getvalue()
        raise ListUnreadable(f"{address.uri} holds no list: there is no {' and no '.join(paths)} in it")
