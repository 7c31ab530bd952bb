"""Prints docs/dependencies.md: what is linked, by `cargo tree`, and where `unsafe` is, by the sources.

Fails where a dependency asks for a later Rust than the package that has it says.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = "x86_64-unknown-linux-musl"

# What layer/build turns on beside the default features.
BINARIES = {
    "The stock binary": ("bantam", "bantam/default,bantam/link"),
    "The stock binary with TLS": ("bantam", "bantam/default,bantam/link,bantam/tls"),
    "A function": ("hello", "bantam/link"),
}


def check_rust_versions():
    command = ["cargo", "metadata", "--locked", "--all-features", "--format-version", "1"]
    described = json.loads(subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout)
    packages = {(package["name"], "v" + package["version"]): package for package in described["packages"]}

    def number(package):
        parts = [int(part) for part in (package["rust_version"] or "0").split(".")]
        return parts + [0] * (3 - len(parts))

    for member in packages.values():
        # Published: elsewhere an empty list says no.
        if member["id"] not in described["workspace_members"] or member["publish"] == []:
            continue
        command = ["cargo", "tree", "--locked", "--package", member["name"], "--target", TARGET]
        command += ["--all-features", "--edges", "normal,build", "--prefix", "none", "--format", "{p}"]
        lines = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        for name, version in {tuple(line.split()[:2]) for line in lines.splitlines() if line}:
            if number(member) < number(packages[name, version]):
                sys.exit(f"{name} needs a later Rust than {member['name']} says")


def tree(package, features):
    command = ["cargo", "tree", "--locked", "--package", package, "--target", TARGET]
    command += ["--no-default-features", "--features", features]
    # Macros run while building. What is linked has no other.
    command += ["--edges", "normal,no-proc-macro", "--charset", "ascii", "--format", "{p} {l}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    # Crates of this workspace have their folder behind them.
    return re.sub(r" \(/[^)]*\)", "", done.stdout)


def unsafe():
    """Each file of `src` with the reasons that stand beside the lint."""
    for path in sorted((ROOT / "src").rglob("*.rs")):
        reasons = re.findall(r'unsafe_code,\s*reason = "([^"]*)"', path.read_text())
        if reasons:
            yield f"| `{path.relative_to(ROOT)}` | {'; '.join(dict.fromkeys(reasons))} |"


def main():
    check_rust_versions()
    print("<!-- Made by .ci/supply --write, and checked by .ci/supply. -->")
    print("# What is linked\n")
    print(
        "The crates in the stock binary and in a function, with their licences, as `layer/build` makes "
        "them; those of the commands are in the SBOMs of a release.\n"
        "Behind them are Rust's standard library (MIT OR Apache-2.0) and musl (MIT). (*) marks a "
        "crate whose own dependencies stand further up."
    )
    for title, (package, features) in BINARIES.items():
        print(f"\n## {title}\n\n```text\n{tree(package, features)}```")
    print("\n## Unsafe code\n")
    print("Where this repository's own part of it has `unsafe`, and why. Each block has its proof beside it.\n")
    print("| file | why |\n|---|---|")
    print("| `layer/link/src` | these are the functions that the compiler and the standard library call |")
    for line in unsafe():
        print(line)


if __name__ == "__main__":
    main()
