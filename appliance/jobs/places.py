"""Where on the appliance's own machine a job may read and write on somebody's word. It only looks.

Whoever starts a job names paths, and may be an operator far away with a token, who is not to get at what is
the administrator's. So a medium carries no key of the appliance, takes the place of nothing but another
medium, and what was made of files of the machine is not left where it could be downloaded.
"""

from pathlib import Path

from appliance.errors import Refused

SUFFIXES = (".iso", ".img", ".raw")
MEDIA = "seed-images"  # the appliance's folder of the media that are downloaded


def check_image(path: Path, *, data: Path, may_be_downloaded: bool) -> None:
    """Raise Refused unless it is called like an image and lies outside of the appliance's folder `data`.

    With `may_be_downloaded` it may also lie among the media in there.
    """
    if path.suffix not in SUFFIXES or path.resolve().suffix not in SUFFIXES:
        raise Refused(f"{path} is not called like an image.", hint=f"Images end with {', '.join(SUFFIXES)}.")
    place = path.resolve()
    is_medium = may_be_downloaded and place.is_relative_to(data.resolve() / MEDIA)
    if place.is_relative_to(data.resolve()) and not is_medium:
        raise Refused(f"{path} is in the appliance's own folder.", hint="Choose a place outside of it.")


def check_tree(path: Path, *, data: Path) -> None:
    """Raise Refused for a folder that holds anything of the appliance's own."""
    place = path.resolve()
    if place.is_relative_to(data.resolve()) or data.resolve().is_relative_to(place):
        raise Refused(
            f"{path} holds the appliance's own folder, or lies in it.", hint="Its keys belong on no medium."
        )
