"""Bad requests: each gets a status and a sentence, and the server lives."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from darknet_py.serving.limits import Limits
from tests.helpers import served_digits
from tests.helpers.served_digits import bomb, detect, error, expected, jpeg, png

pytest.importorskip("starlette", reason="serving needs Starlette: pip install 'darknet-torch[serve]'")
pytest.importorskip("httpx2", reason="Starlette's test client needs httpx2")

from starlette.testclient import TestClient

from darknet_py.serving import create_app


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    app = create_app(served_digits.detector(), limits=Limits(max_body=100_000, body_timeout=0.5))
    with TestClient(app) as client:
        yield client


FORM = {"content-type": "multipart/form-data; boundary=x"}
REFUSED: list[tuple[str, bytes, dict[str, str], int, str]] = [
    ("", b"", {}, 400, "expected an image in the body, found no bytes"),
    ("", b"hello", {}, 400, "image: not an image in a format that is read: JPEG, PNG"),
    ("", png()[:200], {}, 400, "image: broken image"),
    ("", png()[:20], {}, 400, "image: broken image"),
    ("", b"\xff\xd8\xff\xe0" + bytes(50), {}, 400, "image: not an image"),
    ("", bomb(), {}, 413, "image: expected at most 134,217,728 pixels, found 60000x60000 = 3,600,000,000"),
    ("", bytes(100_001), {}, 413, "expected a body of at most 100,000 bytes, found more"),
    ("", png(), {"content-type": "text/html"}, 415, "Content-Type: expected image/*, application/octet-stream or"),
    ("", png(), {"content-type": "\x7f"}, 415, "Content-Type: expected image/*"),
    ("", b"--x--", {"content-type": "multipart/form-data"}, 400, "expected multipart/form-data with a boundary"),
    ("", b"--x\r\n", FORM, 400, "found a form that ends early"),
    (
        "",
        b"--x\r\n\r\na\r\n--x--",
        {"content-type": "multipart/form-data; boundary=x"},
        400,
        "expected one file, found 0",
    ),
    ("conf=2", png(), {}, 400, "query: conf: expected a number in 0..1, found '2'"),
    ("conf=nan", png(), {}, 400, "query: conf: expected a number in 0..1, found 'nan'"),
    ("nms=-1", png(), {}, 400, "query: nms: expected a number in 0..1, found '-1'"),
    ("conf=high", png(), {}, 400, "query: conf: expected a number in 0..1, found 'high'"),
    ("conf=0.1&conf=0.2", png(), {}, 400, "query: conf is given twice"),
    ("max_det=1.5", png(), {}, 400, "query: max_det: expected an integer of 0 or more, found '1.5'"),
    ("max_det=-1", png(), {}, 400, "query: max_det: expected an integer of 0 or more, found '-1'"),
    ("max_det=" + "9" * 5000, png(), {}, 400, "query: max_det: expected an integer"),
    ("clip=maybe", png(), {}, 400, "query: clip: expected 0 or 1, found 'maybe'"),
    ("classes=cat", png(), {}, 400, "classes: expected class names or numbers in 0..9, got 'cat'"),
    ("classes=", png(), {}, 400, "query: classes: expected names or numbers of classes, found none"),
    ("confidence=0.1", png(), {}, 400, "query: expected conf, nms, classes, skip_classes, max_det, clip, found"),
    ("x%00%1b=1", png(), {}, 400, "query: expected conf, nms"),
]


@pytest.mark.parametrize(("query", "content", "headers", "status", "message"), REFUSED)
def test_bad_input_gets_a_status_and_a_sentence(
    client: TestClient, query: str, content: bytes, headers: dict[str, str], status: int, message: str
) -> None:
    response = client.post(f"/v1/detect?{query}", content=content, headers=headers)
    assert response.status_code == status
    assert message in error(response)
    assert len(detect(client, png())["boxes"]) > 1  # it lives


def test_a_jpeg_that_ends_early_is_read_as_by_detect(client: TestClient) -> None:
    cut = jpeg()[:-200]
    assert detect(client, cut) == expected(cut)


def test_a_body_without_a_length_is_cut_off(client: TestClient) -> None:
    parts = (bytes(10_000) for _ in range(100))
    assert error(client.post("/v1/detect", content=parts)) == "expected a body of at most 100,000 bytes, found more"


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/v1/detect", 405), ("GET", "/v2", 404), ("POST", "/v1/detect/", 404)]
)
def test_paths_and_methods_that_do_not_exist(client: TestClient, method: str, path: str, status: int) -> None:
    response = client.request(method, path, follow_redirects=False)
    assert response.status_code == status
    assert path in error(response)
