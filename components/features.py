"""The shared vocabulary: feature keys, split names, and the names of what a model returns.

Standard library alone, so that anything may import it. The shape of the images and the class
names are not here: they stand in the schema alone (`components.image_schema` reads them).
"""

IMAGE = "image"
LABEL = "label"
EXAMPLE_ID = "example_id"

TRAIN_SPLIT = "train"
VALIDATION_SPLIT = "val"
TEST_SPLIT = "test"
SPLITS = (TRAIN_SPLIT, VALIDATION_SPLIT, TEST_SPLIT)

PROBABILITIES = "probabilities"
CLASS_ID = "class_id"
CLASS_NAME = "class_name"

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

# What Trainer's executor adds to the settings: where to find what TFX does not tell.
EXAMPLES_FOLDER = "examples_folder"
STATISTICS_FOLDER = "statistics_folder"
BASE_MODEL_FOLDER = "base_model_folder"
TRAINER_FOLDERS = (EXAMPLES_FOLDER, STATISTICS_FOLDER, BASE_MODEL_FOLDER)
