"""Names of folders that shells, templates, patterns and pages take for something else."""

import html.parser
import shlex
import shutil
import urllib.parse
from pathlib import Path

import pytest

from components.messages import escaped

SCHEMA = Path(__file__).resolve().parents[2] / "schema" / "schema.pbtxt"
# All that is let in of what Linux allows: unlike patterns and control characters.
WORKS = (
    " a b'c\"d$HOME`e`&;|<f>(g)]{h}{SPAN}%s%20#~!,:=@^+ünïcöde u\u0308😀\u3000\u05d0\u202e- :bug:"
)
# What holds the data, or the code, may have the name of a pattern, too.
PATTERN = f"{WORKS} [1]*?\\ "


class Links(html.parser.HTMLParser):
    """Collects where the links of a page lead."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        self.found += [value for name, value in attrs if name in ("href", "src")]


def links_of(page):
    parser = Links()
    parser.feed(page.read_text(encoding="utf-8"))
    files = [link for link in parser.found if not link.startswith(("#", "data:"))]
    return [page.parent / urllib.parse.unquote(link.partition("#")[0]) for link in files]


@pytest.fixture(scope="module")
def odd_run(few_images, undemanding, run_graph, tmp_path_factory):
    """A run with such names for all folders, each beside one that its name would match."""
    root = tmp_path_factory.mktemp("odd_names")
    data = few_images.write(root / f"data{PATTERN}")
    few_images.first(40, 5).write(root / data.name.replace("[1]*?\\", "1xy"))
    schema = root / f"schema{PATTERN}.pbtxt"
    shutil.copy(SCHEMA, schema)
    given = (*undemanding(data), "--set", f"schema_file={schema}")
    run = run_graph(root / f"outputs{WORKS}", *given)
    return run


@pytest.mark.slow
def test_a_run_takes_its_own_data_and_pushes(odd_run):
    receipt = odd_run.receipt
    assert receipt["verdict"] == "pushed"
    assert receipt["evaluation"]["count"] == 500
    assert odd_run.export.is_dir()
    # Nothing was written beside it.
    assert sorted(path.name[:4] for path in odd_run.output_dir.parent.iterdir()) == [
        "data",
        "data",
        "outp",
        "sche",
    ]


@pytest.mark.slow
def test_its_commands_can_be_copied_and_its_paths_be_found(odd_run, quick_command):
    words = shlex.split(odd_run.receipt["command"])
    assert words[words.index("--output-dir") + 1] == str(odd_run.output_dir)
    places = [
        line.partition(" ")[2].strip()
        for line in odd_run.outcome.output.splitlines()
        if line.startswith(("Results ", "Review "))
    ]
    folder = odd_run.root / "runs" / odd_run.receipt["run_id"]
    # A character that turns the line around is escaped; all others stay.
    assert places == [escaped(str(folder)), escaped(str(folder / "review.html"))]
    assert folder.is_dir() and escaped(str(folder)).count("\\") == str(folder).count("\\") + 1
    told = quick_command("lineage", odd_run.export, "--output-dir", odd_run.output_dir)
    assert told.code == 0 and escaped(str(odd_run.export)) in told.output


@pytest.mark.slow
def test_the_links_of_its_pages_lead_to_files(odd_run, quick_command):
    run_id = odd_run.receipt["run_id"]
    compared = quick_command("runs", "compare", run_id, run_id, "--output-dir", odd_run.output_dir)
    assert compared.code == 0, compared.errors
    pages = [
        odd_run.root / "index.html",
        odd_run.root / "runs" / run_id / "review.html",
        *(odd_run.root / "comparisons").iterdir(),
    ]
    for page in pages:
        links = links_of(page)
        assert links and all(link.is_file() for link in links), page


@pytest.mark.slow
def test_its_model_answers(odd_run, quick_command, few_images, as_idx, tmp_path):
    images = tmp_path / f"{PATTERN}-ubyte"
    images.write_bytes(as_idx(few_images.test_images[:3]))
    answered = quick_command("predict", images, "--output-dir", odd_run.output_dir, "--json")
    assert answered.code == 0, answered.errors
    assert [answer["file"] for answer in answered.json["answers"]] == [
        f"{images}[{number}]" for number in range(3)
    ]


@pytest.fixture
def odd_checkout(project_copy):
    """A copy of the project in such a folder."""
    return project_copy.rename(project_copy.with_name(f"project{PATTERN}"))


def test_the_checkout_may_have_any_name(command, odd_checkout, tmp_path):
    assert command("--help", root=odd_checkout).code == 0
    examined = command("doctor", "--output-dir", tmp_path, "--data", "sample", root=odd_checkout)
    assert examined.code == 0, examined.output


@pytest.mark.slow
def test_a_schedule_runs_from_a_checkout_of_any_name(command, odd_checkout, tmp_path):
    output_dir = tmp_path / "outputs"
    given = ("schedule", "--once", "--data", "sample", "--output-dir", output_dir)
    ran = command(*given, root=odd_checkout, XDG_CACHE_HOME=str(tmp_path / f"cache{PATTERN}"))
    assert ran.code == 0, ran.errors
    assert list(output_dir.glob("*/serving/*/saved_model.pb"))
