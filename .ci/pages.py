"""Takes the commands out of pages of the documentation, and runs them as their reader would."""

import os
import re
import shlex
import signal
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Block:
    """A block of code of a page."""

    # The heading of the second level that it stands under.
    heading: str
    # Behind its fence: `sh`, `rust`.
    language: str
    text: str
    # The line before it, without blank ones.
    before: str

    @property
    def file(self):
        """The file that the block is, where the line before says so: `src/main.rs`:"""
        found = re.fullmatch(r"`([^`]+)`:", self.before)
        return found and found[1]


def blocks(text):
    """All blocks of a page, in their order."""
    found, heading, before, fence = [], "", "", None
    for line in text.splitlines():
        if fence is not None:
            if line == "```":
                found.append(Block(heading, fence, "".join(f"{line}\n" for line in body), before))
                fence, before = None, ""
            else:
                body.append(line)
        elif line.startswith("```"):
            fence, body = line.removeprefix("```"), []
        elif line.startswith("## "):
            heading = line.removeprefix("## ")
        elif line.strip():
            before = line
    return found


def run(script, folder, environment, seconds):
    """Runs a script of bash and prints what it writes as it comes; its status, and all of that."""
    process = subprocess.Popen(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        # So that all of its processes can be ended.
        start_new_session=True,
    )
    timer = threading.Timer(seconds, os.killpg, (process.pid, signal.SIGKILL))
    timer.start()
    lines = []
    for line in process.stdout:
        print(line, end="", flush=True)
        lines.append(line)
    status = process.wait()
    timer.cancel()
    return status, "".join(lines)


def script(page, outputs: Path):
    """A script of all blocks of a page: writes its files, and runs its commands in one shell, whose
    standard output goes to a file for each of them."""
    parts = []
    for number, block in enumerate(page):
        if block.file:
            parts.append(f"mkdir -p '{Path(block.file).parent}'\n")
            parts.append(f"cat > '{block.file}' <<'END OF FILE'\n{block.text}END OF FILE\n")
        elif block.language == "sh":
            shown = shlex.quote(f"## {block.heading}\n{block.text}")
            parts.append(f"printf %s {shown} >&2\n")
            parts.append("{\n" + block.text + "} > '" + str(outputs / str(number)) + "'\n")
    return "".join(parts)


def unseen(page, outputs: Path):
    """The lines that the page shows as output, in a block of JSON behind commands, and that the
    commands did not write; … stands for anything."""
    missing = []
    for number, block in enumerate(page):
        if block.language != "json" or block.file or number == 0:
            continue
        written = (outputs / str(number - 1)).read_text()
        for line in block.text.splitlines():
            pattern = ".*".join(re.escape(part) for part in line.split("…"))
            if not re.search(pattern, written):
                missing.append(f"{block.heading}: {line}\nin\n{written}")
    return missing
