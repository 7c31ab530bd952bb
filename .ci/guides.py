"""Runs every command of the guides, in its order, beside a clone in the folder `bantam`, and against a
local AWS (ministack). What a page shows as output has to be what its commands write.
"""

import os
import shutil
import sys
import time
from pathlib import Path

import local_aws
import pages

ROOT = Path(__file__).resolve().parent.parent
SCRATCH = Path(os.environ["SCRATCH"])
# What layer/release made, perhaps without its commands.
RELEASE = Path(os.environ["RELEASE"])

# Seconds that a page may take. Some build.
PAGE_S = 1_800

# Of each page the headings whose commands are run, and where: `beside` a clone, or beside the files
# of a `release`.
PAGES = [
    ("README.md", ["A function in Rust"], "beside"),
    ("README.md", ["Any executable", "An operator's functions"], "release"),
    ("docs/rust.md", None, "beside"),
    (
        "docs/executable-handlers.md",
        ["Bash", "Python that stays alive", "C", "An HTTP application"],
        "release",
    ),
    (
        "docs/build.md",
        ["From the template", "cargo lambda build", "Stable Rust alone", "layer/build"],
        "beside",
    ),
]


def try_page(number, name, headings, place, environment):
    """Runs one page; how many blocks it has."""
    page = pages.blocks((ROOT / name).read_text())
    if headings is not None:
        missing = set(headings) - {block.heading for block in page}
        if missing:
            sys.exit(f"guides: {name} has no heading {missing}")
        page = [block for block in page if block.heading in headings]
    outputs = SCRATCH / f"outputs-{number}"
    outputs.mkdir()
    before = set(SCRATCH.iterdir())
    folder = SCRATCH
    if place == "release":
        folder = SCRATCH / "release"
        folder.mkdir()
        if not RELEASE.is_dir():
            sys.exit(f"guides: no {RELEASE}; .ci/layer makes it")
        # As a browser leaves them: not executable.
        for path in RELEASE.iterdir():
            shutil.copyfile(path, folder / path.name)
        emulator = folder / "bantam-emulator-x86_64"
        if not emulator.exists():
            shutil.copyfile(ROOT / "target/debug/bantam-emulator", emulator)
    print(f"# {name}", flush=True)
    status, _ = pages.run(pages.script(page, outputs), folder, environment, PAGE_S)
    if status != 0:
        sys.exit(f"guides: {name} ended with {status}")
    missing = pages.unseen(page, outputs)
    if missing:
        sys.exit(f"guides: {name} shows what its commands did not write\n" + "\n".join(missing))
    # The next page may make folders of the same names.
    for path in set(SCRATCH.iterdir()) - before - {SCRATCH / "installed"}:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return len(page)


def main():
    names = tuple(sys.argv[1:]) or ("",)
    chosen = [page for page in enumerate(PAGES) if page[1][0].endswith(names)]
    with local_aws.ministack(SCRATCH) as endpoint:
        installed = SCRATCH / "installed"
        environment = os.environ | {
            "AWS_ENDPOINT_URL": endpoint,
            "CARGO_INSTALL_ROOT": str(installed),
            "PATH": f"{installed}/bin:{os.environ['PATH']}",
        }
        for number, (name, headings, place) in chosen:
            started = time.monotonic()
            count = try_page(number, name, headings, place, environment)
            took = time.monotonic() - started
            print(f"guides: {name}, {count} blocks, {took:.0f} s", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
