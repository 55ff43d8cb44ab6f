"""Shared names: features, splits, model outputs and files.

This module uses only the standard library, so that every module can import it. Image size and class
names are only in the schema (`components.image_schema` reads them).
"""

IMAGE = "image"
LABEL = "label"
EXAMPLE_ID = "example_id"

# Features of corrupted examples: the kind of corruption and its strength (1 to 3).
CORRUPTION = "corruption"
STRENGTH = "strength"

TRAIN_SPLIT = "train"
VALIDATION_SPLIT = "val"
TEST_SPLIT = "test"
SPLITS = (TRAIN_SPLIT, VALIDATION_SPLIT, TEST_SPLIT)
# Numbers of the splits: their positions in SPLITS.
TRAIN, VALIDATION, TEST = range(len(SPLITS))
# How TFX names the folder of a split in an artifact, and TFDV's statistics in it.
SPLIT_PREFIX = "Split-"
STATISTICS_FILE = "FeatureStats.pb"

PROBABILITIES = "probabilities"
CLASS_ID = "class_id"
CLASS_NAME = "class_name"
# Factor for probabilities below the one that label smoothing gives every class
# (`components.trainer.calibration`).
SMOOTHING_FLOOR = 0.01

SERVING_DEFAULT = "serving_default"
PREDICT_PIXELS = "predict_pixels"
PREDICT_IMAGE_BYTES = "predict_image_bytes"

# How files are called that hold images which can be read, and the maximum number of pixels of an
# image, 8192 x 8192: a larger one may be made to exhaust the memory.
IMAGE_SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".gif", ".tif", ".tiff"}
)
MOST_IMAGE_PIXELS = 2**26

# File of an artifact of examples, with a `components.reading_report.ReadingReport`.
READING_REPORT_FILE = "reading.json"
# Names and bytes of the files of each split.
LISTING_FILE = "files.json"
# File of an artifact of examples with the further columns of the data (Parquet), and EXAMPLE_ID; it
# also has rows of images that were left out.
COLUMNS_FILE = "columns.parquet"

# Folder of the serving export in a model artifact of TFX, and files beside it.
EXPORT_FOLDER = "Format-Serving"
KERAS_MODEL_FILE = "model.keras"
REFERENCE_STATISTICS_FILE = "reference_statistics.binpb"
GOLDEN_FILE = "golden.npz"
SEEN_IMAGES_FILE = "seen_images.npz"

# File of the export with a description of its inputs and outputs.
EXPORT_DESCRIPTION_FILE = "assets.extra/image_schema.json"

# Files of a model run artifact.
HISTORY_FILE = "history.json"
HISTORY_TABLE_FILE = "history.csv"
TRAINING_REPORT_FILE = "training.json"

# Files of a model run artifact for the review. `augmented.npz` has `ids` (bytes), `originals`
# (uint8 [N, height, width, channels]) and `augmented` (uint8 [N, variants, height, width,
# channels]).
# `feature_maps.npz` has `ids`, `images` (uint8 [N, height, width, channels]), `blocks` (names), and
# the maps of each block under its name (uint8 [N, maps, height, width], each scaled to 0 to 255).
AUGMENTED_FILE = "augmented.npz"
FEATURE_MAPS_FILE = "feature_maps.npz"

# Files of a predictions artifact. PREDICTIONS_FILE has a row per test image in the order of ids,
# with the columns EXAMPLE_ID (string), LABEL (int64), IMAGE (raw bytes), CANDIDATE and BASELINE
# (probabilities, a list with a float32 per class; BASELINE is null if no model is served). The
# metadata of its schema has CLASS_NAMES and IMAGE_SHAPE as JSON. ANSWERS_FILE, in the folder of the
# test split, is the input of TFMA. It has LABEL, CANDIDATE and, if a model is served, BASELINE, as
# lists in the same order, and the columns of the data by which it slices (`components.slices`).
PREDICTIONS_FILE = "predictions.parquet"
ANSWERS_FILE = "answers.parquet"
CANDIDATE = "candidate"
BASELINE = "baseline"
CLASS_NAMES = "class_names"
IMAGE_SHAPE = "image_shape"

# Files of a DataGate report. `similar.json` has `counts` and `pairs` as in `review.summary`, but
# with the numbers `first_label` and `second_label` instead of class names. It also has the number
# of different `images`, and how many of them were `searched` for near duplicates. `similar.npz`
# has `first` and `second`, uint8 [pairs, height * width * channels].
DATA_GATE_REPORT_FILE = "report.json"
SIMILAR_FILE = "similar.json"
SIMILAR_IMAGES_FILE = "similar.npz"

# File of a blessing with the result of every gate (`components.quality_gates`).
GATES_FILE = "gates.json"

# File of an artifact of corrupted examples. It shows one image, first unchanged, then with each
# corruption and strength: `images` (uint8 [N, height, width, channels]) and `about` (descriptions).
PREVIEW_FILE = "preview.npz"

# Parameter of each node with the hash of the code that it runs.
CODE_FINGERPRINT = "code_fingerprint"

# Folders that Trainer's executor adds to the settings, since TFX does not pass them on.
EXAMPLES_FOLDER = "examples_folder"
STATISTICS_FOLDER = "statistics_folder"
BASE_MODEL_FOLDER = "base_model_folder"
TRAINER_FOLDERS = (EXAMPLES_FOLDER, STATISTICS_FOLDER, BASE_MODEL_FOLDER)

# Environment variable with the folder for Trainer's snapshots; set in the containers of a cluster.
SNAPSHOTS_VARIABLE = "IMAGE_PIPELINE_SNAPSHOTS"


def split_folder(split: str) -> str:
    """Returns the name of the folder of a split in an artifact of TFX."""
    return f"{SPLIT_PREFIX}{split}"
