"""The documentation is true: its examples run, its links lead somewhere, nothing is left out.

An example is a fenced block ``console``: lines that begin with ``$ `` are commands, the lines
below them are what they print. ``…`` in them stands for anything, and a line that is only
``…`` for any number of lines; without such lines any output will do. ``console exit=2`` says
which exit code the last command has. A block ``yaml file=NAME`` or ``text file=NAME`` is written to
that file.
``console no-run`` is not run; a comment above it says why.

The examples of a page run in order on the sandbox of all tests, in a folder of their own.
The cluster ``demo`` is there on every page; other clusters end with their page.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import click
import jsonschema
import pytest
import yaml

from capi_llm import errors, settings, versions
from capi_llm.cli.main import cli
from capi_llm.clusters import classes
from capi_llm.kube.resources import CLUSTERS
from capi_llm.plane import SANDBOX as RECIPE
from capi_llm.settings import schema, table
from capi_llm.steps import budgets
from capi_llm.tools import catalogue
from sandboxes import Sandbox

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
COMMANDS = DOCS / "commands"
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *DOCS.rglob("*.md"),
        *(ROOT / "clusterclasses").rglob("*.md"),
    ]
)
PROGRAM = "capi-llm"
SHARED = "demo"
"""The cluster that all pages share, as making one takes a while."""

LANGUAGES = {"console", "yaml", "json", "text", "python"}
MOST_NOT_RUN = 11
"""Three of them are of planes that need Docker or an account."""

FENCE = re.compile(r"^```(\S*) *(.*)$")
WIDTH = 100


@dataclass
class Example:
    """One command of a page: what it prints and its exit code."""

    where: str
    command: str
    exit: int = 0
    expected: list[str] = field(default_factory=list)

    @property
    def argv(self) -> list[str]:
        return shlex.split(self.command)[1:]


@dataclass
class Page:
    """What a page has in its fenced blocks, and its text outside of them."""

    path: Path
    examples: list[Example] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)
    not_run: list[str] = field(default_factory=list)
    text: str = ""

    @property
    def commands(self) -> list[str]:
        return [example.command for example in self.examples]


def read(path: Path) -> Page:
    page, outside = Page(path), []
    lines = path.read_text().splitlines()
    number = 0
    while number < len(lines):
        match = FENCE.match(lines[number])
        if match is None:
            outside.append(lines[number])
            number += 1
            continue
        end = next(n for n in range(number + 1, len(lines)) if lines[n] == "```")
        where = f"{path.relative_to(ROOT)}:{number + 1}"
        _block(page, where, match[1], match[2].split(), lines[number + 1 : end], lines[number - 1])
        number = end + 1
    page.text = "\n".join(outside)
    return page


def _block(page: Page, where: str, language: str, options: list[str], body: list[str], above: str) -> None:
    # Another language would keep a command line from being run.
    assert language in LANGUAGES, f"{where}: a block is one of {sorted(LANGUAGES)}, not {language!r}"
    words = dict(option.partition("=")[::2] for option in options)
    if language in ("yaml", "text") and "file" in words:
        page.files[words["file"]] = "\n".join(body) + "\n"
    if language != "console":
        return
    if "no-run" in words:
        assert above.startswith("<!-- not run: "), f"{where}: a comment above says why it is not run"
        page.not_run.append(where)
        return
    first = len(page.examples)
    for line in body:
        if line.startswith("$ "):
            page.examples.append(Example(where, line.removeprefix("$ ")))
        else:
            assert len(page.examples) > first, f"{where}: it begins with a command"
            page.examples[-1].expected.append(line)
    page.examples[-1].exit = int(words.get("exit", 0))


def pattern(expected: list[str]) -> re.Pattern[str]:
    text = ""
    for line in expected:
        if line.strip() == "…":
            text += r"(?:.*\n)*?"
        else:
            text += ".*?".join(re.escape(part) for part in line.rstrip().split("…")) + r" *\n"
    return re.compile(text)


def matches(example: Example, output: str) -> bool:
    if not example.expected:
        return True
    if example.argv[-1:] == ["--help"]:
        # Where lines break is up to the version of click.
        return " ".join(example.expected).split() == output.split()
    return pattern(example.expected).fullmatch(output.rstrip("\n") + "\n") is not None


class Shell:
    """Runs the examples of a page as a person would."""

    def __init__(self, sandbox: Sandbox, folder: Path) -> None:
        self._sandbox = sandbox
        self._folder = folder
        self._env = {**sandbox.env, "COLUMNS": str(WIDTH), "NO_COLOR": "1"}

    def run(self, *argv: str) -> tuple[int, str]:
        """Exit code and output of a command. The plane is called ``sandbox``, as it would be."""
        named = [
            self._sandbox.name if word == "sandbox" and before in ("--name", "use") else word
            for before, word in zip(("", *argv), argv, strict=False)
        ]
        done = subprocess.run(
            [sys.executable, "-m", "capi_llm", *named],
            env=self._env,
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
        )
        return done.returncode, re.sub(rf"\b{self._sandbox.name}\b", "sandbox", done.stdout)

    def has(self, cluster: str) -> bool:
        return cluster in self.clusters()

    def clusters(self) -> set[str]:
        return {obj["metadata"]["name"] for obj in self._sandbox.api.list(CLUSTERS, "default")}

    def delete(self, cluster: str) -> None:
        code, output = self.run("delete-cluster", cluster, "--yes")
        assert code == 0, output


def order(page: Page) -> tuple[int, Path]:
    """Who makes the shared cluster comes first, who changes or ends it last."""
    verbs = [shlex.split(command)[1] for command in page.commands if f" {SHARED}" in command]
    late = "delete-cluster" in verbs, "scale" in verbs
    return 3 if late[0] else 2 if late[1] else 0 if page.path.stem == "new-cluster" else 1, page.path


READ = sorted((read(path) for path in PAGES), key=order)
RUN = [page for page in READ if page.examples]


@pytest.fixture(scope="module")
def _end_of_shared(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    yield
    shell = Shell(sandbox, tmp_path_factory.mktemp("docs"))
    if shell.has(SHARED):
        shell.delete(SHARED)


@pytest.mark.parametrize(
    ("expected", "output", "same"),
    [
        ("one\ntwo", "one\ntwo\n", True),
        ("one", "one\ntwo\n", False),
        ("two", "one\ntwo\n", False),
        ("one\ntow", "one\ntwo\n", False),
        ("o…e\n…", "one\ntwo\nthree\n", True),
        ("…\nthree", "one\ntwo\nthree\n", True),
        ("one…", "one\ntwo\n", False),
        ("one\n…\ntwo", "one\ntwo\n", True),
        ("a.c", "abc\n", False),
    ],
)
def test_expected_lines(expected: str, output: str, same: bool) -> None:
    example = Example("here", f"{PROGRAM} status", expected=expected.splitlines())
    assert matches(example, output) == same


@pytest.mark.sandbox
@pytest.mark.usefixtures("_end_of_shared")
@pytest.mark.parametrize("page", RUN, ids=lambda page: str(page.path.relative_to(ROOT)))
def test_examples(page: Page, sandbox: Sandbox, tmp_path: Path) -> None:
    shell = Shell(sandbox, tmp_path)
    for name, text in page.files.items():
        (tmp_path / name).write_text(text)
    before = shell.clusters() | {SHARED}
    if page.path.stem != "new-cluster" and any(f" {SHARED}" in command for command in page.commands):
        code, output = shell.run("new-cluster", SHARED)
        assert code == 0, output
    try:
        for example in page.examples:
            assert example.command.startswith(f"{PROGRAM} "), f"{example.where}: only {PROGRAM} is run"
            code, output = shell.run(*example.argv)
            shown = f"{example.where}\n$ {example.command}\n{output}"
            assert code == example.exit, f"exit code {code}: {shown}"
            assert matches(example, output), f"the page says otherwise: {shown}"
    finally:
        for cluster in shell.clusters() - before:
            shell.delete(cluster)


def test_few_examples_are_not_run() -> None:
    not_run = [where for page in READ for where in page.not_run]
    assert len(not_run) <= MOST_NOT_RUN, not_run


@pytest.mark.parametrize("page", READ, ids=lambda page: str(page.path.relative_to(ROOT)))
def test_links_lead_somewhere(page: Page) -> None:
    wrong = []
    for target in re.findall(r"\]\(([^)\s]+)\)|(?:src|href)=\"([^\"]+)\"", page.text):
        link = target[0] or target[1]
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        path = (page.path.parent / name).resolve() if name else page.path
        if not path.exists() or (anchor and anchor not in anchors(path)):
            wrong.append(link)
    assert not wrong


def anchors(path: Path) -> set[str]:
    """The headings of a page as GitHub links to them."""
    headings = re.findall(r"^#+ (.*)$", read(path).text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_page_is_linked() -> None:
    linked = {ROOT / "README.md"}
    for page in READ:
        targets = re.findall(r"\]\(([^)\s#]+)[^)]*\)", page.text)
        linked |= {(page.path.parent / target).resolve() for target in targets if ":" not in target}
    assert not set(PAGES) - linked


def leaves(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if isinstance(command, click.Group):
        for name, sub in command.commands.items():
            yield from leaves(sub, (*path, name))
    else:
        yield path


def test_every_command_has_a_page_with_its_help() -> None:
    for path in leaves(cli):
        page = read(COMMANDS / f"{path[0]}.md")
        assert f"{PROGRAM} {' '.join(path)} --help" in page.commands, path
    assert {path.stem for path in COMMANDS.glob("*.md")} == set(cli.commands)


def test_every_help_is_shown_whole() -> None:
    """A help without expected lines, or with ``…`` of ours, would hide an option."""
    shown = [example for page in READ for example in page.examples if example.argv[-1:] == ["--help"]]
    assert shown
    assert all(example.expected for example in shown)


def test_every_variable_is_explained() -> None:
    text = (DOCS / "configuration.md").read_text()
    known = {table.CONFIG, *(name for name, _ in table.XDG.values())}
    assert {name for name in known if name not in text} == set()
    for setting in table.SETTINGS:
        if setting.path.startswith("parts.executables."):
            continue
        value = str(setting.default).lower() if isinstance(setting.default, bool) else setting.default
        default = setting.without if value is None else f"`{value}`"
        variable = f" `{setting.variable}` " if setting.variable else " "
        assert f"| `{setting.path}` |{variable}| {default} | {setting.help} |" in text
    assert "CAPI_LLM_PART_KUBE_APISERVER" in text


def test_the_example_of_settings_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = read(DOCS / "configuration.md").files["capi-llm.yaml"]
    assert text.splitlines()[0] in (COMMANDS / "config.md").read_text()
    (tmp_path / "capi-llm.yaml").write_text(text)
    found = settings.load(tmp_path / "capi-llm.yaml", environ={"HOME": "/home/me"})
    assert found.cluster["labels"] == {"team": "search"}
    jsonschema.Draft202012Validator(schema.settings()).validate(yaml.safe_load(text))


def test_every_exit_code_is_explained() -> None:
    text = (DOCS / "output.md").read_text()
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    codes = {kind.exit_code for kind in kinds if issubclass(kind, errors.CapiLlmError)}
    assert {code for code in codes if f"| {code} |" not in text} == set()


@pytest.mark.parametrize("folder", classes.shipped(), ids=lambda folder: folder.name)
def test_every_class_variable_is_explained(folder: classes.ClassFolder) -> None:
    text = (DOCS / "classes.md").read_text()
    assert folder.name in text
    variables = {item.name for item in classes.describe_folder(folder).variables}
    assert {name for name in variables if f"`{name}`" not in text} == set()


def test_what_the_sandbox_changes_is_told() -> None:
    text = (DOCS / "sandbox.md").read_text()
    assert {change.file for change in catalogue.SANDBOX.changes if f"`{change.file}`" not in text} == set()
    assert {part for part in catalogue.OF_SANDBOX if f"`{part}`" not in text} == set()


def test_every_step_is_told() -> None:
    text = (DOCS / "how-it-works.md").read_text()
    assert {step.name for step in RECIPE if step.name not in text} == set()


def test_numbers_in_the_pages_are_those_of_the_code() -> None:
    for name in ("README.md", "docs/sandbox.md"):
        text = (ROOT / name).read_text()
        for pin in (versions.CLUSTER_API, versions.KUBERNETES, versions.KWOK):
            assert pin in text, f"{pin} in {name}"
    for page, budget in (("new-cluster", budgets.CLUSTER), ("delete-cluster", budgets.DELETE)):
        assert f"{budget / 60:.0f} minutes" in (COMMANDS / f"{page}.md").read_text(), page
    assert f"## [{versions.CLI}]" in (ROOT / "CHANGELOG.md").read_text()
