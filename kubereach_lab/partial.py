"""Objects cut down to their metadata, for who asks for no more (PartialObjectMetadata)."""

from __future__ import annotations

from kubereach_lab.status import Object


def partial_metadata(obj: Object, version: str) -> Object:
    """An object cut down to its metadata."""
    return {
        "kind": "PartialObjectMetadata",
        "apiVersion": f"meta.k8s.io/{version}",
        "metadata": obj["metadata"],
    }


def partial_list(items: list[Object], metadata: Object, version: str) -> Object:
    return {
        "kind": "PartialObjectMetadataList",
        "apiVersion": f"meta.k8s.io/{version}",
        "metadata": metadata,
        "items": [partial_metadata(obj, version) for obj in items],
    }
