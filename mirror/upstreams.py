"""One mirror under the names of many registries: which repositories may answer for an upstream's.

An image of another registry is kept below that registry's name: `quay.io/org/app` under `quay.io/org/app`.
containerd asks a mirror for `org/app` and says whose it means with `?ns=quay.io`. The name is only looked up
here, it is never dialled. Pure; who asks for what is `mirror.distribution`.
"""

import re
from typing import Final

from mirror.errors import NameInvalid, RequestInvalid
from mirror.oci import check_repository

KNOWN_UPSTREAMS: Final = (
    "docker.io",
    "gcr.io",
    "ghcr.io",
    "mcr.microsoft.com",
    "nvcr.io",
    "public.ecr.aws",
    "quay.io",
    "registry.gitlab.com",
    "registry.k8s.io",
    "registry.suse.com",
)
DOCKER_HUB: Final = "docker.io"
DOCKER_HUB_NAMES: Final = frozenset({DOCKER_HUB, "index.docker.io", "registry-1.docker.io"})
MAX_HOST_LENGTH: Final = 255

_LABEL = r"[a-z0-9]+(?:-+[a-z0-9]+)*"
_HOST = re.compile(rf"({_LABEL}(?:\.{_LABEL})*)(?::(\d{{1,5}}))?")


def upstream_of(namespace: str) -> str:
    """The first part of the names of a registry's repositories here; `host:5000` is kept as `host_5000`.

    A host's name has no underscore, so no two registries share a part. Raises RequestInvalid.
    """
    match = _HOST.fullmatch(namespace.lower()) if len(namespace) <= MAX_HOST_LENGTH else None
    if match is None:
        raise RequestInvalid(
            f"ns={namespace[:80]!r} is not a registry's host name", hint="ask as in ?ns=docker.io"
        )
    host, port = match.groups()
    if host in DOCKER_HUB_NAMES:
        return DOCKER_HUB
    return f"{host}_{port}" if port else host


def candidate_repositories(repository: str, namespace: str) -> tuple[str, ...]:
    """Where to look for an upstream's repository, the best place first; the plain name is everybody's."""
    own = f"{upstream_of(namespace)}/{repository}"
    try:
        check_repository(own)
    except NameInvalid:
        return (repository,)
    return (own, repository)
