"""The endpoints: boxes as the detector's own, options, refusals, metrics, and the end."""

from __future__ import annotations

import concurrent.futures
import hashlib
import io
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from darknet_py import cli
from darknet_py.hub import catalogue
from darknet_py.serving import detection
from darknet_py.serving.limits import Limits
from tests.helpers import served_digits
from tests.helpers.served_digits import detect, encode, error, expected, jpeg, png

pytest.importorskip("starlette", reason="serving needs Starlette: pip install 'darknet-torch[serve]'")
pytest.importorskip("httpx2", reason="Starlette's test client needs httpx2")
parser = pytest.importorskip("prometheus_client.parser", reason="pip install 'darknet-torch[serve]'")

from PIL import Image  # noqa: E402
from starlette.testclient import TestClient  # noqa: E402

from darknet_py.serving import create_app  # noqa: E402

LIMITS = Limits(max_body=100_000, timeout=20, body_timeout=0.5)
WEIGHTS = catalogue.cfg_folder() / "digits.weights"


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    app = create_app(served_digits.detector(), limits=LIMITS, weights=WEIGHTS)
    with TestClient(app) as client:
        yield client


def test_boxes_are_those_of_the_detector(client: TestClient) -> None:
    for content in (png(0), png(1), jpeg(2)):
        result = detect(client, content)
        assert result == expected(content)
        assert len(result["boxes"]) > 1


@pytest.mark.parametrize(
    ("query", "options"),
    [
        ("conf=0.99", {"threshold": 0.99}),
        ("conf=0.001&nms=0.9", {"threshold": 0.001, "nms": 0.9}),
        ("classes=five,6", {"classes": ["five", 6]}),
        ("classes=five&classes=6", {"classes": ["five", 6]}),
        ("skip_classes=five", {"skip_classes": ["five"]}),
        ("skip-classes=five", {"skip_classes": ["five"]}),
        ("max_det=1", {"max_detections": 1}),
    ],
)
def test_options_have_the_names_of_the_command_line(client: TestClient, query: str, options: dict[str, Any]) -> None:
    result = detect(client, png(), query)
    assert result == expected(png(), **options)
    assert result != expected(png())


def test_clip_clips_to_the_image(client: TestClient) -> None:
    small = encode(Image.open(io.BytesIO(png())).crop((40, 10, 80, 60)), "PNG")
    corners = [box["box"].values() for box in detect(client, small, "conf=0.01&clip=1")["boxes"]]
    assert corners
    assert all(0 <= value <= 50 for box in corners for value in box)


def test_a_form_with_a_file_and_an_image_without_a_type_are_accepted(client: TestClient) -> None:
    whole = expected(png())
    files = {"file": ("a b.png", png(), "image/png")}
    assert client.post("/v1/detect", files=files).json() == whole
    assert client.post("/v1/detect", files=files, data={"note": "x"}).json() == whole
    for kind in ("image/png", "application/octet-stream", "image/anything; x=y", "application/x-www-form-urlencoded"):
        assert detect(client, png(), headers={"content-type": kind}) == whole
    boundary = b"--x\r\nContent-Disposition: form-data; name=f; filename=a.png\r\n\r\n" + png() + b"\r\n--x--\r\n"
    kind = "multipart/form-data; boundary=x"
    assert detect(client, boundary, headers={"content-type": kind}) == whole


def test_the_model_is_described(client: TestClient) -> None:
    content = client.get("/v1/model").json()
    assert content["cfg"] == "digits.cfg"
    assert (content["width"], content["height"], content["channels"]) == (96, 96, 3)
    assert content["classes"] == served_digits.detector().names
    assert content["weights"]["sha256"] == hashlib.sha256(WEIGHTS.read_bytes()).hexdigest()
    assert content["engine"] == "auto"
    assert content["defaults"] == {"conf": 0.25, "nms": 0.45, "max_det": 0}
    assert content["limits"]["max_body"] == 100_000


def test_headers_protect_a_browser(client: TestClient) -> None:
    for response in (client.get("/healthz"), client.get("/none"), client.post("/v1/detect", content=b"x")):
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["cross-origin-resource-policy"] == "same-origin"
        assert "access-control-allow-origin" not in response.headers


def test_only_known_names_of_the_host_are_answered() -> None:
    app = create_app(served_digits.detector(), allowed_hosts=["localhost", "GPU-box"])
    client = TestClient(app)
    for host in ("localhost", "localhost:8000", "127.0.0.1:80", "[::1]:8000", "192.168.1.7", "gpu-box:1"):
        assert client.get("/healthz", headers={"host": host}).status_code == 200, host
    for host in ("attacker.example", "localhost.attacker.example:8000", "", "[localhost", "127.0.0.1.example"):
        response = client.get("/healthz", headers={"host": host})
        assert response.status_code == 400, host
        assert error(response).startswith("Host: expected localhost")


def test_the_command_answers_to_the_name_of_its_address(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("uvicorn", reason="serving needs uvicorn: pip install 'darknet-torch[serve]'")
    apps: list[Any] = []
    monkeypatch.setattr("darknet_py.serving.server.serve", lambda app, *args, **options: apps.append(app))
    assert cli.main(["serve", "digits", "--host", "GPU-box", "--allowed-hosts", "other"]) == 0
    client = TestClient(apps[0])
    statuses = {
        host: client.get("/healthz", headers={"host": host}).status_code
        for host in ("gpu-box:8000", "other", "localhost", "attacker.example")
    }
    assert statuses == {"gpu-box:8000": 200, "other": 200, "localhost": 200, "attacker.example": 400}


class Gate:
    """Holds the network until it is opened, and records the sizes of batches."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.opened, self.entered, self.sizes = threading.Event(), threading.Event(), []  # type: ignore[var-annotated]
        original = detection.detect

        def held(inputs: Sequence[detection.NetworkInput]) -> Any:
            self.sizes.append(len(inputs))
            self.entered.set()
            assert self.opened.wait(30)
            return original(inputs)

        monkeypatch.setattr(detection, "detect", held)
        self.detect = original


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    gate = Gate(monkeypatch)
    yield gate
    gate.opened.set()


def gated_client(gate: Gate, **limits: Any) -> TestClient:
    gate.opened.set()  # for the image that is computed at the start
    client = TestClient(create_app(served_digits.detector(), limits=Limits(**limits)))
    gate.opened.clear()
    gate.entered.clear()
    gate.sizes.clear()
    return client


def wait_for(condition: Any) -> None:
    done = threading.Event()
    for _ in range(3000):
        if condition():
            return
        done.wait(0.01)
    raise AssertionError("waited for 30 s")


def test_concurrent_requests_share_a_batch_and_each_gets_its_own_boxes(gate: Gate) -> None:
    queries: list[dict[str, Any]] = [{}, {"threshold": 0.9}, {"classes": ["five"]}, {}, {"max_detections": 1}]
    texts = ["", "conf=0.9", "classes=five", "", "max_det=1"]
    with gated_client(gate, max_batch=8) as client, concurrent.futures.ThreadPoolExecutor(8) as pool:
        service = client.app.state.service  # type: ignore[attr-defined]
        first = pool.submit(detect, client, png(9))
        assert gate.entered.wait(30)
        others = [pool.submit(detect, client, png(number), text) for number, text in enumerate(texts)]
        wait_for(lambda: len(service._batcher._ready) == 5)
        gate.opened.set()
        for number, (future, options) in enumerate(zip(others, queries, strict=True)):
            boxes, alone = future.result(30)["boxes"], expected(png(number), **options)["boxes"]
            assert [(box["class"], box["name"]) for box in boxes] == [(box["class"], box["name"]) for box in alone]
            for box, other in zip(boxes, alone, strict=True):  # a batch of another size rounds differently
                assert list(box["box"].values()) == pytest.approx(list(other["box"].values()), abs=1e-3)
                assert box["confidence"] == pytest.approx(other["confidence"], abs=1e-4)
        assert first.result(30)["boxes"]
        assert gate.sizes == [1, 5]
        assert service.is_idle


def test_a_full_queue_is_503_and_a_late_image_504(gate: Gate) -> None:
    limits = {"queue": 2, "timeout": 0.4}
    with gated_client(gate, **limits) as client, concurrent.futures.ThreadPoolExecutor(8) as pool:
        service = client.app.state.service  # type: ignore[attr-defined]
        futures = [pool.submit(client.post, "/v1/detect", content=png())]
        assert gate.entered.wait(30)
        futures += [pool.submit(client.post, "/v1/detect", content=png()) for _ in range(2)]
        wait_for(lambda: service.is_full or futures[-1].done())
        refused = client.post("/v1/detect", content=png())
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert error(refused) == "too many requests wait"
        late = futures[1].result(30)
        assert late.status_code == 504
        assert error(late) == "the image was not computed within 0.4 s"
        gate.opened.set()
        wait_for(lambda: service.is_idle)
        assert client.post("/v1/detect", content=png()).status_code == 200
    assert sum(gate.sizes) == 2  # what was late has not been computed


def test_draining_answers_what_was_accepted_and_refuses_the_rest(gate: Gate) -> None:
    with gated_client(gate) as client, concurrent.futures.ThreadPoolExecutor(8) as pool:
        service = client.app.state.service  # type: ignore[attr-defined]
        accepted = pool.submit(detect, client, png())
        assert gate.entered.wait(30)
        assert client.get("/healthz").json() == {"status": "ready"}
        service.drain()
        health = client.get("/healthz")
        assert (health.status_code, health.json()) == (503, {"status": "draining"})
        refused = client.post("/v1/detect", content=png())
        assert (refused.status_code, error(refused)) == (503, "the server is shutting down")
        assert not service.is_idle
        gate.opened.set()
        assert accepted.result(30) == expected(png())


def test_an_error_of_the_network_is_500_and_the_next_image_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    app = create_app(served_digits.detector())
    client = TestClient(app, raise_server_exceptions=False)
    engine = served_digits.detector().run

    def fail(x: object) -> Any:
        raise RuntimeError("out of memory")

    monkeypatch.setitem(vars(served_digits.detector()), "run", fail)
    response = client.post("/v1/detect", content=png())
    assert (response.status_code, error(response)) == (
        500,
        "the image could not be computed; the server's log says why",
    )
    monkeypatch.setitem(vars(served_digits.detector()), "run", engine)
    assert client.post("/v1/detect", content=png()).json() == expected(png())


def test_metrics_count_requests_batches_and_the_queue() -> None:
    client = TestClient(create_app(served_digits.detector()))
    for content in (png(), png(), b"no image"):
        client.post("/v1/detect", content=content)
    client.get("/no/such/path")
    response = client.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=")
    families = list(parser.text_string_to_metric_families(response.text))
    values = {(each.name, *sorted(each.labels.items())): each.value for family in families for each in family.samples}
    detect_path = ("path", "/v1/detect")
    assert values[("darknet_requests_total", ("code", "200"), detect_path)] == 2
    assert values[("darknet_requests_total", ("code", "400"), detect_path)] == 1
    assert values[("darknet_requests_total", ("code", "404"), ("path", "other"))] == 1
    assert values[("darknet_request_seconds_count", detect_path)] == 3
    assert values[("darknet_images_total",)] == 2
    assert values[("darknet_batch_size_sum",)] == 2
    assert values[("darknet_batch_seconds_count",)] == 2
    assert values[("darknet_queue_length",)] == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_batch": 0}, "max_batch: expected 1 or more, got 0"),
        ({"max_wait": -1}, "max_wait: expected 0 or more, got -1"),
        ({"timeout": 0}, "timeout: expected more than 0, got 0"),
        ({"max_wait": float("nan")}, "max_wait: expected 0 or more, got nan"),
    ],
)
def test_limits_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Limits(**options)
