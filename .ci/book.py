"""Makes a site of the documents by mdBook: the pages of docs/SUMMARY.md, those that it lacks, and beside
them the files of the repository that they link to. Then every link of the site has to lead somewhere.
"""

import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).resolve().parent.parent
BOOK = Path(os.environ["BOOK"])
SOURCE, SITE = BOOK / "source", BOOK / "site"

CONFIGURATION = """
[book]
title = "Bantam"
src = "source"

[build]
build-dir = "site"
create-missing = false
# A README.md stays one: links lead to it.
use-default-preprocessors = false

[output.html]
no-section-label = true
"""


def linked(page):
    """The files of the repository that a page links to."""
    for target in re.findall(r"\]\(([^)#]+)", page.read_text()):
        path = (page.parent / target).resolve()
        if "://" not in target and path.is_relative_to(ROOT) and path.is_file():
            yield path


def copy(path):
    to = SOURCE / path.relative_to(ROOT)
    to.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, to)


def make():
    """Makes the site; its pages."""
    shutil.rmtree(BOOK, ignore_errors=True)
    SOURCE.mkdir(parents=True)
    summary = ROOT / "docs/SUMMARY.md"
    pages = list(linked(summary))
    # Its links are from the root of the book.
    text = re.sub(r"\]\((?!\.\./)", "](docs/", summary.read_text()).replace("](../", "](")
    text += "\n# Further\n\n"
    more = sorted((ROOT / "docs").glob("*.md"))
    for page in pages:
        copy(page)
        more.extend(linked(page))
        for path in more:
            if path.suffix != ".md":
                copy(path)
            elif path not in (*pages, summary):
                pages.append(path)
                title = path.read_text().partition("\n")[0].removeprefix("# ")
                text += f"- [{title}]({path.relative_to(ROOT)})\n"
        more.clear()
    (SOURCE / "SUMMARY.md").write_text(text)
    (BOOK / "book.toml").write_text(CONFIGURATION)
    subprocess.run([os.environ["MDBOOK"], "build", BOOK], check=True, timeout=120)
    return pages


class Page(HTMLParser):
    """The links of a page, and the places in it that a link may lead to."""

    def __init__(self, path):
        super().__init__()
        self.links, self.places = [], set()
        self.feed(path.read_text())

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.places.add(attributes.get("id"))
        for name in ("href", "src"):
            if attributes.get(name):
                self.links.append(attributes[name])


def check():
    """How many links there are, and those that lead nowhere."""
    pages = {path.resolve(): Page(path) for path in SITE.rglob("*.html")}
    count, broken = 0, []
    for path, page in pages.items():
        for link in page.links:
            # The page for what is not found is served at any path.
            if path.name == "404.html":
                continue
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            count += 1
            to = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            is_place = not parts.fragment or to not in pages or unquote(parts.fragment) in pages[to].places
            # A folder of the repository is no page of the site.
            is_folder = to.is_relative_to(SITE) and (ROOT / to.relative_to(SITE)).is_dir()
            if not (to.is_file() or is_folder) or not is_place:
                broken.append(f"{path.relative_to(SITE)}: {link}")
    return count, broken


def main():
    pages = make()
    count, broken = check()
    if broken:
        sys.exit("book: links that lead nowhere\n" + "\n".join(broken))
    print(f"book: {len(pages)} pages, {count} links, in {SITE}")


if __name__ == "__main__":
    main()
