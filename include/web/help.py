"""The documentation as pages in Airflow, so that links to the runbook work offline."""

import re
from functools import cache
from html import escape
from itertools import pairwise
from pathlib import Path
from posixpath import dirname, join, normpath

from fastapi import APIRouter, Depends, HTTPException, Response
from fastapi.responses import FileResponse
from markdown_it import MarkdownIt
from markdown_it.token import Token

from include.web.page import REVALIDATED, require_login, template
from include.web.static_files import static_files

DOCUMENTATION = Path(__file__).resolve().parents[2] / "docs"

router = APIRouter(include_in_schema=False, dependencies=[Depends(require_login)])


@router.get("/help/{name:path}")
def page(name: str) -> Response:
    """Show a page of docs/, `runbook` or `how-to/backfill`, or a picture of one."""
    if (picture := DOCUMENTATION / name) in pictures():
        return FileResponse(picture, headers={"Cache-Control": REVALIDATED})
    file = pages().get(name)
    if file is None:
        raise HTTPException(404)
    document = template("help.html").substitute(
        base="../" * (name.count("/") + 1),
        static=static_files().path(),
        title=escape(file.read_text().partition("\n")[0].removeprefix("# ")),
        content=rendered(name),
    )
    return Response(document, media_type="text/html", headers={"Cache-Control": REVALIDATED})


@cache
def pictures() -> frozenset[Path]:
    return frozenset(DOCUMENTATION.glob("images/*.png"))


@cache
def pages() -> dict[str, Path]:
    """Return the files of docs/ by their names in addresses."""
    files = [*DOCUMENTATION.glob("*.md"), *DOCUMENTATION.glob("how-to/*.md")]
    return {file.relative_to(DOCUMENTATION).with_suffix("").as_posix(): file for file in files}


@cache
def rendered(name: str) -> str:
    """Return a page as HTML. Its headings have GitHub's anchors; HTML in the text is escaped."""
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    # markers of `make reference`
    tokens = markdown.parse(re.sub("<!--.*?-->\n", "", pages()[name].read_text()))
    for token, inline in pairwise(tokens):
        if token.type == "heading_open":
            token.attrSet("id", anchor(inline.content))
    for token in tokens:
        for part in token.children or ():
            if part.type == "link_open":
                _rewrite_link(part, dirname(name))
    html: str = markdown.renderer.render(tokens, markdown.options, {})
    # scrollable elements must be reachable by keyboard
    return html.replace("<pre>", '<pre tabindex="0">')


@cache
def headings(name: str) -> frozenset[str]:
    """Return the anchors of a page's headings."""
    return frozenset(re.findall(r'<h\d id="([^"]+)"', rendered(name)))


def anchor(heading: str) -> str:
    """Return GitHub's anchor of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _rewrite_link(link: Token, folder: str) -> None:
    """Point a link to a page of docs/ at its address here; disable links to other files."""
    href = str(link.attrGet("href"))
    path, _, fragment = href.partition("#")
    if not path or "://" in path:
        return
    target = normpath(join(folder, path)).removesuffix(".md")
    if target in pages():
        up = "../" * folder.count("/") + ("../" if folder else "")
        link.attrSet("href", f"{up}{target}" + (f"#{fragment}" if fragment else ""))
    else:
        del link.attrs["href"]
