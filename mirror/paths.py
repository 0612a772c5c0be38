"""The paths of the distribution API, purely: which resource one names, of which repository."""


def parse_path(path: str) -> tuple[str, str, str]:
    """What a path names, its repository, and its last part (a digest, tag or upload)."""
    if path in ("/v2/", "/v2"):
        return "ping", "", ""
    if path == "/v2/_catalog":
        return "catalog", "", ""
    if not path.startswith("/v2/") or path.count("/") < 4:
        return "", "", ""
    name, kind, last = path[4:].rsplit("/", 2)
    if kind == "uploads" and name.endswith("/blobs"):
        return ("upload" if last else "uploads"), name.removesuffix("/blobs"), last
    match kind, last:
        case "blobs", "uploads":
            return "uploads", name, ""
        case "blobs", _:
            return "blob", name, last
        case "manifests", _:
            return "manifest", name, last
        case "tags", "list":
            return "tags", name, ""
        case "referrers", _:
            return "referrers", name, last
    return "", "", ""
