"""How the dashboard's files are served, and rules that all of them keep."""

from __future__ import annotations

import gzip
import re
from html.parser import HTMLParser

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from brainformer.api.dashboard.files import assets_label, router
from brainformer.search.errors import NotFound
from tests.repository import REPOSITORY

FOLDER = REPOSITORY / "api" / "dashboard" / "page"
MODULES = sorted(FOLDER.rglob("*.js"))
NAMES = [path.relative_to(FOLDER).as_posix() for path in MODULES]
MOST_BYTES = 2_000_000  # of everything that the page loads before its first chart, not compressed


@pytest.fixture(scope="module")
def client():
    app = FastAPI()
    app.include_router(router)
    return TestClient(app)


class _Tags(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))


def _addresses(html: str) -> list[str]:
    found = []
    for _, attributes in _Tags(html).tags:
        found += [attributes[n] for n in ("src", "href") if attributes.get(n)]
    return [address for address in found if not address.startswith("#") and address != "./"]


def test_page_is_checked_at_every_visit_and_answers_304_when_it_is_the_same(client):
    first = client.get("/")
    assert first.status_code == 200
    assert first.headers["cache-control"] == "no-cache"
    again = client.get("/", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_everything_that_the_page_names_is_versioned_and_kept_for_good(client):
    addresses = _addresses(client.get("/").text)
    assert f"assets/{assets_label()}/page.js" in addresses
    assert len(addresses) == 4  # an icon, the theme, one script, one style sheet
    for address in addresses:
        answer = client.get(address)
        assert answer.status_code == 200, address
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_one_script_holds_every_module_of_the_page_and_none_of_a_report(client):
    tags = _Tags(client.get("/").text).tags
    scripts = [attributes["src"] for tag, attributes in tags if tag == "script"]
    assert scripts == [f"assets/{assets_label()}/{name}" for name in ("theme.js", "page.js")]
    written = client.get(scripts[1]).text
    classes = {
        name: re.findall(r"^export class (\w+)", path.read_text(), re.MULTILINE)
        for name, path in zip(NAMES, MODULES, strict=True)
    }
    for name, found in classes.items():
        for one in found:
            assert written.count(f"class {one} ") == (0 if name.startswith("report/") else 1), one
    sheet = client.get(f"assets/{assets_label()}/page.css").text
    for path in (FOLDER / "css").iterdir():
        assert (path.read_text() in sheet) == (path.name != "report.css"), path.name


def test_files_arrive_gzipped_and_all_of_them_are_small(client):
    address = f"/assets/{assets_label()}/page.js"
    with client.stream("GET", address, headers={"Accept-Encoding": "gzip"}) as answer:
        raw = b"".join(answer.iter_raw())
        assert answer.headers["content-encoding"] == "gzip"
    plain = client.get(address, headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert plain.content == gzip.decompress(raw)
    assert sum(path.stat().st_size for path in FOLDER.rglob("*.*")) < MOST_BYTES


@pytest.mark.parametrize(
    "address",
    [
        "/assets/0000000000000000/app.js",
        "/assets/{label}/missing.js",
        "/assets/{label}/..%2f..%2fdashboard_files.py",
        "/assets/{label}/%2e%2e/__init__.py",
        "/assets/{label}//etc/passwd",
        "/assets/{label}/core",
    ],
)
def test_other_versions_and_other_files_are_not_there(client, address):
    with pytest.raises(NotFound):
        client.get(address.replace("{label}", assets_label()))


def test_policy_allows_no_inline_script_no_eval_and_no_frames(client):
    policy = client.get("/").headers["content-security-policy"]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["script-src"] == "'self'"
    assert rules["frame-ancestors"] == "'none'"
    assert "unsafe-eval" not in policy


def test_page_has_no_inline_code_and_names_no_other_host():
    tags = _Tags((FOLDER / "index.html").read_text()).tags
    for tag, attributes in tags:
        assert tag != "style"
        assert tag != "script" or attributes.get("src"), "inline script"
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
        for name in ("src", "href"):
            assert not re.match(r"(https?:)?//", attributes.get(name) or "")


def test_every_control_of_the_page_has_a_name():
    html = (FOLDER / "index.html").read_text()
    labelled = set(re.findall(r'<label[^>]* for="([\w-]+)"', html))
    for tag, attributes in _Tags(html).tags:
        if tag in {"input", "select"}:
            assert attributes["id"] in labelled
        if tag in {"section", "dialog"} and "id" not in attributes:
            assert "aria-labelledby" in attributes


@pytest.mark.parametrize("module", MODULES, ids=NAMES)
def test_module_has_a_header_and_never_turns_text_into_markup(module):
    text = module.read_text()
    assert text.startswith("// "), "a module opens with what it is"
    assert len(text.splitlines()) <= 350
    forbidden = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|https?://(?!www\.w3\.org)"
    assert re.findall(forbidden, text) == []


@pytest.mark.parametrize("module", MODULES, ids=NAMES)
def test_module_imports_names_that_their_modules_export(module):
    imports = re.findall(
        r"^import (?:\* as \w+|\{([^}]+)\}) from \"(\.[\w./]+)\"", module.read_text(), re.MULTILINE
    )
    assert len(imports) == len(re.findall(r"^import ", module.read_text(), re.MULTILINE))
    for names, target in imports:
        exported = set(
            re.findall(
                r"^export (?:async )?(?:function|class|const) (\w+)",
                (module.parent / target).resolve().read_text(),
                re.MULTILINE,
            )
        )
        assert {name.strip() for name in names.split(",") if name.strip()} <= exported, target


@pytest.mark.parametrize("module", MODULES, ids=NAMES)
def test_module_uses_every_name_that_it_imports(module):
    text = module.read_text()
    for names in re.findall(r"^import (?:\* as (?:\w+)|\{(?:[^}]+)\})", text, re.MULTILINE):
        for name in re.findall(r"\w+", names.removeprefix("import").replace(" as ", " ")):
            assert len(re.findall(rf"\b{name}\b", text)) > 1, name


def test_no_folder_of_the_page_holds_more_than_fifteen_files():
    for folder in [FOLDER, *(path for path in FOLDER.iterdir() if path.is_dir())]:
        assert len([path for path in folder.iterdir() if path.is_file()]) <= 15, folder.name
