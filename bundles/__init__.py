"""What crosses the air gap: signed bundles, OS image recipes, and the media a technician carries.

Nothing here is asynchronous, opens a connection by itself, or knows of hosts and resources. A bundle is an
OCI image layout directory plus `bundle.json` and its signature; the way through is

    manifest   what a bundle says it holds, as a value
    signing    Ed25519 keys, and the only decision about trust
    archive    the directory: opened, checked against the manifest, read safely
    graph      which manifests and blobs an image is made of
    layout     OCI image layouts: read one, write one from tars
    pack       connected side: layouts in, one signed bundle out
    verify     every byte of a bundle, without a mirror
    load       air-gapped side: verify and copy into the mirror in one pass
    preview    what a load would change
    images/    recipes of OS images
    media/     ISO images, removable devices, burning
"""
