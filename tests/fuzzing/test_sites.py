"""Every read site of the shipped code is reached by a reader that is fuzzed, or has a reason."""

import dataclasses

import pytest

from tests.faults.injection import PROJECT
from tests.fuzzing import sites
from tests.fuzzing.reader import check
from tests.fuzzing.readers import READERS
from tests.fuzzing.reasons import BY_SITE, REASONS

LIGHT = [name for name, reader in READERS.items() if reader.warm_up is None]


@dataclasses.dataclass(frozen=True)
class Asked:
    """What a reader did with sound files."""

    refused: bool
    sites: set[str]


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """The answers of the readers that import little, by their names."""
    return {name: _asked(READERS[name], tmp_path_factory.mktemp(name)) for name in LIGHT}


def _asked(reader, folder):
    reader.make(folder)
    refused = []
    reached = sites.reached_by(lambda: refused.append(check(reader, folder)))
    return Asked(refused[0], reached)


@pytest.fixture(scope="module")
def reached(asked):
    """The sites that readers reach."""
    return set[str]().union(*(each.sites for each in asked.values()))


def test_every_read_site_is_fuzzed_or_has_a_reason(reached):
    new = sites.find() - reached - set(BY_SITE)
    assert not new, (
        f"{sorted(new)} read files or sockets, and no reader that is fuzzed gets there. Add one to "
        "tests/fuzzing/readers.py, or say in tests/fuzzing/reasons.py why not."
    )


def test_no_reason_outlives_its_site():
    assert set(BY_SITE) <= sites.find()


def test_no_site_with_a_reason_is_fuzzed_all_the_same(reached):
    both = reached & set(BY_SITE)
    assert not both, f"remove {sorted(both)} from tests/fuzzing/reasons.py: they are fuzzed"


def test_no_site_has_two_reasons():
    assert len(BY_SITE) == sum(len(reason.sites) for reason in REASONS)


@pytest.mark.parametrize("name", LIGHT)
def test_a_reader_refuses_nothing_of_sound_files(asked, name):
    assert not asked[name].refused


@pytest.mark.parametrize(
    "line",
    [
        "json.load(file)",
        "json.loads(path.read_text())",
        "tomllib.loads(text)",
        "text_format.Parse(text, schema)",
        "message.ParseFromString(content)",
        "pq.read_table(path)",
        "pyarrow.parquet.ParquetFile(path)",
        "np.load(path)",
        "zipfile.ZipFile(path)",
        "gzip.open(path)",
        "gzip.GzipFile(fileobj=stream)",
        "PIL.Image.open(stream)",
        "csv.reader(file)",
        "sqlite3.connect(path)",
        "Model.model_validate_json(content)",
        "read(path, Model.model_validate_json)",
        "yaml.safe_load(text)",
        "urllib.request.urlopen(address)",
        "http.client.HTTPConnection(host)",
        "tf.saved_model.load(folder)",
        "keras.models.load_model(path)",
        "open(path)",
        "open(path, encoding='utf-8')",
        "path.open('rb')",
        "fileio.open(path, 'r')",
        "open(path, mode)",
        "sys.stdin.read()",
        "xml.etree.ElementTree.parse(path)",
        "tfma.load_metrics(folder)",
        "tfma.load_validation_result(folder)",
        "tfdv.load_stats_binary(path)",
        "tfdv.load_anomalies_text(path)",
        "io_utils.parse_pbtxt_file(path, message)",
        "io_utils.read_bytes_file(path)",
        "tf.io.read_file(path)",
        "tf.io.gfile.GFile(path, 'rb')",
        "tf.data.TFRecordDataset(paths)",
        "dataset.interleave(tf.data.TFRecordDataset)",
        "connection.makefile('rb')",
        "connection.recv_into(buffer)",
    ],
)
def test_what_reads_is_found(line):
    found = sites.sites_in(PROJECT / "cli" / "made_up.py", f"class C:\n  def f():\n    {line}\n")
    assert found == {"cli/made_up.py::C.f"}


@pytest.mark.parametrize(
    "line",
    [
        "open(path, 'w')",
        "path.open('ab', buffering=0)",
        "webbrowser.open(address)",
        "os.open(path, os.O_RDONLY)",
        "json.dumps(document)",
        "receipt.load()",
        "parser.parse(words)",
        "np.loads",
    ],
)
def test_what_does_not_read_is_not_found(line):
    assert sites.sites_in(PROJECT / "cli" / "made_up.py", f"{line}\n") == set()
