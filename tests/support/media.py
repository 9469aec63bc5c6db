"""Records that link media by S3 URI."""

from typing import Any

from batch_queue.core import media


def picture(uri: str, **more: str) -> dict[str, Any]:
    return {"image": {"format": "png", "source": {"s3Location": {"uri": uri, **more}}}}


def asking(number: int, *uris: str) -> dict[str, Any]:
    content = [*(picture(uri) for uri in uris), {"text": f"What is it? {number}"}]
    return {"recordId": f"m{number}", "modelInput": {"messages": [{"role": "user", "content": content}]}}


def uris(line: bytes) -> list[str]:
    return [found.uri for found in media.references(line)]


def moved(uri: str) -> str:
    return f's3://ours/{len(uri)}-ä"\\'
