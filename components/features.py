"""The shared vocabulary: feature keys, split names, and the names of what a model returns.

Standard library alone, so that anything may import it. The shape of the images and the class
names are not here: they stand in the schema alone (`components.image_schema` reads them).
"""

IMAGE = "image"
LABEL = "label"
EXAMPLE_ID = "example_id"

# In corrupted examples: what was done to the image, and how strongly (1 to 3).
CORRUPTION = "corruption"
STRENGTH = "strength"

TRAIN_SPLIT = "train"
VALIDATION_SPLIT = "val"
TEST_SPLIT = "test"
SPLITS = (TRAIN_SPLIT, VALIDATION_SPLIT, TEST_SPLIT)

PROBABILITIES = "probabilities"
CLASS_ID = "class_id"
CLASS_NAME = "class_name"
# Of a probability that is lower than what label smoothing gives every class, the share that is
# answered (`components.trainer.calibration`).
SMOOTHING_FLOOR = 0.01

SERVING_DEFAULT = "serving_default"
PREDICT_PIXELS = "predict_pixels"
PREDICT_IMAGE_BYTES = "predict_image_bytes"

# Files of a model artifact, beside the serving export that TFX puts in `Format-Serving`.
KERAS_MODEL_FILE = "model.keras"
REFERENCE_STATISTICS_FILE = "reference_statistics.binpb"
GOLDEN_FILE = "golden.npz"

# In the export: what it takes and answers.
EXPORT_DESCRIPTION_FILE = "assets.extra/image_schema.json"

# Files of a model run artifact.
HISTORY_FILE = "history.json"
HISTORY_TABLE_FILE = "history.csv"
TRAINING_REPORT_FILE = "training.json"

# In a model run artifact, for the review. `augmented.npz`: `ids` (bytes), `originals` (uint8
# [N, height, width, channels]) and `augmented` (uint8 [N, variants, height, width, channels]).
# `feature_maps.npz`: `ids`, `images` (uint8 [N, height, width, channels]), `blocks` (names), and
# under the name of each block its maps (uint8 [N, maps, height, width], each scaled to its range).
AUGMENTED_FILE = "augmented.npz"
FEATURE_MAPS_FILE = "feature_maps.npz"

# In a predictions artifact: a row per test image in the order of ids, with the columns EXAMPLE_ID
# (string), LABEL (int64), IMAGE (raw bytes), CANDIDATE and BASELINE (probabilities, a list of
# float32 per class; BASELINE is null throughout where no model is served). The metadata of its
# schema has CLASS_NAMES and IMAGE_SHAPE, as JSON. Below the test split ANSWERS_FILE has LABEL,
# CANDIDATE and, where a model is served, BASELINE, as lists, in the same order: what TFMA measures.
PREDICTIONS_FILE = "predictions.parquet"
ANSWERS_FILE = "answers.parquet"
CANDIDATE = "candidate"
BASELINE = "baseline"
CLASS_NAMES = "class_names"
IMAGE_SHAPE = "image_shape"

# In a DataGate report. `similar.json`: `counts` and `pairs` as `review.summary` has them, without
# class names but with `first_label` and `second_label` as numbers, and among how many of all
# different `images` near ones were `searched`; `similar.npz`: `first` and `second`, uint8
# [pairs, height * width * channels].
DATA_GATE_REPORT_FILE = "report.json"
SIMILAR_FILE = "similar.json"
SIMILAR_IMAGES_FILE = "similar.npz"

# In the blessing that Pusher reads: every gate as it was judged (`components.quality_gates`).
GATES_FILE = "gates.json"

# In an artifact of corrupted examples: one image as it was and then under each corruption and
# strength: `images` (uint8 [N, height, width, channels]) and `about` (what each shows, in words).
PREVIEW_FILE = "preview.npz"

# What Trainer's executor adds to the settings: where to find what TFX does not tell.
EXAMPLES_FOLDER = "examples_folder"
STATISTICS_FOLDER = "statistics_folder"
BASE_MODEL_FOLDER = "base_model_folder"
TRAINER_FOLDERS = (EXAMPLES_FOLDER, STATISTICS_FOLDER, BASE_MODEL_FOLDER)
