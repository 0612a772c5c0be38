"""Owner references: what one object writes on another to say that it is its child.

Pure. Owners are known by uid and never by name alone: a namesake made later is somebody else.
"""

from appliance.resources.meta import Document, Kind, ObjectMeta, OwnerReference


def render_owner(kind: Kind, owner: ObjectMeta) -> Document:
    """The one reference by which a controller's child goes when its owner does."""
    return {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "name": owner.name,
        "uid": owner.uid,
        "controller": True,
    }


def is_owned(document: Document, owner: ObjectMeta) -> bool:
    """Say whether the object is a child of exactly this owner."""
    owners = document["metadata"].get("ownerReferences") or []
    return any(reference.get("uid") == owner.uid for reference in owners)


def find_owner(metadata: ObjectMeta, kind: Kind) -> OwnerReference | None:
    """The first owner of a kind, in whatever version of its group it was written down."""
    for owner in metadata.owner_references:
        if owner.kind == kind.kind and owner.api_version.partition("/")[0] == kind.group:
            return owner
    return None
