"""What the documents promise: their links lead somewhere, and the README's sample runs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import commands
import workspace

DOCUMENTS = sorted(
    path.relative_to(workspace.ROOT)
    for pattern in ("*.md", "docs/**/*.md", "packages/*/*.md", "examples/*/*.md")
    for path in workspace.ROOT.glob(pattern)
)


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_links_lead_somewhere(document: Path) -> None:
    path = workspace.ROOT / document
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)", path.read_text("utf-8"))
    assert [link for link in links if not (path.parent / link).exists()] == []


def test_the_sample_of_the_readme_runs(tmp_path: Path) -> None:
    readme = (workspace.ROOT / "README.md").read_text("utf-8")
    (sample,) = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    script = tmp_path / "sample.py"
    script.write_text(sample, "utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "error", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    episode_return, episode_length = map(float, done.stdout.splitlines()[0].split())
    assert episode_return == episode_length > 0


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md", ".ci/run"])
def test_the_commands_of_the_documents_exist(document: str) -> None:
    text = (workspace.ROOT / document).read_text("utf-8")
    named = set(re.findall(r"tools/dev\.py (\w+)", text))
    assert named
    assert named <= set(commands.COMMANDS)
